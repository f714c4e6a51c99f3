"""RECORD: which files a distribution installed, each with its hash and size (packaging.python.org, recording)."""

from __future__ import annotations

import base64
import csv
import io
import re
from typing import Final, NamedTuple

_COLUMNS: Final = 3
_HASH: Final = re.compile(r"([A-Za-z0-9_-]+)=([A-Za-z0-9_-]+={0,2})")
_DIGITS: Final = re.compile(r"\d{1,18}", re.ASCII)
STRONG: Final = frozenset({"sha256", "sha384", "sha512"})  # sha256 or better, as the specification demands


class Row(NamedTuple):
    """One file; `digest` in urlsafe base64 without padding, "" where RECORD has none."""

    path: str
    algorithm: str
    digest: str
    size: int | None

    @property
    def content(self) -> tuple[str, str]:
        """What two rows for one file must agree on."""
        return self.algorithm, self.digest


class Record(NamedTuple):
    """What could be read of a RECORD, and what could not, in words."""

    rows: tuple[Row, ...]
    flaws: tuple[str, ...] = ()


def parse(data: bytes) -> Record:
    """Read a RECORD as far as it goes; what is wrong with it is a flaw, never an error.

    Installers add a row without a hash for each .pyc that it compiles, also for one that the wheel brought along.
    """
    text = data.decode("utf-8", "surrogateescape")
    flaws = [] if text.isascii() or not re.search("[\udc80-\udcff]", text) else ["it is not UTF-8"]
    rows: dict[str, Row] = {}
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            row = _row(cells) if cells else None
            if row is None:
                flaws += [f"line {reader.line_num} is no row of it"] if cells else []
            elif not rows.setdefault(row.path, row).digest:
                rows[row.path] = row
            elif row.digest and row.content != rows[row.path].content:
                flaws.append(f"line {reader.line_num} names a file again, with another hash")
    except csv.Error as error:
        flaws.append(f"line {reader.line_num + 1}: {error}")
    return Record(tuple(rows.values()), tuple(flaws))


def _row(cells: list[str]) -> Row | None:
    if len(cells) != _COLUMNS or not cells[0] or "\0" in cells[0]:
        return None
    path, written, size = cells
    match = _HASH.fullmatch(written)
    if (written and match is None) or (size and not _DIGITS.fullmatch(size)):
        return None
    algorithm, digest = (match[1].lower(), match[2].rstrip("=")) if match else ("", "")
    return Row(path, algorithm, digest, int(size) if size else None)


def encoded(hexadecimal: str) -> str:
    """A digest as RECORD writes it."""
    return base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)).decode("ascii").rstrip("=")
