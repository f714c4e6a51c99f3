"""Names in a module: what an import is called at home, what a name is bound to, and words of names."""

from __future__ import annotations

import ast
import re
from functools import cached_property
from typing import TYPE_CHECKING

from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.source.python import Source

_DEPTH = 20
_BODIES = ("body", "handlers", "cases", "orelse", "finalbody")
_BRANCHES = (ast.ExceptHandler, ast.match_case)
_QUOTED = 300  # characters of a type inside quotes
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(name: str) -> list[str]:
    """The parts of a snake or camel name, in small letters: `predictedPrice` -> predicted, price."""
    return [part.lower() for part in _WORD.findall(name)]


# Where statements stand in each kind of node: in most of them nowhere.
_STATEMENTS: Mapping[type, tuple[str, ...]] = {
    kind: tuple(name for name in _BODIES if name in kind._fields)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


class Module:
    """One module's tree, with its imports and what its own scope binds."""

    def __init__(self, path: str, source: Source, tree: ast.Module) -> None:
        self.path = path
        self.source = source
        self.tree = tree

    def at(self, node: ast.expr | ast.stmt) -> Location:
        """Where a node stands, its first line only where it has several."""
        return Location(self.path, *self.source.span(node))

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """Every statement, those within others too, in the order of the text."""
        found: list[ast.stmt] = []
        pending: list[ast.stmt] = self.tree.body[::-1]
        while pending:
            node = pending.pop()
            found.append(node)
            bodies = _STATEMENTS[type(node)]
            if not bodies:
                continue
            inner = [item for name in bodies for item in getattr(node, name)]
            inner = [item for one in inner for item in (one.body if isinstance(one, _BRANCHES) else (one,))]
            pending += [item for item in reversed(inner) if isinstance(item, ast.stmt)]
        return found

    @cached_property
    def imports(self) -> Mapping[str, tuple[str, str | None, int]]:
        """Name -> (module, attribute, leading dots), wherever in the module it is imported."""
        found: dict[str, tuple[str, str | None, int]] = {}
        for node in self.statements:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    found[name] = (alias.name if alias.asname else name, None, 0)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    name = f"*{len(found)}" if alias.name == "*" else alias.asname or alias.name
                    found[name] = (node.module or "", alias.name, node.level)
        return found

    @cached_property
    def bound(self) -> Mapping[str, ast.expr]:
        """What the module's own scope assigns to a name, last of all."""
        found: dict[str, ast.expr] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                found |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                found[node.target.id] = node.value
        return found

    @cached_property
    def functions(self) -> Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef]:
        """The module's own functions by name."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        return {node.name: node for node in self.tree.body if isinstance(node, kinds)}

    def last(self, node: ast.expr) -> str:
        """The last part of a name, as it is called where it comes from: `F(…)` after `import Field as F` is Field."""
        node = node.func if isinstance(node, ast.Call) else node
        if isinstance(node, ast.Attribute):
            return node.attr
        if isinstance(node, ast.Name):
            return (self.imports.get(node.id) or ("", None, 0))[1] or node.id
        return ""

    def root(self, node: ast.expr) -> str:
        """The package that a name comes from; empty for a relative import, and for the module's own names."""
        node = node.func if isinstance(node, ast.Call) else node
        node = node.value if isinstance(node, ast.Subscript) else node
        while isinstance(node, ast.Attribute):
            node = node.value
        module, _, level = self.imports.get(node.id, ("", None, 0)) if isinstance(node, ast.Name) else ("", None, 0)
        return "" if level else module.partition(".")[0]


def dotted(node: ast.expr) -> str:
    """`a.b.C` as it is written; empty for what is no chain of names."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def named(node: ast.expr | None, depth: int = 0) -> Iterator[str]:
    """The dotted names in a type, those inside quotes too."""
    if node is None or depth > _DEPTH:
        return
    if isinstance(node, ast.Name | ast.Attribute):
        yield from filter(None, [dotted(node)])
        return
    if isinstance(node, ast.Constant):
        quoted = unquoted(node)
        yield from named(quoted, depth + 1) if quoted is not None else ()
        return
    inner = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    for child in inner:
        if isinstance(child, ast.expr):
            yield from named(child, depth + 1)


def unquoted(node: ast.expr) -> ast.expr | None:
    """The type inside quotes."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < _QUOTED):
        return None
    try:
        return ast.parse(node.value.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
