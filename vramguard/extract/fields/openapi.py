"""Numbers that OpenAPI 3, Swagger 2 and JSON Schema declare for answers.

JSON has no NaN, so that only bounds are asked for. A schema is an answer by what refers to it: a response of an
operation, none of whose requests use it; of a file without operations, by its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from vramguard.extract.fields.names import words
from vramguard.facts import Unknown
from vramguard.facts.fields import Bound, NumberField
from vramguard.source import Document, KeyPath, under

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OPENAPI: Final = re.compile(r"""^[\s{]{0,40}["']?(?:openapi|swagger)["']?\s{0,4}:""", re.MULTILINE)
_SCHEMA: Final = re.compile(r"""["']?\$schema["']?\s{0,4}:\s{0,4}["']?https?://json-schema\.org""")
_METHODS: Final = ("get", "put", "post", "delete", "patch", "options", "head", "trace")
_ANSWERS: Final = frozenset({
    "response", "responses", "prediction", "predictions", "output", "outputs", "result", "results", "quote", "quotes",
    "price", "forecast", "estimate",
})  # fmt: skip
_INNER: Final = ("allOf", "anyOf", "oneOf")
_DEPTH: Final = 12
_MAX: Final = 20_000  # schemas followed in one file


def extract(document: Document) -> Iterator[NumberField]:
    """Every number of an answer's schema, at its property."""
    text = document.text
    if "number" not in text and "integer" not in text:
        return
    api = ("openapi" in text or "swagger" in text) and _OPENAPI.search(text) is not None
    schema = "json-schema.org" in text and _SCHEMA.search(text) is not None
    if not api and not schema:
        return
    roots = (
        [((), document.value)]
        if document.kind == "apispec"
        else [((n,), one) for n, one in enumerate(_list(document.value))]
    )
    for keys, root in roots:
        if isinstance(root, dict) and ("openapi" in root or "swagger" in root):
            yield from _Reader(document, keys, root, "openapi").api()
        elif isinstance(root, dict) and "json-schema.org" in str(root.get("$schema", "")):
            yield from _Reader(document, keys, root, "jsonschema").schema()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _table(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


@dataclass
class _Reader:
    document: Document
    keys: KeyPath  # of the root in the document
    root: dict[Any, Any]
    form: str
    seen: set[KeyPath] = field(default_factory=set)
    asked: set[KeyPath] = field(default_factory=set)

    def api(self) -> Iterator[NumberField]:
        """The numbers of every operation's responses."""
        operations = list(self._operations())
        for keys, operation, _ in operations:
            self._mark(keys, operation)
        for keys, operation, name in operations:
            for status, response in _table(operation.get("responses")).items():
                if str(status)[:1] in "2d":  # 200, 2XX, default
                    yield from self._response((*keys, "responses", status), response, f"{name} {status}")

    def _operations(self) -> Iterator[tuple[KeyPath, dict[Any, Any], str]]:
        for path, item in _table(self.root.get("paths")).items():
            for method in _METHODS:
                operation = _table(item).get(method)
                if isinstance(operation, dict):
                    yield ("paths", path, method), operation, f"{method.upper()} {path}"

    def _mark(self, keys: KeyPath, operation: dict[Any, Any]) -> None:
        """Remember what is asked with: such a schema is an entity of the business, or an echo."""
        for media, content in _table(_table(operation.get("requestBody")).get("content")).items():
            self._reach((*keys, "requestBody", "content", media, "schema"), _table(content).get("schema"))
        for number, parameter in enumerate(_list(operation.get("parameters"))):
            if isinstance(parameter, dict):
                self._reach((*keys, "parameters", number, "schema"), parameter.get("schema"))

    def _reach(self, keys: KeyPath, schema: object) -> None:
        pending = [(keys, schema)]
        while pending and len(self.asked) < _MAX:
            at, found = self._resolved(*pending.pop())
            if found is None or at in self.asked:
                continue
            self.asked.add(at)
            pending += [(where, inner) for where, inner, _ in self._parts(at, found)]

    def _response(self, keys: KeyPath, response: object, name: str) -> Iterator[NumberField]:
        keys, found = self._resolved(keys, response)
        if found is None:
            return
        if "schema" in found:  # Swagger 2
            yield from self._numbers((*keys, "schema"), found["schema"], "", name, 0)
        for media, content in _table(found.get("content")).items():
            if "json" in str(media) or media == "*/*":
                where = (*keys, "content", media, "schema")
                yield from self._numbers(where, _table(content).get("schema"), "", name, 0)

    def schema(self) -> Iterator[NumberField]:
        """The numbers of a file that is a schema, where it, or one of its definitions, is an answer by its name."""
        stem = re.sub(r"\.(?:schema|json|ya?ml)\b", "", self.document.path.rpartition("/")[2])
        title = str(self.root.get("title") or stem)
        if _is_answer(title) or _is_answer(stem):
            yield from self._numbers((), self.root, title, title, 0)
        for holder in ("$defs", "definitions"):
            for name, inner in _table(self.root.get(holder)).items():
                if _is_answer(str(name)):
                    yield from self._numbers((holder, name), inner, str(name), str(name), 0)

    def _resolved(self, keys: KeyPath, value: object) -> tuple[KeyPath, dict[Any, Any] | None]:
        """The value itself, its references inside the file followed."""
        for _ in range(_DEPTH):
            reference = _table(value).get("$ref")
            if not isinstance(reference, str):
                break
            if not reference.startswith("#/"):
                return keys, None
            keys = tuple(part.replace("~1", "/").replace("~0", "~") for part in reference[2:].split("/"))
            value = under(self.root, keys)
        return keys, value if isinstance(value, dict) else None

    def _parts(self, keys: KeyPath, schema: Mapping[Any, Any]) -> Iterator[tuple[KeyPath, object, str | None]]:
        """The schemas in a schema; with the property's name where it is one."""
        for name, inner in _table(schema.get("properties")).items():
            yield (*keys, "properties", name), inner, str(name)
        for name in ("items", "additionalProperties"):
            if isinstance(schema.get(name), dict):
                yield (*keys, name), schema[name], None
        for name in _INNER:
            for number, inner in enumerate(_list(schema.get(name))):
                yield (*keys, name, number), inner, None

    def _numbers(self, keys: KeyPath, schema: object, model: str, answers: str, depth: int) -> Iterator[NumberField]:
        keys, found = self._resolved(keys, schema)
        if found is None or keys in self.seen or keys in self.asked or depth > _DEPTH or len(self.seen) > _MAX:
            return
        self.seen.add(keys)
        named = keys[-1] if keys and (keys[0] == "components" or keys[0] in ("definitions", "$defs")) else None
        model = str(found.get("title") or (named if len(keys) <= 3 else None) or model or answers)  # noqa: PLR2004
        for where, inner, name in self._parts(keys, found):
            if name is not None:
                yield from self._property(where, inner, name, model, answers)
            yield from self._numbers(where, inner, model, answers, depth + 1)

    def _property(self, keys: KeyPath, schema: object, name: str, model: str, answers: str) -> Iterator[NumberField]:
        place = keys
        keys, found = self._resolved(keys, schema)
        many = False
        while found is not None and "items" in found and not many:
            (keys, found), many = self._resolved((*keys, "items"), found["items"]), True
        found = _branch(found) if found is not None else {}
        kind = _kind(found)
        if kind is None:
            return
        yield NumberField(
            self.document.key_at(*self.keys, *place), model, name, self.form, _kind_word(found), kind, many,
            True, _bound(found, "exclusiveMinimum", "minimum"), _bound(found, "exclusiveMaximum", "maximum"),
            _default(found), answers=answers,
        )  # fmt: skip


def _branch(schema: dict[Any, Any]) -> dict[Any, Any]:
    """Of `anyOf: [{type: number}, {type: "null"}]` the number."""
    for name in _INNER:
        for inner in _list(schema.get(name)):
            if isinstance(inner, dict) and _kind(inner) is not None:
                return {**schema, **inner}
    return schema


def _kind(schema: Mapping[Any, Any]) -> str | None:
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return "float" if "number" in kinds else "int" if "integer" in kinds else None


def _kind_word(schema: Mapping[Any, Any]) -> str:
    return "number" if _kind(schema) == "float" else "integer"


def _bound(schema: Mapping[Any, Any], strict: str, other: str) -> Bound | None:
    """`exclusiveMinimum` is a number since JSON Schema's draft 6, and before that says what `minimum` is."""
    said, limit = schema.get(strict), schema.get(other)
    if _is_number(said):
        return Bound(Fraction(str(said)), strict=True)
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if limit is None and isinstance(choices, list) and choices and all(map(_is_number, choices)):
        limit = min(choices) if other == "minimum" else max(choices)
    if _is_number(limit):
        return Bound(Fraction(str(limit)), strict=said is True)
    return None if limit is None else Bound(Unknown(str(limit)[:80]), strict=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _default(schema: Mapping[Any, Any]) -> Fraction | None:
    found = schema.get("default")
    return Fraction(str(found)) if _is_number(found) else None


def _is_answer(name: str) -> bool:
    return bool(set(words(name)[-2:]) & _ANSWERS)
