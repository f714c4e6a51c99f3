"""Templates of Helm, read as text: which values they pass on, and which flags they write by themselves.

They are no YAML before they are rendered, and nothing here renders them: what stands in a branch is not looked at.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from vramguard.facts import Word
from vramguard.source import Location
from vramguard.source.filling import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts.nodes import Node

Path = tuple[str, ...]
_MAX_TEXT = 1 << 20  # bytes of a template that are searched
_MAX_KEYS = 20  # of a path; what is read deeper counts as all that is there
_COMMENT = re.compile(r"\{\{-?\s{0,20}/\*")
_COMMENT_END = re.compile(r"\*/\s{0,20}-?\}\}")


def without_comments(data: bytes) -> str:
    """The text of a template with `{{/* … */}}` made blank, its lines as they were."""
    text = data[:_MAX_TEXT].decode("utf-8", "replace")
    parts, start = [], 0
    while (opening := _COMMENT.search(text, start)) and (end := _COMMENT_END.search(text, opening.end())):
        parts += [text[start : opening.start()], "\n" * text.count("\n", opening.start(), end.end())]
        start = end.end()
    return "".join([*parts, text[start:]])


_PATH = re.compile(
    r'(?P<passed>"Values"\s{1,9})?\$?\.Values(?P<path>(?:\.[A-Za-z_]\w*)*)(?P<index>(?:\s{1,9}"[^"\n]*")*)'
)
_DEFINE = re.compile(r'\bdefine\s{1,9}"([^"\n]+)"')
_INCLUDE = re.compile(r'\b(?:include|template)\s{1,9}("[^"\n]*"|\S+)')


def reads(reading: frozenset[Path], keys: Path) -> bool:
    """Whether a path that is read is that of the key, of what holds it, or of something in it."""
    return keys in _through(reading) or any(keys[:length] in reading for length in range(len(keys) + 1))


@lru_cache(maxsize=64)
def _through(reading: frozenset[Path]) -> frozenset[Path]:
    """Every path that one which is read goes through."""
    return frozenset(path[:length] for path in reading for length in range(len(path)))


def reading(text: str, values: str) -> frozenset[Path] | None:
    """Every path that all templates of a chart read, and the values that are templates themselves.

    None where one is asked that is not here (a library's, one that a value names): it may read any.
    """
    defined = set(_DEFINE.findall(text))
    if any(not name.startswith('"') or name.strip('"') not in defined for name in _INCLUDE.findall(text)):
        return None
    return frozenset((*_paths(text), *_paths(values)))


def _paths(text: str) -> Iterator[Path]:
    """`.Values.a.b`, `index .Values "a" "b"`; `.Values` alone is every path."""
    for match in _PATH.finditer(text):
        path = tuple(filter(None, match["path"].split(".")))
        quoted = tuple(re.findall(r'"([^"\n]*)"', match["index"]))
        if path or quoted or not match["passed"]:
            yield (*path, *quoted)[:_MAX_KEYS]


_OPENS = re.compile(r"\{\{-?\s{0,9}(?:if|with|range|define|block)\b")
_ENDS = re.compile(r"\{\{-?\s{0,9}end\b")
_ITEM = re.compile(r"[ \t]*-[ \t]+(?P<item>[^\n]*\S)")
_STARTS = re.compile(r"vllm|sglang|text-generation-launcher|trtllm|llama-server|--(?:model|max-model-len|model-path)\b")
_VALUE = re.compile(
    r"\{\{-?\s{0,9}\$?\.Values((?:\.[A-Za-z_]\w*)+)(?:\s{0,9}\|\s{0,9}(?:quote|squote|toString|int))*\s{0,9}-?\}\}"
)
_KNOWN_FLAG = re.compile(r"--[a-z][\w-]*\Z")
_NEVER = ("--host", "--port", "--served-model-name")  # values of theirs change nothing, and are mostly helpers'


def starts(text: str) -> bool:
    """Whether a template writes flags of an engine."""
    return _STARTS.search(text) is not None and any(_flag_item(line) for line in text.split("\n"))


def flag(text: str) -> str:
    """The name of a flag, as a field has it; empty for a word that is none."""
    name = text.partition("=")[0]
    return name[2:].replace("-", "_") if name.startswith("--") else ""


def _flag_item(line: str) -> str | None:
    match = _ITEM.match(line)
    item = _unquoted(match["item"]) if match else ""
    return item if _KNOWN_FLAG.match(item.partition("=")[0]) else None


def _unquoted(item: str) -> str:
    return item[1:-1] if len(item) > 1 and item[0] == item[-1] and item[0] in "\"'" else item


def flags(path: str, text: str, values: Node) -> Iterator[tuple[str, list[Word]]]:
    """Each flag that stands in a list outside of every branch, by its name as a field has it, with its words."""
    lines = text.split("\n")
    depth = 0
    for number, line in enumerate(lines):
        item = _flag_item(line)
        if item and depth == 0 and item.partition("=")[0] not in _NEVER:
            words = [_word(item, path, number, values)]
            following = _ITEM.match(lines[number + 1]) if number + 1 < len(lines) else None
            if "=" not in item and following and not _unquoted(following["item"]).startswith("-"):
                words.append(_word(_unquoted(following["item"]), path, number + 1, values))
            yield flag(item), words
        depth += len(_OPENS.findall(line)) - len(_ENDS.findall(line))


_NAME = re.compile(r"[ \t]*-[ \t]+name:[ \t]*[\"']?([A-Z][A-Z0-9_]*)[\"']?[ \t]*\Z")
_VARIABLE = re.compile(r"[ \t]*value:[ \t]*([^\n]*\S)")


def variables(path: str, text: str, values: Node) -> Iterator[tuple[str, Word]]:
    """Each variable that a list of them has outside of every branch."""
    lines = text.split("\n")
    depth = 0
    for number, (line, following) in enumerate(pairwise(lines)):
        name, value = _NAME.match(line), _VARIABLE.match(following)
        if name and value and depth == 0:
            yield name[1], _word(_unquoted(value[1]), path, number + 1, values)
        depth += len(_OPENS.findall(line)) - len(_ENDS.findall(line))


def _word(item: str, path: str, line: int, values: Node) -> Word:
    """A word with the values in it filled in, at the place of the value that it is made of."""
    at = Location(path, line + 1, 1, line + 1, 1)
    places = []

    def fill(match: re.Match[str]) -> str:
        value = values.get(*match[1].strip(".").split("."))
        if not value.text:
            return match[0]
        places.append(value.at)
        return value.text

    text = filled(_VALUE, fill, item) or item
    return Word(text, places[0] if len(places) == 1 else at, known="{{" not in text)
