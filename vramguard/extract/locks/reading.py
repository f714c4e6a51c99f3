"""What the readers of locks share: values of unsure types, places of many packages at once, paths, hashes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from vramguard.source import Location
from vramguard.source.requirements import STRONG_HASHES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.source import Document

Table = Mapping[str, object]
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_CONDA_FILE = re.compile(r"\.(?:conda|tar\.bz2)$")


def table(value: object) -> Table:
    """The mapping, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def tables(value: object) -> list[Table]:
    """The mappings of a list, an empty one for each item that is something else."""
    return [table(item) for item in sequence(value)]


def sequence(value: object) -> Sequence[object]:
    """The list, or an empty one for anything else."""
    return value if isinstance(value, list) else ()


def text(value: object) -> str | None:
    """The string, or None for anything else; a YAML number is what is written for it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def strings(value: object) -> list[str]:
    """The strings of a list."""
    return [item for item in sequence(value) if isinstance(item, str)]


def given(hashes: Iterable[str | None]) -> tuple[str, ...]:
    """The hashes that are there."""
    return tuple(value for value in hashes if value)


def strongest(hashes: Table) -> str | None:
    """One of an artifact's hashes, as `sha256:…`: a strong one where there is any."""
    known = {algorithm: digits for algorithm, digits in hashes.items() if isinstance(digits, str) and digits}
    ranked = sorted(known, key=lambda algorithm: algorithm not in STRONG_HASHES)
    return f"{ranked[0]}:{known[ranked[0]]}" if ranked else None


def inside(document: Document, path: str) -> str:
    """A path of the lock, as a path in the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(document.path), path))


def commit(written: object) -> str | None:
    """The full commit that a reference or a URL ends in; None for a branch, a tag or a shortened hash."""
    if not isinstance(written, str):
        return None
    found = _COMMIT.search(re.split(r"[#@=]", written)[-1])
    return found[0] if found and found[0] == re.split(r"[#@=]", written)[-1] else None


def conda_file(url: str) -> tuple[str, str] | None:
    """Name and version that a conda package's file name holds: `numpy-1.26.4-py311_0.conda`."""
    last = unquote(url.partition("#")[0].rstrip("/").rpartition("/")[2])
    parts = _CONDA_FILE.sub("", last).rsplit("-", 2)
    return (parts[0], parts[1]) if len(parts) == 3 and _CONDA_FILE.search(last) else None  # noqa: PLR2004 - name, version, build


def headers(document: Document, key: str, count: int) -> list[Location]:
    """Where each `[[key]]` of a TOML file stands: a search for such lines, which the full index confirms if need be."""
    pattern = re.compile(rf"^[ \t]*\[\[[ \t]*{key}[ \t]*\]\][ \t]*(?:#[^\n]*)?$", re.MULTILINE)
    return _found(document, pattern, key, count, 0)


def items(document: Document, key: str, count: int) -> list[Location]:
    """Where each item of the YAML list under `key` starts; the file's first document has the list at its top."""
    opening = re.search(rf"^{key}:[ \t]*\n([ ]*)-[ ]", document.text, re.MULTILINE)
    pattern = re.compile(rf"^{opening[1] if opening else ''}-[ ][^\n]*$", re.MULTILINE)
    return _found(document, pattern, key, count, opening.start() if opening else 0)


def _found(document: Document, pattern: re.Pattern[str], key: str, count: int, start: int) -> list[Location]:
    rows, row, last = [], 1, 0
    for match in pattern.finditer(document.text, start):
        row += document.text.count("\n", last, match.start())
        last = match.start()
        line = match[0].rstrip()
        bare = line.lstrip(" \t").removeprefix("- ").lstrip(" ")
        rows.append(Location(document.path, row, len(line) - len(bare) + 1, row, len(line) + 1))
    if len(rows) == count:
        return rows
    path = (0, key) if document.kind == "yaml" else (key,)
    return [document.at(*path, number) for number in range(count)]
