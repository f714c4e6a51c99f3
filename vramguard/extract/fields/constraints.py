"""What is demanded of a number beside its type: `Field(gt=0)`, `Meta(lt=9)`, `validators.gt(0)`, `Range(min=0)`.

What is a bound, and what NaN does at it, was asked of pydantic 2.14.4 and 1.10.27, msgspec 0.22.0, attrs 26.1.0 and
marshmallow 4.4.0: any bound of the first three refuses NaN; marshmallow's Range does not.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from vramguard.facts import Unknown
from vramguard.facts.fields import Bound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.fields.names import Module

_DEPTH = 8
_LOWER = {"gt": True, "ge": False, "min_value": False, "minimum": False, "min_inclusive_value": False}
_UPPER = {"lt": True, "le": False, "max_value": False, "maximum": False}
# annotated_types and attrs name the bound in the call; `max_len` and the like are no bounds of a number.
_CALLS = {"Gt": "gt", "Ge": "ge", "Lt": "lt", "Le": "le", "gt": "gt", "ge": "ge", "lt": "lt", "le": "le"}
_VALIDATORS = ("AfterValidator", "BeforeValidator", "PlainValidator", "WrapValidator", "Predicate")
_LISTS = ("and_", "optional", "instance_of", "deep_iterable")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a declaration demands, and the functions that it names for more."""

    finite: bool | Unknown | None = None
    lower: Bound | None = None
    upper: Bound | None = None
    default: Fraction | Unknown | None = None
    functions: tuple[ast.expr, ...] = ()

    def also(self, other: Demand) -> Demand:
        """Both demands; of two words on one thing the second counts."""
        return Demand(
            self.finite if other.finite is None else other.finite,
            other.lower or self.lower,
            other.upper or self.upper,
            self.default if other.default is None else other.default,
            (*self.functions, *other.functions),
        )


NOTHING = Demand()


