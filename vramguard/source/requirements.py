r"""pip's requirements files: which physical lines make a logical one, and which part of it is options.

The grammar is pip's own, quirks included (`pip/_internal/req/req_file.py`, versions 23.2 to 26.3): lines that end in
`\` are joined before comments are stripped, `#` opens a comment only after white space, and what follows the first
word that starts with `-` is options, which `optparse` reads. What a requirement means is not decided here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vramguard.source import Parsed, ParseError, Place, Span, is_template

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$")  # pip's own, less the spaces before it, which cost quadratic time
_SHORT = {
    "-i": "--index-url",
    "-c": "--constraint",
    "-r": "--requirement",
    "-e": "--editable",
    "-f": "--find-links",
    "-C": "--config-settings",
}
# Whether the option takes a value. `--global-option` went with pip 26, `--all-releases` and `--only-final` came.
_OPTIONS = {
    "--index-url": True,
    "--pypi-url": True,
    "--extra-index-url": True,
    "--no-index": False,
    "--constraint": True,
    "--requirement": True,
    "--editable": True,
    "--find-links": True,
    "--no-binary": True,
    "--only-binary": True,
    "--prefer-binary": False,
    "--require-hashes": False,
    "--no-require-hashes": False,
    "--pre": False,
    "--all-releases": True,
    "--only-final": True,
    "--trusted-host": True,
    "--use-feature": True,
    "--global-option": True,
    "--hash": True,
    "--config-settings": True,
}
# What pip takes (pip/_internal/utils/hashes.py), each with its number of hexadecimal digits.
STRONG_HASHES = {"sha256": 64, "sha384": 96, "sha512": 128}


class Option(NamedTuple):
    """An option under its long name; `value` is empty for a switch."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line that is neither blank nor a comment.

    `requirement` is the text before the options, or what `-e` names, and empty on a line of options alone; `span` is
    where it stands, or where the line does. `flaw` says why pip refuses the line, and is empty where it does not.
    """

    text: str
    requirement: str
    options: tuple[Option, ...]
    editable: bool
    span: Span
    flaw: str = ""

    def values(self, option: str) -> list[str]:
        """Every value given for an option, in order."""
        return [value for name, value in self.options if name == option]


def parse(text: str) -> Parsed:
    """Parse a requirements file; the value is a tuple of `Line`, and `(i,)` in the index is the place of the i-th.

    Raises `ParseError` at a line that a template engine has yet to fill in; pip's own errors are each line's `flaw`.
    """
    lines = tuple(_Reader(text).lines())
    return Parsed(lines, lambda: {(i,): Place(line.span, line.span) for i, line in enumerate(lines)})


class _Piece(NamedTuple):
    """A stretch of a logical line, and the offset in the file that it was taken from."""

    text: str
    offset: int


class _Reader:
    """Turns offsets into places, and pieces of physical lines into logical lines."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def lines(self) -> Iterator[Line]:
        for pieces in _join(self._text):
            joined = "".join(piece.text for piece in pieces)
            bare = _COMMENT.sub("", joined)
            text = bare.strip()
            if not text:
                continue
            start = len(bare) - len(bare.lstrip())
            if _is_template(text):
                raise ParseError("a template: its marks stand where a requirement should", *self._place(pieces, start))
            yield self._line(text, pieces, start)

    def _line(self, text: str, pieces: list[_Piece], start: int) -> Line:
        requirement, tail = _split(text)
        options, flaw = _options(tail)
        editable = next((value for name, value in options if name == "--editable"), None)
        length = len(requirement) or len(text)
        if not requirement and editable:
            requirement, length = editable, len(text)
            found = text.find(editable)
            start, length = (start + found, len(editable)) if found >= 0 else (start, length)
        span = Span(*self._place(pieces, start), *self._place(pieces, start + length - 1, after=1))
        return Line(text, requirement, tuple(options), editable is not None, span, flaw)

    def _place(self, pieces: list[_Piece], position: int, *, after: int = 0) -> tuple[int, int]:
        """Line and column of a position in the joined text, or of the character after it."""
        for piece in pieces:
            if position < len(piece.text):
                break
            position -= len(piece.text)
        else:
            piece, position = pieces[-1], len(pieces[-1].text)
        offset = piece.offset + position + after
        row = bisect_right(self._starts, offset - after) - 1
        return row + 1, offset - self._starts[row] + 1


