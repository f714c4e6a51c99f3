"""What bounds the time of a call: a keyword of its own, what awaits it, the block it stands in, its function."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref
from vramguard.link.code.roles import table
from vramguard.link.code.serving import called
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

# Names under which people bound time themselves: `with time_limit(5)`, `@timeout(5)`.
_NAMED: Final = re.compile(r"time_?out|time_?limit|deadline", re.IGNORECASE)
_WAITING: Final = ("result", "exception", "wait", "get", "join")
_TASKS: Final = ("create_task", "ensure_future", "shield", "gather", "wrap_future", "append", "add")
_USES: Final = 60  # places at which a pending answer is looked for


class Bounds:
    """Asks what bounds the time of calls."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._functions: dict[Routine, bool] = {}

    def around(self, call: Ref) -> bool:
        """Whether something around a call, in its function, bounds its time."""
        return self._within(call) or self.function(call.routine) or self._awaited(call)

    def own(self, call: Ref, row: Row) -> bool | None:
        """Whether a call bounds its own time by a keyword; None where nobody can tell what it is given."""
        words = row.get("bounded_by", ())
        if not words:
            return False
        for word in words:
            given = self.code.argument(call, word)
            if given is not None:
                return given.node.name != "None" or given.node.op != "const"
        position = row.get("positional_timeout")
        if position is not None and self.code.argument(call, "#", position) is not None:
            return True
        return self.spread(call, words)

    def spread(self, call: Ref, words: tuple[str, ...] | list[str]) -> bool | None:
        """Whether what `**` spreads into a call has one of the keywords; None where it is not written here."""
        for keyword, number in call.node.arguments():
            if keyword != "**":
                continue
            keys = self._keys(call.to(number))
            if keys is None:
                return None
            if keys & set(words):
                return True
        return False

    def _keys(self, ref: Ref) -> set[str] | None:
        """The keys of a table that is written in the function; None where it is not all written."""
        found: set[str] = set()
        pending, seen = [ref], {ref}
        while pending and len(seen) < _USES:
            place = pending.pop()
            inner = self._keyed(place, found)
            if inner is None:
                return None
            fresh = [one for one in inner if one not in seen]
            seen.update(fresh)
            pending += fresh
        return None if pending else found

    def _keyed(self, place: Ref, found: set[str]) -> list[Ref] | None:
        """Puts the keys that stand at a place of a table into `found`, and gives what else it is made of; None where
        nobody can tell.
        """
        node = place.node
        if node.op == "table":
            keys = [place.to(number).node for number in node.inputs[::2] if number != NONE]
            found |= {key.name.strip("'\"") for key in keys}
            spread = zip(node.inputs[::2], node.inputs[1::2], strict=True)
            return [place.to(value) for key, value in spread if key == NONE]
        if node.op == "grown" and node.inputs:
            found |= {place.to(number).node.name.strip("'\"") for number in node.inputs[1:2]}
            return [place.to(node.inputs[0])]
        if node.op == "call":
            return self._called(place, found)
        return list(place.inputs()) if node.op == "join" else self._named(place) or None

    @staticmethod
    def _called(call: Ref, found: set[str]) -> list[Ref] | None:
        """`config.copy()`, `dict(config, model=name)`."""
        function = call.to(call.node.inputs[0]).node
        if function.op == "attr" and function.name == "copy":
            return [call.to(function.inputs[0])]
        if function.op != "name" or function.name != "dict":
            return None
        found |= {word for word, _ in call.node.arguments() if word not in ("", "*", "**")}
        return [call.to(number) for word, number in call.node.arguments() if word in ("", "**")]

    def _named(self, ref: Ref) -> list[Ref]:
        """What a name of a module stands for, where it is a table that is written there."""
        program = self.code.program
        if ref.node.op == "name":
            return program.lookup(ref.routine, ref.node.name)
        if ref.node.op != "import":
            return []
        base, _, last = ref.node.name.rpartition(".")
        path = program.resolve(ref.routine.path, base) if base.strip(".") else None
        module = program.module(path) if path is not None else None
        return program.lookup(program.routine(module, 0), last) if module is not None else []

    def _within(self, call: Ref) -> bool:
        blocks = call.routine.function.blocks
        for number in call.routine.blocks[call.node.block]:
            test = blocks[number].test
            if blocks[number].kind == "with" and test != NONE:
                manager = call.to(test)
                if manager.node.op == "call" and manager != call and self._bounds(manager):
                    return True
        return False

    def _bounds(self, call: Ref) -> bool:
        """Whether a call bounds the time of something, by what is known of it or by its name."""
        row = self.code.row("timeout", call)
        if row is not None and not row.get("whole_app"):
            return self._given(call, row)
        return bool(_NAMED.search(called(call)))

    def _given(self, call: Ref, row: Row) -> bool:
        for word in row.get("bounds", ()):
            found = self.code.argument(call, "#", word) if isinstance(word, int) else self.code.argument(call, word)
            if found is not None:
                return found.node.name != "None" or found.node.op != "const"
        return False

    def _awaited(self, call: Ref) -> bool:
        """Whether what a call gives is waited for with a limit: `wait_for(f(), 5)`, `submit(f).result(timeout=5)`."""
        routine = call.routine
        pending, seen = [call.number], set[int]()
        while pending and len(seen) < _USES:
            number = pending.pop()
            for user in routine.users.get(number, ()):
                node = routine.function.nodes[user]
                if user in seen or not self._pending(call.to(user)):
                    continue
                seen.add(user)
                if node.op == "call" and self._limits(call.to(user)):
                    return True
                pending.append(user)
        return False

    def _pending(self, user: Ref) -> bool:
        """Whether what uses a pending answer still has it as one, or waits for it."""
        node = user.node
        if node.op == "attr":
            return node.name in _WAITING
        if node.op == "call":
            return called(user) in _TASKS or self._limits(user)
        return node.op in ("join", "items", "grown", "each", "item", "part", "if", "global")

    def _limits(self, call: Ref) -> bool:
        row = self.code.row("timeout", call)
        if row is not None and not row.get("whole_app") and not row.get("in_with") and self._given(call, row):
            return True
        function = call.to(call.node.inputs[0]).node
        if function.op == "attr" and function.name in _WAITING:
            given = self.code.argument(call, "timeout", 0 if function.name in ("result", "exception") else NONE)
            return given is not None and given.node.name != "None"
        return False

    def function(self, routine: Routine) -> bool:
        """Whether a function's time is bounded as a whole: by a decorator, by an alarm."""
        if routine not in self._functions:
            self._functions[routine] = any(self._of_function(routine))
        return self._functions[routine]

    def _of_function(self, routine: Routine) -> Iterator[bool]:
        known = table("timeout", "decorator")
        for ref, paths in self.code.decorators(routine):
            yield known.among(paths) is not None or bool(_NAMED.search(self.code.meanings.written(ref)))
        if "signal" in routine.module.functions[0].names:
            for number in routine.all_of("call"):
                row = self.code.row("timeout", Ref(routine, number))
                yield row is not None and bool(row.get("within_function"))
