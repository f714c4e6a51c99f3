"""What a value is when nobody sets it: constants, defaults of parameters, command lines and configuration classes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.link.code import Code

_DEPTH: Final = 12
_CALLERS: Final = 12
_MAKERS: Final = 40  # calls of which one may have made a value
_SEEN: Final = 400  # values on the way to these
_NAMESPACES: Final = frozenset(
    {"args", "opt", "opts", "flags", "hparams", "cfg", "config", "hps", "params", "arguments"}
)


class _Unset:
    """Not in the text, or not the same everywhere."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset()


class Constants:
    """Asks for the constant that a node is, when the program runs as it is written."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._arguments: dict[str, list[Ref]] | None = None
        self._known: dict[tuple[Ref, tuple[Ref, ...]], object] = {}
        self._makers: dict[tuple[Ref, bool], list[Ref]] = {}

    def of(self, ref: Ref, frames: tuple[Ref, ...] = (), depth: int = 0) -> object:
        """The value; UNSET where nobody can tell. `frames`: the calls by which its function was entered."""
        key = ref, frames
        if key not in self._known:
            if depth > _DEPTH:
                return UNSET
            self._known[key] = UNSET  # while it is looked for
            self._known[key] = self._find(ref, frames, depth)
        return self._known[key]

    def _find(self, ref: Ref, frames: tuple[Ref, ...], depth: int) -> object:
        node = ref.node
        if node.op == "const":
            return literal(node.name)
        if node.op == "param":
            return self._parameter(ref, frames, depth)
        if node.op == "unary" and node.name == "not":
            inner = self.of(ref.to(node.inputs[0]), frames, depth + 1)
            return inner if inner is UNSET else not inner
        if node.op == "attr":
            return self._attribute(ref, depth)
        sources = list(self._sources(ref))
        return self._same(self.of(one, frames if one.routine is ref.routine else (), depth + 1) for one in sources)

    def made(self, ref: Ref, *, every: bool = False) -> list[Ref]:
        """The calls that made a value; none where one of its ways is no call, if it has to be `every` way."""
        key = ref, every
        if key not in self._makers:
            found, ends = self._calls(ref, every=every)
            self._makers[key] = [] if ends and every else found[:_MAKERS]
        return self._makers[key]

    def _calls(self, ref: Ref, *, every: bool) -> tuple[list[Ref], bool]:
        """The calls behind a value, and whether some of it ends in what is no call. Loops lead back to nothing new."""
        pending, found, ends = [ref], dict[Ref, None](), False
        seen = {ref}
        for one in pending:
            if one.node.op == "call":
                found[one] = None
                deeper = [] if every else list(self._returned(one))
            else:
                deeper = self._origins(one)
                ends = ends or not deeper
            fresh = [inner for inner in dict.fromkeys(deeper) if inner not in seen]
            if len(seen) < _SEEN:
                seen.update(fresh)
                pending += fresh
        return list(found), ends

    def _returned(self, call: Ref) -> Iterator[Ref]:
        """What the function of the repository returns that a call runs."""
        for routine in self.code.meanings.routines(call):
            if routine.function.kind == "function":
                yield from (
                    Ref(routine, node.inputs[0])
                    for node in routine.function.nodes
                    if node.op == "return" and node.inputs
                )

    def under(self, call: Ref, keyword: str) -> tuple[list[Ref], bool]:
        """What the tables that a call spreads (`**settings`) have under a key, and whether all of them are known."""
        found: list[Ref] = []
        known = True
        pending = [call.to(number) for word, number in call.node.arguments() if word == "**"]
        for one in pending:
            node = one.node
            if node.op == "table":
                pairs = list(zip(node.inputs[::2], node.inputs[1::2], strict=True))
                found += [
                    one.to(held) for key, held in pairs if key != NONE and literal(one.to(key).node.name) == keyword
                ]
                pending += [one.to(held) for key, held in pairs if key == NONE and len(pending) < _SEEN]
            elif node.op == "call" and self.code.written(one) == "dict":
                given = self.code.argument(one, keyword)
                found += [] if given is None else [given]
                known = known and "**" not in node.keywords
            elif node.op in ("grown", "join", "name") and len(pending) < _SEEN:
                inner = self.code.program.lookup(one.routine, node.name) if node.op == "name" else list(one.inputs())
                pending += [held for held in inner if held not in pending]
                known = known and bool(inner)
            else:
                known = False
        return found, known

    def _origins(self, ref: Ref) -> list[Ref]:
        """What a value is, or is made of."""
        node = ref.node
        if node.op in ("join", "grown", "items", "if", "or", "binary"):
            return [one for one in ref.inputs() if one != ref]
        if node.op == "name":
            return self.code.program.lookup(ref.routine, node.name)
        if node.op == "attr":
            owner = self.code.program.owner(ref.routine)
            kept = self.code.meanings.kept(owner, node.name) if owner is not None else []
            return [store.to(store.node.inputs[1]) for store in kept]
        if node.op == "param":
            calls = self.code.meanings.callers(ref.routine)[:_CALLERS]
            return [given for call in calls if (given := self.argument(ref, call)) is not None]
        return []

    def _sources(self, ref: Ref) -> Iterator[Ref]:
        node = ref.node
        if node.op in ("join", "global"):
            yield from (inner for inner in ref.inputs() if inner != ref)
        elif node.op == "name":
            yield from self.code.program.lookup(ref.routine, node.name)
        elif node.op == "item":
            yield from self._under(ref.to(node.inputs[0]), ref.to(node.inputs[1]))
        elif node.op == "call" and ref.to(node.inputs[0]).node.name in ("bool", "int", "str") and len(node.inputs) > 1:
            yield ref.to(node.inputs[1])

    def _under(self, base: Ref, key: Ref) -> Iterator[Ref]:
        """What a table that stands in the text has under a key."""
        places = [base] if base.node.op != "name" else self.code.program.lookup(base.routine, base.node.name)
        for place in places:
            if place.node.op == "table":
                pairs = zip(place.node.inputs[::2], place.node.inputs[1::2], strict=True)
                yield from (place.to(held) for one, held in pairs if one != NONE and _same_key(place.to(one), key))

    @staticmethod
    def _same(values: Iterable[object]) -> object:
        first: object = UNSET
        for one in values:
            if one is UNSET or (first is not UNSET and one != first):
                return UNSET
            first = one
        return first

    def _parameter(self, ref: Ref, frames: tuple[Ref, ...], depth: int) -> object:
        calls = frames[-1:] or tuple(self.code.meanings.callers(ref.routine)[:_CALLERS])
        found = [self._passed(ref, call, frames[:-1], depth) for call in calls]
        return self._same(found) if found else self._default(ref, depth)

    def _passed(self, ref: Ref, call: Ref, frames: tuple[Ref, ...], depth: int) -> object:
        given = self.argument(ref, call)
        if given is not None:
            return self.of(given, frames, depth + 1)
        if {"*", "**"} & set(call.node.keywords):
            return UNSET
        return self._default(ref, depth)

    def argument(self, parameter: Ref, call: Ref) -> Ref | None:
        """What a call gives as a parameter of the function that it runs."""
        routine = parameter.routine
        names = [one.name for one in routine.function.parameters if not one.stars]
        name = parameter.node.name
        if name not in names:
            return None
        method = self.code.program.parent(routine).function.kind == "class" and names[:1] in (["self"], ["cls"])
        return self.code.argument(call, name, names.index(name) - method)

    def _default(self, ref: Ref, depth: int) -> object:
        around = self.code.program.parent(ref.routine)
        for one in ref.routine.function.parameters:
            if one.name == ref.node.name and one.default != NONE:
                return self.of(Ref(around, one.default), (), depth + 1)
        return UNSET

    def _attribute(self, ref: Ref, depth: int) -> object:
        node = ref.node
        base = ref.to(node.inputs[0])
        held: list[Ref] = []
        for one in self.code.meanings.of(base):
            if isinstance(one, Own) and one.routine is not None and one.kind in ("instance", "class"):
                owner = one.routine
                held += [Ref(owner, number) for number in owner.function.names.get(node.name, ())]
                held += [kept.to(kept.node.inputs[1]) for kept in self.code.meanings.kept(owner, node.name)]
        if held:
            return self._same(self.of(one, (), depth + 1) for one in held)
        last = self.code.written(base).rpartition(".")[2].lower()
        parsed = any("parse_" in path for path in self.code.meanings.paths(base))
        if parsed or last in _NAMESPACES:
            return self._same(self._flag(call) for call in self._flags(node.name))
        return UNSET

    def _flags(self, name: str) -> list[Ref]:
        """The `add_argument` calls of an option."""
        if self._arguments is None:
            self._arguments = {}
            for call in self.code.program.calls.get("add_argument", ()):
                for number in call.node.inputs[1:]:
                    one = call.to(number).node
                    if one.op == "const" and one.name[:1] in "'\"":
                        option = one.name.strip("'\"").lstrip("-").replace("-", "_")
                        self._arguments.setdefault(option, []).append(call)
        return self._arguments.get(name, [])

    def _flag(self, call: Ref) -> object:
        default = self.code.argument(call, "default")
        if default is not None:
            return self.of(default)
        action = self.code.argument(call, "action")
        if action is None:
            return None if self.code.argument(call, "required") is None else UNSET
        return {"'store_true'": False, "'store_false'": True}.get(action.node.name, UNSET)


def _same_key(one: Ref, other: Ref) -> bool:
    return one.node.op == other.node.op == "const" and one.node.name == other.node.name


def literal(text: str) -> object:
    """A literal's value."""
    try:
        found: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return UNSET
    return found
