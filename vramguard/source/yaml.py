"""YAML 1.2 core schema on libyaml's node graph, which carries the place of every node.

No tag constructs anything: an unknown tag's value is read as if the tag were not there.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import yaml

from vramguard.source import MAX_DEPTH, MAX_DIGITS, MAX_VALUES, Flaw, KeyPath, Parsed, ParseError, Place, Ruler, Span

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator
    from typing import Any

# Brackets, or characters of a line. Text with fewer of both nests less than 5,000 levels (brackets, dashes of a line,
# and indentation), and libyaml's composer bears 20,000 on a stack of 8 MiB (tried with PyYAML 6.0.3).
_SAFE = 2000
_MERGE = "<<"
_PLAIN = "!plain"  # the tag that we give to a scalar that is neither quoted nor tagged
_TEXT, _MAPPING, _SEQUENCE = (f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq"))


class _Loader(yaml.CSafeLoader):
    """libyaml without YAML 1.1's implicit types (`on` is no boolean, `010` no octal): those are resolved below.

    PyYAML's own methods around each node only serve resolvers by path, of which there are none: functions of C that
    take as many arguments, and do nothing, stand in their place.
    """

    descend_resolver = operator.is_  # type: ignore[assignment]
    ascend_resolver = bool  # type: ignore[assignment]

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: object) -> str:  # noqa: ARG002 - PyYAML's own
        """The tag of a node that has none."""
        if kind is yaml.ScalarNode:
            return _PLAIN if isinstance(implicit, tuple) and implicit[0] else _TEXT
        return _MAPPING if kind is yaml.MappingNode else _SEQUENCE


def parse(text: str) -> Parsed:
    """Parse all documents of a YAML file; the value is their list. Raises `ParseError`."""
    ruler = Ruler(text)
    try:
        _refuse_hostile(text, ruler)
        roots = list(yaml.compose_all(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = ruler.position(mark.index) if mark else (1, 1)
        raise ParseError(f"not valid YAML: {error.problem or error.context}", *where) from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise ParseError(f"not valid YAML: {error}".partition("\n")[0], *_forbidden(text, ruler)) from error
    reader = _Reader(ruler)
    value = [reader.value(root) for root in roots]
    # What says a key once, and merges nothing, is asked for the places that somebody wants, and not searched for all.
    plain = not reader.flaws and "<<" not in text
    return Parsed(value, lambda: _Places(roots, ruler) if plain else _index(roots, ruler), tuple(reader.flaws))


_FORBIDDEN = re.compile("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _forbidden(text: str, ruler: Ruler) -> tuple[int, int]:
    match = _FORBIDDEN.search(text)
    return ruler.position(match.start()) if match else (1, 1)


def _refuse_hostile(text: str, ruler: Ruler) -> None:
    """Refuse what is too deep, or too much, for libyaml's composer: it recurses on C's stack and keeps every node.

    The events that it composes are asked first, one by one, where brackets and line lengths leave it open.
    """
    brackets = text.count("[") + text.count("{")
    if brackets < _SAFE and len(text) < MAX_VALUES:
        lines = text.split("\n")
        if max(map(len, lines)) < _SAFE or not any(map(_is_deep, lines)):
            return
    depth = 0
    for number, event in enumerate(yaml.parse(text, _Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _refusal(event, f"nested deeper than {MAX_DEPTH} levels", ruler)
        if number > 2 * MAX_VALUES:
            raise _refusal(event, f"over {MAX_VALUES:,} values", ruler)


_LEADING = re.compile("[ \t?:\ufeff-]+")  # what stands before a block that begins on a line: each level takes one


def _is_deep(line: str) -> bool:
    """Whether blocks could nest deep on a line; most long lines are a long text."""
    return len(line) >= _SAFE and any(len(run) >= _SAFE for run in _LEADING.findall(line))


class _Reader:
    """Nodes to plain values. A node that several aliases name becomes one shared value."""

    def __init__(self, ruler: Ruler) -> None:
        self.ruler = ruler
        self.done: dict[int, tuple[Any, int]] = {}  # id of a node -> its value, and its size written out
        self.open: set[int] = set()
        self.flaws: list[Flaw] = []

    def value(self, node: yaml.Node) -> Any:  # noqa: ANN401 - untyped text
        return self._read(node)[0]

    def _read(self, node: yaml.Node) -> tuple[Any, int]:
        if not isinstance(node, yaml.CollectionNode):
            return _scalar(node), 1
        known = self.done.get(id(node))
        if known:
            return known
        result = self._collection(node)
        self.done[id(node)] = result
        return result

    def _collection(self, node: yaml.CollectionNode) -> tuple[Any, int]:
        if id(node) in self.open:
            raise _refusal(node, "an alias inside the value that it names", self.ruler)
        if len(self.open) >= MAX_DEPTH:
            raise _refusal(node, f"nested deeper than {MAX_DEPTH} levels", self.ruler)
        self.open.add(id(node))
        value, size = self._mapping(node) if isinstance(node, yaml.MappingNode) else self._sequence(node)
        self.open.discard(id(node))
        self._weigh(node, size)
        return value, size

    def _weigh(self, node: yaml.Node, size: int) -> None:
        if size > MAX_VALUES:
            raise _refusal(node, f"over {MAX_VALUES:,} values, written out", self.ruler)

    def _sequence(self, node: yaml.CollectionNode) -> tuple[list[Any], int]:
        items = [self._read(child) for child in node.value]
        return [value for value, _ in items], 1 + sum(size for _, size in items)

    def _mapping(self, node: yaml.CollectionNode) -> tuple[dict[str | int, Any], int]:
        own: dict[str | int, Any] = {}
        merged: dict[str | int, Any] = {}
        first: dict[str | int, yaml.Node] = {}
        total = 1
        for key_node, value_node in node.value:
            value, size = self._read(value_node)
            total += 1 + size
            if key_node.value == _MERGE and _is_merge(key_node):
                self._weigh(node, total)  # before anything is merged that much
                merged = {**_merge_sources(value), **merged}
                continue
            key = _key(key_node)
            if key in own:
                line = self.ruler.position(first[key].start_mark.index)[0]
                self.flaws.append(Flaw(_span(key_node, self.ruler), f"key `{key}` again, first on line {line}"))
            else:
                first[key] = key_node
            own[key] = value
        return {**merged, **own} if merged else own, total


def _is_merge(key: yaml.Node) -> bool:
    return key.tag == _PLAIN and key.value == _MERGE


def _key(node: yaml.Node) -> str | int:
    """A key as text, or as an integer; a collection that serves as a key goes by its place."""
    if not isinstance(node, yaml.ScalarNode):
        return f"?{node.start_mark.index}"
    text: str = node.value
    if text[:1] not in _INTEGERS or node.tag != _PLAIN:
        return text
    key = _scalar(node)
    return key if type(key) is int else text


def _merge_sources(value: object) -> dict[Any, Any]:
    """What `<<` brings in: a mapping, or a list of them of which the earlier win."""
    result: dict[Any, Any] = {}
    for source in value if isinstance(value, list) else [value]:
        if isinstance(source, dict):
            result = {**source, **result}
    return result


_INTEGERS = frozenset("-+0123456789")  # what an integer can begin with
_TYPED = frozenset(("", *"-+.~0123456789nNtTfF"))  # what a scalar that is no text can begin with
_NULL = re.compile(r"(?:~|null|Null|NULL)?\Z")
_BOOL = re.compile(r"(?:true|True|TRUE)\Z|(?:false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL_HEX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")


def _scalar(node: yaml.Node) -> str | int | float | bool | None:  # noqa: PLR0911 - a row of the schema each
    """A scalar's value by the YAML 1.2 core schema; what is quoted, tagged or longer than a number is text."""
    text: str = node.value
    if text[:1] not in _TYPED or node.tag != _PLAIN or len(text) > MAX_DIGITS:
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


