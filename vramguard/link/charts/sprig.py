"""The functions of Helm's templates that are plain, one by one: Sprig 3.3's, and Go's own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts import Unknown
from vramguard.facts.nodes import Node
from vramguard.link.charts.pieces import Piece, Pieces, mark
from vramguard.link.charts.values import (
    MAX_TEXT,
    StopFillingError,
    UntoldError,
    field,
    is_true,
    made,
    plain,
    text_of,
    written,
)
from vramguard.source import Document, read

if TYPE_CHECKING:
    from vramguard.link.charts.values import Value

_MAX_ITEMS: Final = 2000  # of a list that a number asks for
_MAX_INDENT: Final = 200


def items(value: Value) -> list[Value]:
    """The items of a list, each at its place."""
    if isinstance(value, Node):
        return list(value.list())
    if isinstance(value, Unknown):
        raise UntoldError(value.text)
    return list(value) if isinstance(value, list) else []


def entries(value: Value) -> dict[str, Value]:
    """The entries of a mapping, each at its place. Raises `UntoldError`."""
    if isinstance(value, Node):
        return dict(value.items())
    if isinstance(value, Unknown):
        raise UntoldError(value.text)
    return dict(value) if isinstance(value, Mapping) else {}


def integer(value: Value) -> int:
    """Sprig's `int`: zero for what is no number."""
    held = plain(value)
    if isinstance(held, bool) or held is None:
        return int(bool(held))
    try:
        return int(float(held)) if not isinstance(held, int) else held
    except (ValueError, OverflowError):
        return 0


def float_of(value: Value) -> float:
    held = plain(value)
    try:
        return float(held)
    except (TypeError, ValueError):
        return 0.0


def equal(one: Value, *others: Value) -> bool:
    return any(plain(one) == plain(other) for other in others)


def ordered(one: Value, other: Value, test: Callable[[Any, Any], bool]) -> bool:
    left, right = plain(one), plain(other)
    return test(left if left is not None else 0, right if right is not None else 0)


def quote(*values: Value) -> Pieces:
    found: list[Piece] = []
    for value in values:
        if value is not None:
            text = made(value, json.dumps(text_of(value), ensure_ascii=False))
            found += [*([Piece(" ")] if found else []), *text]
    return Pieces(found)


def squote(value: Value) -> Value:
    return made(value, "'" + text_of(value).replace("'", "''") + "'") if value is not None else ""


def indent(width: Value, value: Value) -> Value:
    size = integer(width)
    if size > _MAX_INDENT:
        raise StopFillingError("an indentation that no page is wide enough for")
    if isinstance(value, Unknown):  # of several lines: an entry of what it stands in
        name = mark(value.text)
        return Pieces((Piece(f"{' ' * size}{name}: {name}"),))
    return written(value).indented(size)


def nindent(width: Value, value: Value) -> Value:
    return Pieces((Piece("\n"), *indent(width, value)))


def changed(change: Callable[..., str]) -> Callable[..., Value]:
    """A function of texts, whose last argument is the one that is changed."""

    def function(*arguments: Value) -> Value:
        *before, last = arguments
        if isinstance(last, Unknown):
            return last
        return written(last).changed(lambda text: change(*map(plain, before), text))

    return function


def trunc(width: int, text: str) -> str:
    return text[:width] if width >= 0 else text[width:]


def substr(start: int, end: int, text: str) -> str:
    return text[max(start, 0) : end if end >= 0 else None]


def suffix(suffix: str, text: str) -> str:
    return text.removesuffix(suffix)


_VERB: Final = re.compile(r"%(?:%|([-+ 0#]*)(\d{0,3})(?:\.(\d{1,2}))?([sdvqtfgx]))")
_SIGNED: Final = frozenset("+ #")  # what stands before a number, which nobody asks for in names and labels


def printf(form: Value, *arguments: Value) -> Value:
    left = list(arguments)
    found: list[Piece] = []
    text, at = plain(form), 0
    for match in _VERB.finditer(text):
        found.append(Piece(text[at : match.start()]))
        at = match.end()
        if match[0] == "%%":
            found.append(Piece("%"))
        elif left and not _SIGNED.isdisjoint(match[1]):
            raise UntoldError("printf")
        elif left:
            found += padded(match, left.pop(0))
    return Pieces((*found, Piece(text[at:])))


