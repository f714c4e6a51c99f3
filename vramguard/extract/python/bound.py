"""Which statements of one Python file bind which names, scope by scope, for the evaluator of literals.

One walk over the statements, by a stack of our own: a chain of a thousand `elif` nests as deep.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
Place = tuple[int, int]
END: Final[Place] = (1 << 60, 0)
_GROWING: Final = {"append": "append", "add": "append", "extend": "add", "update": "add"}
_PAIR: Final = 2


@dataclass(frozen=True, slots=True)
class Binding:
    """One statement that gives a name a value, or changes the one it has.

    `kind`: assign, add (`+=`, `extend`, `update`), append, loop (each item of `expression`), define, opaque.
    `path`: the numbers under which the name stands in a target of several. `key`: of `name[key] = expression`.
    """

    kind: str
    expression: ast.expr | Function | ast.ClassDef | None
    at: Place
    conditional: bool
    path: tuple[int, ...] = ()
    key: ast.expr | None = None

    @property
    def replaces(self) -> bool:
        """Whether nothing of what the name held before it is left."""
        return self.kind in ("assign", "define", "opaque") and not self.conditional and self.key is None


@dataclass(slots=True)
class Scope:
    """A module, a function or a class, and what it binds."""

    node: Function | ast.ClassDef | None
    outer: Scope | None
    names: dict[str, list[Binding]] = field(default_factory=lambda: defaultdict(list))
    returns: list[ast.Return] = field(default_factory=list)
    yields: list[ast.Yield | ast.YieldFrom] = field(default_factory=list)

    def __contains__(self, place: Place) -> bool:
        """Whether a place is within the body of it."""
        if self.node is None:
            return True
        first, last = self.node.body[0], self.node
        return (first.lineno, first.col_offset) <= place <= (last.end_lineno or 0, last.end_col_offset or 0)


def scopes(tree: ast.Module) -> list[Scope]:
    """Every scope of a module, itself first; one within another comes after it."""
    found = [Scope(None, None)]
    pending: list[tuple[ast.stmt, Scope, bool]] = [(node, found[0], False) for node in reversed(tree.body)]
    while pending:
        node, scope, conditional = pending.pop()
        if isinstance(node, Function | ast.ClassDef):
            inner = Scope(node, scope)
            found.append(inner)
            scope.names[node.name].append(Binding("define", node, _at(node), conditional))
            pending.extend((child, inner, False) for child in reversed(node.body))
            continue
        _note(node, scope, conditional=conditional)
        loose = conditional or (not isinstance(node, ast.With | ast.AsyncWith) and not _is_main(node))
        pending.extend((child, scope, loose) for child in reversed(list(_inside(node))))
    for scope in found:
        for bindings in scope.names.values():
            bindings.sort(key=lambda binding: binding.at)
    return found


def takes(function: Function, name: str) -> bool:
    """Whether a function has a parameter of this name."""
    given = function.args
    listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return any(argument is not None and argument.arg == name for argument in listed)


def _inside(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statements directly within a compound one."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        for child in getattr(node, name, ()):
            if isinstance(child, ast.stmt):
                yield child
            elif isinstance(child, ast.ExceptHandler | ast.match_case):
                yield from child.body


def _is_main(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, which a script that is run always enters."""
    test = node.test if isinstance(node, ast.If) else None
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _at(node: ast.stmt | ast.expr) -> Place:
    return node.lineno, node.col_offset


def _note(node: ast.stmt, scope: Scope, *, conditional: bool) -> None:  # noqa: C901, PLR0912 - a row for each statement
    at = _at(node)
    match node:
        case ast.Assign():
            for target in node.targets:
                _target(scope, target, Binding("assign", node.value, at, conditional))
        case ast.AnnAssign() if node.value is not None:
            _target(scope, node.target, Binding("assign", node.value, at, conditional))
        case ast.AugAssign():
            kind = "add" if isinstance(node.op, ast.Add | ast.BitOr) else "opaque"
            _target(scope, node.target, Binding(kind, node.value, at, conditional))
        case ast.For() | ast.AsyncFor():
            _target(scope, node.target, Binding("loop", node.iter, at, conditional=True))
        case ast.With() | ast.AsyncWith():
            for item in node.items:
                if item.optional_vars is not None:
                    _target(scope, item.optional_vars, Binding("assign", item.context_expr, at, conditional))
        case ast.Import() | ast.ImportFrom():
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                scope.names[name].append(Binding("opaque", None, at, conditional))
        case ast.Expr(value=ast.Call() as call):
            _method(scope, call, at, conditional=conditional)
        case ast.Expr(value=ast.Yield() | ast.YieldFrom() as value):
            scope.yields.append(value)
        case ast.Return() if node.value is not None:
            scope.returns.append(node)


def _target(scope: Scope, target: ast.expr, binding: Binding) -> None:
    """Note a binding under each name of its target; one that nests deeper than two levels is nobody's list."""
    match target:
        case ast.Name():
            scope.names[target.id].append(binding)
        case ast.Tuple() | ast.List():
            for number, item in enumerate(target.elts[:100]):
                kind = binding.kind if binding.kind in ("assign", "loop") else "opaque"
                inner = Binding(kind, binding.expression, binding.at, binding.conditional, (*binding.path, number))
                if len(binding.path) < _PAIR:
                    _target(scope, item, inner)
        case ast.Subscript(value=ast.Name(id=name)) if binding.kind in ("assign", "add"):
            scope.names[name].append(
                Binding(binding.kind, binding.expression, binding.at, binding.conditional, key=target.slice)
            )


def _method(scope: Scope, call: ast.Call, at: Place, *, conditional: bool) -> None:
    """`names.append(x)`, `names.extend(more)`, `table["key"].append(x)` change what stands under a name."""
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in _GROWING or len(call.args) != 1:
        return
    kind, value = _GROWING[function.attr], call.args[0]
    match function.value:
        case ast.Name(id=name):
            scope.names[name].append(Binding(kind, value, at, conditional))
        case ast.Subscript(value=ast.Name(id=name), slice=key):
            scope.names[name].append(Binding(kind, value, at, conditional, key=key))
