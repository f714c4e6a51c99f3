"""The values of `literals`, and what can be done with them without knowing any names."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ITEMS: Final = 2048  # of one list
MAX_TEXT: Final = 1 << 18
_MAX_OPTIONS: Final = 16
_NAME: Final = re.compile(r"[^A-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class Text:
    """A string; `offset` is where it begins in the string of its node, None where it is made of several."""

    value: str
    node: ast.expr
    offset: int | None = 0
    known: bool = True


@dataclass(frozen=True, slots=True)
class Contents:
    """The text of a file, or lines of it."""

    path: Text
    node: ast.expr


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number, a bool or None."""

    value: float | bool | None
    node: ast.expr


@dataclass(frozen=True, slots=True)
class Items:
    """A list, a tuple or a set."""

    items: tuple[Value, ...]
    node: ast.expr


@dataclass(frozen=True, slots=True)
class Table:
    """A dict; of pairs with one key the last counts."""

    pairs: tuple[tuple[Value, Value], ...]
    node: ast.expr


@dataclass(frozen=True, slots=True)
class Either:
    """One of several values."""

    options: tuple[Value, ...]
    node: ast.expr


@dataclass(frozen=True, slots=True)
class Opaque:
    """What cannot be told, as written."""

    node: ast.expr
    written: str


Value = Text | Contents | Scalar | Items | Table | Either | Opaque


def hole(node: ast.expr) -> Text:
    """A part of a string that cannot be told."""
    return Text("${" + (_NAME.sub("_", _called(node).upper()) or "X") + "}", node, None, known=False)


def _called(node: ast.expr) -> str:
    """A name for what cannot be told: its own, or that of the variable that is asked for."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case ast.Call(args=[ast.Constant(value=str(name)), *_]):
            return name
    return "EXPRESSION"


def size(value: Value) -> int:
    """How many steps a value costs whoever copies it."""
    match value:
        case Text():
            return len(value.value) >> 8
        case Items():
            return len(value.items) >> 2
        case Table():
            return len(value.pairs) >> 1
        case Either():
            return len(value.options) >> 1
    return 0


def either(options: Iterable[Value], node: ast.expr) -> Value:
    """One of several; options within options are taken apart, and the same one is not repeated."""
    found: dict[tuple[str, str], Value] = {}
    pending = list(options)[::-1]
    while pending and len(found) < MAX_ITEMS:
        option = pending.pop()
        if isinstance(option, Either):
            pending.extend(reversed(option.options))
        else:
            key = ("file", option.path.value) if isinstance(option, Contents) else ("", str(id(option)))
            found[key] = option
    if len(found) == 1:
        return next(iter(found.values()))
    return Either(tuple(found.values()), node) if found else Opaque(node, "")


def elements(value: Value) -> list[Value]:
    """What a loop over a value goes through; what cannot be told is one opaque element, or the file's lines."""
    match value:
        case Items():
            return list(value.items)
        case Table():
            return [key for key, _ in value.pairs]
        case Either():
            return [element for option in value.options for element in elements(option)][:MAX_ITEMS]
        case Scalar():
            return []
        case Text():
            return [Opaque(value.node, value.value)]
    return [value]


def flat(value: Value) -> Iterator[Text | Contents | Opaque]:
    """The texts of a value, lists within lists taken apart."""
    pending: list[Value] = [value]
    count = 0
    while pending and count < MAX_ITEMS:
        one = pending.pop()
        count += 1
        match one:
            case Items():
                pending.extend(reversed(one.items))
            case Either():
                pending.extend(reversed(one.options))
            case Table():
                pending.extend(held for _, held in reversed(one.pairs))
            case Scalar(value=None):
                continue
            case Scalar():
                yield Opaque(one.node, str(one.value))
            case Text() | Contents() | Opaque():
                yield one


def item(value: Value, index: Value | None, node: ast.expr) -> Value | None:  # noqa: PLR0911 - a row for each kind
    """`value[index]`; None where that cannot be told, and the whole list for a part of it (`index` is None)."""
    match value:
        case Contents():
            return value
        case Either():
            found = [item(option, index, node) for option in value.options[:_MAX_OPTIONS]]
            return either([option for option in found if option is not None], node) if any(found) else None
        case Items() if index is None:
            return value
        case Items() if isinstance(index, Scalar) and isinstance(index.value, int):
            return value.items[index.value] if -len(value.items) <= index.value < len(value.items) else None
        case Table() if isinstance(index, Text) and index.known:
            same = (held for key, held in reversed(value.pairs) if isinstance(key, Text) and key.value == index.value)
            return next(same, None)
        case Table() if isinstance(index, Either):
            return item_of_any(value, index, node)
    return None


