"""What an expression of one Python file is worth, as far as the file says it: a small evaluator of literals.

    module = Module(source)                 # a `source.python.Source` (or a notebook) that has a tree
    value = module.value(node)              # any `ast.expr` of that tree; its scope is found by its place
    for item in module.strings(node):       # the same, flattened: what a list of requirements, or of words, holds
        ...                                 # Text | Contents | Opaque
    module.place(item)                      # `Span` of its own: of a piece of a longer string that piece's

Values, each with the `node` it was written as (`strings` gives each text its own, wherever it was assigned):
- `Text`: a string. `known` is False where a part of it cannot be told; that part then reads `${NAME}` in `value`.
- `Items`: a list, tuple or set. `Table`: a dict. `Scalar`: a number, a bool or None.
- `Contents`: the text of a file, or lines of it; `path` as the program names it, from its own folder ("./x.txt"
  where it is built on `__file__`).
- `Either`: one of several, where a name is bound under conditions. A list that conditions lengthen holds all items.
- `Opaque`: everything else, as `written`. Parameters, imported names and `os.environ["X"]` are opaque.

Understood: `+`, `%`, `.format`, f-strings, `.split/.join/.strip/...`, `os.path` and `Path`, `*` and `**` unpacking,
comprehensions, names by the order of their statements (`+=`, `.append`, `.extend`, `x[k] = v`), functions of the
file with their arguments, defaults of `os.environ.get` and `getenv`, `sys.executable` ("python").
Nothing is run, no pattern of the file is matched, steps, depth and sizes are bounded, and nothing is ever raised.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.extract.python import called
from vramguard.extract.python.bound import END, Binding, Function, Place, Scope, scopes, takes
from vramguard.extract.python.worth import (
    MAX_ITEMS,
    Contents,
    Either,
    Items,
    Opaque,
    Scalar,
    Table,
    Text,
    Value,
    either,
    elements,
    flat,
    hole,
    item,
    joined,
    pieces,
    plus,
    same,
    size,
    within,
)
from vramguard.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source.python import Source

__all__ = ["Contents", "Either", "Items", "Module", "Opaque", "Scalar", "Table", "Text", "Value"]

_MAX_STEPS: Final = 20_000  # of one question
_MAX_ALL: Final = 200_000  # of all questions to one file
_MAX_DEPTH: Final = 60
_MAX_CALLS: Final = 8
_WHOLE_FILE: Final = Text("./__file__", ast.Constant("__file__"))


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an expression stands: in which scope, after which statements, with which parameters bound."""

    scope: Scope
    until: Place
    bound: Mapping[str, Value]
    calls: tuple[ast.AST, ...] = ()
    known: dict[tuple[int, str, int], Value] = field(default_factory=dict)  # what names were found to be worth


