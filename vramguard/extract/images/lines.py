"""Where values of YAML stand, without the index of all places: that index takes as long as parsing the file.

A value is looked for in the text, as a whole line `key: value`. Where the text has as many such lines as the document
has such entries, each is the other's, in the order of both; where not, the document is asked for its places.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts.nodes import Node
    from vramguard.source import Document, KeyPath

# Each begins with a text of its own, which is found fast; what stands before that is looked at afterwards.
_OTHERS = ("uses", "repository")
_LINES = tuple(
    re.compile(
        rf"({end})[\"']?:[ \t]+(([\"']?)([^\s\"'#{{}}\[\]&*!|>%@`,][^\s\"']*)\3)[ \t]*(?:[ \t]#[ \t]*([^\n]*))?$",
        re.MULTILINE,
    )
    for end in ("mage", *_OTHERS)
)
_COMMENT = re.compile(r"[ \t,}\]]{0,20}[ \t]#[ \t]*(\S[^\n]{0,300})")
_LONGEST = 300  # characters of a comment
_BEFORE = re.compile(r"[ \t]*(?:-[ \t]+)*[\"']?(\w*)")


class _Same:
    """A document as itself, whatever another one says."""

    __slots__ = ("document",)

    def __init__(self, document: Document) -> None:
        self.document = document

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.document is other.document

    def __hash__(self) -> int:
        return id(self.document)


class Placed(NamedTuple):
    """Where a scalar stands, as `Node.at` says it, and the comment behind it."""

    at: Location
    comment: str = ""


def placed(node: Node) -> Placed:
    """The place of a scalar."""
    document = node.document
    if node.inside is not None or document.kind != "yaml":
        return Placed(node.at)
    found = _places(_Same(document)).get(node.keys)
    return Placed(node.at, _comment(document, node.at)) if found is None else found


def _comment(document: Document, at: Location) -> str:
    if at.line != at.end_line or at.line > len(document.lines):
        return ""
    match = _COMMENT.match(document.lines[at.line - 1], at.end_column - 1)
    return match[1].strip() if match else ""


@lru_cache(maxsize=2)
def _places(same: _Same) -> Mapping[KeyPath, Placed]:
    """The places of a document's entries that can be told from its lines."""
    document = same.document
    lines: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    for match in (match for pattern in _LINES for match in pattern.finditer(document.text)):
        begin = document.text.rfind("\n", 0, match.start()) + 1
        if key := _BEFORE.fullmatch(document.text, begin, match.end(1)):
            lines[key[1], match[4]].append((*match.span(2), match[5] or ""))
    entries: dict[tuple[str, str], list[KeyPath]] = defaultdict(list)
    for number, root in enumerate(document.value):
        for keys, value in _entries(root, (number,), {key for key, _ in lines}):
            entries[str(keys[-1]), value].append(keys)
    told = [
        (start, end, comment, keys)
        for name, paths in entries.items()
        if len(paths) == len(lines.get(name, ()))
        for keys, (start, end, comment) in zip(paths, lines[name], strict=True)
    ]
    return dict(_located(document, sorted(told, key=lambda each: each[0])))


def _located(document: Document, told: list[tuple[int, int, str, KeyPath]]) -> Iterator[tuple[KeyPath, Placed]]:
    row, begin = 1, 0
    for start, end, comment, keys in told:
        row += document.text.count("\n", begin, start)
        begin = start
        column = start - document.text.rfind("\n", 0, start)
        at = Location(document.path, row, column, row, column + end - start)
        yield keys, Placed(at, comment.strip()[:_LONGEST])


def _entries(root: object, keys: KeyPath, wanted: set[str]) -> Iterator[tuple[KeyPath, str]]:
    """The texts under wanted keys, in the order of the text; each collection once, however often it is named."""
    seen = set[int]()
    pending: list[tuple[KeyPath, Iterator[tuple[str | int, object]]]] = [(keys[:-1], iter([(keys[-1], root)]))]
    while pending:
        path, pairs = pending[-1]
        for key, item in pairs:
            if isinstance(item, str):
                if key in wanted:
                    yield (*path, key), item
            elif isinstance(item, dict | list) and id(item) not in seen:
                seen.add(id(item))
                pending.append(((*path, key), iter(item.items() if isinstance(item, dict) else enumerate(item))))
                break
        else:
            pending.pop()
