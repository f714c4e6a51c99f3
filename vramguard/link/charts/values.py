"""Values while a template is filled: a chart's own with their places, those that templates make, and unknown ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from vramguard.facts import Unknown
from vramguard.facts.nodes import Node
from vramguard.link.charts.pieces import MARK, Piece, Pieces, mark

MAX_TEXT: Final = 1 << 20  # characters of a text that templates make
MAX_NUMBER: Final = 1 << 63
_MAX_DEPTH: Final = 40

# A value: a node of a file, a text of pieces, a scalar, a mapping or a list of values, or `Unknown`.
Value = Any


class StopFillingError(Exception):
    """The templates ask for more than any chart does, or refuse the values that they are given."""


class UntoldError(Exception):
    """A value that is not known decides something."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def settled(value: Value) -> Value:
    """A node that is nothing as None, anything else as it is."""
    return None if isinstance(value, Node) and value.value is None else value


def field(value: Value, name: str) -> Value:
    """A field of a mapping; None where there is none, what is not known of what is not known."""
    if isinstance(value, Unknown):
        return Unknown(f"{value.text}.{name}")
    if isinstance(value, Node):
        found = value.get(name)
        return found if found.value is not None else _by_number(value, name)
    return settled(value.get(name)) if isinstance(value, Mapping) else None


def _by_number(value: Node, name: str) -> Value:
    """YAML reads a key `1` as a number."""
    number = value.get(int(name)) if name.isdecimal() and isinstance(value.value, dict) and len(name) < 20 else None  # noqa: PLR2004
    return settled(number)


def plain(value: Value, depth: int = _MAX_DEPTH) -> Any:  # noqa: ANN401 - what YAML can hold
    """The value without its places. Raises `UntoldError` for one that is not known, wholly or in part."""
    if depth < 0:
        raise StopFillingError("values nested too deep")
    if isinstance(value, Unknown):
        raise UntoldError(value.text)
    if isinstance(value, Node):
        return value.value
    if isinstance(value, Pieces):
        value = value.text
    if isinstance(value, str):
        found = MARK.search(value)
        if found:
            raise UntoldError(found[0][2:-2])
        return value
    if isinstance(value, Mapping):
        return {key: plain(item, depth - 1) for key, item in value.items()}
    return [plain(item, depth - 1) for item in value] if isinstance(value, list) else value


_MAX_SIZE: Final = 2_000_000  # characters and values that a function gets at once, shared ones written out


def size_of(value: Value) -> int:
    """About how much a value is, written out: its characters, and one for each value in it.

    Raises `StopFillingError` for one that is too much: a short template can name one list so often.
    """
    size, pending = 0, [value]
    while pending:
        one = pending.pop()
        size += 1
        if isinstance(one, Node):
            one = one.value
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, dict):
            pending += one.values()
        elif isinstance(one, Pieces):
            size += sum(len(piece.text) for piece in one)
        elif isinstance(one, list):
            pending += one
        elif isinstance(one, Mapping):
            pending += one.values()
        if size + len(pending) > _MAX_SIZE:
            raise StopFillingError("a value that is too large")
    return size


def is_true(value: Value) -> bool:
    """Go's truth: neither nothing, nor zero, nor empty. Raises `UntoldError`."""
    return bool(value) if isinstance(value, Mapping | list) else bool(plain(value))


def text_of(value: Value) -> str:  # noqa: PLR0911 - a kind of value each
    """A scalar as Go prints it, with marks in the place of what is not known."""
    if isinstance(value, Unknown):
        return mark(value.text)
    if isinstance(value, Pieces):
        return value.text
    if isinstance(value, Node):
        return value.text if not isinstance(value.value, dict | list) else json.dumps(value.value, default=str)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_NUMBER:
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(_open(value), default=str)


def _open(value: Value) -> Any:  # noqa: ANN401 - what JSON can hold
    if isinstance(value, Mapping):
        return {str(key): _open(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_open(item) for item in value]
    return value if isinstance(value, int | float) or value is None else text_of(value)


def written(value: Value) -> Pieces:
    """A value as it is printed, at its place."""
    if isinstance(value, Pieces):
        return value
    return Pieces((Piece(text_of(value), value.at if isinstance(value, Node) else None),))


def made(value: Value, text: str) -> Pieces:
    """A text that is made of a value, at its place."""
    place = value.at if isinstance(value, Node) else value.place if isinstance(value, Pieces) else None
    return Pieces((Piece(text, place),))


_BARE: Final = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)\Z)[A-Za-z_][\w./-]*\Z", re.IGNORECASE)


def yaml_of(value: Value) -> Pieces:
    """A value as YAML, each scalar at its own place; texts are quoted unless they are plain words."""
    pieces: list[Piece] = []
    _yaml(value, "", pieces, _MAX_DEPTH)
    if pieces and pieces[0].text.startswith("\n"):
        pieces[0] = pieces[0]._replace(text=pieces[0].text[1:])
    return Pieces(pieces)


def _yaml(value: Value, gap: str, pieces: list[Piece], depth: int) -> None:
    """Write a value that stands below `gap`; what has lines begins a new one."""
    if depth < 0:
        raise StopFillingError("values nested too deep")
    held = dict(value.items()) if isinstance(value, Node) and isinstance(value.value, dict) else value
    if isinstance(value, Node) and isinstance(value.value, list):
        held = list(value.list())
    if isinstance(held, Mapping) and held:
        for key, item in held.items():
            place = item.document.key_at(*item.keys) if isinstance(item, Node) else None
            pieces += (Piece(f"\n{gap}"), Piece(_scalar(str(key)), place), Piece(": "))
            _yaml(item, f"{gap}  ", pieces, depth - 1)
    elif isinstance(held, list) and held:
        for item in held:
            pieces.append(Piece(f"\n{gap}- "))
            begins = len(pieces)
            _yaml(item, f"{gap}  ", pieces, depth - 1)
            if begins < len(pieces) and pieces[begins].text == f"\n{gap}  ":
                pieces[begins] = Piece("")  # the first key stands on the line of its dash
    else:
        pieces.append(Piece(_leaf(value), _place(value)))


def _place(value: Value) -> Any:  # noqa: ANN401 - of a piece
    return value.at if isinstance(value, Node) else value.place if isinstance(value, Pieces) else None


def _leaf(value: Value) -> str:
    inner = value.value if isinstance(value, Node) else value
    if isinstance(inner, Unknown):
        return mark(inner.text)
    if isinstance(inner, Pieces):
        inner = inner.text
    if isinstance(inner, str):
        return _scalar(inner)
    if isinstance(inner, Mapping):
        return "{}"
    if isinstance(inner, list):
        return "[]"
    return "null" if inner is None else text_of(value)


def _scalar(text: str) -> str:
    return text if _BARE.match(text) or MARK.fullmatch(text) else json.dumps(text, ensure_ascii=False)
