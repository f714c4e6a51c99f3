"""TOML tables to typed values, strictly: what a table may hold is the dataclass that it becomes.

One definition serves three ends: decoding (an unknown key, a wrong type or a missing value is a `ConfigError` with
file and line), the documentation of each key, and the published JSON Schema.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date
from difflib import get_close_matches
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from vramguard.source import Document, KeyPath, Location

T = TypeVar("T")


class ConfigError(Exception):
    """A fault in a policy, a configuration or an option: the user's to mend, one line, exit code 2."""

    def __init__(self, message: str, at: Location | None = None) -> None:
        super().__init__(f"{at.path}:{at.line}:{at.column}: {message}" if at else message)


class Limit(NamedTuple):
    """What a value has to be beyond its type: as a test, in words that follow "is to be", and in JSON Schema's."""

    holds: Callable[[Any], bool]
    words: str
    schema: Mapping[str, Any]


FILLED = Limit(bool, "a list that is not empty", {"minItems": 1})
NOT_BLANK = Limit(lambda text: bool(text.strip()), "text that is not blank", {"pattern": r"\S"})
POSITIVE = Limit(lambda number: number >= 1, "at least 1", {"minimum": 1})
NOT_NEGATIVE = Limit(lambda number: number >= 0, "at least 0", {"minimum": 0})
SHARE = Limit(lambda number: 0 < number <= 1, "above 0 and at most 1", {"exclusiveMinimum": 0, "maximum": 1})


def option(
    doc: str,
    default: Any = dataclasses.MISSING,  # noqa: ANN401 - as `dataclasses.field`
    *,
    factory: Any = dataclasses.MISSING,  # noqa: ANN401 - likewise
    limit: Limit | None = None,
    each: Limit | None = None,
    keys: Limit | None = None,
) -> Any:  # noqa: ANN401 - likewise
    """A field of a table: its documentation, and limits of its value, of each item of its list, of its table's keys."""
    metadata = {"doc": doc, "limit": limit, "each": each, "keys": keys}
    return dataclasses.field(default=default, default_factory=factory, metadata=metadata)


