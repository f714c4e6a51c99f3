"""Data that is read by a name that does not stay the same: `s3://data/latest/train.csv`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.facts.datasets import DataSource
from vramguard.facts.outputs import Step
from vramguard.link.code.datasets import sources
from vramguard.link.code.places import any_of, place, same, words, written
from vramguard.link.code.words import texts, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code.datasets import Sources
    from vramguard.link.code.flow import Reached
    from vramguard.link.code.program import Ref
    from vramguard.link.code.roles import Row

_LATEST: Final = re.compile(r"(^|[/_\-.:=])latest([/\-.:]|$)", re.IGNORECASE)
_FETCHED: Final = re.compile(
    r"(^|[/_\-.:=])latest([/_\-.:]|$)", re.IGNORECASE
)  # a key of a store is what somebody puts there
_LOADS: Final = frozenset({"load", "read", "get", "fetch", "dataset", "data"})
_NO_DATA: Final = re.compile(r"model|checkpoint|ckpt|weights|\.(pth?|bin|safetensors|onnx|h5|keras|pkl|joblib)\b", re.I)


def left_open(found: Sources, reached: Reached) -> bool:
    """Whether data leaves by the answer of a loader that nothing of the repository calls: who does, trains."""
    for edge in reached.edges:
        routine = edge.user.routine
        if (
            edge.user.node.op == "return"
            and not found.code.meanings.callers(routine)
            and tokens(routine.function.name) & _LOADS
        ):
            return True
    return False


def _latest(found: Sources) -> Iterator[DataSource]:
    """Reads of what changes under its name, that train or that a loader gives away."""
    code = found.code
    for call, row in code.calls("read"):
        if row.get("weak") or row["kind"] == "table":
            continue
        said = _named(words(code, call, place(call, row)))
        first = found.learning.first(call) if said else None
        if first is not None:
            yield replace(found.source(call, row, *first), latest=said)
        elif said and left_open(found, code.flow.forward(call)):
            name = code.name(call.routine)
            yield DataSource(call.at, code.written(call), said, name, "", (Step(call.at, "read here"),), latest=said)
    yield from _downloaded(found)


def _named(said: list[str], pattern: re.Pattern[str] = _LATEST) -> str:
    return next((one for one in said if pattern.search(one) and not one.isidentifier()), "")


def _downloaded(found: Sources) -> Iterator[DataSource]:
    """Files that are fetched by such a name, and read where they were put by a read that trains."""
    code = found.code
    for call, row in code.calls("download") if found.reads else ():
        given = [number for number in call.node.inputs[1:] if number >= 0]
        said = _named([one for number in given for one in texts(code, call.to(number))], _FETCHED)
        if not said or any_of([said], _NO_DATA):
            continue
        for read, how in found.reads:
            if read.routine is call.routine and read.number > call.number and _is_at(found, call, row, read, how):
                first = found.first(read, how)
                if first is not None:
                    fetched = replace(found.source(read, how, *first), at=call.at, call=code.written(call), latest=said)
                    yield replace(fetched, steps=(Step(call.at, f"`{fetched.call}(…)` fetches it"), *fetched.steps))
                    break


def _is_at(found: Sources, call: Ref, row: Row, read: Ref, how: Row) -> bool:
    """Whether a read is of the file that a download has put there."""
    target, at = place(call, {"of": row["of"]}), place(read, how)
    if target is None or at is None:
        return False
    return target == at or same(written(found.code, target), written(found.code, at))


def latest_data(facts: Facts) -> tuple[DataSource, ...]:
    """What a repository's training reads by a name that does not stay the same."""
    return facts.once("latest data", lambda facts: tuple(_latest(sources(facts))))
