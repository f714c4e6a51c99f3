"""Guards that ask of something else in the same object: `state.intent in KNOWN` says nothing of `state.answer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.code.meaning import Own
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.guards import Guard
    from vramguard.link.code.program import Ref

_MOST: Final = 200  # nodes of a condition that are looked at
_WHOLE: Final = ("grown", "table")  # what is made of several values


def keys(ref: Ref) -> Iterator[str]:
    """The key of an item, or the name of an attribute."""
    node = ref.node
    if node.op in ("attr", "store"):
        yield node.name
    elif node.op in ("item", "setitem"):
        key = ref.to(node.inputs[1]).node
        if key.op == "const":
            yield key.name.strip("'\"")


def asks_a_sibling(code: Code, guard: Guard, values: frozenset[int], names: frozenset[str]) -> bool:
    """Whether all that a guard asks of a value are parts of an object which are not those that go on, by `names`."""
    subjects = list(subjects_of(guard.test, values))
    parts = [ref for ref in subjects if _is_part(code, ref)]
    return bool(parts) and len(parts) == len(subjects) and not any(key in names for ref in parts for key in keys(ref))


def asks_another_key(guard: Guard, names: frozenset[str]) -> bool:
    """Whether a condition compares what stands under one key of a table with something, and another key goes on."""
    pending, found = [guard.test], list[str]()
    for ref in pending:
        node = ref.node
        if node.op in ("unary", "and", "or"):
            pending += ref.inputs()
        elif node.op == "compare" and not node.name.endswith("in"):
            key = _key_of(ref.to(node.inputs[0]))
            found += [key] if key else []
    return bool(found) and names.isdisjoint(found)


def _key_of(ref: Ref) -> str:
    """The constant key that something is read by: `data["tool"]`, `data.get("tool")`."""
    node = ref.node
    asks = node.op == "call" and len(node.inputs) > 1 and ref.to(node.inputs[0]).node.name == "get"
    if not asks and node.op != "item":
        return ""
    key = ref.to(node.inputs[1]).node
    return key.name.strip("'\"") if key.op == "const" and key.name[:1] in "'\"" else ""


def subjects_of(test: Ref, values: frozenset[int], *, whole: bool = False) -> Iterator[Ref]:
    """The values in a condition: of those inside of each other the outermost. `whole`: it may be one itself."""
    nodes = test.routine.function.nodes
    pending, seen = [test.number], set[int]()
    while pending and len(seen) < _MOST:
        number = pending.pop()
        if number == NONE or number in seen:
            continue
        seen.add(number)
        if number in values and (whole or number != test.number):
            yield test.to(number)
        else:  # what grows by a value and is none itself was handed the value: a session, a queue
            node = nodes[number]
            pending += node.inputs[:1] if node.op == "grown" else node.inputs


def _is_part(code: Code, ref: Ref) -> bool:
    """Whether a value is an attribute or an item of an object that holds several."""
    if ref.node.op not in ("attr", "item") or not list(keys(ref)):
        return False
    base = ref.to(ref.node.inputs[0])
    if base.node.op in _WHOLE or any(inner.node.op in _WHOLE for inner in base.inputs() if base.node.op == "join"):
        return True
    return any(isinstance(one, Own) and one.kind == "instance" for one in code.meanings.of(base))
