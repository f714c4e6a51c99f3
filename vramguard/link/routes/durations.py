"""Durations and counts as each system writes them: `500ms`, `0.5s`, `1h30m`, `{seconds: 5}`, a bare number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.link.routes.parts import Setting

if TYPE_CHECKING:
    from vramguard.facts import Word
    from vramguard.facts.nodes import Node

# Milliseconds. Go's and Envoy's units (time.ParseDuration), HAProxy's (2.5), and those of nginx, where M is a month
# (nginx.org/en/docs/syntax.html).
_NAMES: Final = ("ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "w", "M", "y")
_SIZES: Final = (1e-6, 1e-3, 1e-3, 1e-3, 1.0, 1e3, 6e4, 36e5, 864e5, 6048e5, 2592e6, 31536e6)
_UNITS: Final = dict(zip(_NAMES, _SIZES, strict=True))
_PIECE = re.compile(r"(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}) ?(ns|us|µs|μs|ms|[smhdwMy])(?![a-zA-Z]) *")
_BARE = re.compile(r"-?\d{1,12}(?:\.\d{0,12})?")
_NONE: Final = frozenset(("infinity", "infinite", "inf", "unlimited", "none", "disabled"))
_MAX: Final = 64  # characters


def milliseconds(text: str, unit: str = "s") -> int | None:
    """A duration in whole milliseconds, rounded up; 0 for none at all, None for what is no duration.

    `unit` is that of a bare number.
    """
    text = text.strip()
    if len(text) > _MAX:
        return None
    if text.lower() in _NONE:
        return 0
    if _BARE.fullmatch(text):
        return _whole(float(text) * _UNITS[unit])
    total, offset = 0.0, 0
    while offset < len(text):
        piece = _PIECE.match(text, offset)
        if piece is None:
            return None
        total += float(piece[1]) * _UNITS[piece[2]]
        offset = piece.end()
    return _whole(total) if text else None


def _whole(value: float) -> int:
    return max(0, -int(-value // 1))


def duration(node: Node, unit: str = "s") -> Setting | None:
    """The duration under a node; None where nothing is written."""
    if isinstance(node.value, dict):  # a google.protobuf.Duration
        seconds, nanos = node.get("seconds").number() or 0, node.get("nanos").number() or 0
        known = isinstance(seconds, int) and isinstance(nanos, int)
        value: int | Unknown = _whole(seconds * 1e3 + nanos / 1e6) if known else Unknown("duration")  # type: ignore[operator]
        return Setting(node.at, value, f"{seconds}s")
    word = node.word()
    return duration_of(word, unit) if word else None


def duration_of(word: Word, unit: str = "s") -> Setting:
    """The duration that a word writes."""
    value = milliseconds(word.text, unit) if word.known else None
    return Setting(word.at, Unknown(word.text) if value is None else value, word.text.strip())


def count(node: Node) -> Setting | None:
    """The whole number under a node, negative or not; None where nothing is written."""
    if isinstance(node.value, dict):  # a google.protobuf.UInt32Value that is written out
        node = node.get("value")
    word = node.word()
    return count_of(word) if word else None


def count_of(word: Word) -> Setting:
    """The whole number that a word writes, with or without a percent sign."""
    text = word.text.strip().removesuffix("%")
    value: int | Unknown = int(text) if re.fullmatch(r"-?\d{1,12}", text) and word.known else Unknown(word.text)
    return Setting(word.at, value, word.text.strip())


def said(milliseconds: int) -> str:
    """A duration for a sentence: `500 ms`, `30 s`, `10 min`."""
    if milliseconds < 1000 or milliseconds % 1000:  # noqa: PLR2004 - milliseconds of a second
        return f"{milliseconds:,} ms"
    seconds = milliseconds // 1000
    return f"{seconds // 60} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds} s"  # noqa: PLR2004
