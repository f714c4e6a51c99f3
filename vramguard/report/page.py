"""Lines on a console: broken between words only, free of markup, in characters that the console can show."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vramguard.report.escape import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.checks import Severity

Part = str | tuple[str, str]  # a text, or a text and its style

TIMES: Final = "\u00d7"  # the multiplication sign

_ASCII: Final = str.maketrans(
    {"…": "...", "—": "-", "\u2013": "-", TIMES: "x", "→": "->", "≤": "<=", "≥": ">=", "·": ".", "•": "*"}
    | {"█": "#", "▓": "=", "▒": "+", "░": "-", "▲": "^", "│": "|"}
)


def written(show: Callable[[Console], None]) -> str:
    """What `show` writes to a console, as it would stand in a file: no colours, lines of 120."""
    file = io.StringIO()
    show(Console(file=file, width=120, no_color=True, highlight=False, markup=False, emoji=False))
    return file.getvalue()


class Page:
    """What is written to one console. Every text that enters is made visible; no word is ever broken."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.width = max(console.width, 20)

    def write(self, *parts: Part, indent: int = 0, hang: int | None = None) -> None:
        """One paragraph, its first line indented by `indent`, the others by `hang` (by `indent` if not given)."""
        rest = indent if hang is None else hang
        text = self._text(parts)
        breaks = _breaks(text.plain, self.width - indent, self.width - rest)
        for number, line in enumerate(text.divide(breaks)):
            self._line(line, rest if number else indent)

    def line(self, *parts: Part, indent: int = 0) -> None:
        """One line, however long: for places, which a terminal must not see broken."""
        self._line(self._text(parts), indent)

    def blank(self) -> None:
        """An empty line."""
        self._line(Text(), 0)

    @staticmethod
    def style(severity: Severity) -> str:
        """The colour of a severity."""
        return {"error": "bold red", "warning": "yellow", "note": "cyan"}[severity.label]

    def _text(self, parts: tuple[Part, ...]) -> Text:
        text = Text()
        for part in parts:
            words, style = (part, "") if isinstance(part, str) else part
            text.append(self._showable(visible(words)), style=style or None)
        return text

    def _showable(self, text: str) -> str:
        encoding = self._console.encoding
        if encoding.lower().startswith("utf"):
            return text
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)

    def _line(self, text: Text, indent: int) -> None:
        text = Text(" " * indent) + text
        text.rstrip()
        if self._console.color_system is None:  # print takes a millisecond, to find that there is nothing to colour
            self._console.file.write(f"{text.plain}\n")
        else:
            self._console.print(text, soft_wrap=True, highlight=False)


def _breaks(text: str, first: int, rest: int) -> list[int]:
    """Where to break `text` so that its first line has at most `first` cells and the others `rest`.

    A line breaks before a word only, so that a word longer than a line keeps one to itself.
    A unit stays with its number.
    """
    breaks, used, width = [], 0, first
    for match in re.finditer(r" *[^ ]+(?: (?:GiB|%)[^ ]*)?", text):
        gap = len(match[0]) - len(match[0].lstrip(" "))
        cells = cell_len(match[0])
        if used and used + cells > width:
            breaks.append(match.start() + gap)
            used, width = cells - gap, rest
        else:
            used += cells
    return breaks
