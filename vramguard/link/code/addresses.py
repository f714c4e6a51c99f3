"""Calls over plain HTTP of servers of models, known by the address that they ask."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from vramguard.link.code.words import text, values, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Ref
    from vramguard.link.code.roles import Row

_DEEP: Final = 3  # names that stand for what is made of other names
_LONGEST: Final = 1000


def addressed(code: Code, call: Ref, row: Row) -> Row | None:
    """A row of HTTP clients as it is for the address that a call asks; None where that is no model's."""
    number = call.node.argument("url", row.get("position", 0))
    if number == NONE:
        return None
    written = "".join(_pieces(code, call.to(number)))[:_LONGEST]
    kind = next((kind for pattern, kind in row["addresses"] if _compiled(pattern).search(written)), None)
    return None if kind is None else {**row, "kind": kind}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _pieces(code: Code, ref: Ref, depth: int = 0) -> Iterator[str]:
    """The strings that an address is made of, in order; a `*` for each name that nobody can resolve."""
    for inner in sorted(within(ref), key=lambda one: one.number):
        if inner.node.op == "const":
            yield text(inner.node)
        elif inner.node.op in ("name", "import", "attr", "param") and depth < _DEEP:
            stands = [one for one in values(code, inner) if one != inner][:_DEEP]
            yield "*" if not stands else ""
            for one in stands:
                yield from _pieces(code, one, depth + 1)
