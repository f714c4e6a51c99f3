"""Numbers that protocol buffers declare for the answers of services, with the bounds of protovalidate and of its elder.

`double` and `float` carry NaN, and a field that nobody sets is read as 0. protovalidate's bounds refuse NaN
(`gt: … this.isNan() || this <= rules.gt`, buf/validate/validate.proto as shipped with protovalidate 2.1.0);
protoc-gen-validate's do not (`if price <= 0: raise`, protoc-gen-validate 1.3.3, validator.py).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.facts.fields import Bound, NumberField
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.source import Document
    from vramguard.source.proto import Field, Proto

_DIGITS: Final = 40
_INTEGERS: Final = frozenset({
    "int32", "int64", "sint32", "sint64", "uint32", "uint64", "fixed32", "fixed64", "sfixed32", "sfixed64",
})  # fmt: skip
_FLOATS: Final = frozenset({"double", "float"})
_UNSIGNED: Final = frozenset({"uint32", "uint64", "fixed32", "fixed64"})
_FORMS: Final = (("buf.validate.field", "protovalidate"), ("validate.rules", "protoc-gen-validate"))


def extract(document: Document) -> Iterator[NumberField]:
    """Every number of a message that some method of the file answers with, those of messages inside it too."""
    text = document.text
    if "message" not in text or not any(word in text for word in (*_FLOATS, "int32", "int64", "fixed")):
        return
    read: Proto = document.value
    answers = _answers(read)
    for found in read.fields:
        if found.type in _FLOATS | _INTEGERS:
            yield _number(document.path, found, answers.get(found.message, ""))


def _answers(read: Proto) -> Mapping[str, str]:
    """Message -> the method that answers with it, through the fields that hold messages."""
    holds: dict[str, list[str]] = {}
    for found in read.fields:
        holds.setdefault(found.message, []).append(found.type)
    known = set(holds)
    asked = {method.request for method in read.methods}
    answers: dict[str, str] = {}
    for method in read.methods:
        pending = [method.response]
        while pending:
            name = _known(pending.pop(), known)
            if name and name not in answers and name not in asked:
                answers[name] = f"rpc {method.service}.{method.name}"
                pending += [inner for held in holds[name] for inner in (f"{name}.{held}", held)]
    return answers


def _known(name: str, known: set[str]) -> str | None:
    """The message that a name means, its package left out."""
    parts = name.split(".")
    return next((end for index in range(len(parts)) if (end := ".".join(parts[index:])) in known), None)


def _number(path: str, found: Field, answers: str) -> NumberField:
    kind = "float" if found.type in _FLOATS else "int"
    rules = _rules(found)
    form = next(
        (form for prefix, form in _FORMS if any(key.startswith(prefix) for key, _ in found.options)), "protobuf"
    )
    lower = _bound(rules, "gt", "gte") or _const(rules)
    if lower is None and found.type in _UNSIGNED:
        lower = Bound(Fraction(0), strict=False)
    finite: bool | Unknown | None = True if kind == "int" or rules.get("finite") == "true" else None
    if "cel" in rules or "required_cel" in rules:  # an expression that we do not read
        text = Unknown("cel")
        finite, lower = (finite or text), (lower or Bound(text, strict=False))
    return NumberField(
        Location(path, *found.span), found.message, found.name, form, found.type, kind, found.label == "repeated",
        finite, lower, _bound(rules, "lt", "lte") or _const(rules), answers=answers,
    )  # fmt: skip


def _rules(found: Field) -> Mapping[str, str]:
    """The last word of each option of a validator: gt, gte, lt, lte, finite, const, cel."""
    result: dict[str, str] = {}
    for key, value in found.options:
        parts = key.split(".")
        if any(key.startswith(prefix) for prefix, _ in _FORMS):
            result["cel" if "cel" in parts or "cel_expression" in parts else parts[-1]] = value
    return result


def _bound(rules: Mapping[str, str], strict: str, other: str) -> Bound | None:
    for name in (strict, other):
        if name in rules:
            return Bound(_value(rules[name]), name == strict)
    return None


def _const(rules: Mapping[str, str]) -> Bound | None:
    return Bound(_value(rules["const"]), strict=False) if "const" in rules else None


def _value(text: str) -> Fraction | Unknown:
    try:
        return Fraction(text.rstrip("fF")) if len(text) < _DIGITS else Unknown(text[:_DIGITS])
    except (ValueError, ZeroDivisionError):
        return Unknown(text)
