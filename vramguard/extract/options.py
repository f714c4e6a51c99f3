"""YAML files of values: an engine's options (vLLM's --config, TensorRT-LLM's --extra_llm_api_options), and a program's.

Such a file starts nothing: it is a text of values until a command names it, or a program reads it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from vramguard.data import load
from vramguard.facts import Texts, Word
from vramguard.facts.nodes import Node
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Fact
    from vramguard.source import Document

FORM: Final = "options"
SETTINGS: Final = "settings"  # the form of what a program of the repository may read
_NAMED: Final = re.compile(
    r"(?:^|/)[\w.-]{0,60}(?:config|settings|params|args|model)[\w.-]{0,60}\.ya?ml$", re.IGNORECASE
)
_MOST: Final = 1 << 16  # characters of a file of settings
_ELSEWHERE: Final = frozenset({"apiVersion", "services", "jobs", "on"})  # keys of files that are somebody else's
# Keys of the first level that such files have: asked before the table of flags is loaded.
_LIKELY: Final = re.compile(
    r"^(?:model|[\w-]{0,40}(?:parallel|max[-_]|memory|kv[-_]cache|dtype|quantization|context)[\w-]{0,60}):",
    re.MULTILINE,
)
_READERS: Final = ("vllm", "sglang", "tensorrt-llm", "kserve")
_TAKES: Final = ("one", "none", "switch", "many", "maybe")


def extract(document: Document) -> Iterator[Fact]:
    """The options that a file holds, where it has no key that no engine has; and its values, if it is one of those."""
    yield from _settings(document)
    documents = document.value
    if len(documents) != 1 or not isinstance(documents[0], dict) or not _ELSEWHERE.isdisjoint(documents[0]):
        return
    if not _LIKELY.search(document.text) or not _is_options(documents[0]):
        return
    values = options(Node(document, (0,), documents[0]))
    if values:
        yield Texts(Location(document.path), FORM, document.path, values)


def _settings(document: Document) -> Iterator[Texts]:
    """The values of a file that is called as a program's settings are, if it speaks of a model."""
    if len(document.text) > _MOST or not _NAMED.search(document.path) or "model" not in document.text.lower():
        return
    if len(document.value) == 1 and isinstance(document.value[0], dict) and not _ELSEWHERE & document.value[0].keys():
        values = options(Node(document, (0,), document.value[0]))
        yield Texts(Location(document.path), SETTINGS, document.path, values)


def _is_options(value: object) -> bool:
    if not isinstance(value, dict) or not value or len(value) > len(_keys()):
        return False
    return all(isinstance(key, str) and plain(key) in _keys() for key in value)


def plain(key: str) -> str:
    """A key as flags are written."""
    return key.lower().replace("_", "-").lstrip("-")


def options(root: Node) -> dict[str, Word]:
    """Values by key: those of nested mappings by dotted keys, and each mapping and list as JSON too."""
    found: dict[str, Word] = {}
    _collect(root, "", found)
    return found


def _collect(node: Node, prefix: str, found: dict[str, Word]) -> None:
    for key, child in node.items():
        name = prefix + key
        word = child.word()
        if word is None:
            word = Word("" if child.value is None else json.dumps(child.value, default=str), child.at)
        found[name] = word
        if isinstance(child.value, dict):
            _collect(child, f"{name}.", found)


@cache
def _keys() -> frozenset[str]:
    rows: list[Mapping[str, Any]] = [row for row in load("launchers")["engine"] if row["name"] in _READERS]
    names: list[str] = []
    for row in rows:
        names += [name for flag in row.get("flags", ()) for name in flag["names"].split()]
        groups = [*row.get("unread", ()), *row.get("harmless", ())]
        names += [name for group in groups for takes in _TAKES for name in group.get(takes, "").split()]
        names += [key.partition(".")[0] for key in (*row.get("nested", {}), *row.get("ignored", ()))]
    return frozenset(plain(name) for name in names)
