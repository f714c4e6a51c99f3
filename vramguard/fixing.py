"""Findings that need nobody to be mended: the edits that do it, and a file with them made.

A requirement is pinned to the version that the lock holds; its extras, marker, comment and quotes stay as they are.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from vramguard.policy import Edit, Fix
from vramguard.source import ParseError, decode, encoding_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vramguard.checks import Pin
    from vramguard.policy import Finding

_REQUIREMENT: Final = re.compile(r"([\"']?)([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)(\s*\[[^\]]*\])?([^;\"'#]*)")
# A lock is a file of the repository as well: what it holds for a version is written nowhere unless it is one.
_VERSION: Final = re.compile(
    r"(?:[0-9]+!)?[0-9A-Za-z][0-9A-Za-z._-]{0,100}(?:\+[0-9A-Za-z][0-9A-Za-z._-]{0,100})?", re.ASCII
)
_HASH: Final = re.compile(r"(?:sha256|sha384|sha512):[0-9a-f]{64,128}", re.ASCII)
_GOES_ON: Final = re.compile(r"[\w<>=!~\[.+$%{-]")
_ASSIGNED: Final = re.compile(r"=\s{0,9}[\"']?\Z")
_KEYED: Final = (".ini", ".cfg", ".toml", "Pipfile")  # where `key = requirement` declares it
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")


def mended(findings: Iterable[Finding], read: Callable[[str], bytes | None]) -> Iterator[Finding]:
    """The findings, each with its fix where there is one; `read` gives a file's bytes."""
    texts: dict[str, list[str]] = {}
    for finding in findings:
        if finding.pins:
            path = finding.at.path
            if path not in texts:
                texts[path] = _lines(read, path)
            fix = _fix(finding.pins, texts[path])
            yield finding if fix is None else dataclasses.replace(finding, fix=fix)
        else:
            yield finding


def _lines(read: Callable[[str], bytes | None], path: str) -> list[str]:
    try:
        return decode(read(path) or b"").split("\n")
    except (OSError, ParseError):
        return []


def _fix(pins: tuple[Pin, ...], lines: list[str]) -> Fix | None:
    """The edits of all pins; None where one of them cannot be made: half a fix mends nothing."""
    edits = [_edit(pin, lines) for pin in pins]
    if any(edit is None for edit in edits):
        return None
    what = f"pin {pins[0].name} to {pins[0].version}" if len(pins) == 1 else f"pin {len(pins)} requirements"
    hashes = ", with its hashes," if any(pin.hashes for pin in pins) else ""
    return Fix(f"{what}{hashes} as the lock has it", tuple(edit for edit in edits if edit is not None))


def _edit(pin: Pin, lines: list[str]) -> Edit | None:
    at = pin.at
    if at.line != at.end_line or at.line > len(lines) or not _is_plain(pin):
        return None
    line = lines[at.line - 1]
    if not at.path.endswith(_KEYED) and _ASSIGNED.search(line[: at.column - 1]):
        return None  # a variable's value, which may be used for more than this
    text, after = line[at.column - 1 : at.end_column - 1], line[at.end_column - 1 : at.end_column]
    # `torch>2` without quotes is a redirection to a shell; a part of a word is another requirement than was read.
    whole = not _GOES_ON.match(after) and not _GOES_ON.match(line[max(0, at.column - 2) : at.column - 1])
    match = _REQUIREMENT.match(text)
    if match is None or canonicalize_name(match[2]) != canonicalize_name(pin.name) or not whole:
        return None
    start = len(match[1] + match[2] + (match[3] or ""))
    rest = text[start + len(match[4].rstrip()) :]
    hashes = "".join(f" \\\n    --hash={digest}" for digest in pin.hashes)
    return Edit(at, f"{text[:start]}=={pin.version}{rest}{hashes}")


def _is_plain(pin: Pin) -> bool:
    """Whether a version and its hashes are what they are called, and can be written into any file."""
    return _VERSION.fullmatch(pin.version) is not None and all(map(_HASH.fullmatch, pin.hashes))


def rewritten(data: bytes, edits: Iterable[Edit]) -> bytes:
    """A file's bytes with the edits made; its encoding, byte-order mark and line ends stay.

    Edits that overlap are made once. Raises `UnicodeError` for bytes that are no text.
    """
    encoding, mark = encoding_of(data)
    lines = _LINE.findall(data[len(mark) :].decode(encoding))
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    last: tuple[int, int] | None = None
    for edit in sorted(set(edits), reverse=True):
        begin, end = (edit.at.line, edit.at.column), (edit.at.end_line, edit.at.end_column)
        if last is None or end <= last:
            line = lines[begin[0] - 1]
            text = edit.text.replace("\n", newline)
            lines[begin[0] - 1] = line[: begin[1] - 1] + text + line[end[1] - 1 :]
            last = begin
    return mark + "".join(lines).encode(encoding)
