"""Operations on values that are known: arithmetic, texts, paths, items."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from vramguard.facts import Unknown
from vramguard.source.expression import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.source.expression import Expression

PLAIN = (str, int, float, bool)
_MAX_TEXT = 4096
_MAX_NUMBER = 1 << 63


def joined(parts: Sequence[object], of: Expression) -> object:
    """An f-string."""
    if any(not isinstance(part, PLAIN) for part in parts):
        return Unknown(written(of))
    text = "".join(map(str, parts))
    return text if len(text) <= _MAX_TEXT else Unknown(written(of))


def operate(sign: str, left: object, right: object, of: Expression) -> object:
    """A binary operation; `/` of texts joins paths."""
    found: object = None
    if sign in _COMPARED:
        found = _compared(sign, left, right)
    elif isinstance(left, str) and isinstance(right, str):
        found = left + right if sign == "+" else posixpath.join(left, right) if sign == "/" else None
    elif isinstance(left, list) and isinstance(right, list) and sign == "+":
        found = [*left, *right]
    elif isinstance(left, dict) and isinstance(right, dict) and sign == "|":
        found = left | right
    elif sign == "not" and isinstance(left, bool):
        found = not left
    elif _is_number(left) and _is_number(right):
        found = _arithmetic(sign, left, right)  # type: ignore[arg-type]
    sized = len(found) <= _MAX_TEXT if isinstance(found, str | list) else True
    return found if found is not None and sized else Unknown(written(of))


_COMPARED = ("is", "is not", "==", "!=", ">", "<", ">=", "<=", "in", "not in")


def _compared(sign: str, left: object, right: object) -> bool | None:
    """A comparison; None where it is not known."""
    if not _is_known(left) or not _is_known(right):
        return None
    match sign:
        case "is" | "==":
            return left == right
        case "is not" | "!=":
            return left != right
        case "in" | "not in" if isinstance(right, list) or (isinstance(right, str) and isinstance(left, str)):
            return (left in right) is (sign == "in")
    if not _is_number(left) or not _is_number(right):
        return None
    order = {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}  # type: ignore[operator]
    return order.get(sign)


def _is_known(value: object) -> bool:
    return value is None or isinstance(value, PLAIN) or (isinstance(value, list) and all(map(_is_known, value)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER


def _arithmetic(sign: str, left: float, right: float) -> object:  # noqa: PLR0911 - a row each
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" if right:
            return left / right
        case "//" if right:
            return left // right
        case "**" if 0 <= right < 64 and abs(left) <= 1024:  # noqa: PLR2004 - beyond is no setting
            return left**right
        case "<<" if isinstance(left, int) and isinstance(right, int) and 0 <= right < 64:  # noqa: PLR2004
            return left << right
    return None


def item_of(base: object, index: object) -> tuple[object] | None:
    """An item of a table or list, in a tuple; None where it is not there."""
    if isinstance(base, dict) and isinstance(index, str | int) and index in base:
        return (base[index],)
    if isinstance(base, list) and type(index) is int and -len(base) <= index < len(base):
        return (base[index],)
    return None


def attribute_of_plain(base: object, name: str) -> tuple[object] | None:
    """An attribute of a path (its parent, its name) or of an enumeration's member; None for any other."""
    if isinstance(base, str) and name == "parent":
        return (posixpath.dirname(base),)
    if isinstance(base, str) and name == "parents":
        folders = []
        while base:
            base = posixpath.dirname(base)
            folders.append(base)
        return (folders,)
    if isinstance(base, PLAIN) and name == "value":
        return (base,)
    if isinstance(base, dict) and name in base:  # OmegaConf, EasyDict, SimpleNamespace
        return (base[name],)
    return None
