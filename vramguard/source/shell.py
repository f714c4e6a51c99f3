"""Shell: the grammar of Bash (tree-sitter's), asked within a bound, and where its nodes stand.

Nobody asks a node for its `start_point`: in tree-sitter 0.26.0 (binding/point.c) its `row` frees an integer that is
not its own, and the process dies of it. Offsets of bytes say the same.
What commands mean, with their variables filled in, is for `vramguard.shell`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from vramguard.source import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

MAX_SCRIPT = 4 << 20  # bytes
_CHUNK = 512  # bytes that the grammar is given at a time
# How often, on average, it may ask for the same chunk. The worst of 859 scripts of public repositories asks 6 times (a
# short one: each run asks a few times more); scripts that are one long mistake ask thousands of times, time squared.
_ASKS, _FREE_ASKS = 50, 64
# What another program fills in: Helm's and Jinja's `{{ … }}`, GitHub's `${{ … }}`.
_TEMPLATE = re.compile(rb"\{\{[^{}\n]{0,500}\}\}")


def parse(text: str) -> Parsed:
    """The text itself: a script is parsed only once somebody asks for its commands."""
    return Parsed(text, dict)


@lru_cache(maxsize=1)
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


@lru_cache(maxsize=4)  # what is outlined is, as a rule, read next
def parsed(text: str) -> Script:
    """A script, parsed."""
    return Script(text)


def _mark(found: re.Match[bytes]) -> tuple[int, int]:
    """Where a template's mark stands; the `$` of GitHub's is looked for here, as an expression is slower with it."""
    start, end = found.span()
    return start - (found.string[start - 1 : start] == b"$"), end


class Script:
    """A parsed script. `root` is None for one that is too long, and lacks the end of one that costs too much.

    A template's mark is one word to the grammar; `filled_in` tells whether a stretch holds one.
    """

    def __init__(self, text: str) -> None:
        self.bytes = text.encode("utf-8", "surrogatepass")
        self._ascii = text.isascii()
        self._marks = [_mark(match) for match in _TEMPLATE.finditer(self.bytes)]
        self.root: Node | None = self._tree() if len(self.bytes) <= MAX_SCRIPT else None

    def _tree(self) -> Node | None:
        source = bytearray(self.bytes)
        for start, end in self._marks:
            source[start:end] = b"_" * (end - start)
        left = _FREE_ASKS + _ASKS * (len(source) // _CHUNK + 1)

        def chunk(offset: int, _: object) -> bytes:
            nonlocal left
            left -= 1
            return bytes(source[offset : offset + _CHUNK]) if left > 0 else b""

        return _parser().parse(chunk).root_node

    @cached_property
    def _starts(self) -> list[int]:
        """Where each line begins."""
        return [0, *(match.end() for match in re.finditer(b"\n", self.bytes))]

    @cached_property
    def _inner(self) -> list[int]:
        """Where bytes stand that begin no character: columns count characters."""
        return [match.start() for match in re.finditer(b"[\x80-\xbf]", self.bytes)]

    @cached_property
    def _wide(self) -> frozenset[int]:
        """The lines that have characters of several bytes."""
        return frozenset(bisect_right(self._starts, offset) - 1 for offset in self._inner)

    def text(self, start: int, end: int) -> str:
        """The text between two offsets of bytes."""
        return self.bytes[start:end].decode("utf-8", "replace")

    def of(self, node: Node) -> str:
        """The text of a node (its own `text` asks the parser's source again)."""
        return self.text(node.start_byte, node.end_byte)

    def filled_in(self, start: int, end: int) -> bool:
        """Whether a template's mark begins or ends within, or is more than, a stretch of bytes."""
        if not self._marks:
            return False
        number = bisect_right(self._marks, (start, len(self.bytes)))
        before = number > 0 and self._marks[number - 1][1] > start
        return before or (number < len(self._marks) and self._marks[number][0] < end)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of the character at an offset of bytes, both counted from 0."""
        row = bisect_right(self._starts, offset) - 1
        start = self._starts[row]
        if self._ascii:
            return row, offset - start
        return row, offset - start - (bisect_left(self._inner, offset) - bisect_left(self._inner, start))

    def stretch(self, start: int, end: int) -> tuple[int, int, int]:
        """Line and column of what stands between two offsets, and the length of its first line: at least 1."""
        row = bisect_right(self._starts, start) - 1
        end = max(start + 1, min(end, self.line_end(row)))
        column = start - self._starts[row]
        if not self._ascii and row in self._wide:
            column = self.position(start)[1]
            return row, column, max(1, self.position(end)[1] - column)
        return row, column, end - start

    def line_start(self, row: int) -> int:
        """The offset at which a line begins."""
        return self._starts[row]

    def line_end(self, row: int) -> int:
        """The offset at which a line ends, its line feed left out."""
        return self._starts[row + 1] - 1 if row + 1 < len(self._starts) else len(self.bytes)