def number(  # noqa: PLR0911 - a row each
    module: Module, node: ast.expr, depth: int = 0
) -> float | Unknown:
    """The number that an expression is: a literal, a constant of the module, `float("inf")`, `math.inf`."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number(module, node.operand, depth + 1)
        return inner if isinstance(inner, Unknown) else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.Call) and module.last(node) in ("float", "Decimal", "int") and len(node.args) == 1:
        given = node.args[0]
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            try:
                return float(given.value)
            except ValueError:
                return Unknown(module.source.written(node))
        return number(module, given, depth + 1) if depth < _DEPTH else Unknown(module.source.written(node))
    if isinstance(node, ast.Attribute | ast.Name) and module.last(node) == "inf":
        return float("inf")
    if isinstance(node, ast.Name) and node.id in module.bound and depth < _DEPTH:
        return number(module, module.bound[node.id], depth + 1)
    return Unknown(module.source.written(node))


def exact(value: float | Unknown) -> Fraction | Unknown:
    """A number as a fact holds it; NaN and infinity are no bounds and no defaults that anybody could compare with."""
    if isinstance(value, Unknown):
        return value
    return Fraction(value) if abs(value) < float("inf") else Unknown(str(value))


def bound(module: Module, node: ast.expr, *, strict: bool) -> Bound | None:
    """The end of a range; None for `None`."""
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    value = number(module, node)
    infinite = not isinstance(value, Unknown) and abs(value) == float("inf")
    return Bound(exact(value), strict, infinite)


def demand(  # noqa: PLR0911 - a row each
    module: Module, node: ast.expr, depth: int = 0
) -> Demand:
    """What one value in the place of a default, or one item of `Annotated`, demands of a number."""
    if depth > _DEPTH:
        return NOTHING
    if isinstance(node, ast.Name) and node.id in module.bound:
        return demand(module, module.bound[node.id], depth + 1)
    if isinstance(node, ast.List | ast.Tuple):
        return _all(module, node.elts, depth)
    if isinstance(node, ast.Call):
        return _call(module, node, depth)
    name = module.last(node)
    if name in ("IsFinite", "IsNotNan"):
        return Demand(finite=True)
    if isinstance(node, ast.Constant | ast.UnaryOp):
        return _default(module, node)
    return NOTHING


def _all(module: Module, nodes: list[ast.expr], depth: int) -> Demand:
    found = NOTHING
    for node in nodes:
        found = found.also(demand(module, node, depth + 1))
    return found


def _default(module: Module, node: ast.expr) -> Demand:
    value = number(module, node)
    return NOTHING if isinstance(value, Unknown) else Demand(default=exact(value))


def _call(module: Module, node: ast.Call, depth: int) -> Demand:
    name = module.last(node)
    if name in _CALLS and len(node.args) == 1:
        return _bounds(module, _CALLS[name], node.args[0])
    if name in _VALIDATORS:
        return _named_function(module, node)
    if name == "AllowInfNan":
        return Demand(finite=_refuses(node.args[0] if node.args else None))
    if name in _LISTS:
        return _all(module, node.args, depth) if name != "deep_iterable" else _all(module, node.args[:1], depth)
    if name in ("float", "int", "Decimal"):
        return _default(module, node)
    found = NOTHING
    for keyword in node.keywords:
        found = found.also(_keyword(module, keyword, depth))
    if name in ("Field", "field", "ib", "attrib", "Body", "Param") and node.args:
        found = _default(module, node.args[0]).also(found)
    return found


def _named_function(module: Module, node: ast.Call) -> Demand:
    """`AfterValidator(check)`: finite where the function is known to be, else for the guards to try."""
    given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "func")][:1]
    if given and module.last(given[0]) == "isfinite":  # a Predicate; as a validator it would replace the value
        return Demand(finite=True) if module.last(node) == "Predicate" else NOTHING
    return Demand(functions=tuple(given))


def _keyword(  # noqa: PLR0911 - a row each
    module: Module, keyword: ast.keyword, depth: int
) -> Demand:
    name, value = keyword.arg, keyword.value
    if name is None:  # `**OPTIONS`: anything
        text = Unknown(module.source.written(value))
        return Demand(finite=text, lower=Bound(text, strict=False), upper=Bound(text, strict=False))
    if name in _LOWER or name in _UPPER:
        return _bounds(module, name, value)
    if name == "allow_inf_nan":
        return Demand(finite=_refuses(value))
    if name == "default":
        return _default(module, value)
    if name == "default_factory" and isinstance(value, ast.Name) and value.id in ("float", "int"):
        return Demand(default=Fraction(0))
    if name in ("validator", "validators"):
        return _validators(module, value, depth)
    return NOTHING


def _validators(module: Module, value: ast.expr, depth: int) -> Demand:
    """What attrs is given: its own bounds, a list of them, or anybody's function."""
    if isinstance(value, ast.List | ast.Tuple):
        found = NOTHING
        for item in value.elts:
            found = found.also(_validators(module, item, depth + 1))
        return found
    known = isinstance(value, ast.Call) and module.last(value) in (*_CALLS, *_LISTS)
    return demand(module, value, depth + 1) if known else Demand(functions=(value,))


def _bounds(module: Module, name: str, value: ast.expr) -> Demand:
    if name in _LOWER:
        return Demand(lower=bound(module, value, strict=_LOWER[name]))
    return Demand(upper=bound(module, value, strict=_UPPER[name]))


def _refuses(value: ast.expr | None) -> bool | Unknown:
    """Whether `allow_inf_nan=…` refuses them."""
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        return not value.value
    return Unknown("allow_inf_nan")


def config(module: Module, body: list[ast.stmt], keywords: list[ast.keyword]) -> bool | Unknown | None:
    """What a class's configuration says: `model_config = ConfigDict(…)`, a table, `class Config`, a class keyword."""
    found: bool | Unknown | None = None
    for name, value in (*_settings(body), *((keyword.arg, keyword.value) for keyword in keywords)):
        if name == "allow_inf_nan":
            found = _refuses(value)
        elif name is None and found is None:
            found = Unknown(module.source.written(value))
    return found


def _settings(body: list[ast.stmt]) -> Iterator[tuple[str | None, ast.expr]]:
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id in ("model_config", "__pydantic_config__"):
            yield from _entries(getattr(node, "value", None))
        elif isinstance(node, ast.ClassDef) and node.name == "Config":
            for inner in node.body:
                if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                    yield inner.targets[0].id, inner.value


def _entries(value: ast.expr | None) -> Iterator[tuple[str | None, ast.expr]]:
    if isinstance(value, ast.Call):
        yield from ((keyword.arg, keyword.value) for keyword in value.keywords)
    elif isinstance(value, ast.Dict):
        for key, item in zip(value.keys, value.values, strict=True):
            if key is None or isinstance(key, ast.Constant):
                yield None if key is None else str(key.value), item
    elif value is not None:
        yield None, value
