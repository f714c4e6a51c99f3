"""Classes with declared fields, and the numbers among these: pydantic, dataclass, attrs, msgspec, marshmallow.

What a class is may only be told by its bases in other modules: such a class has no form, and `link/fields` finds it.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.extract.fields import guards
from vramguard.extract.fields.constraints import NOTHING, Demand, config, demand
from vramguard.extract.fields.names import dotted, named, words
from vramguard.extract.fields.types import Number, numbers
from vramguard.facts import Unknown
from vramguard.facts.fields import Bound, NumberField, SchemaClass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.fields.names import Module
    from vramguard.source import Location

# The base's own name -> the form; of a base that is imported from the repository, `link` asks the module first.
_BASES: Final = {
    "BaseModel": "pydantic",
    "GenericModel": "pydantic",
    "RootModel": "pydantic",
    "SQLModel": "sqlmodel",
    "Struct": "msgspec",
    "TypedDict": "typeddict",
    "NamedTuple": "namedtuple",
}
_DECORATORS: Final = {
    "dataclass": "dataclass",
    "pydantic_dataclass": "dataclass",
    "define": "attrs",
    "frozen": "attrs",
    "mutable": "attrs",
    "attrs": "attrs",
    "s": "attrs",
}
# Bases whose annotated attributes are declarations of something else.
_OTHERS: Final = frozenset({
    "Module", "LightningModule", "Enum", "IntEnum", "StrEnum", "Exception", "Protocol", "ABC", "object", "Thread",
    "BaseSettings", "Dataset", "nn.Module", "Model", "TestCase", "type", "dict", "str", "int", "float", "list",
})  # fmt: skip
_MARSHMALLOW: Final = {"Float": "float", "Decimal": "decimal", "Integer": "int", "Int": "int", "Number": "float"}
_MAX_FIELDS: Final = 500


def of_module(module: Module) -> Iterator[SchemaClass | NumberField]:
    """Every class of the module that declares fields, and its numbers."""
    for node in module.statements:
        if isinstance(node, ast.ClassDef):
            yield from _class(module, node)


def _class(module: Module, node: ast.ClassDef) -> Iterator[SchemaClass | NumberField]:
    form = _form(module, node)
    bases = tuple(filter(None, (_base(base) for base in node.bases)))
    if form is None and (not bases or bases[0].rpartition(".")[2] in _OTHERS):
        return
    own = tuple(guards.of_class(module, node))
    fields = list(_fields(module, node, form or "class"))[:_MAX_FIELDS]
    holds = {name: None for item in node.body if isinstance(item, ast.AnnAssign) for name in named(item.annotation)}
    holds |= {name: None for base in node.bases if isinstance(base, ast.Subscript) for name in named(base.slice)}
    holds |= dict.fromkeys(_nested(module, node))
    counts = any("tokens" in words(name) or "token" in words(name) for name in _names(node))
    finite = config(module, node.body, node.keywords)
    yield SchemaClass(_heading(module, node), node.name, form, bases, finite, own, tuple(holds), counts)
    yield from (replace(found, bases=bases) for found in fields)


def _heading(module: Module, node: ast.ClassDef) -> Location:
    return module.at(node)._replace(end_line=node.lineno, end_column=len("class ") + len(node.name) + 1)


def _base(node: ast.expr) -> str:
    return dotted(node.value if isinstance(node, ast.Subscript) else node)


def _names(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            yield item.target.id


def _form(module: Module, node: ast.ClassDef) -> str | None:
    for decorator in node.decorator_list:
        known = _DECORATORS.get(module.last(decorator))
        if known:
            return known
    for base in node.bases:
        inner = base.value if isinstance(base, ast.Subscript) else base
        name, root = module.last(inner), module.root(inner)
        if name == "Schema":
            return "pydantic" if root == "ninja" else "marshmallow" if _is_marshmallow(node) else None
        if name in _BASES and (root or name not in ("BaseModel", "Struct")):
            return _BASES[name]
    return "marshmallow" if _is_marshmallow(node) else None


def _is_marshmallow(node: ast.ClassDef) -> bool:
    """`price = fields.Float(…)`."""
    return any(_marshmallow_call(item) is not None for item in node.body)


def _marshmallow_call(item: ast.stmt) -> ast.Call | None:
    if not (isinstance(item, ast.Assign) and isinstance(item.value, ast.Call)):
        return None
    path = dotted(item.value.func).split(".")
    return item.value if len(path) > 1 and path[-2] in ("fields", "ma", "mm_fields") else None


def _nested(module: Module, node: ast.ClassDef) -> Iterator[str]:
    """Schemas inside a schema of marshmallow: `fields.Nested(Item)`, `fields.List(fields.Nested("Item"))`."""
    for item in node.body:
        call = _marshmallow_call(item)
        for inner in ast.walk(call) if call is not None else ():
            if isinstance(inner, ast.Call) and module.last(inner) in ("Nested", "Pluck") and inner.args:
                yield from named(inner.args[0])


def _fields(module: Module, node: ast.ClassDef, form: str) -> Iterator[NumberField]:
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _is_field(item.target.id):
            found = numbers(module, item.annotation)
            if found is not None:
                yield _field(module, node, item, found, form)
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            yield from _assigned(module, node, item, form)
    for base in node.bases:
        root = (
            numbers(module, base)
            if isinstance(base, ast.Subscript) and module.last(base.value) == "RootModel"
            else None
        )
        if root is not None:
            at = module.at(base)
            yield NumberField(at, node.name, "root", form, module.source.written(base), root.kind, many=True)


def _is_field(name: str) -> bool:
    return not name.startswith("_") or name == "__root__"


def _field(module: Module, owner: ast.ClassDef, item: ast.AnnAssign, found: Number, form: str) -> NumberField:
    assert isinstance(item.target, ast.Name)  # noqa: S101 - for the type checker: the caller asked
    whole = found.demand.also(demand(module, item.value) if item.value is not None else NOTHING)
    written = module.source.written(item.annotation)
    bare = NumberField(module.at(item), owner.name, item.target.id, form, written, found.kind, found.many)
    return _demanded(module, bare, whole)


def _demanded(module: Module, bare: NumberField, whole: Demand) -> NumberField:
    """A field with what is demanded of it; of integers, and of Decimal by itself, neither NaN nor infinity is one."""
    finite = True if bare.kind != "float" and whole.finite is None else whole.finite
    own = tuple(guards.of_function(module, function, (bare.name,)) for function in whole.functions)
    return replace(bare, finite=finite, lower=whole.lower, upper=whole.upper, default=whole.default, guards=own)


def _assigned(module: Module, owner: ast.ClassDef, item: ast.Assign, form: str) -> Iterator[NumberField]:
    """`price = fields.Float(…)` of marshmallow, `price = attr.ib(type=float, …)`."""
    target, call = item.targets[0], item.value
    if not isinstance(target, ast.Name) or not isinstance(call, ast.Call):
        return
    if form == "attrs" and module.last(call) in ("ib", "attrib", "field"):
        annotation = next((keyword.value for keyword in call.keywords if keyword.arg == "type"), None)
        found = numbers(module, annotation)
        if found is not None and annotation is not None:
            written = module.source.written(annotation)
            bare = NumberField(module.at(item), owner.name, target.id, form, written, found.kind, found.many)
            yield _demanded(module, bare, found.demand.also(demand(module, call)))
    elif form == "marshmallow" and _marshmallow_call(item) is not None:
        inner, many = call, False
        while module.last(inner) in ("List", "Dict", "Tuple") and inner.args and isinstance(inner.args[0], ast.Call):
            inner, many = inner.args[0], True
        kind = _MARSHMALLOW.get(module.last(inner))
        if kind is not None:
            written = module.source.written(call)
            bare = NumberField(module.at(item), owner.name, target.id, form, written, kind, many)
            yield _demanded(module, bare, _of_marshmallow(module, inner))


def _of_marshmallow(module: Module, call: ast.Call) -> Demand:
    """A field of marshmallow 3 and 4 refuses NaN unless `allow_nan=True`; a `Range` is a bound, others are unclear."""
    found = Demand(finite=True)
    for keyword in call.keywords:
        if keyword.arg == "allow_nan":
            said = keyword.value
            found = replace(found, finite=not said.value if isinstance(said, ast.Constant) else Unknown("allow_nan"))
        elif keyword.arg == "validate":
            given = keyword.value.elts if isinstance(keyword.value, ast.List | ast.Tuple) else [keyword.value]
            for one in given:
                found = found.also(_range(module, one))
        elif keyword.arg in ("load_default", "dump_default", "missing", "default"):
            found = found.also(replace(demand(module, keyword.value), lower=None, upper=None))
    return found


def _range(module: Module, node: ast.expr) -> Demand:
    if not (isinstance(node, ast.Call) and module.last(node) == "Range"):
        text = Unknown(module.source.written(node))
        return Demand(lower=Bound(text, strict=False))
    given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    given |= dict(zip(("min", "max"), node.args, strict=False))

    def inclusive(name: str) -> bool:
        said = given.get(f"{name}_inclusive")
        return not (isinstance(said, ast.Constant) and said.value is False)

    renamed = [("gt" if not inclusive("min") else "ge", "min"), ("lt" if not inclusive("max") else "le", "max")]
    keywords = [ast.keyword(arg=new, value=given[old]) for new, old in renamed if old in given]
    call = ast.Call(func=ast.Name(id="Range"), args=[], keywords=keywords)
    return demand(module, call)
