"""What setup.py and setup.cfg declare, without running them: lists, lookup tables, files read at build time."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from vramguard.extract import declaration
from vramguard.extract.python.literals import Contents, Module, Opaque, Table, Text
from vramguard.extract.requirements import target
from vramguard.facts import Include, Project, Requirement, Unknown
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.extract.python.literals import Value
    from vramguard.facts import Fact
    from vramguard.source import Document

_LISTS: Final = ("install_requires", "setup_requires", "tests_require")
_EXTRAS: Final = "extras_require"
_BUILD: Final = ("setup_requires", "tests_require")
_NO_LIST: Final = re.compile(
    r"\.(?:py|json|toml|ya?ml|md|rst|cfg|ini)$|(?:^|/)(?:VERSION|README|LICENSE)\b", re.IGNORECASE
)
_MAX_CALLS: Final = 8  # of `setup` in one file, each of which may declare all that the others do
_COMPUTED: Final = "it is computed when setup.py runs"


def extract(document: Document) -> Iterator[Fact]:
    """Every requirement of a setup.py or a setup.cfg, the files that hold more of them, and the project."""
    if document.kind == "ini":
        yield from _cfg(document)
    elif "setup(" in document.text and document.value.tree is not None:
        yield from _py(document)


def _py(document: Document) -> Iterator[Fact]:
    module = Module(document.value)
    calls = (node for node in ast.walk(document.value.tree) if isinstance(node, ast.Call) and node.keywords)
    for node in islice((call for call in calls if _called(call.func) == "setup"), _MAX_CALLS):
        found = list(dict.fromkeys(_call(document, module, node)))
        yield from found
        yield _project(Location(document.path, *document.value.span(node.func)), found, _name(module, node), "setup.py")


def _called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _name(module: Module, node: ast.Call) -> str | None:
    value = next((module.value(word.value) for word in node.keywords if word.arg == "name"), None)
    return value.value if isinstance(value, Text) and value.known else None


def _project(at: Location, found: list[Requirement | Include], name: str | None, form: str) -> Project:
    own = [fact for fact in found if isinstance(fact, Requirement) and fact.section not in _BUILD]
    names = {canonicalize_name(fact.name) for fact in own if fact.pinned is not None}
    names.discard(canonicalize_name(name or ""))
    files = sum(isinstance(fact, Include) for fact in found)
    return Project(at, name, None, len(names) + files, form=form)


def _call(document: Document, module: Module, node: ast.Call) -> Iterator[Requirement | Include]:
    """What one call of `setup` declares; a place that several lists share is told once, by the first of them."""
    given: list[tuple[str, Value, ast.expr]] = []
    for word in node.keywords:
        if word.arg in (*_LISTS, _EXTRAS):
            given.append((word.arg, module.value(word.value), word.value))
        elif word.arg is None:
            table = module.value(word.value)
            given += [
                (key.value, value, word.value)
                for key, value in (table.pairs if isinstance(table, Table) else ())
                if isinstance(key, Text) and key.value in (*_LISTS, _EXTRAS)
            ]
    seen: set[tuple[object, ...]] = set()
    for section, value, at in given:
        for part, inner in _sections(section, value):
            for fact in _facts(document, module, inner, part, at):
                key = (fact.at, fact.name, fact.specifier) if isinstance(fact, Requirement) else (fact.target,)
                if key not in seen:
                    seen.add(key)
                    yield fact


def _sections(section: str, value: Value) -> Iterator[tuple[str, Value]]:
    """The lists of `extras_require` by the extra that they belong to."""
    if section != _EXTRAS or not isinstance(value, Table):
        yield section, value
        return
    for key, inner in value.pairs:
        yield f"{section}.{key.value}" if isinstance(key, Text) and key.known else section, inner


def _facts(
    document: Document, module: Module, value: Value, section: str, at: ast.expr
) -> Iterator[Requirement | Include]:
    for found in module.flat(value):
        if isinstance(found, Contents) and not _NO_LIST.search(found.path.value):
            where = Location(document.path, *module.place(replace(found, node=at)))
            yield Include(where, _file(document.path, found.path), constraint=False)
        elif isinstance(found, Text):
            yield from _texts(document, module, found, section)
        else:
            yield _opaque(document, module, found, section, at)


def _opaque(document: Document, module: Module, found: Opaque | Contents, section: str, at: ast.expr) -> Requirement:
    node = found.node if hasattr(found.node, "lineno") else at
    written = (found.written if isinstance(found, Opaque) else "") or module.source.written(node)
    said = declaration.wrong(written, _COMPUTED)
    return declaration.fact(said, Location(document.path, *module.source.span(node)), "setup.py", section)


def _texts(document: Document, module: Module, text: Text, section: str) -> Iterator[Requirement]:
    """A requirement, or several lines of them in one string."""
    for line in module.lines(text):
        bare = line.value.partition(" #")[0].strip()
        if bare and not bare.startswith(("#", "-")):
            said = declaration.of_tool(bare)
            if not line.known and isinstance(said.pinned, Unknown):
                said = said._replace(pinned=Unknown(module.source.written(line.node)), reason=_COMPUTED)
            yield declaration.fact(said, Location(document.path, *module.place(line)), "setup.py", section)


def _file(path: str, written: Text) -> str | Unknown:
    """The file that is read: from the folder of setup.py, where it runs."""
    name = written.value.removeprefix("${FOLDER}/")
    return Unknown(written.value) if "${" in name else target(path, name)


def _cfg(document: Document) -> Iterator[Fact]:
    sections: Mapping[str, Mapping[str, list[str]]] = document.value or {}
    keys = [("options", key, key) for key in _LISTS if key in sections.get("options", {})]
    extras = sections.get(f"options.{_EXTRAS}", {})
    keys += [(f"options.{_EXTRAS}", key, f"{_EXTRAS}.{key}") for key in extras]
    if not keys:
        return
    found = [fact for section, key, name in keys for fact in _lines(document, section, key, name)]
    yield from found
    name = (sections.get("metadata", {}).get("name") or [""])[0]
    yield _project(document.key_at(*keys[0][:2]), found, name or None, "setup.cfg")


def _lines(document: Document, section: str, key: str, name: str) -> Iterator[Requirement | Include]:
    lines: list[str] = document.value[section][key]
    if lines and lines[0].startswith("file:"):
        files = [part.strip() for line in lines for part in line.removeprefix("file:").split(",")]
        for file in filter(None, files):
            yield Include(document.at(section, key, 0), target(document.path, file), constraint=False)
        return
    on_one = len(lines) == 1 and document.at(section, key, 0).line == document.key_at(section, key).line
    for number, line in enumerate(lines):
        at = document.at(section, key, number)
        for part in _parted(line.partition(" #")[0]) if on_one else [line.partition(" #")[0]]:
            if part.strip():
                yield declaration.fact(declaration.of_tool(part), at, "setup.cfg", name)


def _parted(line: str) -> list[str]:
    """A list on one line is parted by `;`, which a marker has as well."""
    return [line] if not isinstance(declaration.read(line).pinned, Unknown) else line.split(";")
