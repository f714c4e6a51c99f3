"""What is known of a value where it is used: the conditions around it, and which bad values they let through.

A condition is asked what it says of NaN, of infinity, of zero and of what lies below. `if price <= 0: raise` lets NaN
pass, since every comparison with it is false; `if not price > 0: raise` does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.code.program import Ref
from vramguard.link.code.questions import BAD, Condition, Question, about, around, derived, parameters
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.link.code.meaning import Meanings
    from vramguard.link.code.program import Routine
    from vramguard.source.graph import Block, Node

__all__ = ["Condition", "Guard", "Guards"]

_DEEP: Final = 3  # functions of the repository that a condition asks
_MOST: Final = 400  # functions that are gone through for one call


@dataclass(frozen=True)
class Guard:
    """A condition about a value: what it is, and which bad values do not pass it.

    `kind`: finite, bounds, member, text, schema, type, truth, confidence, status, other.
    """

    at: Location
    kind: str
    form: str
    excludes: frozenset[str]
    test: Ref
    leaves: str = ""  # how the way ends on which the condition fails: raise, return, exit, continue


class _Given(NamedTuple):
    """A function and those of its parameters that a value has become."""

    routine: Routine
    names: frozenset[str]


class Guards:
    """Asks conditions about values."""

    def __init__(self, meanings: Meanings) -> None:
        self.meanings = meanings
        self.program = meanings.program
        self._known: dict[_Given, tuple[Guard, ...]] = {}
        self._endings: dict[Routine, Mapping[tuple[int, bool], str]] = {}

    def around(self, ref: Ref) -> Iterator[Condition]:
        """The conditions under which a node runs, the nearest first."""
        return around(ref)

    def before(self, ref: Ref) -> Iterator[Ref]:
        """The calls that certainly ran before a node, in its function."""
        blocks = set(ref.routine.blocks[ref.node.block])
        nodes = ref.routine.function.nodes
        for number in range(ref.number):
            if nodes[number].op == "call" and nodes[number].block in blocks:
                yield ref.to(number)

    def of(self, ref: Ref, values: frozenset[int]) -> Iterator[Guard]:
        """The guards of some values of a function where a node of it runs."""
        yield from self.conditions(ref, values)
        for call in self.before(ref):
            yield from self.refusing(call, values)

    def conditions(self, ref: Ref, values: frozenset[int]) -> Iterator[Guard]:
        """Those of them that stand in the function itself."""
        for condition in self.around(ref):
            if self.about(condition.test, values):
                yield self._guard(condition, values, self._other(ref, condition))

    def kind(self, test: Ref, values: frozenset[int]) -> str:
        """What a test asks of some values."""
        return Question(self.meanings, values, test).kind

    def about(self, test: Ref, values: frozenset[int]) -> bool:
        """Whether an expression is made of a value."""
        return about(test, values)

    def _other(self, ref: Ref, condition: Condition) -> str:
        """How the way ends on which a condition does not hold."""
        return self._leaves(ref.routine).get((condition.test.number, not condition.holds), "")

    def _leaves(self, routine: Routine) -> Mapping[tuple[int, bool], str]:
        """How the first branch on a test ends, by what the test was."""
        if routine not in self._endings:
            found: dict[tuple[int, bool], str] = {}
            for block in routine.function.blocks:
                if block.kind in ("if", "else"):
                    found.setdefault((block.test, block.holds), block.leaves)
            self._endings[routine] = found
        return self._endings[routine]

    def _guard(self, condition: Condition, values: frozenset[int], leaves: str) -> Guard:
        question = Question(self.meanings, values, condition.test)
        excluded = frozenset(
            name for name, bad in BAD.items() if question.says(condition.test.number, bad) is (not condition.holds)
        )
        return Guard(condition.test.at, question.kind, condition.form, excluded, condition.test, leaves)

    def refusing(self, call: Ref, values: frozenset[int]) -> Iterator[Guard]:
        """Guards inside a function of the repository that is called with a value, and raises or exits."""
        for given in self._asked(call, values):
            yield from self._inside(given)

    def refusals(self, routine: Routine, values: frozenset[int]) -> Iterator[Guard]:
        """The conditions on values without which a function does not end as it should."""
        yield from self._own(routine, values)
        for number in routine.all_of("call"):
            yield from self.refusing(Ref(routine, number), values)

    def _asked(self, call: Ref, values: frozenset[int]) -> tuple[_Given, ...]:
        """The functions of the repository that a call hands a value to, each with the parameters that it becomes."""
        given = [word for word, number in _numbered(call.node) if number != NONE and about(call.to(number), values)]
        found = ((routine, self._taking(routine, given)) for routine in (self.meanings.routines(call) if given else ()))
        return tuple(_Given(routine, names) for routine, names in found if names)

    def _taking(self, routine: Routine, given: list[str | int]) -> frozenset[str]:
        """The parameters of a function that some arguments become: keywords, places, `*` of any."""
        names = [one.name for one in routine.function.parameters if not one.stars]
        method = self.program.parent(routine).function.kind == "class" and names[:1] in (["self"], ["cls"])
        rest = {one.name for one in routine.function.parameters if one.stars}
        found: set[str] = set()
        for word in given:
            place = word + method if isinstance(word, int) else NONE
            known = names[place] if 0 <= place < len(names) else word
            found |= {*names, *rest} if word in ("*", "**") else {known} if known in names else rest
        return frozenset(found)

    def _inside(self, given: _Given) -> tuple[Guard, ...]:
        """What refuses some parameters of a function, in it or in what it calls with them: each function once."""
        if given not in self._known:
            found: list[Guard] = []
            depths = {given: 0}
            pending = [given]
            for one in pending:
                values = derived(one.routine, _parameters(one))
                found += self._own(one.routine, values)
                for number in one.routine.all_of("call") if depths[one] < _DEEP and len(pending) < _MOST else ():
                    asked = self._asked(Ref(one.routine, number), values)
                    new = [inner for inner in asked if inner not in depths]
                    depths |= dict.fromkeys(new, depths[one] + 1)
                    pending += new
            self._known[given] = tuple(found)
        return self._known[given]

    def _own(self, routine: Routine, values: frozenset[int]) -> Iterator[Guard]:
        for number, block in enumerate(routine.function.blocks):
            test = Ref(routine, block.test)
            if block.test == NONE or not about(test, values):
                continue
            if block.kind == "assert":
                yield self._guard(Condition(test, True, "assert"), values, "raise")
            elif _refuses(block) and not routine.caught(number):
                yield self._guard(Condition(test, not block.holds, "call"), values, block.leaves)

    def derived(self, routine: Routine, values: frozenset[int]) -> frozenset[int]:
        """All nodes of a function that are made of some of its values, comparisons aside."""
        return derived(routine, values)


def _refuses(block: Block) -> bool:
    return block.kind in ("if", "else") and block.leaves in ("raise", "exit")


def _numbered(call: Node) -> Iterator[tuple[str | int, int]]:
    """The arguments of a call, each with its keyword, or with its place where it has none."""
    place = 0
    for word, number in call.arguments():
        yield word or place, number
        place += not word


def _parameters(given: _Given) -> frozenset[int]:
    """The nodes of the parameters that a value has become."""
    nodes = given.routine.function.nodes
    return frozenset(number for number in parameters(given.routine) if nodes[number].name in given.names)
