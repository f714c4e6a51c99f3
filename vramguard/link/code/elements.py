"""What a list or a table gives, one after the other: `for tool in TOOLS`, `for model in models.values()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code.program import Program, Ref


def elements(program: Program, base: Ref) -> Iterator[Ref]:
    """The values that stand in what is iterated, where it is written here or in a name around; constants aside."""
    node = base.node
    if node.op != "call":
        for place in _places(program, base):
            if place.node.op == "items":
                yield from (one for one in place.inputs() if one.node.op not in ("const", "table", "items"))
        return
    function = base.to(node.inputs[0])
    if function.node.op == "attr" and function.node.name == "values" and len(node.inputs) == 1:
        for place in _places(program, function.to(function.node.inputs[0])):
            yield from (place.to(one) for one in place.node.inputs[1::2] if place.node.op == "table")


def _places(program: Program, base: Ref) -> list[Ref]:
    """The values of a name, of this module or of the one that it is imported from."""
    refs = program.lookup(base.routine, base.node.name) if base.node.op == "name" else [base]
    found: list[Ref] = []
    for ref in refs:
        holder, _, last = ref.node.name.rpartition(".") if ref.node.op == "import" else ("", "", "")
        path = program.resolve(ref.routine.path, holder) if holder.strip(".") else None
        module = program.module(path) if path is not None else None
        found += program.lookup(program.routine(module, 0), last) if module is not None else [ref]
    return found
