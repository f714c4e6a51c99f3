"""Which model is asked next where one fails: the next of a list of them, or what stands after a `try` that may fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.services import Fallback
from vramguard.link.code.program import Ref
from vramguard.link.code.words import text, tokens, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.link.code.attempts import Attempt, Attempts
    from vramguard.link.code.program import Routine

_NAMED: Final = frozenset({"model", "model_name", "model_id", "deployment", "engine"})  # keywords of calls of models
_PROVIDERS: Final = {
    "gpt": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "claude": "anthropic", "gemini": "gemini",
    "mistral": "mistral", "command": "cohere",
}  # fmt: skip
_LEAVE: Final = frozenset({"raise", "return", "break", "exit"})


def provider(name: str) -> str:
    """`openai/gpt-4o`, `gpt-4o`: of openai."""
    if "/" in name:
        return name.partition("/")[0]
    return next((found for start, found in _PROVIDERS.items() if name.startswith(start)), name)


class Successors:
    """Finds the models that are asked one after another. `compare`: a call against those that have failed."""

    def __init__(self, attempts: Attempts, compare: Callable[[Ref, list[Ref], Attempt], Fallback | None]) -> None:
        self.attempts = attempts
        self.code = attempts.code
        self.compare = compare

    def listed(self, attempt: Attempt) -> Iterator[Fallback]:
        """`for model in MODELS: try: return ask(model=model) except: continue`, of models of one provider."""
        loop = self._loop(attempt)
        if loop is None or not self._goes_on(attempt):
            return
        turns = self._turns(loop)
        chosen = any(self._chooses(call, turns) for call in attempt.calls(attempt.block))
        model = next((one for one in attempt.calls(attempt.block) if self._asks_model(one)), None) if chosen else None
        names = [] if model is None else self._names(loop)
        known = [provider(one) for one in names if provider(one) != one]
        shared = next((one for one in known if known.count(one) > 1), None)
        if model is not None and shared is not None:
            written = self.code.written(model)
            steps = (
                Step(loop.at, f"several models of {shared} are asked, each where the one before fails"),
                Step(model.at, f"`{written}(…)` asks them"),
            )
            yield Fallback(model.at, written, written, "model", False, steps)

    def after(self, attempt: Attempt, primaries: list[Ref]) -> Iterator[Fallback]:
        """`try: return large(x) except: print(…)`, and then `return small(x)`."""
        routine = attempt.routine
        blocks, nodes = routine.function.blocks, routine.function.nodes
        if blocks[attempt.block].leaves != "return" or any(blocks[one].leaves for one in attempt.handlers):
            return
        parent = blocks[attempt.block].parent
        tried = {attempt.block, *attempt.handlers}
        last = max(
            (n for n, node in enumerate(nodes) if not tried.isdisjoint(routine.blocks[node.block])), default=NONE
        )
        for call in (Ref(routine, number) for number in routine.all_of("call") if number > last):
            if parent in routine.blocks[call.node.block]:
                found = self.compare(call, primaries, attempt)
                if found is not None and found.kind == "model":
                    yield found
                    return

    def _loop(self, attempt: Attempt) -> Ref | None:
        """What the loop around a `try` goes through."""
        blocks = attempt.routine.function.blocks
        for number in attempt.routine.blocks[attempt.block][1:]:
            if blocks[number].kind in ("for", "while"):
                counted = blocks[number].kind == "for" and blocks[number].test != NONE
                return Ref(attempt.routine, blocks[number].test) if counted else None
        return None

    def _goes_on(self, attempt: Attempt) -> bool:
        """Whether the loop ends where a `try` succeeds, and goes on where it fails."""
        blocks, nodes = attempt.routine.function.blocks, attempt.routine.function.nodes
        inside = [number for number in range(len(blocks)) if attempt.block in attempt.routine.blocks[number]]
        ends = any(blocks[number].leaves in ("return", "break") for number in inside)
        ends = ends or any(node.op == "return" and node.block in inside for node in nodes)
        return ends and not {blocks[one].leaves for one in attempt.handlers} & _LEAVE

    @staticmethod
    def _turns(loop: Ref) -> frozenset[int]:
        """What a turn of a loop is given, with the parts of it: `for number, model in enumerate(models)`."""
        nodes = loop.routine.function.nodes
        each = {n for n in loop.routine.all_of("each") if nodes[n].inputs[0] == loop.number}
        return frozenset(each | {n for n in loop.routine.all_of("part") if nodes[n].inputs[0] in each})

    def _chooses(self, call: Ref, turns: frozenset[int]) -> bool:
        """Whether a call is told the model of this turn."""
        named = {
            number for name, numbers in call.routine.function.names.items() if _is_model(name) for number in numbers
        }
        return any(number in turns and (word in _NAMED or number in named) for word, number in call.node.arguments())

    def _asks_model(self, call: Ref) -> bool:
        if self.attempts.of_model(call) is not None:
            return True
        return any(self._comes_to_model(one) for one in self.attempts.serving.dispatch.of(call))

    def _comes_to_model(self, routine: Routine) -> bool:
        reached = self.attempts.serving.reached(routine)
        return any(call in self.attempts.models for one in reached for call in self.attempts.asked.get(one, ()))

    def _names(self, loop: Ref) -> list[str]:
        places = [one for inner in within(loop) for one in (inner, *self.attempts.serving.behind(inner))]
        found = (said for place in places for one in within(place) if (said := text(one.node)))
        return list(dict.fromkeys(one.lower() for one in found))


def _is_model(name: str) -> bool:
    return bool(tokens(name) & {"model", "engine", "deployment"})
