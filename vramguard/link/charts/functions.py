"""The functions of Helm's templates, by name.

What is random, of the cluster, of today, or searches by a pattern of the repository's own is not known.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.link.charts import sprig
from vramguard.link.charts.pieces import Pieces
from vramguard.link.charts.values import (
    MAX_NUMBER,
    MAX_TEXT,
    StopFillingError,
    UntoldError,
    field,
    is_true,
    made,
    plain,
    settled,
    text_of,
    written,
    yaml_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.link.charts.values import Value


_MAX_ITEMS: Final = 100_000  # of a list or a mapping that functions make


def call(name: str, arguments: list[Value]) -> Value:
    """What a function gives; `Unknown` for one that is not known, or that gets what is not known."""
    function = _FUNCTIONS.get(name)
    if function is None:
        return Unknown(name)
    try:
        found = function(*arguments)
    except UntoldError as error:
        return Unknown(error.name)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError):
        return Unknown(name)
    except MemoryError as error:
        raise StopFillingError("a value larger than memory") from error
    return _bounded(found, name)


def _bounded(value: Value, name: str) -> Value:
    size = len(value) if isinstance(value, str) else 0
    if isinstance(value, Pieces):
        size = len(value) + sum(len(piece.text) for piece in value)
    if isinstance(value, list | dict) and len(value) > _MAX_ITEMS:
        raise StopFillingError(f"a value of more than {_MAX_ITEMS:,} parts")
    if size > MAX_TEXT:
        raise StopFillingError(f"a text longer than {MAX_TEXT:,} characters")
    if isinstance(value, int | float) and (value != value or abs(value) >= MAX_NUMBER):  # noqa: PLR0124 - not a number
        return Unknown(name)
    return value


_FUNCTIONS: Final[dict[str, Callable[..., Value]]] = {
    "eq": sprig.equal,
    "ne": lambda one, other: plain(one) != plain(other),
    "lt": lambda one, other: sprig.ordered(one, other, lambda a, b: a < b),
    "le": lambda one, other: sprig.ordered(one, other, lambda a, b: a <= b),
    "gt": lambda one, other: sprig.ordered(one, other, lambda a, b: a > b),
    "ge": lambda one, other: sprig.ordered(one, other, lambda a, b: a >= b),
    "not": lambda value: not is_true(value),
    "empty": lambda value: not is_true(value),
    "default": sprig.default_of,
    "coalesce": sprig.coalesce,
    "ternary": sprig.ternary,
    "required": lambda message, value: value if is_true(value) else Unknown(f"required.{plain(message)}"),
    "index": sprig.indexed,
    "get": lambda held, key: field(held, plain(key)),
    "hasKey": lambda held, key: plain(key) in sprig.entries(held),
    "dig": sprig.dig,
    "dict": sprig.dict_of,
    "set": sprig.set_in,
    "unset": sprig.unset,
    "merge": sprig.merged,
    "mergeOverwrite": lambda *held: sprig.merged(*held, overwrite=True),
    "mustMerge": sprig.merged,
    "mustMergeOverwrite": lambda *held: sprig.merged(*held, overwrite=True),
    "deepCopy": lambda value: dict(value) if isinstance(value, dict) else value,
    "keys": lambda *held: [key for one in held for key in sprig.entries(one)],
    "values": lambda held: list(sprig.entries(held).values()),
    "pick": sprig.pick,
    "omit": sprig.omit,
    "list": lambda *values: list(values),
    "tuple": lambda *values: list(values),
    "append": lambda held, value: [*sprig.items(held), value],
    "mustAppend": lambda held, value: [*sprig.items(held), value],
    "prepend": lambda held, value: [value, *sprig.items(held)],
    "concat": lambda *held: [item for one in held for item in sprig.items(one)],
    "first": lambda held: next(iter(sprig.items(held)), None),
    "last": lambda held: next(iter(reversed(sprig.items(held))), None),
    "rest": lambda held: sprig.items(held)[1:],
    "initial": lambda held: sprig.items(held)[:-1],
    "reverse": lambda held: sprig.items(held)[::-1],
    "compact": lambda held: [item for item in sprig.items(held) if is_true(item)],
    "without": sprig.without,
    "has": lambda value, held: plain(value) in plain(held),
    "uniq": lambda held: list({json.dumps(plain(item), default=str): item for item in sprig.items(held)}.values()),
    "sortAlpha": lambda held: sorted(text_of(item) for item in sprig.items(held)),
    "slice": sprig.sliced,
    "len": sprig.length,
    "until": sprig.numbers_of,
    "untilStep": sprig.numbers_of,
    "seq": lambda *bounds: " ".join(map(str, sprig.numbers_of(1, sprig.integer(bounds[0]) + 1))),
    "quote": sprig.quote,
    "squote": sprig.squote,
    "indent": sprig.indent,
    "nindent": sprig.nindent,
    "print": sprig.printed,
    "println": lambda *values: sprig.printed(*values, "\n"),
    "printf": sprig.printf,
    "cat": lambda *values: sprig.joined(" ", [text_of(value) for value in values]),
    "toString": written,
    "toStrings": lambda held: [text_of(item) for item in sprig.items(held)],
    "trim": sprig.changed(lambda text: text.strip()),
    "trimAll": sprig.changed(lambda marks, text: text.strip(marks)),
    "trimSuffix": sprig.changed(sprig.suffix),
    "trimPrefix": sprig.changed(lambda prefix, text: text.removeprefix(prefix)),
    "trunc": sprig.changed(sprig.trunc),
    "substr": sprig.changed(sprig.substr),
    "lower": sprig.changed(lambda text: text.lower()),
    "upper": sprig.changed(lambda text: text.upper()),
    "title": sprig.changed(lambda text: text.title()),
    "replace": sprig.changed(sprig.replaced),
    "repeat": sprig.changed(sprig.repeated),
    "nospace": sprig.changed(lambda text: "".join(text.split())),
    "kebabcase": sprig.changed(lambda text: re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_ ]", "-", text).lower()),
    "base": sprig.changed(posixpath.basename),
    "dir": sprig.changed(posixpath.dirname),
    "b64enc": sprig.changed(lambda text: b64encode(text.encode()).decode()),
    "b64dec": sprig.changed(lambda text: b64decode(text).decode()),
    "contains": lambda part, text: plain(part) in str(plain(text)),
    "hasPrefix": lambda part, text: str(plain(text)).startswith(plain(part)),
    "hasSuffix": lambda part, text: str(plain(text)).endswith(plain(part)),
    "splitList": lambda separator, text: plain(text).split(plain(separator)),
    "split": sprig.split,
    "join": lambda separator, held: sprig.joined(plain(separator), [text_of(item) for item in sprig.items(held)]),
    "regexMatch": lambda pattern, text: sprig.pattern_of(pattern, plain(text)).search(plain(text)) is not None,
    "regexFind": sprig.regex_found,
    "regexReplaceAll": sprig.regex_replaced,
    "regexReplaceAllLiteral": sprig.regex_replaced,
    "regexSplit": lambda pattern, text, _: sprig.pattern_of(pattern, plain(text)).split(plain(text)),
    "sha256sum": sprig.hashed,
    "int": sprig.integer,
    "int64": sprig.integer,
    "float64": sprig.float_of,
    "atoi": sprig.integer,
    "add": sprig.sum_of,
    "add1": lambda value: sprig.integer(value) + 1,
    "sub": lambda one, other: sprig.integer(one) - sprig.integer(other),
    "mul": lambda *values: math.prod(map(sprig.integer, values)),
    "div": lambda one, other: int(sprig.integer(one) / sprig.integer(other)),
    "mod": lambda one, other: sprig.integer(one) % sprig.integer(other),
    "addf": lambda *values: sum(map(sprig.float_of, values)),
    "mulf": lambda *values: math.prod(map(sprig.float_of, values)),
    "divf": lambda one, other: sprig.float_of(one) / sprig.float_of(other),
    "max": lambda *values: max(map(sprig.integer, values)),
    "min": lambda *values: min(map(sprig.integer, values)),
    "floor": lambda value: math.floor(sprig.float_of(value)),
    "ceil": lambda value: math.ceil(sprig.float_of(value)),
    "round": lambda value, digits: round(sprig.float_of(value), sprig.integer(digits)),
    "kindOf": sprig.kind_of,
    "typeOf": lambda value: {"map": "map[string]interface {}", "slice": "[]interface {}"}.get(
        sprig.kind_of(value), sprig.kind_of(value)
    ),
    "kindIs": sprig.is_kind,
    "typeIs": sprig.is_kind,
    "toYaml": lambda value: value if isinstance(value, Unknown) else yaml_of(settled(value)),
    "toYamlPretty": lambda value: value if isinstance(value, Unknown) else yaml_of(settled(value)),
    "toJson": lambda value: made(value, json.dumps(plain(value), default=str)),
    "toRawJson": lambda value: made(value, json.dumps(plain(value), default=str)),
    "toPrettyJson": lambda value: made(value, json.dumps(plain(value), default=str, indent=2)),
    "fromYaml": sprig.from_yaml,
    "fromYamlArray": sprig.from_yaml,
    "fromJson": sprig.from_yaml,
    "mustFromJson": sprig.from_yaml,
    "mustToJson": lambda value: made(value, json.dumps(plain(value), default=str)),
    "lookup": lambda *_: {},  # as where there is no cluster
    "semverCompare": sprig.semver,
}
