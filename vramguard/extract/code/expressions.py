"""Expressions of Python as nodes of a graph."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vramguard.extract.code.scope import Scope

MAX_DEPTH: Final = 60  # of an expression; deeper ones are written by programs
_TEXT: Final = 400  # characters of a literal
# Methods that put their arguments into what they are called on.
GROWING: Final = frozenset(
    {"append", "extend", "add", "insert", "update", "setdefault", "appendleft", "put", "put_nowait", "write", "push"}
)
_ADDING: Final = re.compile(r"(?:add|append|update|insert|push)_")
_SIGNS: Final[Mapping[type, str]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitOr: "|", ast.BitAnd: "&", ast.BitXor: "^", ast.MatMult: "@",
    ast.UAdd: "+", ast.USub: "-", ast.Not: "not", ast.Invert: "~",
    ast.Is: "is", ast.IsNot: "is not", ast.Eq: "==", ast.NotEq: "!=", ast.Gt: ">", ast.Lt: "<", ast.GtE: ">=",
    ast.LtE: "<=", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


def value(scope: Scope, node: ast.expr, depth: int = 0) -> int:
    """The number of an expression's node, made on the way."""
    build = _BUILDERS.get(type(node))
    if build is None or depth > MAX_DEPTH:
        return scope.add("opaque", "", (), node)
    return build(scope, node, depth + 1)


