"""Calls of a training loop that refuse by themselves what is not finite, or keep it out of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts.saves import FiniteCheck
from vramguard.link.code.program import Ref
from vramguard.link.code.reading import word_set

if TYPE_CHECKING:
    from vramguard.link.code import Code
    from vramguard.link.code.finite import Finite
    from vramguard.link.code.program import Routine

_ANOMALY: Final = word_set("set_detect_anomaly detect_anomaly enable_check_numerics")
_MENDING: Final = word_set("nan_to_num nan_to_num_")
_GRADIENTS: Final = word_set("grad grads gradient gradients")
_TRAINED: Final = _GRADIENTS | {"loss", "params"}
_SCHEDULES: Final = word_set("scheduler sched schedule profiler prof env")


class Acts:
    """Asks calls whether they refuse."""

    def __init__(self, code: Code, finite: Finite) -> None:
        self.code = code
        self.finite = finite
        self._known: dict[Routine, list[FiniteCheck]] = {}

    def refusing(self, routine: Routine) -> list[FiniteCheck]:
        """The calls in a function that raise where a gradient, a loss or anything is not finite."""
        if routine not in self._known:
            nodes = routine.function.nodes
            calls = (Ref(routine, number) for number in routine.all_of("call"))
            lasts = ((call, nodes[call.node.inputs[0]].name.rpartition(".")[2]) for call in calls)
            self._known[routine] = [
                FiniteCheck(call.at, what) for call, last in lasts if (what := self._what(call, last))
            ]
        return self._known[routine]

    def _what(self, call: Ref, last: str) -> str:
        """How a call refuses; empty for one that does not."""
        if last in _ANOMALY:
            return last if self._is_on(call, "mode", 0, absent=True) else ""
        if (clip := self.code.row("clip", call)) is not None and "error_keyword" in clip:
            keyword = str(clip["error_keyword"])
            strict = self._is_on(call, keyword, int(clip["error_position"]), absent=False)
            return f"{last}({keyword}=True)" if strict else ""
        if last in _MENDING:
            return self.finite.text(call) if self._speaks_of(call, _GRADIENTS) else ""
        if last == "update" and any(one.node.name == "'jax_debug_nans'" for one in call.inputs()):
            return "jax_debug_nans"
        row = self.code.row("finite", call)
        raises = row is not None and row.get("raises") and self._speaks_of(call, _TRAINED)
        return self.finite.text(call) if raises else ""

    def _is_on(self, call: Ref, keyword: str, position: int, *, absent: bool) -> bool:
        given = self.code.argument(call, keyword, position)
        return absent if given is None else self.finite.constants.of(given) is True

    def _speaks_of(self, call: Ref, words: frozenset[str]) -> bool:
        return any(word in words for one in call.inputs() for word in self.finite.words(one))

    def scaled(self, step: Ref) -> bool:
        """Whether a step is a GradScaler's that is certainly on: it leaves out a step whose gradient is NaN."""
        function = step.to(step.node.inputs[0])
        if function.node.op != "attr" or not any("GradScaler()" in path for path in self.code.meanings.paths(function)):
            return False
        made = self.finite.constants.made(function.to(function.node.inputs[0]), every=True)
        on = all(self._is_on(call, "enabled", -1, absent=True) for call in made)
        return bool(made) and on and not self._others(function)

    def _others(self, function: Ref) -> bool:
        """Whether something else has its `step` called in the function: on the way without the scaler."""
        for number in function.routine.all_of("call"):
            call = function.to(number)
            other = call.to(call.node.inputs[0])
            if (
                other.node.op == "attr"
                and other.node.name == "step"
                and other.node.inputs[0] != function.node.inputs[0]
            ):
                base = other.to(other.node.inputs[0])
                scaler = any("GradScaler" in path for path in self.code.meanings.paths(base))
                if not scaler and not _SCHEDULES & set(self.finite.words(base)):
                    return True
        return False
