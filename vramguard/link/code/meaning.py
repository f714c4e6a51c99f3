"""What a value is: a thing of the repository, or the access path by which somebody else's library gives it.

`client = OpenAI(); client.chat.completions.create` has the path `openai.OpenAI().chat.completions.create`: `()` after
what is called, `[]` after what is indexed or iterated. What nobody can tell begins with `?` and the name as written.
A value may have several meanings: those of every way that leads to it.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from vramguard.link.code.evaluation import RUNNERS, Meaning, Own, Values, union
from vramguard.link.code.memo import Memo
from vramguard.link.code.program import Ref
from vramguard.link.code.spelling import spelled
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.link.code.program import Program, Routine
    from vramguard.source.graph import Node

__all__ = ["RUNNERS", "Meaning", "Meanings", "Own"]

_DEEPEST: Final = 70  # questions that lead to each other
_PATIENCE: Final = 200_000  # answers that are looked for again, since they rested on what was being asked
_PROTOCOLS: Final = frozenset({"typing.Protocol", "typing_extensions.Protocol"})
_STUB: Final = 40  # nodes of a function that only raises NotImplementedError
_FITTING: Final = 12  # classes that a protocol is taken to mean
_ANCESTORS: Final = 60  # of a class
_OPTIONAL: Final = ("Optional", "Annotated", "Union", "Final", "ClassVar", "Mapped")
_NOBODY: Final[Mapping[Routine, Any]] = {}


class Meanings:
    """The meanings of the nodes of a program, each found once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._memo = Memo(_DEEPEST, _PATIENCE)
        self._values = Values(self)

    def of(self, ref: Ref) -> tuple[Meaning, ...]:
        """What a node may mean, in an order that is always the same."""
        known: tuple[Meaning, ...] | None = self._memo.known.get(ref)
        if known is None:
            known = self._memo.ask(ref, lambda: self._values.of(ref), ())
        return known

    def paths(self, ref: Ref) -> frozenset[str]:
        """The access paths of a node; of an instance of ours those of its foreign bases."""
        found: set[str] = set()
        for one in self.of(ref):
            if isinstance(one, str):
                found.add(one)
            elif one.routine is not None and one.kind in ("instance", "class"):
                ending = "()" if one.kind == "instance" else ""
                found |= {f"{base}{ending}" for base in self.bases(one.routine)}
        return frozenset(found)

    def functions(self, ref: Ref) -> Iterator[Routine]:
        """The functions of the repository that a value is."""
        for one in self.of(ref):
            if isinstance(one, Own) and one.kind == "function" and one.routine is not None:
                yield one.routine

    def called(self, call: Ref) -> frozenset[str]:
        """The access paths of what a call calls."""
        return self.paths(call.to(call.node.inputs[0]))

    def routines(self, call: Ref) -> tuple[Routine, ...]:
        """The functions of the repository that a call runs: a constructor for a class, `__call__` for an instance."""
        question = "run by", call
        known: tuple[Routine, ...] | None = self._memo.known.get(question)
        if known is None:
            known = self._memo.ask(question, lambda: self._run_by(call), ())
        return known

    def _run_by(self, call: Ref) -> tuple[Routine, ...]:
        found = {routine: None for one in self.of(call.to(call.node.inputs[0])) for routine in self.run(one)}
        return tuple(sorted(found, key=lambda routine: (routine.path, routine.number)))

    def run(self, one: Meaning) -> Iterator[Routine]:
        """The functions of the repository that run where something is called."""
        if isinstance(one, str) or one.routine is None:
            return
        if one.kind == "function":
            yield one.routine
        elif one.kind in ("class", "instance"):
            for name in ("__init__",) if one.kind == "class" else ("__call__", "forward"):
                for member in self.member(one.routine, name):
                    if isinstance(member, Own) and member.kind == "function" and member.routine is not None:
                        yield member.routine

    def bases(self, owner: Routine) -> frozenset[str]:
        """The access paths of a class's foreign bases, those of its own bases included."""
        found: frozenset[str] = self._memo.ask(("bases", owner), lambda: self._bases(owner), frozenset())
        return found

    def _bases(self, owner: Routine) -> frozenset[str]:
        above = (one for each in self.ancestors(owner) for one in self._above(each))
        return frozenset(one.removesuffix("[]") for one in above if isinstance(one, str))

    def _above(self, owner: Routine) -> Iterator[Meaning]:
        around = self.program.parent(owner)
        for number in owner.function.bases:
            yield from self.of(Ref(around, number))

    def ancestors(self, owner: Routine) -> list[Routine]:
        """A class and its bases of the repository, itself first."""
        found: tuple[Routine, ...] = self._memo.ask(("ancestors", owner), lambda: self._ancestors(owner), (owner,))
        return list(found)

    def _ancestors(self, owner: Routine) -> tuple[Routine, ...]:
        found = {owner: None}
        pending = [owner]
        for one in pending:
            for meaning in self._above(one):
                base = meaning.routine if isinstance(meaning, Own) else None
                if base is not None and base not in found and base.function.kind == "class" and len(found) < _ANCESTORS:
                    found[base] = None
                    pending.append(base)
        return tuple(found)

    def member(self, owner: Routine, name: str) -> tuple[Meaning, ...]:
        """What an attribute of an instance, or of the class, may be."""
        found: tuple[Meaning, ...] = self._memo.ask(("member", owner, name), lambda: self._member(owner, name), ())
        return found

    def _member(self, owner: Routine, name: str) -> tuple[Meaning, ...]:
        found: tuple[Meaning, ...] = ()
        for one in self.ancestors(owner):
            refs = [Ref(one, number) for number in one.function.names.get(name, ())]
            refs += [ref.to(ref.node.inputs[1]) for ref in self.kept(one, name)]
            found = union(self.of(ref) for ref in refs) or self._declared(one, name)
            if found:
                break
        if all(map(self._is_abstract, found)):  # none at all too
            heirs = (Ref(one, number) for one in self.heirs(owner) for number in one.function.names.get(name, ()))
            found = union((found, *(self.of(ref) for ref in heirs)))
        return found or tuple(f"{base}().{name}" for base in sorted(self.bases(owner))) or (f"?self.{name}",)

    @staticmethod
    def _is_abstract(one: Meaning) -> bool:
        """Whether a function says nothing but that somebody else has to."""
        function = one.routine.function if isinstance(one, Own) and one.routine is not None else None
        if function is None or one.kind != "function" or len(function.nodes) > _STUB:  # type: ignore[union-attr]
            return False
        return not any((node.op == "return" and node.inputs) or node.op == "yield" for node in function.nodes)

    def heirs(self, owner: Routine) -> tuple[Routine, ...]:
        """The classes that are made of a class."""
        found: Mapping[Routine, list[Routine]] = self._memo.ask("heirs", self._all_heirs, _NOBODY)
        return tuple(found.get(owner, ()))

    def _all_heirs(self) -> Mapping[Routine, list[Routine]]:
        found: dict[Routine, list[Routine]] = {}
        classes = [routine for routine in list(self.program.routines()) if routine.function.kind == "class"]
        for routine in classes:
            for base in self.ancestors(routine)[1:] if routine.function.bases else ():
                found.setdefault(base, []).append(routine)
        for protocol in classes:
            if protocol.function.bases and self.bases(protocol) & _PROTOCOLS:
                wanted = {method.function.name for method in self.program.methods(protocol)}
                fitting = (one for one in classes if one is not protocol and wanted <= one.function.names.keys())
                first = itertools.islice(fitting, _FITTING if wanted else 0)
                found[protocol] = list(dict.fromkeys((*found.get(protocol, ()), *first)))[:_FITTING]
        return found

    def _declared(self, owner: Routine, name: str) -> tuple[Meaning, ...]:
        """What a field of a class is annotated as."""
        for number in owner.all_of("field"):
            node = owner.function.nodes[number]
            if node.name == name:
                return self.annotated(Ref(owner, node.inputs[0]))
        return ()

    def kept(self, owner: Routine, name: str) -> list[Ref]:
        """Where methods of a class put something into an attribute of `self`."""
        return [
            ref for ref in self.program.stores_in(owner.module, name) if self.is_self(ref.to(ref.node.inputs[0]), owner)
        ]

    def is_self(self, ref: Ref, owner: Routine) -> bool:
        """Whether a node is the first parameter of a method of a class."""
        if ref.node.op not in {"param", "name"}:
            return False
        around: Routine | None = ref.routine
        while around is not None and around.number:
            above = self.program.parent(around)
            if above.function.kind == "class":
                first = around.function.parameters[:1]
                return above is owner and bool(first) and first[0].name == ref.node.name
            around = above
        return False

    def returned(self, routine: Routine) -> tuple[Meaning, ...]:
        """What a function gives."""
        refs = [Ref(routine, node.inputs[0]) for node in routine.function.nodes if node.op == "return" and node.inputs]
        found = union(self.of(ref) for ref in refs)
        if not found:
            yields = [
                Ref(routine, node.inputs[0]) for node in routine.function.nodes if node.op == "yield" and node.inputs
            ]
            found = union(self.of(ref) for ref in yields)
        if not found and routine.function.returns != NONE:
            around = self.program.parent(routine)
            found = self.annotated(Ref(around, routine.function.returns))
        return found

    def callers(self, routine: Routine) -> list[Ref]:
        """The calls that run a function, under its own name or another."""
        return [*self._unnamed.get(routine, ()), *self.by_name(routine)]

    def by_name(self, routine: Routine) -> list[Ref]:
        """The calls that run a function under its own name."""
        owner = self.program.owner(routine)
        name = routine.function.name
        if name == "__init__" and owner is not None:
            name = owner.function.name
        if not name or (name.startswith("__") and name.endswith("__")):
            return []
        found: Mapping[Routine, list[Ref]] = self._memo.ask(("calls", name), lambda: self._calls_of(name), _NOBODY)
        return found.get(routine, [])

    def _calls_of(self, name: str) -> Mapping[Routine, list[Ref]]:
        """The calls of a name by what they run."""
        found: dict[Routine, list[Ref]] = {}
        for call in self.program.calls.get(name, ()):
            for routine in self.routines(call):
                found.setdefault(routine, []).append(call)
        return found

    @cached_property
    def _unnamed(self) -> Mapping[Routine, list[Ref]]:
        """Calls that run a function under another name: a parameter, an attribute, an instance."""
        names = {function.name for module in self.program.modules.values() for function in module.functions} - {""}
        found: dict[Routine, list[Ref]] = {}
        for last, calls in list(self.program.calls.items()):
            if last in names:
                continue
            for call in calls:
                for routine in self.routines(call):
                    found.setdefault(routine, []).append(call)
        return found

    @cached_property
    def handed(self) -> Mapping[Routine, list[Ref]]:
        """The calls of somebody else's functions that are given a function of the repository to run."""
        found: dict[Routine, list[Ref]] = {}
        for name in sorted(RUNNERS):
            for call in self.program.calls.get(name, ()):
                for number in call.node.inputs[1:]:
                    for one in self.of(call.to(number)):
                        if isinstance(one, Own) and one.kind in ("function", "instance"):
                            for routine in self.run(one):
                                found.setdefault(routine, []).append(call)
        return found

    def annotated(self, ref: Ref) -> tuple[Meaning, ...]:
        """Instances of what an annotation names. A name of a type may stand for itself: `A = Optional[A]`."""
        question = "annotated", ref
        found: tuple[Meaning, ...] = self._memo.ask(question, lambda: union((self._annotated(ref),)), ())
        return found

    def _annotated(self, ref: Ref) -> Iterator[Meaning]:
        node = ref.node
        if node.op == "item":
            yield from self._generic(ref, node)
        elif node.op == "binary" and node.name == "|":
            for inner in ref.inputs():
                yield from self.annotated(inner)
        elif node.op == "const" and node.name[:1] in "'\"":
            name = node.name.strip("'\"")
            for found in self.program.lookup(ref.routine, name) if name.isidentifier() else ():
                yield from self._instance(self.of(found))
        elif node.op in ("name", "attr", "import", "def", "join"):
            aliases = self._aliases(ref)
            for alias in aliases:
                yield from self.annotated(alias)
            if not aliases:
                yield from self._instance(self.of(ref))

    def _aliases(self, ref: Ref) -> list[Ref]:
        """What a name of a type stands for: `Service = Annotated[Prices, Depends(prices)]`."""
        node = ref.node
        found: list[Ref] = []
        if node.op == "name":
            found = self.program.lookup(ref.routine, node.name)
        elif node.op == "import":
            base, _, last = node.name.rpartition(".")
            path = self.program.resolve(ref.routine.path, base) if base.strip(".") else None
            module = self.program.module(path) if path is not None else None
            found = self.program.lookup(self.program.routine(module, 0), last) if module is not None else []
        return [one for one in found if one.node.op == "item"]

    def _generic(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        base = {path.rpartition(".")[2] for path in self.paths(ref.to(node.inputs[0]))}
        key = ref.to(node.inputs[1])
        if not base & set(_OPTIONAL):
            yield from self._instance(self.of(ref.to(node.inputs[0])))
            return
        inner = list(key.inputs()) if key.node.op == "items" else [key]
        for one in inner[:1] if "Annotated" in base else inner:
            yield from self.annotated(one)
        for one in inner[1:] if "Annotated" in base else ():
            yield from self.of(one)

    @staticmethod
    def _instance(found: Iterable[Meaning]) -> Iterator[Meaning]:
        for one in found:
            if isinstance(one, str):
                if not one.startswith(("builtins.", "typing.", "?")):
                    yield f"{one}()"
            elif one.kind == "class":
                yield Own("instance", one.routine)

    def written(self, ref: Ref, *, inside: bool = False) -> str:
        """What a call calls, a name, or an attribute's whole chain, as written; empty for anything else.

        `inside`: of another, where a value is called by the name that it is kept in.
        """
        node = ref.node
        named = ref.routine.named.get(ref.number) if inside or node.op != "call" else None
        if named is not None and node.op not in ("import", "def"):
            return named
        if node.op in ("name", "param", "import"):
            return node.name.rpartition(".")[2]
        if node.op == "attr":
            base = self.written(ref.to(node.inputs[0]), inside=True)
            return f"{base}.{node.name}" if base else node.name
        if node.op == "call":
            function = ref.to(node.inputs[0])
            return self.written(function, inside=True) or spelled(function)
        if node.op == "join":
            earlier = (self.written(inner, inside=True) for inner in ref.inputs() if inner.number < ref.number)
            return next((name for name in earlier if name), "")
        return ""
