"""nginx's configuration, by the lexer that nginx publishes for it (crossplane).

A directive is `{"name": ..., "args": [...], "block": [...]}`, without `block` where it has none; a file is a list of
them. Places are told by line: crossplane counts no columns, so a directive is all of its first line.
What does not say where requests go is not taken apart: many programs end their configuration's name in `.conf`.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

from vramguard.source import MAX_DEPTH, KeyPath, Parsed, ParseError, Place, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_CHARACTERS = 1 << 20  # a list of addresses that is longer says nothing of a model
_WORTH = re.compile(r"(?:^|[\s{;])(?:proxy_pass|grpc_pass|upstream|proxy_next_upstream)\s", re.MULTILINE)


def parse(text: str) -> Parsed:
    """Parse a file; an empty list where nothing in it passes a request on. Raises `ParseError`."""
    if len(text) > MAX_CHARACTERS or not _WORTH.search(text):
        return Parsed([], dict)
    reader = _Reader(_RENDERED.sub(_blanked, text))
    return Parsed(reader.directives(), lambda: reader.places)


_RENDERED: Final = re.compile(r"\{\{[^{}\n]{0,500}\}\}|\{%[^\n%]{0,500}%\}")


def _blanked(match: re.Match[str]) -> str:
    """A renderer's mark as a variable of the same length, which is no known value; its statements as blanks."""
    length = len(match[0])
    return "$" + "_" * (length - 1) if match[0][1] == "{" else " " * length


def _tokens(text: str) -> Iterator[tuple[str, int, bool]]:
    """Words and marks with their line, and whether a word stood in quotes; comments are left out."""
    from crossplane.lexer import _lex_file_object

    for token, line, quoted in _lex_file_object(io.StringIO(text)):
        if quoted or not token.startswith("#"):
            yield token, line, quoted


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.tokens = _tokens(text)
        self.spans: dict[KeyPath, int] = {}

    def directives(self) -> list[dict[str, Any]]:
        """Every directive of the file, blocks within blocks."""
        root: list[dict[str, Any]] = []
        open_blocks: list[tuple[KeyPath, list[dict[str, Any]]]] = [((), root)]
        words: list[tuple[str, int]] = []
        for token, line, quoted in self.tokens:
            if quoted or token not in ("{", "}", ";"):
                words.append((token, line))
            elif token == "}":
                if len(open_blocks) == 1:
                    raise ParseError("a brace is closed that was not opened", line)
                open_blocks.pop()
                words = []
            else:
                path, block = open_blocks[-1]
                made = self.directive((*path, len(block)), words)
                words = []
                if made is None:
                    continue
                block.append(made)
                if token == "{":
                    made["block"] = []
                    open_blocks.append(((*path, len(block) - 1, "block"), made["block"]))
                    if len(open_blocks) > MAX_DEPTH:
                        raise ParseError(f"nested deeper than {MAX_DEPTH} levels", line)
        if len(open_blocks) > 1:
            raise ParseError("a brace is not closed", len(self.lines))
        return root

    def directive(self, path: KeyPath, words: list[tuple[str, int]]) -> dict[str, Any] | None:
        if not words:
            return None
        self.spans[path] = words[0][1]
        for number, (_, line) in enumerate(words[1:]):
            self.spans[(*path, "args", number)] = line
        return {"name": words[0][0], "args": [word for word, _ in words[1:]]}

    @property
    def places(self) -> Mapping[KeyPath, Place]:
        """Where every directive and every word of one stands."""
        return {path: Place(span, span) for path, line in self.spans.items() for span in (self.span(line),)}

    def span(self, line: int) -> Span:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        written = text.rstrip()
        return Span(line, len(text) - len(text.lstrip()) + 1, line, len(written) + 1)