def _is_template(line: str) -> bool:
    """Whether a renderer's marks stand where a requirement should; pip takes them in an option's value or a URL."""
    return not line.startswith("-") and "://" not in line and is_template(line)


def _join(text: str) -> Iterator[list[_Piece]]:
    r"""The pieces of each logical line: physical lines are joined while they end in `\` and are no comment."""
    pieces: list[_Piece] = []
    offset = 0
    for kept in text.splitlines(keepends=True):  # as pip does: at form feeds and Unicode's separators too
        line = kept.splitlines()[0]
        comment = line.lstrip().startswith("#")
        if comment:
            pieces.append(_Piece(" ", offset))  # pip's own guard, so that the comment is found once joined
        if comment or not line.endswith("\\"):
            yield [*pieces, _Piece(line, offset)]
            pieces = []
        else:
            bare = line.lstrip("\\")
            pieces.append(_Piece(bare.rstrip("\\"), offset + len(line) - len(bare)))
        offset += len(kept)
    if pieces:
        yield pieces


def _split(text: str) -> tuple[str, str]:
    """The requirement and the options of a line: options start at the first word with a leading `-`."""
    if text.startswith("-"):
        return "", text
    cut = text.find(" -")
    return (text, "") if cut < 0 else (text[:cut].rstrip(), text[cut + 1 :])


def _words(tail: str) -> list[str]:
    """`shlex.split`, which is slow, only where there is something to unquote. Raises `ValueError` as it does."""
    if not re.search(r"[\\'\"]", tail):
        return re.findall(r"[^ \t]+", tail)
    import shlex  # only for the rare line that quotes

    return shlex.split(tail)


def _options(tail: str) -> tuple[list[Option], str]:
    """The options of a line and why pip refuses them, read as `optparse` reads them."""
    try:
        words = _words(tail)
    except ValueError as error:
        return [], f"its options cannot be split: {error}".lower()
    options: list[Option] = []
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            continue  # optparse gathers it as an argument, and pip then drops it
        name, value, flaw = _option(word, words)
        if flaw:
            return options, flaw
        options.append(Option(name, value))
    return options, next(filter(None, map(_bad_value, options)), "")


def _option(word: str, rest: list[str]) -> tuple[str, str, str]:
    """The option that `word` starts, its value (taken from `rest` if need be), and what is wrong with it."""
    if word.startswith("--"):
        written, equals, value = word.partition("=")
        name = _long_name(written)
    else:
        written, equals, value = word[:2], word[2:], word[2:]
        name = _SHORT.get(written, "")
    if name not in _OPTIONS:
        return "", "", f"no such option: {written}"
    if not _OPTIONS[name]:
        return name, "", f"{name} takes no value" if equals else ""
    if equals:
        return name, value, ""
    return (name, rest.pop(0), "") if rest else ("", "", f"{name} needs a value")


def _long_name(written: str) -> str:
    """The option that was meant; like `optparse`, any prefix will do that only one option has."""
    if written in _OPTIONS:
        return written
    meant = [name for name in _OPTIONS if name.startswith(written)]
    return meant[0] if len(meant) == 1 else ""


def _bad_value(option: Option) -> str:
    """Why pip refuses an option's value, if it does."""
    algorithm, colon, _ = option.value.partition(":")
    if option.name == "--hash" and (not colon or algorithm not in STRONG_HASHES):
        return f"--hash takes {', '.join(STRONG_HASHES)}, not {algorithm}"
    if option.name == "--config-settings" and "=" not in option.value:
        return "--config-settings takes KEY=VALUE"
    return ""
