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
    subjects = list(_subjects(guard.test, values))
    parts = [ref for ref in subjects if _is_part(code, ref)]
    return bool(parts) and len(parts) == len(subjects) and not any(key in names for ref in parts for key in keys(ref))


def _subjects(test: Ref, values: frozenset[int]) -> Iterator[Ref]:
    """The values in a condition: of those inside of each other the outermost."""
    nodes = test.routine.function.nodes
    pending, seen = [test.number], set[int]()
    while pending and len(seen) < _MOST:
        number = pending.pop()
        if number == NONE or number in seen:
            continue
        seen.add(number)
        if number in values and number != test.number:
            yield test.to(number)
        else:
            pending += nodes[number].inputs


def _is_part(code: Code, ref: Ref) -> bool:
    """Whether a value is an attribute or an item of an object that holds several."""
    if ref.node.op not in ("attr", "item") or not list(keys(ref)):
        return False
    base = ref.to(ref.node.inputs[0])
    if base.node.op in _WHOLE or any(inner.node.op in _WHOLE for inner in base.inputs() if base.node.op == "join"):
        return True
    return any(isinstance(one, Own) and one.kind == "instance" for one in code.meanings.of(base))
