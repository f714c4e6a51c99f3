"""What hands on a model's text while it is made: `TextIteratorStreamer`, given to `generate` in a thread beside, and
iterated where the answer goes out. The answer of the call itself goes nowhere; that of the streamer is the model's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from vramguard.link.code.meaning import RUNNERS
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table, table
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.flow import Edge, Reached
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

# transformers 5.23.0, generation/streamers.py; BaseStreamer and TextStreamer give nothing on, they print.
_STREAMERS: Final = Table([{"call": [
    "transformers.**{TextIteratorStreamer,AsyncTextIteratorStreamer}",
    "?{TextIteratorStreamer,AsyncTextIteratorStreamer}",
]}])  # fmt: skip
_HANDED: Final = frozenset({"return", "param", "part", "join", "items", "name"})  # what an answer passes unread
_TEXT: Final[Row] = {"kind": "text", "streamed": True}


def streamed(code: Code, stops: Callable[[Edge], bool]) -> Iterator[tuple[Ref, Row, Reached]]:
    """Every call of a model whose text a streamer hands on, and where that goes."""
    judged = set(code.routines)
    for name in sorted(name for name in code.program.calls if name.endswith("Streamer")):
        for made in code.program.calls[name]:
            if made.routine in judged and _STREAMERS.among(code.meanings.called(made)) is not None:
                reached = code.flow.forward(made, stops, by_parts=True)
                takers = (edge.user for edge in reached.edges if edge.user.node.op == "call" and edge.position > 0)
                for call in dict.fromkeys(takers):
                    row = _answers(code, call)
                    if row is not None:
                        yield call, row, reached
    yield from _iterated(code, stops)


def _iterated(code: Code, stops: Callable[[Edge], bool]) -> Iterator[tuple[Ref, Row, Reached]]:
    """A function whose model's text goes nowhere, given to an object that one iterates: a callback fills its queue."""
    for call, row in code.answers():
        around = code.program.parent(call.routine)
        if row["kind"] != "text" or not call.routine.number or call.routine.users.get(call.number):
            continue
        for number in around.all_of("def"):
            if around.function.nodes[number].name == str(call.routine.number):
                for edge in code.flow.forward(Ref(around, number)).edges:
                    made = code.own_class(edge.user) if edge.user.node.op == "call" and edge.position > 0 else None
                    if made is not None and _is_iterated(code, made):
                        yield call, {**row, **_TEXT}, code.flow.forward(edge.user, stops, by_parts=True)


def _is_iterated(code: Code, made: Routine) -> bool:
    """Whether a class gives one thing after another."""
    return any(method.function.name in ("__next__", "__anext__") for method in code.program.methods(made))


def _answers(code: Code, call: Ref) -> Row | None:
    """What is known of a call that is given a streamer, where it is a model's or starts one: whatever else is called
    `generate` and takes one is a model that makes text.
    """
    row = code.row("output", call)
    if row is not None:
        return {**row, **_TEXT}
    function = call.to(call.node.inputs[0]).node
    if function.op == "attr" and function.name == "generate":
        return None if code.meanings.routines(call) else _TEXT
    started = call.node.inputs[1:] if function.name.rpartition(".")[2] in RUNNERS else ()
    given = (call.to(number) for number in started if number != NONE)
    for one in given:
        known = table("output").among(code.meanings.paths(one)) if one.node.op in ("attr", "name", "import") else None
        if known is not None or (one.node.op == "attr" and one.node.name == "generate"):
            return {**(known or {}), **_TEXT}
    return None


def is_repeated(given: Ref) -> bool:
    """Whether a `yield` stands in a loop, or gives on what another generator does."""
    return _is_looped(given) or (bool(given.node.inputs) and given.to(given.node.inputs[0]).node.op == "each")


def is_sent_on(path: list[Ref]) -> bool:
    """Whether what a generator gives of the pieces of an answer is sent as it comes: a message that is written again
    with each, and not once when the last is there.
    """
    handed = (ref for before, ref in pairwise(path) if not (ref.node.op in _HANDED or before.node.op == "return"))
    first = next(handed, None)
    pieces = [number for number, ref in enumerate(path) if ref.node.op == "each"]
    if first is None or first.node.op != "each" or path[pieces[-1]] == first:
        return False
    sent = next((ref for ref in path[pieces[-1] :] if ref.node.op == "call"), None)
    return sent is not None and sent.routine is path[pieces[-1]].routine and _is_looped(sent)


def _is_looped(ref: Ref) -> bool:
    blocks = ref.routine.function.blocks
    return any(blocks[number].kind in ("for", "while") for number in ref.routine.blocks[ref.node.block])