def suggestion(word: str, known: typing.Iterable[str]) -> str:
    """What the user may have meant, as the end of a message: `; did you mean …?`, or nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


@cache
def _fields(cls: type[Any]) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(cls)
    return {field.name: (field, hints[field.name]) for field in dataclasses.fields(cls)}


def decode(cls: type[T], document: Document, keys: KeyPath, value: object, *, skip: frozenset[str] = frozenset()) -> T:
    """The table `value`, which stands under `keys` in `document`, as a `cls`. `skip` names keys read elsewhere."""
    arguments = partial(cls, document, keys, value, skip=skip)
    for name, (field, _) in _fields(cls).items():  # type: ignore[arg-type] # a class is hashable
        if name not in arguments and _required(field):
            raise ConfigError(f"`{name}` is missing", document.at(*keys))
    needed = _alternatives(cls)
    if needed and not arguments.keys() & set(needed):
        raise ConfigError(f"it needs {' or '.join(f'`{name}`' for name in needed)}", document.at(*keys))
    try:
        return cls(**arguments)
    except ValueError as error:  # a __post_init__ that refuses the combination
        raise ConfigError(str(error), document.at(*keys)) from error


def partial(
    cls: type, document: Document, keys: KeyPath, value: object, *, skip: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The values that a table gives for fields of `cls`, without asking for all of them."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"`{_dotted(keys)}` is to be a table", document.at(*keys))
    fields = _fields(cls)
    for key in value:
        if key not in fields and key not in skip:
            raise ConfigError(f"unknown key `{key}`{suggestion(key, fields)}", document.key_at(*keys, key))
    result = {}
    for name, (field, hint) in fields.items():
        if name in value:
            result[name] = _convert(hint, document, (*keys, name), value[name])
            _check_limits(field, document, (*keys, name), result[name])
    return result


def _check_limits(field: dataclasses.Field[Any], document: Document, keys: KeyPath, value: Any) -> None:  # noqa: ANN401
    limits = field.metadata
    inner: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, tuple) else ()
    checks = [(limits.get("limit"), keys, value, document.at)]
    checks += [(limits.get("each"), (*keys, key), item, document.at) for key, item in inner]
    checks += [(limits.get("keys"), (*keys, key), key, document.key_at) for key, _ in inner]
    for limit, path, item, where in checks:
        if limit and not limit.holds(item):
            raise ConfigError(f"`{_dotted(path)}` is to be {limit.words}, not {_shown(item)}", where(*path))


def _alternatives(cls: type) -> tuple[str, ...]:
    """Fields of which a table gives at least one: what the class names in `needs`."""
    return getattr(cls, "needs", ())


def _shown(value: object) -> str:
    """A value as a person wrote it, cut where it is long."""
    text = f"{float(value):g}" if isinstance(value, Fraction) else "empty" if value == () else repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


_MAX_SHOWN = 80


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, document: Document, keys: KeyPath, value: object) -> Any:  # noqa: ANN401 - a type's own value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        hint = next(argument for argument in arguments if argument is not type(None))
        return _convert(hint, document, keys, value)
    if origin is tuple:
        return _items(arguments[0], document, keys, value)
    if origin is Mapping:
        return _entries(arguments[1], document, keys, value)
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast("type", hint), document, keys, value)
    return _scalar(hint, document, keys, value)


def _items(hint: Any, document: Document, keys: KeyPath, value: object) -> tuple[Any, ...]:  # noqa: ANN401
    if not isinstance(value, list):
        raise ConfigError(f"`{_dotted(keys)}` is to be a list", document.at(*keys))
    return tuple(_convert(hint, document, (*keys, number), item) for number, item in enumerate(value))


def _entries(hint: Any, document: Document, keys: KeyPath, value: object) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, Mapping):
        raise ConfigError(f"`{_dotted(keys)}` is to be a table", document.at(*keys))
    if hint is Any:
        return dict(value)
    return {key: _convert(hint, document, (*keys, key), item) for key, item in value.items()}


def _scalar(hint: Any, document: Document, keys: KeyPath, value: object) -> Any:  # noqa: ANN401
    at = document.at(*keys)
    if issubclass(hint, Enum):
        words = {str(getattr(member, "label", member.value)): member for member in hint}
        if not isinstance(value, str) or value not in words:
            raise ConfigError(f"`{_dotted(keys)}` is to be one of {', '.join(words)}, not {_shown(value)}", at)
        return words[value]
    if hint is Fraction:
        return _fraction(value, keys, at)
    if type(value) is not hint:
        raise ConfigError(f"`{_dotted(keys)}` is to be {_WORDS.get(hint, hint.__name__)}, not {_shown(value)}", at)
    return value


_WORDS = {str: "text", int: "a whole number", bool: "true or false", date: "a date such as 2027-01-31"}


def _fraction(value: object, keys: KeyPath, at: Location) -> Fraction:
    """A number as it is written: 0.1 is a tenth, not the double nearest to it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"`{_dotted(keys)}` is to be a number, not {_shown(value)}", at)
    return Fraction(str(value))


def _dotted(keys: KeyPath) -> str:
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".") or "the file"


def json_schema(cls: type) -> dict[str, Any]:
    """The JSON Schema of a table that `decode(cls, …)` accepts."""
    fields = _fields(cls)
    required = [name for name, (field, _) in fields.items() if _required(field)]
    properties = {name: _described(_schema_of(hint), field) for name, (field, hint) in fields.items()}
    result: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        result["required"] = required
    if _alternatives(cls):
        result["anyOf"] = [{"required": [name]} for name in _alternatives(cls)]
    return result


def _described(schema: dict[str, Any], field: dataclasses.Field[Any]) -> dict[str, Any]:
    """The schema of a field's type with the field's limits and documentation."""
    limit, each, keys = (field.metadata.get(name) for name in ("limit", "each", "keys"))
    result = {**schema, **(limit.schema if limit else {})}
    if each:
        result["items"] = {**schema["items"], **each.schema}
    if keys:
        result["propertyNames"] = dict(keys.schema)
    return result | ({"description": field.metadata["doc"]} if "doc" in field.metadata else {})


def _schema_of(hint: Any) -> dict[str, Any]:  # noqa: ANN401
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _schema_of(next(argument for argument in arguments if argument is not type(None)))
    if origin is tuple:
        return {"type": "array", "items": _schema_of(arguments[0])}
    if origin is Mapping:
        inner = {} if arguments[1] is Any else {"additionalProperties": _schema_of(arguments[1])}
        return {"type": "object", **inner}
    if dataclasses.is_dataclass(hint):
        return json_schema(typing.cast("type", hint))
    if issubclass(hint, Enum):
        return {"enum": [str(getattr(member, "label", member.value)) for member in hint]}
    return dict(_JSON_TYPES[hint])


_JSON_TYPES: dict[Any, dict[str, str]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    Fraction: {"type": "number"},
    date: {"type": "string", "format": "date"},
}