def path(node: ast.expr) -> str:
    """What a place is called: `self.x`, `table['key']`; empty for one that has no such name."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Name):
            return node.id + "".join(reversed(parts))
        if isinstance(node, ast.Attribute):
            parts.append(f".{node.attr}")
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            parts.append(f"[{node.slice.value!r}]")
        else:
            return ""
        node = node.value


def sign(operator: ast.AST) -> str:
    """An operator as written."""
    return _SIGNS.get(type(operator), "?")


def _constant(scope: Scope, node: ast.Constant, _: int) -> int:
    text = node.value[:_TEXT] if isinstance(node.value, str | bytes) else node.value
    return scope.add("const", repr(text), (), node)


def _name(scope: Scope, node: ast.Name, _: int) -> int:
    found = scope.names.get(node.id)
    return scope.add("name", node.id, (), node) if found is None else found


def _attribute(scope: Scope, node: ast.Attribute, depth: int) -> int:
    held = scope.held(node)
    if held is not None:
        return held
    return scope.add("attr", node.attr, (value(scope, node.value, depth),), node)


def _subscript(scope: Scope, node: ast.Subscript, depth: int) -> int:
    held = scope.held(node)
    if held is not None:
        return held
    return scope.add("item", "", (value(scope, node.value, depth), value(scope, node.slice, depth)), node)


def _call(scope: Scope, node: ast.Call, depth: int) -> int:
    function = value(scope, node.func, depth)
    words = ["*" if isinstance(one, ast.Starred) else "" for one in node.args]
    inputs = [value(scope, one.value if isinstance(one, ast.Starred) else one, depth) for one in node.args]
    words += [one.arg or "**" for one in node.keywords]
    inputs += [value(scope, one.value, depth) for one in node.keywords]
    made = scope.add("call", "|".join(words), (function, *inputs), node)
    if inputs and isinstance(node.func, ast.Attribute) and (node.func.attr in GROWING or _ADDING.match(node.func.attr)):
        old = scope.nodes[function].inputs
        if old:
            scope.assign(node.func.value, scope.add("grown", node.func.attr, (old[0], *inputs), node), grows=True)
    return made


def _boolean(scope: Scope, node: ast.BoolOp, depth: int) -> int:
    op = "and" if isinstance(node.op, ast.And) else "or"
    return scope.add(op, "", tuple(value(scope, one, depth) for one in node.values), node)


def _binary(scope: Scope, node: ast.BinOp, depth: int) -> int:
    left, right = value(scope, node.left, depth), value(scope, node.right, depth)
    return scope.add("binary", sign(node.op), (left, right), node)


def _unary(scope: Scope, node: ast.UnaryOp, depth: int) -> int:
    if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return scope.add("const", f"-{node.operand.value!r}", (), node)
    return scope.add("unary", sign(node.op), (value(scope, node.operand, depth),), node)


def _compare(scope: Scope, node: ast.Compare, depth: int) -> int:
    operands = [value(scope, one, depth) for one in (node.left, *node.comparators)]
    pairs = zip(node.ops, operands, operands[1:], strict=False)
    parts = [scope.add("compare", sign(op), (left, right), node) for op, left, right in pairs]
    return parts[0] if len(parts) == 1 else scope.add("and", "", tuple(parts), node)


def _choice(scope: Scope, node: ast.IfExp, depth: int) -> int:
    parts = tuple(value(scope, one, depth) for one in (node.test, node.body, node.orelse))
    return scope.add("if", "", parts, node)


def _joined(scope: Scope, node: ast.JoinedStr, depth: int) -> int:
    parts = [value(scope, one.value if isinstance(one, ast.FormattedValue) else one, depth) for one in node.values]
    return scope.add("format", "", tuple(parts), node)


def _items(scope: Scope, node: ast.List | ast.Tuple | ast.Set, depth: int) -> int:
    inner = tuple(value(scope, one.value if isinstance(one, ast.Starred) else one, depth) for one in node.elts)
    return scope.add("items", type(node).__name__.lower(), inner, node)


def _table(scope: Scope, node: ast.Dict, depth: int) -> int:
    inputs: list[int] = []
    for key, held in zip(node.keys, node.values, strict=True):
        inputs += (NONE if key is None else value(scope, key, depth), value(scope, held, depth))
    return scope.add("table", "", tuple(inputs), node)


def _comprehension(scope: Scope, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, depth: int) -> int:
    kept = dict(scope.names)
    for loop in node.generators:
        each = scope.add("each", "", (value(scope, loop.iter, depth),), loop.target)
        scope.assign(loop.target, each)
        for test in loop.ifs:
            value(scope, test, depth)
    if isinstance(node, ast.DictComp):
        made = scope.add("table", "", (value(scope, node.key, depth), value(scope, node.value, depth)), node)
    else:
        made = scope.add("items", "list", (value(scope, node.elt, depth),), node)
    scope.names = kept
    return made


def _lambda(scope: Scope, node: ast.Lambda, _: int) -> int:
    return scope.add("def", str(scope.module.function(node, scope)), (), node)


def _named(scope: Scope, node: ast.NamedExpr, depth: int) -> int:
    found = value(scope, node.value, depth)
    scope.assign(node.target, found)
    return found


def _yield(scope: Scope, node: ast.Yield | ast.YieldFrom, depth: int) -> int:
    inner = () if node.value is None else (value(scope, node.value, depth),)
    if isinstance(node, ast.YieldFrom):
        inner = (scope.add("each", "", inner, node),)
    return scope.add("yield", "", inner, node)


def _slice(scope: Scope, node: ast.Slice, depth: int) -> int:
    parts = [value(scope, one, depth) for one in (node.lower, node.upper, node.step) if one is not None]
    return scope.add("opaque", "slice", tuple(parts), node)


_BUILDERS: Final[Mapping[type, Callable[..., int]]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Call: _call,
    ast.BoolOp: _boolean,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.IfExp: _choice,
    ast.JoinedStr: _joined,
    ast.List: _items,
    ast.Tuple: _items,
    ast.Set: _items,
    ast.Dict: _table,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.Lambda: _lambda,
    ast.NamedExpr: _named,
    ast.Yield: _yield,
    ast.YieldFrom: _yield,
    ast.Slice: _slice,
    ast.Await: lambda scope, node, depth: value(scope, node.value, depth),
    ast.Starred: lambda scope, node, depth: value(scope, node.value, depth),
}
