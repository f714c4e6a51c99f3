"""Dockerfiles: instructions, in BuildKit's own grammar, which is one of lines (frontend/dockerfile/parser/parser.go).

A line that ends in the escape character goes on in the next; comments and empty lines between the two are skipped; a
here-document belongs to the instruction that opens it. What an instruction means is not decided here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import NamedTuple

from vramguard.source import Parsed, Place, Span

MAX_INSTRUCTIONS = 5000
_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S+)\s*$")
_KEYWORD = re.compile(r"\s*([A-Za-z]+)(?=\s|$)")
_HEREDOC = re.compile(r"<<(-?)(['\"]?)([A-Za-z_][\w.-]*)\2(?=\s|$)")
_WITH_HEREDOCS = {"RUN", "COPY", "ADD"}


class Instruction(NamedTuple):
    """One instruction. `text` has its lines as they stand, but for its keyword, comments and escapes, which are
    blanks: a place in it is one in the file, from the line `row` (counted from 1) on. An escape at a line's end is
    written as a backslash. `lines` is how many it has, here-documents included.
    """

    keyword: str
    text: str
    row: int
    lines: int


def parse(text: str) -> Parsed:
    """The value is a tuple of `Instruction`."""
    found = tuple(_instructions(text))
    return Parsed(found, lambda: {(number,): _place(item) for number, item in enumerate(found)})


def _place(item: Instruction) -> Place:
    span = Span(item.row, 1, item.row + item.lines - 1, len(item.text.rpartition("\n")[2]) + 1)
    return Place(span, span)


def _instructions(text: str) -> list[Instruction]:
    lines = text.split("\n")
    escape = _escape(lines)
    ends: dict[str, list[int]] = {}  # a line's text without tabs before it -> where it stands
    for number, line in enumerate(lines if "<<" in text else ()):
        ends.setdefault(line.lstrip("\t"), []).append(number)
    found: list[Instruction] = []
    row = 0
    while row < len(lines) and len(found) < MAX_INSTRUCTIONS:
        match = _KEYWORD.match(lines[row])
        if match is None:  # empty, a comment, or nothing that we know
            row += 1
            continue
        keyword = match[1].upper()
        blank = " " * match.end()
        taken, end = _joined(blank + lines[row][match.end() :], lines, row, escape)
        if keyword in _WITH_HEREDOCS:
            taken, end = _with_heredocs(taken, lines, end, ends)
        found.append(Instruction(keyword, "\n".join(taken), row + 1, end - row))
        row = end
    return found


def _escape(lines: list[str]) -> str:
    """The escape character; a directive may stand only among the first lines, before anything else."""
    for line in lines:
        match = _DIRECTIVE.match(line)
        if match is None:
            break
        if match[1].lower() == "escape" and match[2] in {"\\", "`"}:
            return match[2]
    return "\\"


def _joined(line: str, lines: list[str], row: int, escape: str) -> tuple[list[str], int]:
    """The lines of one instruction, of which `line` is the first, and the number of the line after it."""
    taken: list[str] = []
    while True:
        bare = line.rstrip()
        goes_on = bare.endswith(escape)
        comment = bool(taken) and line.lstrip().startswith("#")
        if comment or (taken and not bare):
            taken.append("\\")
        else:
            taken.append(bare[:-1] + "\\" if goes_on else line)
        row += 1
        if not (goes_on or comment or (len(taken) > 1 and not bare)) or row >= len(lines):
            return taken, row
        line = lines[row]


def _with_heredocs(taken: list[str], lines: list[str], row: int, ends: dict[str, list[int]]) -> tuple[list[str], int]:
    """The instruction with the bodies of the here-documents that it opens; one that never ends takes in nothing."""
    body = taken[:]
    for dash, _, name in _HEREDOC.findall("\n".join(taken)):
        rows = ends.get(name, [])
        end = next((number for number in rows[bisect_left(rows, row) :] if dash or lines[number] == name), None)
        if end is None:
            return taken, row
        body += lines[row : end + 1]
        row = end + 1
    return body, row
