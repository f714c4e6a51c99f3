"""What a list or a table gives, one after the other or by a key: `for tool in TOOLS`, `self.models["price"]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code.meaning import Meanings
    from vramguard.link.code.program import Program, Ref

_KEPT: Final = 40  # places at which something is put into an attribute


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


def entries(meanings: Meanings, base: Ref, key: Ref) -> Iterator[Ref]:
    """What stands under a key of a table that is written here, or put into one of the module's, or of an object's."""
    places, word = [base], ""
    if base.node.op == "name":
        places, word = meanings.program.lookup(base.routine, base.node.name), base.node.name
    elif base.node.op == "attr":
        places, word = _kept(meanings, base), f".{base.node.name}"
    for place in places:
        node = place.node
        if node.op == "table":
            for inner, held in zip(node.inputs[::2], node.inputs[1::2], strict=True):
                if inner != NONE and (place.to(inner).node.name == key.node.name or key.node.op != "const"):
                    yield place.to(held)
    for put in meanings.program.puts_in(base.routine.module, word) if word and (places or word[0] != ".") else ():
        if key.node.op != "const" or put.to(put.node.inputs[1]).node.name == key.node.name:
            yield put.to(put.node.inputs[2])


def _kept(meanings: Meanings, base: Ref) -> list[Ref]:
    """What methods of a class have put into an attribute of the object whose method reads it."""
    owner = meanings.program.owner(base.routine)
    if owner is None or not meanings.is_self(base.to(base.node.inputs[0]), owner):
        return []
    return [store.to(store.node.inputs[1]) for store in meanings.kept(owner, base.node.name)[:_KEPT]]


def asked_for(made: Ref) -> Iterator[Ref]:
    """The classes that a function asks of what a call gave: `model = make(name)`, `if isinstance(model, Predictor)`."""
    nodes = made.routine.function.nodes
    for user in made.routine.users.get(made.number, ()):
        node = nodes[user]
        if node.op == "call" and node.inputs[1:2] == (made.number,) and len(node.inputs) == 3:  # noqa: PLR2004
            function = nodes[node.inputs[0]]
            if (function.op, function.name) == ("name", "isinstance"):
                yield made.to(node.inputs[2])