class _Places(Mapping[KeyPath, Place]):
    """The places of values, each found on the way that its keys go. Of a file without merges, whose keys differ."""

    def __init__(self, roots: list[yaml.Node], ruler: Ruler) -> None:
        self._roots, self._ruler = roots, ruler
        self._documents: dict[str | int, yaml.Node] = dict(enumerate(roots))
        self._children: dict[int, dict[str | int, tuple[yaml.Node | None, yaml.Node]]] = {}  # by id of the node

    def __getitem__(self, path: KeyPath) -> Place:
        key: yaml.Node | None = None
        if not path:
            raise KeyError(path)
        node = self._documents[path[0]]
        for name in path[1:]:
            key, node = self._of(node)[name]
        span = _span(node, self._ruler)
        return Place(_span(key, self._ruler) if key is not None else span, span)

    def _of(self, node: yaml.Node) -> Mapping[str | int, tuple[yaml.Node | None, yaml.Node]]:
        found = self._children.get(id(node))
        if found is None:
            if isinstance(node, yaml.MappingNode):
                found = {_key(key): (key, child) for key, child in node.value}
            else:
                items = node.value if isinstance(node, yaml.SequenceNode) else ()
                found = {number: (None, child) for number, child in enumerate(items)}
            self._children[id(node)] = found
        return found

    def items(self) -> ItemsView[KeyPath, Place]:
        """All of them, which are found at once."""
        return _index(self._roots, self._ruler).items()

    def __iter__(self) -> Iterator[KeyPath]:
        return iter(_index(self._roots, self._ruler))

    def __len__(self) -> int:
        return len(_index(self._roots, self._ruler))


