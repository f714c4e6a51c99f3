"""The validators that a class declares, each tried on NaN, infinity, zero and a negative number."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from vramguard.extract.fields.trial import ACCEPTED, ON, REFUSED, UNCLEAR, Trial
from vramguard.facts.fields import SAMPLES, Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.fields.names import Module

Function = ast.FunctionDef | ast.AsyncFunctionDef
_OF_FIELDS: Final = ("field_validator", "validator", "validates")
_OF_MODELS: Final = (
    "model_validator", "root_validator", "validates_schema", "__post_init__", "__attrs_post_init__", "model_post_init",
)  # fmt: skip
_ALL: Final = ("*",)
_MAX_NODES: Final = 4000


def of_class(module: Module, node: ast.ClassDef) -> Iterator[Guard]:
    """Every validator in the class's body."""
    for item in node.body:
        if isinstance(item, Function):
            yield from _of_method(module, node, item)
        elif isinstance(item, ast.Assign) and isinstance(item.value, ast.Call):
            yield from _reused(module, item.value)


def of_function(module: Module, node: ast.expr, fields: tuple[str, ...]) -> Guard:
    """The validator that an expression names: a function of the module, a lambda; another's is unclear."""
    at, name = module.at(node), module.source.written(node)
    if isinstance(node, ast.Lambda):
        function = ast.FunctionDef(name="lambda", args=node.args, body=[ast.Return(node.body)], decorator_list=[])
        return _tried(module, Guard(at, name, fields), function)
    found = module.functions.get(name)
    if found is None:
        return Guard(at, name, fields, frozenset(), frozenset(SAMPLES))
    return _tried(module, Guard(at, name, fields), found)


def _of_method(module: Module, owner: ast.ClassDef, node: Function) -> Iterator[Guard]:
    at = module.at(node)
    if node.name in _OF_MODELS:
        yield from _of_model(module, owner, node)
        return
    for decorator in node.decorator_list:
        name = module.last(decorator)
        if name in _OF_FIELDS and isinstance(decorator, ast.Call):
            yield _tried(module, Guard(at, node.name, _strings(decorator)), node)
        elif name == "validator" and isinstance(decorator, ast.Attribute) and isinstance(decorator.value, ast.Name):
            yield _attrs(module, Guard(at, node.name, (decorator.value.id,)), node)
        elif name in _OF_MODELS:
            yield from _of_model(module, owner, node)


def _strings(call: ast.Call) -> tuple[str, ...]:
    found = [item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return tuple(found) if len(found) == len(call.args) and found else _ALL


def _reused(module: Module, call: ast.Call) -> Iterator[Guard]:
    """`_check = field_validator("price")(check_price)`."""
    if isinstance(call.func, ast.Call) and module.last(call.func) in _OF_FIELDS and call.args:
        yield of_function(module, call.args[0], _strings(call.func))


def _tried(module: Module, guard: Guard, node: Function) -> Guard:
    if _is_long(node):
        return _with(guard, dict.fromkeys(SAMPLES, UNCLEAR))
    return _with(guard, {name: Trial(module, value, {}).function(node) for name, value in SAMPLES.items()})


def _is_long(node: ast.AST) -> bool:
    """Whether it is no validator that a person wrote: trying it would only cost time."""
    return any(number > _MAX_NODES for number, _ in enumerate(ast.walk(node)))


def _with(guard: Guard, outcomes: dict[str, str]) -> Guard:
    refuses = frozenset(name for name, outcome in outcomes.items() if outcome == REFUSED)
    unclear = frozenset(name for name, outcome in outcomes.items() if outcome not in (REFUSED, ACCEPTED, ON))
    return Guard(guard.at, guard.name, guard.fields, refuses, unclear)


def _attrs(module: Module, guard: Guard, node: Function) -> Guard:
    """A validator of attrs gets itself, the attribute, the value."""
    last = [item.arg for item in node.args.args][-1:]
    outcomes = {
        name: Trial(module, value, dict.fromkeys(last, value)).run(node.body) for name, value in SAMPLES.items()
    }
    return _with(guard, outcomes)


def _of_model(module: Module, owner: ast.ClassDef, node: Function) -> Iterator[Guard]:
    """A validator of the whole model, tried for each field that it names; one that loops over all, for all."""
    at = module.at(node)
    arguments = [item.arg for item in node.args.args]
    text = {item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str)}
    text |= {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute)}
    fields = [name for name in _declared(owner) if name in text]
    loops = any(isinstance(item, ast.For | ast.comprehension) for item in ast.walk(node))
    if _is_long(node):
        yield _with(Guard(at, node.name, _ALL), dict.fromkeys(SAMPLES, UNCLEAR))
        return
    for name in [*fields, *(_ALL if loops else ())]:
        subjects = frozenset(shape for argument in arguments for shape in _shapes(argument, name))
        outcomes = {
            sample: Trial(module, value, {}, subjects, anything_iterated=name == "*").run(node.body)
            for sample, value in SAMPLES.items()
        }
        yield _with(Guard(at, node.name, (name,)), outcomes)


def _shapes(argument: str, name: str) -> Iterator[str]:
    """`self.price`, `values["price"]`, `values.get("price")`, as dumps."""
    for text in (f"{argument}.{name}", f"{argument}[{name!r}]", f"{argument}.get({name!r})"):
        try:
            yield ast.dump(ast.parse(text, mode="eval").body)
        except SyntaxError:  # `*`, or a field that is a keyword
            continue


def _declared(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            yield item.target.id
