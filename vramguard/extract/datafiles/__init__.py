"""Files of data: error pages, sentinels, payloads, gibberish, missing labels and duplicates among their rows.

A column is looked at by its different values; what is costly, at some of them spread over it, so that a file costs no
more than reading it does.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from vramguard.extract.datafiles import gibberish, signs
from vramguard.facts.datafiles import DataFile, Sign
from vramguard.source.table import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vramguard.source import Document
    from vramguard.source.sampling import Column, Rows

_FIRST = 40  # values that tell what a column holds
_FIRST_ROWS = 1000  # among which different ones are looked for
_JUDGED = 200  # different values, spread over a column, of which each is read letter by letter
_LINES = 5  # of a sign that are kept
_SHOWN = 60  # characters of an example
_FEWEST = 2  # values that are a column


def extract(document: Document) -> Iterator[DataFile]:
    """The fact that the file states; none for a file that is no data."""
    rows: Rows = document.value
    if not (rows.start or rows.columns or rows.unread):
        return
    page = signs.error_file(rows.start)
    found = (Sign("no-data", None, 1, 1, (1,), page),) if page else tuple(_signs(rows))
    yield DataFile(
        at=document.at(),
        format=document.path.rpartition(".")[2].lower(),
        rows=len(rows.keys),
        columns=len(rows.columns),
        whole=rows.whole,
        signs=found,
        attacks=bool(found) and signs.tells_of_attacks(document.path, rows),
        unread=rows.unread,
    )


def _signs(rows: Rows) -> Iterator[Sign]:
    for column in rows.columns:
        if len(column.cells) >= _FEWEST:
            yield from _of_column(column, rows)
    texts = [column for column in rows.columns if _is_prose(column)]
    if texts:
        yield from _duplicates(rows, texts)


def _of_column(column: Column, rows: Rows) -> Iterator[Sign]:
    if signs.is_label(column.name):
        yield from _placed("missing", column, rows, signs.missing(column.cells))
    if not _is_text(column):
        return
    different = dict.fromkeys(column.cells)
    yield from _placed("sentinel", column, rows, signs.sentinels(different, prose=_is_prose(column)))
    for kind, matching in signs.within(column.name, different):
        yield from _placed(kind, column, rows, matching)
    yield from _gibberish(column, list(different), rows)


def _is_text(column: Column) -> bool:
    """Whether a column holds words: most of its first values are no number."""
    first = list(islice((value for value in column.cells if value), _FIRST))
    return 2 * sum(not is_number(value) for value in first) > len(first)


def _placed(kind: str, column: Column, rows: Rows, matching: set[str]) -> Iterator[Sign]:
    """The sign that these values are, with the rows that have one of them."""
    if not matching:
        return
    where = [number for number, value in enumerate(column.cells) if value in matching]
    hit = list(dict.fromkeys(column.rows[number] for number in where))
    yield Sign(kind, shown(column.name), len(hit), len(rows.keys), _lines(rows, hit), shown(column.cells[where[0]]))


def _lines(rows: Rows, numbers: Iterable[int]) -> tuple[int, ...]:
    known = (rows.lines[number] for number in numbers)
    return tuple(islice((line for line in known if line is not None), _LINES))


def shown(value: str) -> str:
    """The beginning of a value on one line."""
    text = " ".join(value[: 4 * _SHOWN].encode("utf-8", "replace").decode().split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _gibberish(column: Column, different: Sequence[str], rows: Rows) -> Iterator[Sign]:
    """What part of the texts among these values nobody can pronounce."""
    step = max(1, len(different) // _JUDGED)
    judged = [(value, gibberish.is_gibberish(value)) for value in different[::step] if gibberish.is_prose(value)]
    bad = [value for value, wrong in judged if wrong]
    if bad:
        first = set(bad[:_LINES])
        places = (row for value, row in zip(column.cells, column.rows, strict=True) if value in first)
        yield Sign("gibberish", shown(column.name), len(bad), len(judged), _lines(rows, places), shown(bad[0]))


def _duplicates(rows: Rows, texts: Sequence[Column]) -> Iterator[Sign]:
    """Rows that repeat another to the letter; asked only of a file with texts, as a table of codes repeats itself."""
    seen, repeated = set[object](), list[int]()
    for number, row in enumerate(rows.keys):
        key = row if isinstance(row, str) else tuple(row)
        if key in seen and any(key):
            repeated.append(number)
        seen.add(key)
    if repeated:
        example = next((value for column in texts for value in _values(column, repeated[0])), "")
        yield Sign("duplicate", None, len(repeated), len(rows.keys), _lines(rows, repeated), shown(example))


def _values(column: Column, number: int) -> Iterator[str]:
    return (value for value, row in zip(column.cells, column.rows, strict=True) if row == number)


def _is_prose(column: Column) -> bool:
    """Whether a column holds sentences: most of its first different values are some."""
    first = list(islice(dict.fromkeys(column.cells[:_FIRST_ROWS]), _FIRST))
    return 2 * sum(map(gibberish.is_prose, first)) > len(first)
