"""Python that is newer than the parser, in the words of Python 3.11: every character stays on its line and column.

Only for a text that does not parse. Strings that stand in the fields of an f-string may repeat its quotes and hold
backslashes since Python 3.12 (PEP 701); functions and classes may have parameters of types, and types a statement
(PEP 695). What cannot be said in place is left as it is, and does not parse.
"""

from __future__ import annotations

import re
from typing import Final

_PARAMETERS: Final = re.compile(
    r"^([ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+\w+)(\[[^\[\]\n]*(?:\[[^\[\]\n]*\][^\[\]\n]*)*\])", re.MULTILINE
)
_ALIAS: Final = re.compile(r"^([ \t]*)(type[ \t]+)(\w+)((?:\[[^\[\]\n]*\])?[ \t]*)(?==[^=])", re.MULTILINE)
_STRING: Final = re.compile(r"((?<!\w)[fFrRbBuU]{1,2})?('''|\"\"\"|'|\")")
_TOKEN: Final = re.compile(r"#|((?<!\w)[fFrRbBuU]{1,2})?['\"]")
_STOPS: Final = {quote: re.compile(rf"\\|{quote}|\n") for quote in ("'", '"', "'''", '"""')}
_DEEP: Final = 4  # f-strings in one another
_QUOTES: Final = {"'": '"', '"': "'"}


def older(text: str) -> str:
    """A text with what is newer than Python 3.11 written in its way. Linear in the text; never raises."""
    text = _PARAMETERS.sub(lambda found: found[1] + " " * len(found[2]), text)
    text = _ALIAS.sub(lambda found: found[1] + found[3] + " " * (len(found[2]) + len(found[4])), text)
    try:
        return _Quotes(text).plain()
    except RecursionError:  # fields in the formats of fields
        return text


class _Quotes:
    """A text whose f-strings are being rewritten in place."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.out = list(text)

    def plain(self) -> str:
        """The text, with quotes that no enclosing f-string has."""
        at = 0
        while (found := _TOKEN.search(self.text, at)) is not None:
            at = self._next(found.start(), ())
        return "".join(self.out)

    def _next(self, at: int, around: tuple[str, ...]) -> int:
        """Past the token that begins at a place."""
        character = self.text[at]
        if character == "#" and not around:
            end = self.text.find("\n", at)
            return len(self.text) if end < 0 else end
        found = _STRING.match(self.text, at) if character in "fFrRbBuU'\"" else None
        if found is None:
            return at + 1
        return self._string(found, around)

    def _string(self, found: re.Match[str], around: tuple[str, ...]) -> int:
        """Past a string, in other quotes where it stands in an f-string of the same."""
        prefix, quote = (found[1] or "").lower(), found[2]
        begin = found.end()
        formatted = "f" in prefix and len(around) < _DEEP
        new = self._free(quote, around)
        end = self._formatted(begin, quote, (*around, new)) if formatted else self._end(begin, quote)
        if around:
            self._rewrite(found.start(), begin, end, quote, new)
        return end

    @staticmethod
    def _free(quote: str, around: tuple[str, ...]) -> str:
        """The quotes that a string may have inside of others; none where there are no more."""
        taken = {one[0] for one in around if one}
        if quote[0] not in taken:
            return quote
        other = _QUOTES[quote[0]]
        return "" if other in taken else other * len(quote)

    def _end(self, at: int, quote: str) -> int:
        """The place past a string that is no f-string."""
        while (found := _STOPS[quote].search(self.text, at)) is not None:
            if found[0] == quote:
                return found.end()
            if found[0] == "\n" and len(quote) == 1:
                return found.start()  # not closed: whoever parses will say so
            at = found.end() + (found[0] == "\\")
        return len(self.text)

    def _formatted(self, at: int, quote: str, around: tuple[str, ...]) -> int:
        """The place past an f-string, with its fields rewritten."""
        begin, broken = at, False
        while at < len(self.text):
            two = self.text[at : at + 2]
            if two in ("{{", "}}"):
                at += 2
            elif two[0] == "{":
                start, at = at, self._field(at + 1, quote, around)
                broken = broken or self.text.find("\n", start, at) >= 0
            elif two[0] == "\\":
                at += 2
            elif self.text.startswith(quote, at):
                if broken and len(quote) == len(around) == 1:  # a field on several lines: its columns move by two
                    self.out[begin - 1] = self.out[at] = quote * 3
                return at + len(quote)
            elif len(quote) == 1 and two[0] == "\n":
                return at
            else:
                at += 1
        return len(self.text)

    def _field(self, at: int, quote: str, around: tuple[str, ...]) -> int:
        """The place past a field, `{…}`; its format is written like an f-string."""
        depth = 0
        while at < len(self.text):
            character = self.text[at]
            if depth == 0 and character == "}":
                return at + 1
            if depth == 0 and character == ":" and self.text[at : at + 2] != ":=":
                return self._format(at + 1, quote, around)
            depth += (character in "([{") - (character in ")]}")
            at = self._next(at, around)
        return at

    def _format(self, at: int, quote: str, around: tuple[str, ...]) -> int:
        while at < len(self.text) and self.text[at] not in "}\n":
            if self.text[at] == "{":
                at = self._field(at + 1, quote, around)
            elif self.text.startswith(quote, at):
                return at
            else:
                at += 1
        return at + 1

    def _rewrite(self, start: int, begin: int, end: int, quote: str, new: str) -> None:
        """Put a string of a field into other quotes; one for which none are left becomes a number."""
        inner = end - len(quote)
        if not new:
            for place in range(start, end):
                self.out[place] = "0" * len(self.text[place].encode(errors="replace"))
            return
        self.out[begin - len(quote) : begin] = new
        self.out[inner:end] = new
        for place in range(begin, inner):
            escaped = self.text[place - 1] == "\\" and self.text[place] in "'\""
            if self.text[place] == "\\" or escaped or (self.text[place] == new[0] != quote[0]):
                self.out[place] = "/"


__all__ = ["older"]