def padded(match: re.Match[str], value: Value) -> Pieces:
    """A value in at least as many characters as a verb says: to the right of them, unless `-` stands before."""
    found, width = verb(match, value), int(match[2] or 0)
    if not width:
        return found
    text = str(plain(found))
    if "-" in match[1]:
        return made(value, text.ljust(width))
    return made(value, text.zfill(width) if "0" in match[1] and match[4] in "dfgx" else text.rjust(width))


def verb(match: re.Match[str], value: Value) -> Pieces:
    if match[4] == "q":
        return quote(value)
    if match[4] == "f" and not isinstance(value, Unknown):
        return made(value, f"{float_of(value):.{min(int(match[3] or 6), 20)}f}")
    if match[4] == "s" and match[3]:
        return made(value, str(plain(written(value)))[: int(match[3])])
    return written(value)


def printed(*values: Value) -> Pieces:
    return Pieces(piece for value in values for piece in written(value))


def default_of(other: Value, value: Value = None) -> Value:
    if isinstance(value, Unknown):
        return value
    return value if is_true(value) else other


def coalesce(*values: Value) -> Value:
    return next((value for value in values if is_true(value)), None)


def indexed(value: Value, *keys: Value) -> Value:
    for key in keys:
        name = plain(key)
        if isinstance(value, Unknown):
            return Unknown(f"{value.text}.{name}")
        if isinstance(name, int):
            held = items(value)
            value = held[name] if 0 <= name < len(held) else field(value, str(name))
        else:
            value = field(value, str(name))
    return value


def dict_of(*parts: Value) -> dict[str, Value]:
    return {plain(key): value for key, value in zip(parts[::2], parts[1::2], strict=False)}


def replaced(old: str, new: str, text: str) -> str:
    """Sprig's `replace`, of which the length is known before it is made. Raises `StopFillingError`."""
    times = text.count(old) if old else len(text) + 1
    if len(text) + times * len(new) > MAX_TEXT:
        raise StopFillingError(f"a text longer than {MAX_TEXT:,} characters")
    return text.replace(old, new)


def joined(separator: str, texts: list[str]) -> str:
    """Texts with one between them, of which the length is known before. Raises `StopFillingError`."""
    if sum(map(len, texts)) + len(texts) * len(separator) > MAX_TEXT:
        raise StopFillingError(f"a text longer than {MAX_TEXT:,} characters")
    return separator.join(texts)


def unset(held: Value, key: Value) -> Value:
    """Takes a key out of a mapping that the template has made; what stands in the values is not changed here.

    Raises `StopFillingError` for those: whoever asks for them later would be told what is no longer so.
    """
    if not isinstance(held, dict):
        raise StopFillingError("values that the template changes")
    held.pop(plain(key), None)
    return held


def set_in(held: Value, key: Value, value: Value) -> Value:
    if not isinstance(held, dict):
        raise StopFillingError("values that the template changes")
    if isinstance(value, dict | list) and value is held:
        return Unknown("set")
    held[plain(key)] = value
    return held


def merged(*held: Value, overwrite: bool = False) -> Value:
    """Sprig's `merge`: the first that has a key wins; mappings are merged within."""
    result: dict[str, Value] = {}
    for value in held if overwrite else reversed(held):
        for key, item in entries(value).items():
            both = key in result and all(isinstance(plain(one), dict) for one in (result[key], item))
            result[key] = merged(dict(entries(item)), result[key]) if both else item
    if held and isinstance(held[0], dict):  # the first is changed itself
        held[0].clear()
        held[0].update(result)
        return held[0]
    return result


def ternary(yes: Value, no: Value, test: Value) -> Value:
    return yes if plain(test) else no


def dig(*arguments: Value) -> Value:
    *keys, other, held = arguments
    for key in keys:
        held = field(held, plain(key))
    return other if held is None else held


def kind_of(value: Value) -> str:
    held = plain(value)
    for kinds, name in ((bool, "bool"), (str, "string"), (Mapping, "map"), (list, "slice"), (int | float, "float64")):
        if isinstance(held, kinds):
            return name
    return "invalid"


def is_kind(name: Value, value: Value) -> bool:
    asked, kind = plain(name), kind_of(value)
    if asked in ("int", "int64") and kind == "float64":
        return isinstance(value, int)  # numbers of values are floats
    return bool({"map[string]interface {}": "map", "[]interface {}": "slice"}.get(asked, asked) == kind)


