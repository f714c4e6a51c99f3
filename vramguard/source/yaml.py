"""YAML 1.2 core schema on libyaml's node graph, which carries the place of every node.

No tag constructs anything: an unknown tag's value is read as if the tag were not there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from vramguard.source import MAX_DEPTH, Flaw, KeyPath, Parsed, ParseError, Place, Span

if TYPE_CHECKING:
    from typing import Any

MAX_NODES = 1_000_000  # of one file with its aliases written out; more is an alias bomb, not a manifest
_MERGE = "<<"
_PLAIN = "!plain"  # the tag that we give to a scalar that is neither quoted nor tagged
_TEXT, _MAPPING, _SEQUENCE = (f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq"))


class _Loader(yaml.CSafeLoader):
    """libyaml without YAML 1.1's implicit types (`on` is no boolean, `010` no octal): those are resolved below."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: object) -> str:  # noqa: ARG002 - PyYAML's own
        """The tag of a node that has none."""
        if kind is yaml.ScalarNode:
            return _PLAIN if isinstance(implicit, tuple) and implicit[0] else _TEXT
        return _MAPPING if kind is yaml.MappingNode else _SEQUENCE


def parse(text: str) -> Parsed:
    """Parse all documents of a YAML file; the value is their list. Raises `ParseError`."""
    text = _without_definitions(text)
    if _nesting(text) > MAX_DEPTH:
        raise ParseError(f"nested deeper than {MAX_DEPTH} levels")
    try:
        roots = list(yaml.compose_all(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ParseError(f"not valid YAML: {error.problem or error.context}", *where) from error
    except yaml.YAMLError as error:
        raise ParseError(f"not valid YAML: {error}".replace("\n", " ")) from error
    reader = _Reader()
    value = [reader.value(root) for root in roots]
    return Parsed(value, lambda: _index(roots), tuple(reader.flaws))


_DOCUMENT = re.compile(r"^---[ \t]*(?:#[^\n]*)?$", re.MULTILINE)
_KIND = "kind: CustomResourceDefinition"
_FIRST_LEVEL = ("apiVersion:", "metadata:", "spec:", "status:")


def _without_definitions(text: str) -> str:
    """The text with the schemas of custom resources made blank: they describe no workload, and are megabytes each."""
    if "\nkind: CustomResourceDefinition\n" not in text:
        return text
    parts, start = [], 0
    for mark in [*_DOCUMENT.finditer(text), None]:
        end = mark.start() if mark else len(text)
        part = text[start:end]
        parts.append("\n" * part.count("\n") if _is_definition(part) else part)
        parts.append(mark[0] if mark else "")
        start = mark.end() if mark else end
    return "".join(parts)


def _is_definition(part: str) -> bool:
    """Whether a document's every key of the first level is one of a CustomResourceDefinition's, and its kind that."""
    keys = set(re.findall(r"^[^ #\n-].*$", part, re.MULTILINE))
    return _KIND in keys and all(key == _KIND or key.startswith(_FIRST_LEVEL) for key in keys)


def _nesting(text: str) -> int:
    """An upper bound of the nesting of flow collections: libyaml's composer recurses on C's stack."""
    depth = deepest = 0
    for match in re.finditer(r"[\[{]|[\]}]", text):
        depth += 1 if match[0] in "[{" else -1
        deepest, depth = max(deepest, depth), max(depth, 0)
    return deepest


class _Reader:
    """Nodes to plain values. A node that several aliases name becomes one shared value."""

    def __init__(self) -> None:
        self.done: dict[int, tuple[Any, int]] = {}  # id of a node -> its value, and its size written out
        self.open: set[int] = set()
        self.flaws: list[Flaw] = []

    def value(self, node: yaml.Node) -> Any:  # noqa: ANN401 - untyped text
        return self._read(node)[0]

    def _read(self, node: yaml.Node) -> tuple[Any, int]:
        known = self.done.get(id(node))
        if known:
            return known
        result = self._collection(node) if isinstance(node, yaml.CollectionNode) else (_scalar(node), 1)
        self.done[id(node)] = result
        return result

    def _collection(self, node: yaml.CollectionNode) -> tuple[Any, int]:
        if id(node) in self.open:
            raise _refusal(node, "an alias inside the value that it names")
        if len(self.open) > MAX_DEPTH:
            raise _refusal(node, f"nested deeper than {MAX_DEPTH} levels")
        self.open.add(id(node))
        value, size = self._mapping(node) if isinstance(node, yaml.MappingNode) else self._sequence(node)
        self.open.discard(id(node))
        if size > MAX_NODES:
            raise _refusal(node, f"aliases that write out to over {MAX_NODES:,} values")
        return value, size

    def _sequence(self, node: yaml.CollectionNode) -> tuple[list[Any], int]:
        items = [self._read(child) for child in node.value]
        return [value for value, _ in items], 1 + sum(size for _, size in items)

    def _mapping(self, node: yaml.CollectionNode) -> tuple[dict[Any, Any], int]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        first: dict[Any, yaml.Node] = {}
        total = 1
        for key_node, value_node in node.value:
            value, size = self._read(value_node)
            total += 1 + size
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else key_node.start_mark.index
            if key == _MERGE and key_node.tag == _PLAIN:
                merged = {**_merge_sources(value), **merged}
                continue
            if key in own:
                line = first[key].start_mark.line + 1
                self.flaws.append(Flaw(_span(key_node), f"key `{key}` again, first on line {line}"))
            first.setdefault(key, key_node)
            own[key] = value
        return {**merged, **own} if merged else own, total


def _merge_sources(value: object) -> dict[Any, Any]:
    """What `<<` brings in: a mapping, or a list of them of which the earlier win."""
    result: dict[Any, Any] = {}
    for source in value if isinstance(value, list) else [value]:
        if isinstance(source, dict):
            result = {**source, **result}
    return result


_MAYBE_TYPED = re.compile(r"[-+.~0-9nNtTfF]|\Z")  # what a scalar that is no text can begin with
_NULL = re.compile(r"(?:~|null|Null|NULL)?\Z")
_BOOL = re.compile(r"(?:true|True|TRUE)\Z|(?:false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL_HEX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_MAX_DIGITS = 4000  # Python refuses to convert longer integers; such a scalar stays text


def _scalar(node: yaml.Node) -> str | int | float | bool | None:  # noqa: PLR0911 - a row of the schema each
    """A scalar's value by the YAML 1.2 core schema; what is quoted, tagged or longer than a number is text."""
    text: str = node.value
    if node.tag != _PLAIN or len(text) > _MAX_DIGITS or not _MAYBE_TYPED.match(text):
        return text
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text[0] in "tT"
    if _INT.match(text):
        return int(text)
    if _OCTAL_HEX.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    special = _SPECIAL.match(text)
    return float(f"{special[1] or ''}{text.lstrip('+-').lstrip('.').lower()}") if special else text


def _index(roots: list[yaml.Node]) -> dict[KeyPath, Place]:
    """Every place, an alias's under each path that reaches it (within `MAX_NODES`, as the reader has checked)."""
    places: dict[KeyPath, Place] = {}
    pending: list[tuple[KeyPath, Span | None, yaml.Node]] = [
        ((number,), None, root) for number, root in enumerate(roots)
    ]
    while pending:
        path, key, node = pending.pop()
        span = _span(node)
        places.setdefault(path, Place(key or span, span))
        if isinstance(node, yaml.SequenceNode):
            pending.extend(((*path, number), None, child) for number, child in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            pending.extend(_children(path, node))
    return places


def _children(path: KeyPath, node: yaml.MappingNode) -> list[tuple[KeyPath, Span | None, yaml.Node]]:
    """A mapping's values under their paths: those merged in first, so that the mapping's own override them on pop."""
    result: list[tuple[KeyPath, Span | None, yaml.Node]] = []
    for key_node, child in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            continue
        key = _scalar(key_node)
        if key == _MERGE and key_node.tag == _PLAIN:
            sources = child.value if isinstance(child, yaml.SequenceNode) else [child]
            merged = [
                item for source in sources if isinstance(source, yaml.MappingNode) for item in _children(path, source)
            ]
            result[:0] = merged
        else:
            result.append(((*path, key if isinstance(key, str | int) else str(key)), _span(key_node), child))
    return result


def _span(node: yaml.Node) -> Span:
    start, end = node.start_mark, node.end_mark
    if not isinstance(node, yaml.ScalarNode):  # a block's end is where the next one begins: mark only its start
        return Span(start.line + 1, start.column + 1, start.line + 1, start.column + 2)
    return Span(start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def _refusal(node: yaml.Node, reason: str) -> ParseError:
    return ParseError(f"refused: {reason}", node.start_mark.line + 1, node.start_mark.column + 1)
