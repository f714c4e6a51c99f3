"""One function on its way to a graph: its nodes, its blocks, and what each name holds at this point of the text."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Protocol

from vramguard.extract.code.expressions import path, value
from vramguard.source.graph import NONE, Block, Node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.source.python import Source

_new = tuple.__new__  # past a named tuple's own, which takes longer than the rest: there are very many nodes
_MOST_BEGINNINGS = 16  # that a value is followed back to
Placed = ast.expr | ast.stmt | ast.arg | ast.excepthandler | ast.pattern | ast.alias
Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


class Builder(Protocol):
    """What a scope asks of the module that it is built in."""

    source: Source
    stars: list[str]

    def function(self, node: Defined, around: Scope) -> int:
        """The number of the graph of a function or class."""
        ...


class Scope:
    """`names` are by path: `x`, `self.x`, `table['key']`. `every` has all that a plain name ever held."""

    def __init__(self, module: Builder, *, of_class: bool = False) -> None:
        self.module = module
        self.of_class = of_class
        self.nodes: list[Node] = []
        self.blocks: list[Block] = [Block("body", NONE, NONE, True, "", 1)]
        self.block = 0
        self.names: dict[str, int] = {}
        self.every: dict[str, list[int]] = {}
        self.outside: set[str] = set()  # what the function declares global or nonlocal
        self.left_early: list[dict[str, list[dict[str, int]]]] = []  # of each loop around, what names held there
        self._wide = module.source.wide
        self._parts = False  # whether an attribute or an item has ever got a value

    def add(self, op: str, name: str, inputs: tuple[int, ...], at: Placed) -> int:
        """A new node, in the block of this point."""
        nodes, wide, line, last = self.nodes, self._wide, at.lineno, at.end_lineno or at.lineno
        if wide is not None and line not in wide and last not in wide:  # as of `span`, without its call
            place = line, at.col_offset + 1, last, (at.end_col_offset or at.col_offset) + 1
        else:
            place = self.module.source.span(at)  # type: ignore[arg-type]
        nodes.append(_new(Node, (op, name, inputs, self.block, *place)))
        return len(nodes) - 1

    def open(self, kind: str, line: int, test: int = NONE, *, holds: bool = True, parent: int | None = None) -> int:
        """A new block inside of the present one, and from now on the present one."""
        above = self.block if parent is None else parent
        self.blocks.append(Block(kind, above, test, holds, "", line))
        self.block = len(self.blocks) - 1
        return self.block

    def left(self, block: int, how: str) -> None:
        """Say how a block always ends."""
        if how:
            self.blocks[block] = self.blocks[block]._replace(leaves=how)

    def held(self, node: ast.expr) -> int | None:
        """What the text put into an attribute or an item before this point, if it did here."""
        name = path(node) if self._parts else ""
        return self.names.get(name) if name else None

    def bind(self, name: str, number: int) -> None:
        """A plain name gets a value."""
        if len(self.names) > len(self.every):  # there are paths, which begin with a name
            gone = [one for one in self.names if one.startswith((f"{name}.", f"{name}["))]
            for one in gone:
                del self.names[one]
        self.names[name] = number
        self.every.setdefault(name, []).append(number)
        if name in self.outside:
            made = self.nodes[number]
            self.nodes.append(made._replace(op="global", name=name, inputs=(number,), block=self.block))

    def assign(self, target: ast.expr, number: int, *, grows: bool = False) -> None:
        """Whatever stands on the left gets a value. `grows`: it is what it was, with something added."""
        if isinstance(target, ast.Name) and grows:
            self._hold(target, number)
        elif isinstance(target, ast.Name):
            self.bind(target.id, number)
        elif isinstance(target, ast.Attribute):
            self.add("store", target.attr, (value(self, target.value), number), target)
            self._hold(target, number)
        elif isinstance(target, ast.Subscript):
            base = value(self, target.value)
            self.add("setitem", "", (base, value(self, target.slice), number), target)
            grown = self.add("grown", "[]", (base, number), target)
            self._hold(target.value, grown)
            if path(target):
                self._hold(target, number)
        elif isinstance(target, ast.Tuple | ast.List) and not grows:
            for position, one in enumerate(target.elts):
                inner = one.value if isinstance(one, ast.Starred) else one
                self.assign(inner, self._part(number, position, one))

    def _hold(self, target: ast.expr, number: int) -> None:
        name = path(target)
        if isinstance(target, ast.Name):
            if name in self.names and self.nodes[self.names[name]].op != "import":
                self._whole(self.names[name], number, target)
                self.names[name] = number
                self.every.setdefault(name, []).append(number)
        else:
            if name:
                self.names[name] = number
                self._parts = True
            self._root(target, number)

    def _root(self, target: ast.expr, number: int) -> None:
        """An object holds what its attributes and items hold; of `self` each attribute is followed by itself."""
        root = target
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        if isinstance(root, ast.Name) and root.id in self.names and root.id not in ("self", "cls"):
            held = self.names[root.id]
            name = target.attr if isinstance(target, ast.Attribute) and target.value is root else ""
            grown = self.add("grown", f".{name}", (held, number), target)
            self.names[root.id] = grown
            self.every.setdefault(root.id, []).append(grown)

    def _whole(self, old: int, number: int, at: ast.expr) -> None:
        """What grows may be a part of something that has a name too: `conv = state.conv; conv.add_message(…)`."""
        parts = [self.nodes[one] for one in self._began(old) if self.nodes[one].op == "attr"]
        bases = {one.inputs[0] for one in parts}
        for name, held in list(self.names.items()) if bases else ():
            if name.isidentifier() and not bases.isdisjoint(self._began(held)):
                grown = self.add("grown", f".{parts[0].name}", (held, number), at)
                self.names[name] = grown
                self.every.setdefault(name, []).append(grown)

    def _began(self, number: int) -> set[int]:
        """What may have grown into a node."""
        found: set[int] = set()
        pending = [number]
        while pending and len(found) < _MOST_BEGINNINGS:
            one = pending.pop()
            if one not in found:
                found.add(one)
                made = self.nodes[one]
                pending += made.inputs[:1] if made.op == "grown" else made.inputs if made.op == "join" else ()
        return found

    def _part(self, number: int, position: int, at: ast.expr) -> int:
        """One element of what is unpacked, where its elements stand written."""
        made = self.nodes[number]
        if made.op == "items" and made.name != "set" and position < len(made.inputs):
            return made.inputs[position]
        return self.add("part", str(position), (number,), at)

    def join(self, ways: Iterable[dict[str, int]], at: Placed) -> dict[str, int]:
        """What names hold where several ways meet."""
        first, *others = ways
        merged = dict(first)
        for other in others:
            for name, number in other.items():
                before = merged.get(name)
                if before is None:
                    merged[name] = number
                elif before != number:
                    merged[name] = self._joined(before, number, at)
        return merged

    def _joined(self, one: int, other: int, at: Placed) -> int:
        made = self.nodes[one]
        if made.op == "join" and (other in made.inputs or other == one):
            return one
        return self.add("join", "", (one, other), at)