class Module:
    """One file's names and expressions."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._steps = self._total = self._depth = 0
        self._known: dict[tuple[int, str, int], Value] = {}
        self._active: set[tuple[int, str, int]] = set()

    @cached_property
    def _scopes(self) -> list[Scope]:
        return scopes(self.source.tree or ast.Module([], []))

    def value(self, node: ast.expr) -> Value:
        """What an expression is worth; `Opaque` where that cannot be told."""
        self._total += self._steps
        self._steps = self._depth = 0
        self._active.clear()
        try:
            place = (node.lineno, node.col_offset)
            scope = next(scope for scope in reversed(self._scopes) if place in scope)
            return self.evaluate(node, Frame(scope, place, {}, known=self._known))
        except (RecursionError, MemoryError):
            return self._opaque(node)

    def strings(self, node: ast.expr) -> list[Text | Contents | Opaque]:
        """The texts that an expression holds, lists within lists taken apart; what is none of them is opaque."""
        return list(flat(self.value(node)))

    def flat(self, value: Value) -> list[Text | Contents | Opaque]:
        """The texts that a value holds, as `strings` gives those of an expression."""
        return list(flat(value))

    def lines(self, text: Text) -> list[Text]:
        """The lines of a text that are not empty, each with its own place."""
        return pieces(text, None, lines=True) if "\n" in text.value else [text]

    def place(self, value: Value) -> Span:
        """Where a value stands in the file; of a piece of a longer string that piece."""
        node = value.node
        if not hasattr(node, "lineno"):  # no expression of the file: what `__file__` stands for, and what is made of it
            return Span(1, 1, 1, 1)
        if isinstance(value, Text) and value.offset is not None and isinstance(node, ast.Constant):
            return self.source.span(within(self.source.text, node, value) or node)
        return self.source.span(node)

    def _opaque(self, node: ast.expr) -> Opaque:
        return Opaque(node, self.source.written(node))

    def evaluate(self, node: ast.expr, frame: Frame) -> Value:
        """An expression within a frame."""
        self._steps += 1
        if self._steps > _MAX_STEPS or self._total + self._steps > _MAX_ALL or self._depth >= _MAX_DEPTH:
            return self._opaque(node)
        self._depth += 1
        try:
            found = self._evaluate(node, frame)
        finally:
            self._depth -= 1
        self._steps += size(found)
        return found

    def _evaluate(self, node: ast.expr, frame: Frame) -> Value:  # noqa: PLR0911, C901, PLR0912 - a row for each kind
        match node:
            case ast.Constant(value=str(text)):
                return Text(text, node)
            case ast.Constant(value=None | bool() | int() | float() as scalar):
                return Scalar(scalar, node)
            case ast.Name():
                return self._name(node, frame)
            case ast.List() | ast.Tuple() | ast.Set():
                return self._items(node, frame)
            case ast.Dict():
                return self._table(node, frame)
            case ast.BinOp():
                return self._operation(node, frame)
            case ast.JoinedStr():
                return self._joined(node, frame)
            case ast.Call():
                return called.call(self, node, frame)
            case ast.Attribute():
                return self._attribute(node, frame)
            case ast.Subscript():
                found = item(self.evaluate(node.value, frame), self._index(node.slice, frame), node)
                return self._opaque(node) if found is None else found
            case ast.IfExp():
                return either([self.evaluate(node.body, frame), self.evaluate(node.orelse, frame)], node)
            case ast.BoolOp(op=ast.Or()):
                return self._or(node, frame)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return Items(tuple(self._comprehended([node.elt], node.generators, frame, 0)), node)
            case ast.DictComp():
                both = list(self._comprehended([node.key, node.value], node.generators, frame, 0))
                return Table(tuple(zip(both[::2], both[1::2], strict=False)), node)
            case ast.NamedExpr(value=inner) | ast.Await(value=inner):
                return self.evaluate(inner, frame)
        return self._opaque(node)

    def _index(self, node: ast.expr, frame: Frame) -> Value | None:
        return None if isinstance(node, ast.Slice) else self.evaluate(node, frame)

    def _items(self, node: ast.List | ast.Tuple | ast.Set, frame: Frame) -> Value:
        found: list[Value] = []
        for element in node.elts[:MAX_ITEMS]:
            if isinstance(element, ast.Starred):
                found += elements(self.evaluate(element.value, frame))
            else:
                found.append(self.evaluate(element, frame))
        return Items(tuple(found[:MAX_ITEMS]), node)

    def _table(self, node: ast.Dict, frame: Frame) -> Value:
        pairs: list[tuple[Value, Value]] = []
        for key, value in list(zip(node.keys, node.values, strict=True))[:MAX_ITEMS]:
            found = self.evaluate(value, frame)
            if key is not None:
                pairs.append((self.evaluate(key, frame), found))
            elif isinstance(found, Table):
                pairs += found.pairs
            else:
                pairs.append((self._opaque(value), found))
        return Table(tuple(pairs[:MAX_ITEMS]), node)

    def _operation(self, node: ast.BinOp, frame: Frame) -> Value:
        """A chain of `+` by a loop, since it nests to the left as deep as it is long."""
        chain: list[ast.expr] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add | ast.BitOr) and len(chain) < MAX_ITEMS:
            chain.append(left.right)
            left = left.left
        if chain:
            total = self.evaluate(left, frame)
            for right in reversed(chain):
                total = plus(total, self.evaluate(right, frame), node)
            return total
        one, other = self.evaluate(node.left, frame), self.evaluate(node.right, frame)
        if isinstance(node.op, ast.Div):
            return called.path([one, other], node) or self._opaque(node)
        if isinstance(node.op, ast.Mod):
            return called.percent(one, other, node) or self._opaque(node)
        return self._opaque(node)

    def _joined(self, node: ast.JoinedStr, frame: Frame) -> Value:
        parts: list[Value] = []
        for part in node.values[:MAX_ITEMS]:
            if not isinstance(part, ast.FormattedValue):
                parts.append(self.evaluate(part, frame))
                continue
            plain = part.format_spec is None and part.conversion in (-1, ord("s"))
            parts.append(self.evaluate(part.value, frame) if plain else hole(part.value))
        return joined(parts, node)

    def _or(self, node: ast.BoolOp, frame: Frame) -> Value:
        """`os.environ.get("X") or "default"`: the default, as of `get`'s own; else one of the known ones."""
        found = [self.evaluate(value, frame) for value in node.values[:MAX_ITEMS]]
        options = [value for value in found if not isinstance(value, Opaque | Scalar)]
        return either(options, node) if options else found[-1]

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        written = called.dotted(node)
        if written == "sys.executable":
            return Text("python", node)
        if isinstance(node.value, ast.Name):
            for inner in self._scopes:
                if isinstance(inner.node, ast.ClassDef) and inner.node.name == node.value.id:
                    found = self._in_scope(node.attr, inner, Frame(inner, END, {}, frame.calls, self._known))
                    return self._opaque(node) if found is None else found
        found = called.attribute(self.evaluate(node.value, frame), node)
        return self._opaque(node) if found is None else found

    def _comprehended(
        self, wanted: list[ast.expr], generators: list[ast.comprehension], frame: Frame, number: int
    ) -> Iterator[Value]:
        """Each value that a comprehension makes; its conditions are taken to hold."""
        if number == len(generators):
            yield from (self.evaluate(node, frame) for node in wanted)
            return
        generator = generators[number]
        for element in elements(self.evaluate(generator.iter, frame)):
            if self._steps > _MAX_STEPS:
                return
            bound = {**frame.bound, **self._bind(generator.target, element)}
            yield from self._comprehended(wanted, generators, replace(frame, bound=bound, known={}), number + 1)

    def _bind(self, target: ast.expr, value: Value) -> dict[str, Value]:
        if isinstance(target, ast.Name):
            return {target.id: value}
        bound: dict[str, Value] = {}
        for number, part in enumerate(target.elts if isinstance(target, ast.Tuple | ast.List) else ()):
            found = item(value, Scalar(number, target), target)
            bound |= self._bind(part, self._opaque(part) if found is None else found)
        return bound

    def _name(self, node: ast.Name, frame: Frame) -> Value:
        if node.id in frame.bound:
            return frame.bound[node.id]
        if node.id == "__file__":
            return _WHOLE_FILE
        scope: Scope | None = frame.scope
        while scope is not None:
            if scope is frame.scope or not isinstance(scope.node, ast.ClassDef):
                found = self._in_scope(node.id, scope, frame)
                if found is not None:  # what was imported stands where it is used
                    return found if hasattr(found.node, "lineno") else self._opaque(node)
            if isinstance(scope.node, Function) and takes(scope.node, node.id):
                break
            scope = scope.outer
        return self._opaque(node)

    def _in_scope(self, name: str, scope: Scope, frame: Frame) -> Value | None:
        bindings = scope.names.get(name, ())
        here = scope is frame.scope
        before = [binding for binding in bindings if binding.at < frame.until] if here else list(bindings)
        if not before:
            return None
        key = (id(scope), name, len(before))
        if key in self._active:
            return Opaque(ast.Name(name), name)
        outer = frame.bound if isinstance(scope.node, Function) else {}  # what an enclosing function was called with
        known = frame.known if here or outer else self._known
        if key in known:
            return known[key]
        self._active.add(key)
        inner = frame if here else Frame(scope, END, outer, frame.calls, known)
        start = next((number for number in reversed(range(len(before))) if before[number].replaces), 0)
        found = self._folded(name, before[start:], inner)
        self._active.discard(key)
        if self._steps <= _MAX_STEPS and self._depth < _MAX_DEPTH // 2:
            known[key] = found
        return found

    def _folded(self, name: str, bindings: list[Binding], frame: Frame) -> Value:
        """What a name holds after these statements, in their order."""
        total: Value | None = None
        for binding in bindings:
            node = binding.expression
            if node is None or not isinstance(node, ast.expr):
                total = Opaque(ast.Name(name), name) if total is None else total
                continue
            new = self._bound_value(binding, node, replace(frame, until=binding.at))
            total = self._after(total, binding, new, node, replace(frame, until=binding.at))
            self._steps += size(total)
            if self._steps > _MAX_STEPS:
                return self._opaque(node)
        return total if total is not None else Opaque(ast.Name(name), name)

    def _bound_value(self, binding: Binding, node: ast.expr, frame: Frame) -> Value:
        value = self.evaluate(node, frame)
        if binding.kind == "loop":
            value = either(elements(value), node)
        for number in binding.path:
            found = item(value, Scalar(number, node), node)
            value = self._opaque(node) if found is None else found
        return value

    def _after(self, total: Value | None, binding: Binding, new: Value, node: ast.expr, frame: Frame) -> Value:
        if binding.kind == "opaque":
            return self._opaque(node)
        if binding.key is not None:
            return self._keyed(total, binding, new, self.evaluate(binding.key, frame), node)
        if binding.kind in ("add", "append"):
            more = Items((new,), node) if binding.kind == "append" else new
            return more if total is None else plus(total, more, node)
        if total is None or not binding.conditional:
            return new
        return either([total, new], node)

    def _keyed(self, total: Value | None, binding: Binding, new: Value, key: Value, node: ast.expr) -> Value:
        """`table[key] = new`, `table[key] += new` or `table[key].append(new)`."""
        pairs = total.pairs if isinstance(total, Table) else ()
        if binding.kind != "assign":
            more = Items((new,), node) if binding.kind == "append" else new
            old = item(Table(pairs, node), key, node)
            new = more if old is None else plus(old, more, node)
            pairs = tuple(pair for pair in pairs if not same(pair[0], key))
        elif total is not None and not isinstance(total, Table):
            return total
        return Table((*pairs, (key, new))[-MAX_ITEMS:], total.node if total is not None else node)

    def function(self, node: ast.expr, frame: Frame) -> Function | ast.Lambda | None:
        """The function of this file that a name stands for; None where it has several, or is no function."""
        scope: Scope | None = frame.scope if isinstance(node, ast.Name) else None
        while scope is not None and isinstance(node, ast.Name):
            found = scope.names.get(node.id, [])
            if found:
                last = found[-1].expression
                return last if isinstance(last, Function | ast.Lambda) else None
            scope = scope.outer
        return None

    def returned(self, function: Function | ast.Lambda, bound: dict[str, Value], frame: Frame, node: ast.expr) -> Value:
        """What a function of this file returns for these arguments; a call of itself adds nothing to a list."""
        if function in frame.calls:
            return Items((), node)
        if len(frame.calls) >= _MAX_CALLS:
            return self._opaque(node)
        calls = (*frame.calls, function)
        if isinstance(function, ast.Lambda):
            return self.evaluate(function.body, replace(frame, bound={**frame.bound, **bound}, calls=calls))
        scope = next((scope for scope in self._scopes if scope.node is function), None)
        if scope is None or not (scope.returns or scope.yields):
            return self._opaque(node)
        if scope.outer is not None and scope.outer.node is not None:
            bound = {**frame.bound, **bound}
        known: dict[tuple[int, str, int], Value] = {}
        results = [
            self.evaluate(found.value, Frame(scope, (found.lineno, found.col_offset), bound, calls, known))
            for found in scope.returns
            if found.value is not None
        ]
        if not scope.yields:
            return either(results, node)
        return Items(tuple(self._yielded(scope, Frame(scope, END, bound, calls, known))), node)

    def _yielded(self, scope: Scope, frame: Frame) -> Iterator[Value]:
        """What a generator gives, one after another."""
        for given in scope.yields:
            if given.value is not None:
                value = self.evaluate(given.value, frame)
                yield from elements(value) if isinstance(given, ast.YieldFrom) else [value]
