"""What answers where a model does not: another model, the same one again, or the function that has just failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.services import Fallback
from vramguard.link.code.attempts import attempts
from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table, rows
from vramguard.link.code.serving import called
from vramguard.link.code.successors import Successors, provider
from vramguard.link.code.triggers import starting
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code.attempts import Attempt
    from vramguard.link.code.program import Routine

# Exceptions of code that does not fit its library: what stands in their handlers is another way to write the call.
_SHAPES: Final = frozenset({
    "ImportError", "ModuleNotFoundError", "AttributeError", "TypeError", "NotImplementedError", "KeyError", "NameError",
    "IndexError", "StopIteration", "AssertionError", "KeyboardInterrupt", "JSONDecodeError", "ValidationError",
    "OutputParserException",
})  # fmt: skip


class Fallbacks:
    """Finds what answers where a model does not."""

    def __init__(self, facts: Facts) -> None:
        self.attempts = attempts(facts)
        self.serving = self.attempts.serving
        self.code = self.attempts.code
        self.successors = Successors(self.attempts, self._compared)
        self._training = starting(facts).down

    def all(self) -> Iterator[Fallback]:
        """Of handlers of exceptions, of libraries' fallbacks, of breakers."""
        for routine in self.code.routines:
            if any(block.kind == "except" for block in routine.function.blocks):
                for attempt in self.attempts.of(routine):
                    yield from self._tried(attempt)
            for ref, _ in self.code.decorators(routine) if routine.function.decorators else ():
                if ref.node.op == "call":
                    yield from self._decorated(ref, routine)
        for call, row in self.code.calls("fallback"):
            yield from self._listed(call, row["others"])

    # Handlers of exceptions.

    def _tried(self, attempt: Attempt) -> Iterator[Fallback]:
        primaries = [call for call in attempt.calls(attempt.block) if self._asks(call) and not self._trains(call)]
        yield from self.successors.listed(attempt)
        if primaries and not all(self._of_shape(attempt, one) for one in attempt.handlers):
            yield from self.successors.after(attempt, primaries)
        for handler in attempt.handlers if primaries else ():
            if self._of_shape(attempt, handler) or self._makes_loop(attempt, handler):
                continue
            for call in attempt.calls(handler):
                if call in self.attempts.models and self._about_caught(call, handler):
                    continue
                found = self._compared(call, primaries, attempt)
                if found is not None:
                    yield found
                    break

    def _asks(self, call: Ref) -> bool:
        """Whether a call is one of a model or of the network, or comes to one."""
        if call in self.attempts.asked.get(call.routine, ()):
            return True
        if self.code.own_class(call) is not None:
            return False
        return any(self.attempts.asks(one) is not None for one in self.code.meanings.routines(call))

    def _trains(self, call: Ref) -> bool:
        """Whether a call trains a model, for which nobody waits: another go with less memory is no fallback."""
        if not self._training:
            return False
        return any(one in self._training for one in self.code.meanings.routines(call))

    def _of_shape(self, attempt: Attempt, handler: int) -> bool:
        test = attempt.routine.function.blocks[handler].test
        if test == NONE:
            return False
        kinds = Ref(attempt.routine, test)
        named = list(kinds.inputs()) if kinds.node.op == "items" else [kinds]
        return all(self.code.written(one).rpartition(".")[2] in _SHAPES for one in named)

    @staticmethod
    def _makes_loop(attempt: Attempt, handler: int) -> bool:
        """Whether a handler is there since no event loop runs: it makes one, and what had not begun begins."""
        return any(called(call) in ("new_event_loop", "set_event_loop") for call in attempt.calls(handler))

    def _about_caught(self, call: Ref, handler: int) -> bool:
        """Whether a call is told of the exception: a model that is asked to mend its answer is no fallback."""
        nodes, blocks = call.routine.function.nodes, call.routine.blocks
        caught = frozenset(n for n in call.routine.all_of("caught") if handler in blocks[nodes[n].block])
        return any(self.code.guards.about(call.to(n), caught) for n in call.node.inputs[1:] if n != NONE)

    def _compared(self, call: Ref, primaries: list[Ref], attempt: Attempt) -> Fallback | None:
        cycle = self._cycle(call, attempt.routine)
        model = self.attempts.of_model(call)
        if cycle is not None or model is None or self._in_loop(attempt) or self._comes_back(call, attempt.routine):
            return cycle
        again = next((primary for primary in primaries if self._is_same(call, primary)), None)
        if again is not None:
            return self._primary(call, again)
        for primary in primaries:
            first = self.attempts.of_model(primary)
            if first is not None and (first == model or self._beside(first, model)):
                return self._reached(call, primary, model) if first == model else self._other(call, primary, model)
        return None

    def _in_loop(self, attempt: Attempt) -> bool:
        blocks = attempt.routine.function.blocks
        return any(blocks[number].kind in ("for", "while") for number in attempt.routine.blocks[attempt.block])

    # Cycles.

    def _comes_back(self, call: Ref, routine: Routine) -> bool:
        return any(routine in self.attempts.closure(inner) for inner in self.code.meanings.routines(call))

    def _cycle(self, call: Ref, routine: Routine) -> Fallback | None:
        """Whether a call in a handler comes back to the function that the handler is of."""
        for inner in self.code.meanings.routines(call):
            if self.code.own_class(call) is not None:
                continue
            if routine not in self.attempts.closure(inner):
                continue
            trail = (call, *self.serving.reached(inner)[routine])
            if not all(self._is_own(one) for one in trail) or any(self._counts(one) for one in trail):
                continue
            name = self.code.name(routine)
            steps = [
                Step(one.at, f"`{self.code.name(one.routine)}` calls `{self.code.written(one)}(…)`") for one in trail
            ]
            written = self.code.written(call)
            return Fallback(call.at, written, name, "cycle", True, tuple(steps))
        return None

    def _is_own(self, call: Ref) -> bool:
        """Whether a call runs a function of the module, or a method of the very same object, or of a new one."""
        function = call.to(call.node.inputs[0])
        if function.node.op != "attr":
            return True
        base = function.to(function.node.inputs[0])
        owner = self.code.program.owner(call.routine)
        if owner is not None and self.code.meanings.is_self(base, owner):
            return True
        if base.node.op == "call" and len(base.node.inputs) == 1:  # `Prices().of(product)`
            return self.code.own_class(base) is not None
        return any(isinstance(one, Own) and one.kind in ("module", "class") for one in self.code.meanings.of(base))

    def _counts(self, call: Ref) -> bool:
        """Whether a call is told how often, or that it is the last one: `f(x, retries - 1)`, `f(x, retry=False)`."""
        for keyword, number in call.node.arguments():
            node = call.to(number).node
            if node.op in ("binary", "unary", "item") or keyword in ("*", "**"):
                return True
            if node.op == "const" and not node.name.startswith(("'", '"', "b", "f")):
                return True
        conditions = list(self.code.guards.around(call))
        return any(
            condition.test.node.op == "compare" and condition.test.node.name in ("<", "<=", ">", ">=")
            for condition in conditions
        )

    # The same, or another one.

    def _is_same(self, call: Ref, primary: Ref) -> bool:
        """Whether two calls call the same: the same function of ours, or the same method of the same client."""
        functions = call.to(call.node.inputs[0]), primary.to(primary.node.inputs[0])
        if self.code.written(call) != self.code.written(primary) and not self._same_value(*functions):
            return False
        own = self.code.meanings.routines(call)
        if own:
            return own == self.code.meanings.routines(primary)
        return bool(self.code.meanings.called(call) & self.code.meanings.called(primary))

    def _same_arguments(self, call: Ref, primary: Ref) -> bool:
        if call.node.keywords != primary.node.keywords:
            return False
        pairs = zip(call.node.inputs[1:], primary.node.inputs[1:], strict=True)
        return all(self._same_value(call.to(one), call.to(other)) for one, other in pairs)

    def _same_value(self, one: Ref, other: Ref, depth: int = 0) -> bool:
        if one == other:
            return True
        if one.node.op == "join" and other.number in one.node.inputs:
            return True  # at a handler a name has what it had before the `try`, or after
        same = one.node.op == other.node.op and one.node.name == other.node.name and depth < 8  # noqa: PLR2004
        if not same or len(one.node.inputs) != len(other.node.inputs) or one.node.op in ("param", "join"):
            return False
        pairs = zip(one.inputs(), other.inputs(), strict=False)
        return all(self._same_value(left, right, depth + 1) for left, right in pairs)

    def _primary(self, call: Ref, primary: Ref) -> Fallback:
        written = self.code.written
        same = self._same_arguments(call, primary)
        asked = self.code.argument(call, "model")
        first = self.code.argument(primary, "model")
        if asked is not None and first is not None and not self._same_value(asked, first):
            return self._other(call, primary, call)
        steps = (
            Step(primary.at, f"`{written(primary)}(…)` fails"),
            Step(call.at, f"`{written(call)}(…)` is asked " + ("the same again" if same else "once more, otherwise")),
        )
        return Fallback(call.at, written(call), written(primary), "primary", same, steps)

    def _reached(self, call: Ref, primary: Ref, model: Ref) -> Fallback:
        """Two ways to the same call of a model."""
        written = self.code.written
        steps = (
            Step(primary.at, f"`{written(primary)}(…)` fails"),
            Step(call.at, f"`{written(call)}(…)` answers instead"),
            Step(model.at, f"both ask `{written(model)}(…)`"),
        )
        return Fallback(call.at, written(call), written(model), "primary", False, steps)

    def _beside(self, first: Ref, other: Ref) -> bool:
        """Whether two models fail together: both run here, or both are of one provider."""
        one, two = self.code.row("output", first) or {}, self.code.row("output", other) or {}
        if bool(one.get("remote")) is not bool(two.get("remote")) or two.get("weak") or one.get("weak"):
            return False
        return not one.get("remote") or bool(self._roots(first) & self._roots(other))

    def _roots(self, call: Ref) -> frozenset[str]:
        found = set()
        for path in self.code.meanings.called(call):
            root = path.partition(".")[0]
            last = path.partition("()")[0].rpartition(".")[2]
            found.add(last.removeprefix("Async") if root.startswith(("langchain", "llama_index")) else root)
        return frozenset(found)

    def _other(self, call: Ref, primary: Ref, model: Ref) -> Fallback:
        written = self.code.written
        steps = [
            Step(primary.at, f"`{written(primary)}(…)` fails"),
            Step(call.at, f"`{written(call)}(…)` answers instead"),
        ]
        if model != call:
            steps.append(Step(model.at, f"`{written(model)}(…)` is a model's answer too"))
        return Fallback(call.at, written(call), written(primary), "model", False, tuple(steps))

    # What libraries are told.

    def _listed(self, call: Ref, words: list[str | int]) -> Iterator[Fallback]:
        """`with_fallbacks([…])`, `completion(fallbacks=[…])`."""
        given = next((one for word in words if (one := self._word(call, word)) is not None), None)
        if given is None or given.node.op not in ("items", "table"):
            return
        function = call.to(call.node.inputs[0])
        if called(call) == "with_fallbacks":
            base = function.to(function.node.inputs[0])
            yield from self._chained(call, base, list(given.inputs()))
            return
        own = self.code.argument(call, "model")
        names = [one.node.name.strip("'\"") for one in given.inputs() if one.node.op == "const"]
        primary = own.node.name.strip("'\"") if own is not None and own.node.op == "const" else ""
        if primary and primary in names:
            yield Fallback(
                given.at, primary, primary, "primary", True, (Step(call.at, f"`{primary}` is its own fallback"),)
            )
        elif names and primary and any(provider(one) == provider(primary) for one in names):
            other = next(one for one in names if provider(one) == provider(primary))
            yield Fallback(given.at, other, primary, "model", False, (Step(call.at, f"`{primary}` is asked first"),))

    def _word(self, call: Ref, word: str | int) -> Ref | None:
        return self.code.argument(call, "#", word) if isinstance(word, int) else self.code.argument(call, word)

    def _chained(self, call: Ref, base: Ref, others: list[Ref]) -> Iterator[Fallback]:
        first = self.serving.origins(base)
        paths = self.code.meanings.paths(base)
        if Table(rows()["output"], "object").among(paths) is None:
            return
        for other in others:
            name, written = self.code.written(other), self.code.written(base)
            made = self.serving.origins(other)
            steps = (Step(call.at, f"`{written}` is asked first"), Step(other.at, f"then `{name}`"))
            if made and made == first:
                yield Fallback(other.at, name, written, "primary", True, steps)
                return
            if paths & self.code.meanings.paths(other):
                yield Fallback(other.at, name, written, "model", False, steps)
                return

    def _decorated(self, ref: Ref, routine: Routine) -> Iterator[Fallback]:
        """`@circuit(fallback_function=f)`."""
        for word in ("fallback_function", "retry_error_callback", "fallback"):
            given = self.code.argument(ref, word)
            if given is not None:
                for other in self.code.meanings.functions(given):
                    yield from self._handed(given, other, routine)

    def _handed(self, given: Ref, other: Routine, routine: Routine) -> Iterator[Fallback]:
        reached = self.serving.reached(other)
        name, written = self.code.name(routine), self.code.name(other)
        if routine in reached:
            yield Fallback(given.at, written, name, "cycle", True, self.serving.steps(reached[routine]))
            return
        asked = self.attempts.asks(other)
        if asked is not None and asked[0] in self.attempts.models:
            steps = self.serving.steps(asked[1], Step(asked[0].at, "a model's answer too"))
            yield Fallback(given.at, written, name, "model", False, steps)


def fallbacks(facts: Facts) -> tuple[Fallback, ...]:
    """What answers in a repository where a model does not."""

    def find(facts: Facts) -> tuple[Fallback, ...]:
        first = {one.at: one for one in reversed(list(Fallbacks(facts).all()))}
        return tuple(sorted(first.values(), key=lambda one: one.at))

    return facts.once("fallbacks", find)
