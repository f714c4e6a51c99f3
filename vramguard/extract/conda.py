"""A conda environment: its packages, its channels and the requirements of its `pip` list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from vramguard.extract import declaration, matchspec
from vramguard.extract.requirements import facts_of
from vramguard.facts import Channels, Project, Requirement
from vramguard.source import is_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document, Location

_WORDS: Final = re.compile(r"^(?:dependencies|channels|channel_priority)[ ]?:", re.MULTILINE)
_NAMED: Final = re.compile(r"(?:^|[/._-])(?:conda|mamba|micromamba|env|environments?)(?=[/._-])", re.IGNORECASE)
_PYTHON: Final = re.compile(r"(?:[\w-]+::)?(?:python|pip)(?![\w-])")
_BEHIND: Final = 200  # characters behind a package in which its comment begins
_PRIORITIES: Final = {True: "flexible", False: "disabled"}  # what conda took before it had words for it


def extract(document: Document) -> Iterator[Fact]:
    """Every fact of a conda environment or a `.condarc`; nothing for other YAML."""
    if not _WORDS.search(document.text) or document.path.endswith(".devenv.yml") or is_template(document.text):
        return
    for number, value in enumerate(document.value):
        if not isinstance(value, Mapping):
            continue
        if document.path.endswith("condarc"):
            yield from _channels(document, number, value)
        elif _is_environment(document.path, value):
            yield from _environment(document, number, value)


def _is_environment(path: str, value: Mapping[str, object]) -> bool:
    """Whether a mapping is an environment: other tools, too, have a `name` and a list of `dependencies`."""
    items = value.get("dependencies")
    if not isinstance(items, list) or not items:
        return False
    texts = [item for item in items if isinstance(item, str)]
    pips = any(isinstance(item, Mapping) and "pip" in item for item in items)
    if isinstance(value.get("channels"), list):
        return bool(texts) or pips
    alone = (next(iter(item.values())) for item in items if isinstance(item, Mapping) and len(item) == 1)
    misread = sum(isinstance(version, int | float) for version in alone)
    alike = pips or any(_PYTHON.match(text) for text in texts) or _NAMED.search(path) is not None
    return alike and len(texts) + pips + misread >= len(items) and ("name" in value or "prefix" in value or pips)


def _environment(document: Document, number: int, value: Mapping[str, object]) -> Iterator[Fact]:
    found = list(_packages(document, number, value))
    yield from found
    yield from _channels(document, number, value)
    names = {
        canonicalize_name(fact.name) for fact in found if isinstance(fact, Requirement) and fact.pinned is not None
    }
    name = value.get("name")
    at = document.key_at(number, "dependencies")
    yield Project(at, name if isinstance(name, str) else None, "conda", len(names), form="conda")


def _packages(document: Document, number: int, value: Mapping[str, object]) -> Iterator[Fact]:
    items = value["dependencies"]
    for position, item in enumerate(items if isinstance(items, list) else ()):
        keys = (number, "dependencies", position)
        if isinstance(item, str):
            at = document.at(*keys)
            said = matchspec.read(item)._replace(marker=_selector(document, at))
            yield declaration.fact(said, at, "conda", "dependencies")
        elif isinstance(item, Mapping) and "pip" in item:
            yield from _lines(document, (*keys, "pip"), item["pip"], "conda", "pip")
        elif isinstance(item, Mapping) and len(item) == 1:
            yield from _misread(item, document.at(*keys))


def _selector(document: Document, at: Location) -> str:
    """The platforms that a comment limits the line to, for conda-lock alone: `- pytorch-cuda=11.8  # [linux]`."""
    found = re.search(
        r"[ \t]#[ \t]*\[([^\]\n]+)\]", document.lines[at.end_line - 1][at.end_column - 1 : at.end_column + _BEHIND]
    )
    return found[1] if found else ""


def _misread(item: Mapping[str, object], at: Location) -> Iterator[Fact]:
    """`- numpy: 1.26`, which conda refuses; selectors and other tools' own tables are left alone."""
    name, version = next(iter(item.items()))
    if isinstance(version, str | int | float) and re.fullmatch(r"[A-Za-z0-9_][\w.-]*", str(name)):
        said = declaration.wrong(
            f"{name}: {version}", "conda cannot read it: a package is one text, `name=version`", str(name)
        )
        yield declaration.fact(said, at, "conda", "dependencies")


def _lines(document: Document, keys: tuple[str | int, ...], items: object, form: str, section: str) -> Iterator[Fact]:
    """A list of lines of pip's own grammar."""
    for number, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, str):
            yield from facts_of(item, document.at(*keys, number), form, section)


def _channels(document: Document, number: int, value: Mapping[str, object]) -> Iterator[Channels]:
    listed, priority = value.get("channels"), value.get("channel_priority")
    if not isinstance(listed, list) and priority is None:
        return
    names = tuple(item for item in listed if isinstance(item, str)) if isinstance(listed, list) else ()
    said = _PRIORITIES[priority] if isinstance(priority, bool) else priority
    key = "channels" if isinstance(listed, list) else "channel_priority"
    yield Channels(document.at(number, key), names, said if isinstance(said, str) else None)
