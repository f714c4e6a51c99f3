"""Python 3 by the standard library's parser, only once somebody asks.

A file that does not parse (Python 2, a template, notebook magics) has no tree, and is nobody's error: the value of a
`Parsed` is the `Source`, whose `tree` is then None.
"""

from __future__ import annotations

import ast
import re
import warnings
from functools import cached_property
from typing import TYPE_CHECKING

from vramguard.source import Parsed, Span
from vramguard.source.expression import (
    MAX_ITEMS,
    MAX_NESTING,
    UNPACK,
    Argument,
    Attribute,
    Call,
    Choice,
    Expression,
    Item,
    Items,
    Joined,
    Literal,
    Name,
    Opaque,
    Operation,
    Table,
    short,
)
from vramguard.source.newer import older

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_CHARACTERS = 1 << 20  # beyond this a module is data
DATABRICKS = "# Databricks notebook source"  # what such a file begins with
_MAGIC = re.compile(r"([ \t]*)[!%]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(text: str) -> Parsed:
    """A Python file, not parsed yet. Never raises."""
    return Parsed(Source(text), dict)


class Source:
    """A Python text, and its tree once somebody asks for it."""

    def __init__(self, text: str) -> None:
        self._given = text

    @cached_property
    def text(self) -> str:
        """The code."""
        return self._given

    @cached_property
    def tree(self) -> ast.Module | None:
        """The module, None where it does not parse, or is too long or too deep to be written by a person."""
        if len(self.text) > MAX_CHARACTERS:
            return None
        text = _without_magics(self.text) if self.text.startswith(DATABRICKS) else self.text
        return _parsed(text) or _parsed(older(_without_magics(self.text)))

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def _plain(self) -> bool:
        return self.text.isascii()

    def _character(self, line: int, column: int) -> tuple[int, int]:
        """Line and column in characters, from 1, of a place that the parser gives in bytes from 0."""
        row = "" if self._plain or line > len(self._lines) else self._lines[line - 1]
        if not row.isascii():
            column = len(row.encode()[:column].decode(errors="ignore"))
        return line, column + 1

    @cached_property
    def wide(self) -> frozenset[int] | None:
        """The lines on which the parser's columns, in bytes, are not the file's; None where none need be."""
        if self._plain:
            return frozenset()
        return frozenset(number for number, line in enumerate(self._lines, 1) if not line.isascii())

    def span(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> Span:
        """Where a node stands."""
        wide, line, last = self.wide, node.lineno, node.end_lineno or node.lineno
        if wide is not None and line not in wide and last not in wide:
            return Span(line, node.col_offset + 1, last, (node.end_col_offset or node.col_offset) + 1)
        end = self._character(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
        return Span(*self._character(node.lineno, node.col_offset), *end)

    def written(self, node: ast.expr) -> str:
        """A node as written, on one line and not too long."""
        lines = self._lines[node.lineno - 1 : node.end_lineno]
        if not lines:
            return ""
        end = node.end_col_offset or 0
        lines[-1] = lines[-1].encode()[:end].decode(errors="ignore")
        lines[0] = lines[0].encode()[node.col_offset :].decode(errors="ignore")
        return short(" ".join(line.strip() for line in lines[:4]))

    def expression(self, node: ast.expr, depth: int = 0) -> Expression:
        """A node as an expression of ours."""
        build = _BUILDERS.get(type(node))
        if build is None or depth > MAX_NESTING:
            return Opaque(self.span(node), self.written(node))
        found = build(self, node, depth + 1)
        return found or Opaque(self.span(node), self.written(node))


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python will refuse one day
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


# Fields of the parser's nodes in which no node stands that anybody asks for.
_BARE = frozenset({
    "ctx", "op", "ops", "id", "attr", "arg", "kind", "conversion", "is_async", "simple", "level", "module", "name",
    "asname", "type_comment", "type_ignores",
})  # fmt: skip


# The fields of each kind of node in which others may stand: signs and contexts, half of all nodes, are left out.
INNER: Mapping[type, tuple[str, ...]] = {
    kind: () if kind is ast.Constant else tuple(name for name in kind._fields if name not in _BARE)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


def every(*roots: ast.AST) -> list[ast.AST]:
    """Nodes and all that stand in them, in the order of the standard library's walk, in a third of its time."""
    found = list(roots)
    for node in found:
        for name in INNER[type(node)]:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                found.append(value)
            elif isinstance(value, list):
                found += [inner for inner in value if isinstance(inner, ast.AST)]
    return found


def _without_magics(text: str) -> str:
    """A notebook of Databricks, a `pass` in the place of each line that a shell or the kernel reads."""
    lines = text.split("\n")
    goes_on = False
    for number, line in enumerate(lines):
        magic = _MAGIC.match(line)
        if magic or goes_on:
            lines[number] = f"{magic[1]}pass" if magic and not goes_on else ""
            goes_on = line.rstrip().endswith("\\")
    return "\n".join(lines)


def _literal(source: Source, node: ast.Constant, _: int) -> Expression | None:
    value = node.value
    if isinstance(value, str) and _SURROGATE.search(value):  # no text that could be written anywhere
        return None
    return Literal(source.span(node), value) if value is None or isinstance(value, str | int | float) else None


def _call(source: Source, node: ast.Call, depth: int) -> Expression | None:
    if len(node.args) + len(node.keywords) > MAX_ITEMS:
        return None
    arguments = [
        Argument("*", source.expression(value.value, depth))
        if isinstance(value, ast.Starred)
        else Argument(None, source.expression(value, depth))
        for value in node.args
    ]
    arguments += [Argument(word.arg or "**", source.expression(word.value, depth)) for word in node.keywords]
    return Call(source.span(node), source.expression(node.func, depth), tuple(arguments))


def _items(source: Source, node: ast.List | ast.Tuple | ast.Set, depth: int) -> Expression | None:
    if len(node.elts) > MAX_ITEMS:
        return None
    return Items(source.span(node), tuple(source.expression(item, depth) for item in node.elts))


def _table(source: Source, node: ast.Dict, depth: int) -> Expression | None:
    if len(node.values) > MAX_ITEMS:
        return None
    pairs = zip(node.keys, node.values, strict=True)
    items = tuple(
        (source.expression(key, depth) if key is not None else None, source.expression(value, depth))
        for key, value in pairs
    )
    return Table(source.span(node), items)


def _joined(source: Source, node: ast.JoinedStr, depth: int) -> Expression | None:
    parts: list[Expression] = []
    for part in node.values[:MAX_ITEMS]:
        if isinstance(part, ast.FormattedValue):
            if part.format_spec is not None or part.conversion != -1:
                return None
            # Python 3.11 places what stands inside an f-string by guess
            inner = source.expression(part.value, depth)
            parts.append(inner)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            parts.append(Literal(source.span(node), part.value))
    return Joined(source.span(node), tuple(parts))


_SIGNS: Mapping[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Pow: "**", ast.LShift: "<<",
    ast.BitOr: "|", ast.Mod: "%", ast.USub: "-", ast.Not: "not",
}  # fmt: skip


def _operation(source: Source, node: ast.BinOp, depth: int) -> Expression | None:
    sign = _SIGNS.get(type(node.op))
    if sign is None:
        return None
    return Operation(source.span(node), sign, source.expression(node.left, depth), source.expression(node.right, depth))


def _unary(source: Source, node: ast.UnaryOp, depth: int) -> Expression | None:
    sign = _SIGNS.get(type(node.op))
    inner = source.expression(node.operand, depth)
    if sign == "-" and isinstance(inner, Literal) and isinstance(inner.value, int | float):
        return Literal(source.span(node), -inner.value)
    return Operation(source.span(node), sign, inner, inner) if sign else None


_COMPARISONS: Mapping[type, str] = {
    ast.Is: "is", ast.IsNot: "is not", ast.Eq: "==", ast.NotEq: "!=", ast.Gt: ">", ast.Lt: "<", ast.GtE: ">=",
    ast.LtE: "<=", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


def _compare(source: Source, node: ast.Compare, depth: int) -> Expression | None:
    if len(node.ops) != 1:
        return None
    left, right = source.expression(node.left, depth), source.expression(node.comparators[0], depth)
    return Operation(source.span(node), _COMPARISONS[type(node.ops[0])], left, right)


def _starred(source: Source, node: ast.Starred, depth: int) -> Expression:
    inner = source.expression(node.value, depth)
    return Operation(source.span(node), UNPACK, inner, inner)


def _either(source: Source, node: ast.IfExp, depth: int) -> Expression:
    options = source.expression(node.body, depth), source.expression(node.orelse, depth)
    return Choice(source.span(node), options, source.expression(node.test, depth))


def _or(source: Source, node: ast.BoolOp, depth: int) -> Expression | None:
    if not isinstance(node.op, ast.Or):
        return None
    return Choice(source.span(node), tuple(source.expression(value, depth) for value in node.values[:MAX_ITEMS]))


def _subscript(source: Source, node: ast.Subscript, depth: int) -> Expression | None:
    return Item(source.span(node), source.expression(node.value, depth), source.expression(node.slice, depth))


def _awaited(source: Source, node: ast.Await, depth: int) -> Expression | None:
    return source.expression(node.value, depth)


_BUILDERS: Mapping[type, Callable[..., Expression | None]] = {
    ast.Constant: _literal,
    ast.Name: lambda source, node, _: Name(source.span(node), node.id),
    ast.Attribute: lambda source, node, depth: Attribute(
        source.span(node), source.expression(node.value, depth), node.attr
    ),
    ast.Call: _call,
    ast.List: _items,
    ast.Tuple: _items,
    ast.Set: _items,
    ast.Dict: _table,
    ast.JoinedStr: _joined,
    ast.BinOp: _operation,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.Starred: _starred,
    ast.IfExp: _either,
    ast.BoolOp: _or,
    ast.Subscript: _subscript,
    ast.Await: _awaited,
}
