"""Statements of Python as acts and blocks of a graph."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from vramguard.extract.code.expressions import path, sign, value
from vramguard.source.graph import NONE
from vramguard.source.python import every

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from vramguard.extract.code.scope import Scope
    from vramguard.source.graph import Node

# Calls after which nothing runs.
_EARLY: Final = 12  # ways out of a loop, or back to its beginning, that are told apart
_EXITS: Final = frozenset(
    {"sys.exit", "exit", "quit", "os._exit", "os.abort", "abort", "flask.abort", "pytest.fail", "pytest.skip"}
)


def suite(scope: Scope, body: Sequence[ast.stmt]) -> str:
    """Run through statements, and say how they always end; empty if what follows may be reached."""
    for statement in body:
        run = _RUNS.get(type(statement))
        leaves = run(scope, statement) if run is not None else ""
        if leaves:
            return leaves
    return ""


def _inside(scope: Scope, block: int, body: Sequence[ast.stmt]) -> str:
    """Statements in a block that was opened for them."""
    leaves = suite(scope, body)
    scope.left(block, leaves)
    return leaves


def _expression(scope: Scope, node: ast.Expr) -> str:
    if isinstance(node.value, ast.Constant):
        return ""
    value(scope, node.value)
    inner = node.value
    return "exit" if isinstance(inner, ast.Call) and path(inner.func) in _EXITS else ""


def _assign(scope: Scope, node: ast.Assign) -> str:
    found = value(scope, node.value)
    for target in node.targets:
        scope.assign(target, found)
    return ""


def _annotated(scope: Scope, node: ast.AnnAssign) -> str:
    annotation = value(scope, node.annotation)
    found = NONE if node.value is None else value(scope, node.value)
    if isinstance(node.target, ast.Name) and scope.of_class:
        scope.add("field", node.target.id, (annotation, found), node)
    if found != NONE:
        scope.assign(node.target, found)
    return ""


def _augmented(scope: Scope, node: ast.AugAssign) -> str:
    old = value(scope, node.target)
    more = value(scope, node.value)
    scope.assign(node.target, scope.add("binary", sign(node.op), (old, more), node))
    return ""


def _return(scope: Scope, node: ast.Return) -> str:
    scope.add("return", "", () if node.value is None else (value(scope, node.value),), node)
    return "return"


def _raise(scope: Scope, node: ast.Raise) -> str:
    scope.add("raise", "", () if node.exc is None else (value(scope, node.exc),), node)
    return "raise"


def _assert(scope: Scope, node: ast.Assert) -> str:
    test = value(scope, node.test)
    scope.add("assert", "", (test,), node)
    scope.open("assert", node.lineno, test)
    return ""


def _if(scope: Scope, node: ast.If) -> str:
    """A chain of `elif` without recursion. What follows a branch that always leaves is in the block of the others."""
    outer = scope.block
    ends: list[tuple[dict[str, int], int]] = []
    branch: ast.If | None = node
    leaves = ""
    while branch is not None:
        test = value(scope, branch.test)
        above, before = scope.block, dict(scope.names)
        block = scope.open("if", branch.lineno, test)
        leaves = _inside(scope, block, branch.body)
        if not leaves:
            ends.append((scope.names, scope.block))
        scope.names = before
        other = scope.open("else", branch.lineno, test, holds=False, parent=above)
        rest = branch.orelse
        branch = rest[0] if len(rest) == 1 and isinstance(rest[0], ast.If) else None
        if branch is None:
            ending = _inside(scope, other, rest)
            if not ending:
                ends.append((scope.names, scope.block))
            leaves = leaves or ending
    if not ends:
        scope.block = outer
        return leaves
    scope.names = scope.join((names for names, _ in ends), node)
    scope.block = ends[0][1] if len(ends) == 1 else outer
    return ""


def _bound(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that statements bind."""
    for node in every(*body):
        kind = type(node)
        if kind is ast.Name:
            if isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
                yield node.id  # type: ignore[attr-defined]
        elif kind is ast.Call:
            if isinstance(node.func, ast.Attribute):  # type: ignore[attr-defined]
                yield path(node.func.value)  # type: ignore[attr-defined]
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield path(node)
            yield path(node.value)


def _loop(scope: Scope, node: ast.For | ast.AsyncFor | ast.While) -> str:
    outer, before = scope.block, dict(scope.names)
    each = value(scope, node.iter) if not isinstance(node, ast.While) else NONE
    again = {name for name in _bound(node.body) if name in scope.names}
    for name in sorted(again):
        scope.names[name] = scope.add("join", "", (scope.names[name],), node)
    starts = {name: scope.names[name] for name in again}
    if isinstance(node, ast.While):
        block = scope.open("while", node.lineno, value(scope, node.test))
    else:
        block = scope.open("for", node.lineno, each)
        scope.assign(node.target, scope.add("each", "", (each,), node.target))
    scope.left_early.append({"break": [], "continue": []})
    _inside(scope, block, node.body)
    early, ended = scope.left_early.pop(), scope.names
    for way in (ended, *early["continue"]):
        for name, start in starts.items():
            scope.nodes[start] = _with(scope, start, way.get(name, start))
    scope.block = outer
    scope.names = scope.join((dict(before) | starts, ended, *early["break"]), node)
    if isinstance(node, ast.While) and _is_true(node.test) and not _breaks(node.body):
        return "loop"
    return suite(scope, node.orelse)