def length(value: Value) -> int:
    if isinstance(value, list):
        return len(value)
    return len(plain(value)) if value is not None else 0


def numbers_of(*bounds: Value) -> list[Value]:
    numbers = [integer(bound) for bound in bounds]
    found = range(*numbers) if len(numbers) > 1 else range(numbers[0])
    if len(found) > _MAX_ITEMS:
        raise StopFillingError(f"more than {_MAX_ITEMS} items")
    return list(found)


def from_yaml(value: Value) -> Value:
    """What a text says that templates wrote; its values keep no places of their own."""
    document = read("", plain(value).encode(), kind="yaml")
    if not isinstance(document, Document):
        return Unknown("fromYaml")
    return document.value[0] if document.value else {}


_MAX_CONSTRAINT: Final = 100  # characters of a comparison of versions


def semver(constraint: Value, version: Value) -> bool:
    """A cluster's version is any of late; others are compared by their first three numbers."""
    written_ = plain(constraint).strip()
    asked = re.match(r"(>=|<=|>|<|=|\^|~)?\s*v?([0-9.]+)", written_) if len(written_) < _MAX_CONSTRAINT else None
    if asked is None or "," in plain(constraint) or "||" in plain(constraint):
        raise UntoldError("semverCompare")
    if isinstance(version, Unknown) and "Capabilities" in version.text:
        return (asked[1] or "=") in (">=", ">", "^")
    return compared(asked[1] or "=", numbers(plain(version)), numbers(asked[2]))


def compared(sign: str, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    if sign in ("^", "~"):
        held = 1 if sign == "^" else 2
        return one >= other and one[:held] == other[:held]
    return {">=": one >= other, "<=": one <= other, ">": one > other, "<": one < other}.get(sign, one == other)


def numbers(version: str) -> tuple[int, ...]:
    found = [int(number) for number in re.findall(r"\d{1,9}", version.partition("-")[0])[:3]]
    return (*found, *[0] * (3 - len(found)))


def sum_of(*values: Value) -> int:
    return sum(map(integer, values))


_SAFE_PATTERN: Final = re.compile(r"[\w\s^$@:/.|,<>=!\\\[\]-]*(?:[*+?][\w\s^$@:/.|,<>=!\\\[\]-]*){0,2}\Z")
_MAX_SEARCHED: Final = 100


def pattern_of(pattern: Value, text: str) -> re.Pattern[str]:
    """A pattern that cannot take long: without groups, with two repetitions at most, for a short text."""
    asked = plain(pattern)
    if not _SAFE_PATTERN.match(asked) or len(text) > _MAX_SEARCHED or len(asked) > _MAX_SEARCHED:
        raise UntoldError("regex")
    try:
        return re.compile(asked)
    except re.error:
        raise UntoldError("regex") from None


def regex_replaced(pattern: Value, text: Value, by: Value) -> Value:
    found, other = pattern_of(pattern, text_of(text)), plain(by)
    return (
        written(text).changed(lambda held: found.sub(lambda _: other, held)) if "$" not in other else Unknown("regex")
    )


def regex_found(pattern: Value, text: Value) -> str:
    found = pattern_of(pattern, plain(text)).search(plain(text))
    return found[0] if found else ""


def repeated(times: int, text: str) -> str:
    if times * len(text) > MAX_TEXT:
        raise StopFillingError("a text that is repeated too often")
    return text * times


def omit(held: Value, *names: Value) -> dict[str, Value]:
    gone = {plain(name) for name in names}
    return {key: value for key, value in entries(held).items() if key not in gone}


def pick(held: Value, *names: Value) -> dict[str, Value]:
    chosen = {plain(name) for name in names}
    return {key: value for key, value in entries(held).items() if key in chosen}


def without(value: Value, *gone: Value) -> list[Value]:
    """The items of a list but for these."""
    names = [plain(one) for one in gone]
    return [item for item in items(value) if plain(item) not in names]


def sliced(value: Value, start: Value = 0, end: Value = None) -> Value:
    held = plain(value) if isinstance(value, str | Pieces) else items(value)
    return held[integer(start) : None if end is None else integer(end)]


def split(separator: Value, value: Value) -> dict[str, Value]:
    return {f"_{number}": text for number, text in enumerate(plain(value).split(plain(separator)))}


def hashed(value: Value) -> str:
    return hashlib.sha256(text_of(value).encode("utf-8", "replace")).hexdigest()
