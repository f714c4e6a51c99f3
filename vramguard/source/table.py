"""Tables of separated values (CSV, TSV), as they are found: unquoted, ragged, in any encoding."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from vramguard.source import ParseError, decode, encoding_of
from vramguard.source.sampling import START, Column, Rows, narrowed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.source.sampling import Block, Sample

_DELIMITERS = ",;\t|"
_SNIFFED = 20  # lines that tell the delimiter
_TRIED = 64  # lines at which a piece may begin a row
_NEXT = 3  # rows in a row of the right width say that it does
_WIDEST = 1000  # columns that are looked at
_LEAST_ROWS = 0.9  # of the lines, where a value has one line
_LONGEST = 100_000  # characters of a line: below the reader's own limit of 128 KiB for a value
_LARGE = 16 << 10  # characters of a quoted row that may be one whose quote does not close
_MAX_NAME = 80  # characters of a heading; more is a value


class _Read(NamedTuple):
    """Rows, and the line of each."""

    cells: list[list[str]]
    lines: list[int | None]


def rows(sample: Sample, path: str) -> Rows:
    """The rows of a table. Raises `ParseError` for bytes that are no text."""
    first, *others = sample.blocks
    text = text_of(first, last=not others)
    delimiter = "\t" if path.lower().endswith(".tsv") else _delimiter(text)
    found = _read(text, delimiter, 1)
    width = _width(found.cells)
    # Where an encoding has a mark, or values have many lines, a piece need not begin with a character or a row.
    long = len(found.cells) < _LEAST_ROWS * text.count("\n")
    alone = long or encoding_of(first.data)[1] not in (b"", codecs.BOM_UTF8)
    if others and '"' in text:  # the last row may be cut
        found = _Read(found.cells[:-1], found.lines[:-1])
    for block in () if alone else others:
        piece = _piece(block, delimiter, width)
        found.cells.extend(piece.cells)
        found.lines.extend(piece.lines)
    return _columns(found, width, text[:START], whole=sample.whole)


def text_of(block: Block, *, last: bool) -> str:
    """The whole lines of a piece; what is not UTF-8 is read as Latin-1, in which nothing fails.

    Raises `ParseError` for what is no text.
    """
    data = block.data
    encoding, mark = encoding_of(data)
    if mark not in (b"", codecs.BOM_UTF8):  # cut anywhere: the decoder keeps half a character to itself
        text = codecs.getincrementaldecoder(encoding)("replace").decode(data[len(mark) :])
        return _with_line_feeds(text if last else text[: text.rfind("\n") + 1])
    if block.offset:
        data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
    if not last:
        data = data[: data.rfind(b"\n") + 1] if b"\n" in data else data
    try:
        return decode(data)
    except ParseError:
        if b"\0" in data:
            raise
        return _with_line_feeds(data.decode("latin-1"))


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _delimiter(text: str) -> str:
    """The delimiter by which most of the first lines have the same number of parts, above one."""
    lines = [line for line in text[:100_000].split("\n", _SNIFFED)[:_SNIFFED] if line]

    def score(delimiter: str) -> tuple[int, int]:
        counts = Counter(len(row) for row in _parsed(lines, delimiter))
        width, agreed = max(counts.items(), key=lambda item: (item[0] > 1) * item[1], default=(1, 0))
        return (agreed if width > 1 else 0, -_DELIMITERS.index(delimiter))

    return max(_DELIMITERS, key=score)


def _parsed(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    """Rows of these lines; one that the reader refuses is left out."""
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            yield next(reader)
        except csv.Error:
            continue
        except StopIteration:
            return


def _read(text: str, delimiter: str, line: int | None) -> _Read:
    """The rows of a text, blank lines left out. Where quotes do not close, they are none."""
    lines = text.split("\n")
    if '"' in text:
        quoted = _quoted(lines, delimiter, line)
        if quoted is not None:
            return quoted
    short = [item if len(item) < _LONGEST else "" for item in lines]
    rows = [row[:_WIDEST] for row in csv.reader(short, delimiter=delimiter, quoting=csv.QUOTE_NONE)]
    numbers: list[int | None] = [None] * len(rows) if line is None else list(range(line, line + len(rows)))
    if all(rows):
        return _Read(rows, numbers)
    return _Read([row for row in rows if row], [number for row, number in zip(rows, numbers, strict=True) if row])


def _quoted(lines: list[str], delimiter: str, line: int | None) -> _Read | None:
    """The rows by the rules of quotes; None where one takes most of the text: its quote does not close."""
    reader = csv.reader([f"{text}\n" for text in lines], delimiter=delimiter)
    found = _Read([], [])
    before = 0
    most = max(_LARGE, sum(map(len, lines)) // 2)
    try:
        for row in reader:
            if reader.line_num - before > 1 and sum(map(len, row)) > most:
                return None
            if row:
                found.cells.append(row[:_WIDEST])
                found.lines.append(None if line is None else line + before)
            before = reader.line_num
    except csv.Error:
        return None
    return found


def _width(rows: Sequence[Sequence[str]]) -> int:
    """How many cells most rows have."""
    counts = Counter(map(len, rows[:1000]))
    return counts.most_common(1)[0][0] if counts else 0


def _piece(block: Block, delimiter: str, width: int) -> _Read:
    """The rows of a piece from the first line on at which one begins: it may start within a quoted value."""
    text = text_of(block, last=False)
    line = None if block.line is None else block.line + 1  # its first line is cut off
    lines = text.split("\n")
    for number in range(min(_TRIED, len(lines))):
        ahead = list(islice(_parsed([f"{item}\n" for item in lines[number : number + _TRIED]], delimiter), _NEXT))
        if len(ahead) == _NEXT and all(len(row) == width for row in ahead):
            return _read("\n".join(lines[number:]), delimiter, None if line is None else line + number)
    return _Read([], [])


def _names(rows: Sequence[Sequence[str]], width: int) -> list[str] | None:
    """The names of the columns; None where the first row is no heading: short, different words, and no number."""
    words = [cell.strip() for cell in rows[0]] if len(rows) > 1 else []
    if not words or len(set(words)) < len(words) or any(len(word) > _MAX_NAME or is_number(word) for word in words):
        return None
    return ["", *words] if len(words) == width - 1 else words  # some name no column for the numbers of rows


def is_number(text: str) -> bool:
    """Whether a text is a number, as far as a table writes one."""
    try:
        float(text.strip().rstrip("%").replace(",", "").lstrip("$"))
    except ValueError:
        return False
    return True


def _columns(found: _Read, width: int, start: str, *, whole: bool) -> Rows:
    """The columns of the rows that have the width of most; the others are broken, and what is in them is no value."""
    names = _names(found.cells, width)
    skip = 0 if names is None else 1
    cells, lines = found.cells[skip:], found.lines[skip:]
    if any(len(row) != width for row in cells):
        level = [number for number, row in enumerate(cells) if len(row) == width]
        cells, lines = [cells[number] for number in level], [lines[number] for number in level]
    if names is None or len(names) != width:
        names = [f"column {number}" for number in range(1, width + 1)]
    numbers = range(len(cells))
    values = zip(*cells, strict=True)  # none where there are no rows
    columns = [Column(name, cell, numbers) for name, cell in zip(names, values, strict=False)]
    return Rows(narrowed(columns), lines, cells, whole, start)
