"""How often a loop goes round, where its text says so: integers behind names, defaults of parameters, `range`."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref
from vramguard.link.code.words import texts, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code.serving import Serving

_HEALTH: Final = re.compile(
    r"/(\w*heart_?beat|health|ready|live|ping|status|alive)\w*\b|/api/tags|/v1/models", re.IGNORECASE
)
_READY: Final = re.compile(rf"{_HEALTH.pattern}|(^|_)(wait|verif|poll|ready|readiness|health|smoke)", re.IGNORECASE)
_DEEP: Final = 6  # names behind names
_CALLERS: Final = 12


class Counts:
    """Reads integers, and with them how often loops go round."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.code = serving.code

    def number(self, ref: Ref, depth: int = 0) -> int | None:
        """An integer, as written or under a name that nothing else is bound to; a sum or a difference of such."""
        node = ref.node
        if node.op in ("const", "unary"):
            return _literal(ref)
        if depth >= _DEEP:
            return None
        if node.op == "binary" and node.name in ("+", "-"):
            found = [self.number(one, depth + 1) for one in ref.inputs()]
            first, second = found if len(found) == 2 else (None, None)  # noqa: PLR2004
            if first is None or second is None:
                return None
            return first + second if node.name == "+" else first - second
        if node.op == "param":
            return self._by_default(ref, depth)
        behind = self.serving.behind(ref) if node.op in ("name", "import", "attr") else []
        return self.number(behind[0], depth + 1) if len(behind) == 1 else None

    def _by_default(self, ref: Ref, depth: int) -> int | None:
        """What a parameter is where nobody says otherwise; the most that callers say, where every one says it."""
        routine, name = ref.routine, ref.node.name
        shift = self.code.program.parent(routine).function.kind == "class"
        names = [one.name for one in routine.function.parameters]
        default = next((one.default for one in routine.function.parameters if one.name == name), NONE)
        if default == NONE:
            return None
        callers = self.code.meanings.callers(routine)[:_CALLERS]
        given = [caller.node.argument(name, names.index(name) - shift) for caller in callers]
        said = [
            self.number(caller.to(number), depth + 1)
            for caller, number in zip(callers, given, strict=True)
            if number >= 0
        ]
        counted = [one for one in said if one is not None]
        if given and NONE not in given:
            return max(counted) if len(counted) == len(given) else None
        return self.number(Ref(self.code.program.parent(routine), default), depth + 1)

    def times(self, test: Ref, kind: str) -> int | None:
        """How often a loop goes round: `for _ in range(3)`, `while tries < 3`."""
        return self._of_range(test) if kind == "for" else self._of_while(test)

    def _of_range(self, iterated: Ref) -> int | None:
        if iterated.node.op != "call" or self.code.written(iterated) != "range":
            return None
        ends = [self.number(iterated.to(number)) for number in iterated.node.inputs[1:]]
        if len(ends) == 1:
            return ends[0]
        first, last = (*ends, None, None)[:2]
        return last - first if len(ends) == 2 and first is not None and last is not None else None  # noqa: PLR2004

    def _of_while(self, test: Ref) -> int | None:
        """`tries = 0; while tries < 5: … tries += 1`."""
        if test.node.op != "compare" or test.node.name not in ("<", "<="):
            return None
        left, right = test.inputs()
        begins = [one for one in left.inputs() if one.node.op == "const"] if left.node.op == "join" else []
        grows = any(one.node.op == "binary" and one.node.name == "+" for one in left.inputs())
        first = self.number(begins[0]) if len(begins) == 1 and grows else None
        last = self.number(right)
        return None if first is None or last is None else last - first + (test.node.name == "<=")

    def is_of_health(self, call: Ref) -> bool:
        """Whether a call asks, or says, how a service is."""
        return any(_HEALTH.search(one) for one in texts(self.code, call))

    def is_of_readiness(self, call: Ref) -> bool:
        """Whether a call asks if a service is up: who waits for that repeats nothing that was to be done."""
        said = (self.code.name(call.routine), call.routine.path.rpartition("/")[2], *texts(self.code, call))
        return any(_READY.search(one) for one in said)

    def is_turned(self, call: Ref, test: Ref) -> bool:
        """Whether what a call asks differs from turn to turn: a page, an offset, the next of several models."""
        function = call.routine.function
        turns = {number for number in call.routine.all_of("each") if function.nodes[number].inputs[0] == test.number}
        if test.node.op == "compare":
            turns |= set(test.node.inputs[:1])
        return any(one.number in turns for one in _handed(call))


def _handed(call: Ref) -> Iterator[Ref]:
    for number in call.node.inputs[1:]:
        yield from within(call.to(number))


def _literal(ref: Ref) -> int | None:
    try:
        sign = -1 if ref.node.op == "unary" and ref.node.name == "-" else 1
        text = ref.node.name if ref.node.op == "const" else ref.to(ref.node.inputs[0]).node.name
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return sign * found if type(found) is int else None