def item_of_any(value: Table, index: Either, node: ast.expr) -> Value | None:
    """A table's values under one of several keys."""
    found = [item(value, option, node) for option in index.options]
    known = [option for option in found if option is not None]
    return either(known, node) if known else None


def plus(one: Value, other: Value, node: ast.expr) -> Value:
    """`one + other` of two lists, tables or strings; what cannot be told stays as one item of a list."""
    if isinstance(one, Text) or isinstance(other, Text):
        lists = isinstance(one, Items | Contents) or isinstance(other, Items | Contents)
        return joined([one, other], node) if not lists else Items((one, other), node)
    if isinstance(one, Table) and isinstance(other, Table):
        return Table((*one.pairs, *other.pairs)[-MAX_ITEMS:], one.node)
    if isinstance(one, Opaque) and isinstance(other, Opaque):
        return one
    both = [*_listed(one), *_listed(other)]
    return Items(tuple(both[:MAX_ITEMS]), node)


def _listed(value: Value) -> list[Value]:
    return list(value.items) if isinstance(value, Items) else [] if isinstance(value, Scalar) else [value]


def joined(parts: list[Value], node: ast.expr, between: str = "") -> Value:
    """Strings one after another; each choice among known ones makes a choice of the whole."""
    if parts and isinstance(parts[0], Contents):
        return parts[0]
    results: list[tuple[str, bool]] = [("", True)]
    for number, part in enumerate(parts):
        options = [text for text in map(_said, _options(part)) if text is not None] or [(hole(part.node).value, False)]
        if len(results) * len(options) > _MAX_OPTIONS:
            options = [(hole(part.node).value, False)]
        mark = between if number else ""
        results = [(before + mark + text, known and sure) for before, known in results for text, sure in options]
        if sum(len(text) for text, _ in results) > MAX_TEXT:
            return Opaque(node, "")
    whole = parts[0] if len(parts) == 1 and isinstance(parts[0], Text) else None
    if whole is not None:
        return whole
    return either([Text(text, node, None, known) for text, known in results], node)


def _options(value: Value) -> tuple[Value, ...]:
    return value.options if isinstance(value, Either) else (value,)


def _said(value: Value) -> tuple[str, bool] | None:
    """A value as `str` writes it, and whether that is all known."""
    match value:
        case Text():
            return value.value, value.known
        case Scalar():
            return str(value.value), True
        case _:
            return hole(value.node).value, False


def pieces(text: Text, separator: str | None, *, lines: bool = False) -> list[Text]:
    """`text.split(separator)` or `text.splitlines()`, each piece with its place."""
    if len(text.value) > MAX_TEXT:
        return []
    if separator:
        found, position = [], 0
        for part in text.value.split(separator)[:MAX_ITEMS]:
            found.append((position, part))
            position += len(part) + len(separator)
    else:
        pattern = r"[^\n]+" if lines else r"\S+"
        found = [(match.start(), match[0]) for match in re.finditer(pattern, text.value)][:MAX_ITEMS]
    base = text.offset
    return [
        Text(part, text.node, None if base is None else base + start, text.known or "${" not in part)
        for start, part in found
    ]


def stripped(text: Text, left: int, value: str) -> Text:
    """A text without what stood around it, `left` characters of it before."""
    return Text(value, text.node, None if text.offset is None else text.offset + left, text.known)


def same(one: Value, other: Value) -> bool:
    """Whether two values are one known string."""
    return isinstance(one, Text) and isinstance(other, Text) and one.known and one.value == other.value


def within(text: str, node: ast.Constant, piece: Text) -> ast.expr | None:
    """A node that stands where a piece of a string does; None where its characters are not written as they are."""
    whole = node.value
    if not isinstance(whole, str) or piece.offset is None or len(piece.value) == len(whole):
        return None
    lines = text.split("\n")[node.lineno - 1 : node.end_lineno]
    if not lines:
        return None
    first = lines[0].encode()[node.col_offset :].decode(errors="ignore")
    written = "\n".join([first, *lines[1:]])
    start = written.find(whole)
    if not 0 <= start <= len('rb"""'):
        return None
    before = written[: start + piece.offset]
    row = before.count("\n")
    column = len(before.rpartition("\n")[2].encode()) + (0 if row else node.col_offset)
    line = node.lineno + row
    length = len(piece.value.encode())
    return ast.Constant(piece.value, lineno=line, col_offset=column, end_lineno=line, end_col_offset=column + length)
