"""Values that are written elsewhere than where they are read: a tuple that is unpacked, an attribute by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code.meaning import Meanings

_HANDED: Final = 2  # functions through which a tuple is handed on, before it is unpacked
_CALLERS: Final = 12  # that are asked what they hand over


def tuples(meanings: Meanings, base: Ref, depth: int = 0) -> Iterator[Ref]:
    """What is written with commas where a value comes from: in the functions that give it, or at the callers."""
    if base.node.op == "call":
        for routine in meanings.routines(base):
            given = (made.inputs[0] for made in routine.function.nodes if made.op == "return" and made.inputs)
            yield from (Ref(routine, one) for one in given if routine.function.nodes[one].op == "items")
    elif base.node.op == "param" and depth < _HANDED:
        routine = base.routine
        shift = meanings.program.parent(routine).function.kind == "class"
        names = [one.name for one in routine.function.parameters]
        position = names.index(base.node.name) - shift if base.node.name in names else NONE
        for call in meanings.by_name(routine)[:_CALLERS] if position >= 0 else ():
            number = call.node.argument(base.node.name, position)
            yield from tuples(meanings, call.to(number), depth + 1) if number != NONE else ()


def attribute(call: Ref) -> str:
    """Which attribute `getattr` is asked for; empty where only the run decides."""
    key = call.to(call.node.inputs[2]).node if len(call.node.inputs) > 2 else None  # noqa: PLR2004
    name = key.name.strip("'\"") if key is not None and key.op == "const" else ""
    return name if name.isidentifier() else ""
