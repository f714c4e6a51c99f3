"""What an expression says in words: its strings, its names, what they stand for."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from vramguard.link.code.reading import parts
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Ref
    from vramguard.source.graph import Node

_MOST: Final = 80  # nodes of an expression that are looked at
_DEEP: Final = 4  # names that lead to other names


def within(ref: Ref) -> Iterator[Ref]:
    """An expression's nodes, itself first."""
    pending, seen = [ref.number], set[int]()
    while pending and len(seen) < _MOST:
        number = pending.pop(0)
        if number != NONE and number not in seen:
            seen.add(number)
            yield ref.to(number)
            pending += ref.routine.function.nodes[number].inputs


def constants(ref: Ref, op: str = "const") -> Iterator[Node]:
    """The nodes of one kind in an expression."""
    return (inner.node for inner in within(ref) if inner.node.op == op)


def text(node: Node) -> str:
    """The string that a constant is; empty for anything else."""
    if node.op != "const" or node.name[:1] not in "'\"":
        return ""
    try:
        found = ast.literal_eval(node.name)
    except (ValueError, SyntaxError, MemoryError):
        return node.name.strip("'\"")
    return found if isinstance(found, str) else ""


def values(code: Code, ref: Ref | None, depth: int = 0) -> Iterator[Ref]:
    """The nodes that a name, a parameter, an attribute of `self` may stand for: constants, and what is neither."""
    if ref is None or depth > _DEEP:
        return
    node = ref.node
    found: list[Ref] = []
    if node.op in ("name", "import"):
        found = _looked_up(code, ref)
    elif node.op == "param":
        found = _given(code, ref)
    elif node.op == "attr":
        found = _kept(code, ref)
    elif node.op in ("join", "or", "and", "if", "global", "enter"):
        found = [ref.to(number) for number in node.inputs if number != NONE]
    if not found:
        yield ref
    for one in found:
        if one != ref:
            yield from values(code, one, depth + 1)


def _looked_up(code: Code, ref: Ref) -> list[Ref]:
    node = ref.node
    if node.op == "name":
        return code.program.lookup(ref.routine, node.name)
    base, _, last = node.name.rpartition(".")
    holder = code.program.resolve(ref.routine.path, base) if base.strip(".") else None
    module = code.program.module(holder) if holder is not None else None
    return code.program.lookup(code.program.routine(module, 0), last) if module is not None else []


def _given(code: Code, ref: Ref) -> list[Ref]:
    """A parameter's default, and what callers hand over."""
    routine = ref.routine
    method = code.program.parent(routine).function.kind == "class"
    for position, one in enumerate(routine.function.parameters):
        if one.name == ref.node.name:
            found = []
            absent = False
            for call in code.meanings.callers(routine)[:8]:
                number = call.node.argument(one.name, position - method)
                absent |= number == NONE
                found += [] if number == NONE else [call.to(number)]
            if one.default != NONE and (absent or not found):
                around = code.program.parent(routine)
                found.append(type(ref)(around, one.default))
            return found
    return []


def _kept(code: Code, ref: Ref) -> list[Ref]:
    owner = code.program.owner(ref.routine)
    base = ref.to(ref.node.inputs[0])
    if owner is not None and code.meanings.is_self(base, owner):
        found = [one.to(one.node.inputs[1]) for one in code.meanings.kept(owner, ref.node.name)]
        fields = [
            type(ref)(owner, node.inputs[1])
            for node in owner.function.nodes
            if node.op == "field" and node.name == ref.node.name and node.inputs[1] != NONE
        ]
        named = [type(ref)(owner, number) for number in owner.function.names.get(ref.node.name, ())]
        return found or fields or named
    return _of_module(code, base, ref.node.name)


def _of_module(code: Code, base: Ref, name: str) -> list[Ref]:
    """`config.MODEL_PATH`, where `config` is a module of the repository."""
    for one in code.meanings.of(base) if base.node.op in ("name", "import") else ():
        if not isinstance(one, str) and one.kind == "module":
            module = code.program.module(one.path)
            if module is not None:
                return code.program.lookup(code.program.routine(module, 0), name)
    return []


def literal(code: Code, ref: Ref | None) -> str:
    """The one string that an expression is; empty where it may be several, or none."""
    found = {text(one.node) for one in values(code, ref)} if ref is not None else set()
    return found.pop() if len(found) == 1 else ""


def texts(code: Code, ref: Ref) -> list[str]:
    """Every string in an expression, those that its names stand for included, in the order in which they stand."""
    found: list[str] = []
    for inner in sorted(within(ref), key=lambda one: one.number):
        if inner.node.op == "const":
            found.append(text(inner.node))
        elif inner.node.op in ("name", "import", "attr"):
            found += [text(one.node) for one in values(code, inner)]
    return [one for one in found if one]


def tokens(name: str) -> set[str]:
    """The words of a name, with a number and without: `driftScore_v2` has drift, score, v2, v."""
    found = parts(name)
    return {*found, *(one.rstrip("0123456789") or one for one in found)}
