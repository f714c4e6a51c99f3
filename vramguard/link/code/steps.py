"""The way down to an act of training, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts.outputs import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.starts import Start


def steps_of(code: Code, chain: list[Start]) -> Iterator[Step]:
    """The calls down to the act of training, in words."""
    for one in chain:
        written = code.written(one.call) or "a call"
        if one.into is None:
            verb = (
                "submits training"
                if one.what == "job"
                else "runs a script that trains"
                if one.what == "launch"
                else "trains"
            )
            yield Step(one.call.at, f"`{written}(…)` {verb}")
        else:
            into = code.name(one.into) if one.into.number else one.into.path
            yield Step(one.call.at, f"`{written}(…)` runs `{into}`")
