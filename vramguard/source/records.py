"""Records in JSON: one on each line (JSON Lines), or the items of one list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vramguard.source.sampling import START, Column, Rows, narrowed
from vramguard.source.table import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source.sampling import Sample

_DEEPEST = 6  # levels of a record whose values are looked at
_MOST_VALUES = 1_000_000  # of a sample
_MOST_NAMES = 4000  # a record with more is no row: its keys are values
_DECODER = json.JSONDecoder()
_Found = tuple[dict[str, object], int | None, str]


def rows(sample: Sample, path: str) -> Rows:
    """The records of a file; what is no record is left out. Raises `ParseError` for bytes that are no text."""
    first, *others = sample.blocks
    text = text_of(first, last=not others)
    start = text[:START]
    if text.lstrip()[:1] == "[":
        return _columns(list(_items(text)), start, whole=sample.whole)
    if path.lower().endswith(".json"):  # one object is a configuration, or something else that is no table
        return Rows((), (), (), sample.whole, start)
    found = list(_lines(text, 1))
    for block in others:
        line = None if block.line is None else block.line + 1
        found += _lines(text_of(block, last=False), line)
    return _columns(found, start, whole=sample.whole)


def _lines(text: str, line: int | None) -> Iterator[_Found]:
    for number, item in enumerate(text.split("\n")):
        if not item.startswith("{"):
            continue
        try:
            value = json.loads(item)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value, None if line is None else line + number, item


def _items(text: str) -> Iterator[_Found]:
    """The objects of a list, as far as the text goes."""
    at, line = text.find("[") + 1, 1
    counted = 0
    while True:
        while at < len(text) and text[at] in " \t\n,":
            at += 1
        if at >= len(text) or text[at] != "{":
            return
        line += text.count("\n", counted, at)
        counted = at
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield value, line, text[at:end]
        at = end


def _columns(found: list[_Found], start: str, *, whole: bool) -> Rows:
    cells: dict[str, tuple[list[str], list[int]]] = {}
    count = 0
    for number, (record, _, _) in enumerate(found):
        for name, value in _flat(record, "", 0):
            count += 1
            if name not in cells and len(cells) >= _MOST_NAMES:
                continue
            texts, numbers = cells.setdefault(name, ([], []))
            texts.append(value)
            numbers.append(number)
        if count > _MOST_VALUES:
            break
    columns = [Column(name, texts, numbers) for name, (texts, numbers) in cells.items()]
    return Rows(narrowed(columns), [line for _, line, _ in found], [text for _, _, text in found], whole, start)


def _flat(value: object, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every value of a record under the names that lead to it, as text; null is empty text."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict) and depth < _DEEPEST:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else key, depth + 1)
    elif isinstance(value, list) and depth < _DEEPEST:
        for item in value:
            yield from _flat(item, f"{name}[]", depth + 1)
    elif not isinstance(value, dict | list):
        yield name, "" if value is None else str(value)