def _index(roots: list[yaml.Node], ruler: Ruler) -> dict[KeyPath, Place]:
    """Every place, an alias's under each path that reaches it (within `MAX_VALUES`, as the reader has checked)."""
    places: dict[KeyPath, Place] = {}
    pending: list[tuple[KeyPath, Span | None, yaml.Node]] = [
        ((number,), None, root) for number, root in enumerate(roots)
    ]
    while pending:
        path, key, node = pending.pop()
        span = _span(node, ruler)
        places.setdefault(path, Place(key or span, span))
        if isinstance(node, yaml.SequenceNode):
            pending.extend(((*path, number), None, child) for number, child in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            pending.extend(((*path, key), place, child) for key, place, child in _entries(node, ruler))
    return places


def _entries(node: yaml.MappingNode, ruler: Ruler) -> list[tuple[str | int, Span, yaml.Node]]:
    """A mapping's keys, their places and values, with those merged in: the entry that counts is the last of its key."""
    result: list[tuple[str | int, Span, yaml.Node]] = []
    pending: list[yaml.Node] = [node]
    while pending:
        source = pending.pop()
        if isinstance(source, yaml.MappingNode):
            own = [item for item in source.value if not _is_merge(item[0])]
            result.extend((_key(key), _span(key, ruler), child) for key, child in reversed(own))
            merged = [child for key, child in source.value if _is_merge(key)]
            pending.extend(reversed(merged))
        elif isinstance(source, yaml.SequenceNode):  # what `<<` names may be a list
            pending.extend(child for child in reversed(source.value) if isinstance(child, yaml.MappingNode))
    return result[::-1]


def _span(node: yaml.Node, ruler: Ruler) -> Span:
    """Where a node stands; of a collection its first character, since a block ends only where the next one begins."""
    start = node.start_mark.index
    return ruler.span(start, node.end_mark.index if isinstance(node, yaml.ScalarNode) else start + 1)


_HEADER = re.compile(r"(?:[&!]\S*[ \t]+)*([|>])([-+0-9]*)")  # of a block scalar; an anchor or a tag may stand before it
_FLOW = re.compile(r"""(?:[&!]\S*[ \t]+)*(?:"([^"\\]*)"|'([^']*)'|([^|>"'&!].*))\Z""")  # that holds no escape


def literal(lines: list[str], span: Span) -> tuple[int, int] | None:
    """Line and column where a scalar's text begins, if its lines stand there as they are, each equally indented."""
    line = lines[span.line - 1]
    header = _HEADER.match(line, span.column - 1)
    if header:
        return _block(lines, span) if header[1] == "|" and not header[2].strip("-+") else None
    if span.line != span.end_line:
        return None
    match = _FLOW.match(line[: span.end_column - 1], span.column - 1)
    return (span.line, 1 + max(map(match.start, (1, 2, 3)))) if match else None


def _block(lines: list[str], span: Span) -> tuple[int, int] | None:
    """Where a literal block begins: the line after its header, indented as its first line that is not blank."""
    first = next((line for line in lines[span.line : span.end_line] if line.strip()), None)
    return None if first is None else (span.line + 1, 1 + len(first) - len(first.lstrip(" ")))


def _refusal(at: yaml.Node | yaml.Event, reason: str, ruler: Ruler) -> ParseError:
    return ParseError(f"refused: {reason}", *ruler.position(at.start_mark.index if at.start_mark else 0))
