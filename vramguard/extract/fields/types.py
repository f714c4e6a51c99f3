"""Whether a type holds numbers, and what it demands: `float`, `List[confloat(gt=0)]`, an alias of the module."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from vramguard.extract.fields.constraints import NOTHING, Demand, demand
from vramguard.extract.fields.names import unquoted
from vramguard.facts.fields import Bound

if TYPE_CHECKING:
    from vramguard.extract.fields.names import Module

_DEPTH = 12
_ABOVE = Demand(lower=Bound(Fraction(0), strict=True))
_FROM = Demand(lower=Bound(Fraction(0), strict=False))
_BELOW = Demand(upper=Bound(Fraction(0), strict=True))
_UP_TO = Demand(upper=Bound(Fraction(0), strict=False))
# Names of types -> kind, and what they demand by themselves. Decimal refuses NaN in both pydantics unless told
# otherwise (2.14.4 and 1.10.27, tried).
_TYPES: dict[str, tuple[str, Demand]] = {
    "float": ("float", NOTHING),
    "StrictFloat": ("float", NOTHING),
    "float32": ("float", NOTHING),
    "float64": ("float", NOTHING),
    "FiniteFloat": ("float", Demand(finite=True)),
    "PositiveFloat": ("float", _ABOVE),
    "NonNegativeFloat": ("float", _FROM),
    "NegativeFloat": ("float", _BELOW),
    "NonPositiveFloat": ("float", _UP_TO),
    "Decimal": ("decimal", NOTHING),
    "int": ("int", NOTHING),
    "StrictInt": ("int", NOTHING),
    "PositiveInt": ("int", _ABOVE),
    "NonNegativeInt": ("int", _FROM),
    "confloat": ("float", NOTHING),
    "condecimal": ("decimal", NOTHING),
    "conint": ("int", NOTHING),
}
_LISTS = frozenset({
    "List", "list", "Sequence", "Iterable", "Set", "set", "FrozenSet", "frozenset", "Tuple", "tuple", "Deque", "deque",
    "Collection", "conlist", "conset", "RootModel",
})  # fmt: skip
_TABLES = frozenset({"Dict", "dict", "Mapping", "MutableMapping", "DefaultDict", "defaultdict", "OrderedDict"})
_THROUGH = frozenset({"Optional", "Final", "Required", "NotRequired", "ReadOnly", "Union", "SkipValidation"})
_RANK = {"float": 0, "decimal": 1, "int": 2}


@dataclass(frozen=True, slots=True)
class Number:
    """A type that holds numbers: of which kind, whether many, and what is demanded of each."""

    kind: str
    demand: Demand = NOTHING
    many: bool = False


def numbers(  # noqa: PLR0911 - a row each
    module: Module, node: ast.expr | None, depth: int = 0
) -> Number | None:
    """The numbers that a type holds; of several, the kind that lets most through. None where it holds none."""
    if node is None or depth > _DEPTH:
        return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _widest([numbers(module, node.left, depth + 1), numbers(module, node.right, depth + 1)])
    if isinstance(node, ast.Constant):
        return numbers(module, unquoted(node), depth + 1)
    if isinstance(node, ast.Subscript):
        return _subscript(module, node, depth)
    if isinstance(node, ast.Call):
        return _call(module, node, depth)
    if isinstance(node, ast.Name) and node.id in module.bound:
        return numbers(module, module.bound[node.id], depth + 1)
    known = _TYPES.get(module.last(node)) if isinstance(node, ast.Name | ast.Attribute) else None
    return Number(*known) if known else None


def _call(module: Module, node: ast.Call, depth: int) -> Number | None:
    """`confloat(gt=0)`, `conlist(float)`, `NewType("Price", float)`."""
    name = module.last(node)
    if name in ("conlist", "conset", "confrozenset") and node.args:
        return _many(numbers(module, node.args[0], depth + 1))
    if name == "NewType" and len(node.args) == 2:  # noqa: PLR2004 - a name and a type
        return numbers(module, node.args[1], depth + 1)
    if name in ("confloat", "condecimal", "conint"):
        kind, own = _TYPES[name]
        return Number(kind, own.also(replace(demand(module, node), default=None)))
    return None


def _subscript(module: Module, node: ast.Subscript, depth: int) -> Number | None:
    name = module.last(node.value)
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Annotated":
        found = numbers(module, inner[0], depth + 1)
        if found is None:
            return None
        more = found.demand
        for item in inner[1:]:
            more = more.also(replace(demand(module, item), default=None))
        return replace(found, demand=more)
    if name in _TABLES:
        return _many(numbers(module, inner[-1], depth + 1))
    if name in _LISTS:
        return _many(_widest([numbers(module, item, depth + 1) for item in inner]))
    if name in _THROUGH:
        return _widest([numbers(module, item, depth + 1) for item in inner])
    return None


def _many(found: Number | None) -> Number | None:
    return None if found is None else replace(found, many=True)


def _widest(found: list[Number | None]) -> Number | None:
    """Of the alternatives, that which lets most through: a float before an int, one without demands first."""
    some = [one for one in found if one is not None]
    if not some:
        return None
    return min(some, key=lambda one: (_RANK[one.kind], one.demand != NOTHING))