def _leave(scope: Scope, how: str) -> str:
    """Keep what names hold where a loop is left, or begun again: that is where a search ends."""
    ways = scope.left_early[-1][how] if scope.left_early else []
    if len(ways) < _EARLY:
        ways.append(dict(scope.names))
    return how


def _with(scope: Scope, start: int, number: int) -> Node:
    made = scope.nodes[start]
    return made if number in (start, *made.inputs) else made._replace(inputs=(*made.inputs, number))


def _is_true(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value)


def _breaks(body: Sequence[ast.stmt]) -> bool:
    """Whether a loop's body breaks out of it; a loop inside has breaks of its own."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Break):
            return True
        if not isinstance(
            node, ast.For | ast.AsyncFor | ast.While | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            pending += [
                one
                for one in ast.iter_child_nodes(node)
                if isinstance(one, ast.stmt | ast.excepthandler | ast.match_case)
            ]
    return False


def _try(scope: Scope, node: ast.Try | ast.TryStar) -> str:
    outer, before = scope.block, dict(scope.names)
    block = scope.open("try", node.lineno)
    leaves = _inside(scope, block, node.body) or suite(scope, node.orelse)
    done, last = scope.names, scope.block
    caught: list[dict[str, int]] = []
    passing = False
    endings = [leaves]
    for handler in node.handlers:
        scope.block = outer
        scope.names = scope.join((dict(before), done), node)
        kind = NONE if handler.type is None else value(scope, handler.type)
        inner = scope.open("except", handler.lineno, kind)
        if handler.name:
            scope.bind(handler.name, scope.add("caught", "", (kind,), handler))
        ending = _inside(scope, inner, handler.body)
        endings.append(ending)
        if not ending:
            passing = True
            caught.append(scope.names)
    ways = ([done] if not leaves else []) + caught
    scope.names = scope.join(ways or [done], node)
    scope.block = outer
    if not leaves and not passing:
        scope.open("after", node.lineno, parent=last)
    if node.finalbody:
        here = scope.block
        final = scope.open("finally", node.lineno, parent=outer)
        ending = _inside(scope, final, node.finalbody)
        scope.block = here
        if ending:
            return ending
    return "" if ways else endings[0]


def _with_statement(scope: Scope, node: ast.With | ast.AsyncWith) -> str:
    for item in node.items:
        manager = value(scope, item.context_expr)
        entered = scope.add("enter", "", (manager,), item.context_expr)
        scope.open("with", node.lineno, manager)
        if item.optional_vars is not None:
            scope.assign(item.optional_vars, entered)
    leaves = suite(scope, node.body)
    scope.left(scope.block, leaves)
    if not leaves:
        scope.open("after", node.lineno)
    return leaves


def _match(scope: Scope, node: ast.Match) -> str:
    subject = value(scope, node.subject)
    outer, before = scope.block, dict(scope.names)
    ends: list[dict[str, int]] = []
    for case in node.cases:
        scope.block, scope.names = outer, dict(before)
        block = scope.open("case", case.pattern.lineno, subject)
        for inner in ast.walk(case.pattern):
            name = getattr(inner, "name", None) or getattr(inner, "rest", None)
            if isinstance(name, str):
                scope.bind(name, scope.add("part", name, (subject,), case.pattern))
        if case.guard is not None:
            value(scope, case.guard)
        if not _inside(scope, block, case.body):
            ends.append(scope.names)
    scope.block = outer
    scope.names = scope.join([*ends, before], node)
    return ""


def _define(scope: Scope, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    scope.bind(node.name, scope.add("def", str(scope.module.function(node, scope)), (), node))
    return ""


def _import(scope: Scope, node: ast.Import) -> str:
    for alias in node.names:
        whole = alias.name if alias.asname else alias.name.partition(".")[0]
        scope.bind(alias.asname or whole, scope.add("import", whole, (), node))
    return ""


def _import_from(scope: Scope, node: ast.ImportFrom) -> str:
    base = "." * node.level + (node.module or "")
    for alias in node.names:
        if alias.name == "*":
            scope.module.stars.append(base)
            continue
        dot = "" if base.endswith(".") or not base else "."
        scope.bind(alias.asname or alias.name, scope.add("import", f"{base}{dot}{alias.name}", (), node))
    return ""


def _outside(scope: Scope, node: ast.Global | ast.Nonlocal) -> str:
    scope.outside.update(node.names)
    return ""


def _delete(scope: Scope, node: ast.Delete) -> str:
    for target in node.targets:
        if not isinstance(target, ast.Name):
            scope.add("delete", "", (value(scope, target),), node)
    return ""


_RUNS: Final[Mapping[type, Callable[..., str]]] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Return: _return,
    ast.Raise: _raise,
    ast.Assert: _assert,
    ast.If: _if,
    ast.For: _loop,
    ast.AsyncFor: _loop,
    ast.While: _loop,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.With: _with_statement,
    ast.AsyncWith: _with_statement,
    ast.Match: _match,
    ast.FunctionDef: _define,
    ast.AsyncFunctionDef: _define,
    ast.ClassDef: _define,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Global: _outside,
    ast.Nonlocal: _outside,
    ast.Delete: _delete,
    ast.Continue: lambda scope, _node: _leave(scope, "continue"),
    ast.Break: lambda scope, _node: _leave(scope, "break"),
}
