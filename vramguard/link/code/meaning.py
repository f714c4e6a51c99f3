"""What a value is: a thing of the repository, or the access path by which somebody else's library gives it.

`client = OpenAI(); client.chat.completions.create` has the path `openai.OpenAI().chat.completions.create`: `()` after
what is called, `[]` after what is indexed or iterated. What nobody can tell begins with `?` and the name as written.
A value may have several meanings: those of every way that leads to it.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref, Routine, package
from vramguard.link.code.spelling import spelled
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from vramguard.link.code.program import Program
    from vramguard.source.graph import Node, Parameter

_MOST: Final = 12  # meanings of one value
_LENGTH: Final = 160  # of a path
_DEPTH: Final = 70
_PROTOCOLS: Final = frozenset({"typing.Protocol", "typing_extensions.Protocol"})
_STUB: Final = 40  # nodes of a function that only raises NotImplementedError
_CALLERS: Final = 12  # that are asked what they hand over
_BUILTINS: Final = frozenset(dir(builtins))
# Methods that give what they are called on, and functions that give their first argument.
_SAME: Final = frozenset({
    "to", "eval", "cuda", "cpu", "half", "float", "double", "bfloat16", "train", "requires_grad_", "share_memory", "with_options",
    "__enter__", "__aenter__", "copy", "bind_tools", "bind", "with_config", "with_retry", "compile", "set_params",
})  # fmt: skip
_GIVES: Final = frozenset({
    "asyncio.run", "asyncio.create_task", "asyncio.ensure_future", "asyncio.shield", "asyncio.wait_for", "torch.compile",
    "torch.jit.script", "torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel", "copy.copy", "copy.deepcopy",
    "typing.cast", "builtins.iter", "functools.partial", "functools.lru_cache()", "functools.cache", "functools.wraps()",
    "streamlit.cache_resource", "streamlit.cache_resource()", "streamlit.cache_data", "streamlit.cache_data()", "ray.get",
    "anyio.run", "fastapi.Depends", "fastapi.params.Depends", "ray.remote", "torch.no_grad()", "torch.inference_mode()",
})  # fmt: skip
_FIRST: Final = frozenset({"builtins.next", "builtins.anext", "builtins.sorted", "builtins.reversed", "builtins.list"})
_OPTIONAL: Final = ("Optional", "Annotated", "Union", "Final", "ClassVar", "Mapped")

# Functions that run a function which they are given.
RUNNERS: Final = frozenset({
    "run_in_executor", "to_thread", "run_in_threadpool", "submit", "run_sync", "map", "map_batches", "apply", "applymap", "imap",
    "transform", "starmap", "Thread", "Process", "Timer", "partial", "call", "call_async", "retry_call", "run_until_complete",
    "call_soon", "run", "apply_async", "foreach", "flat_map", "filter", "pipe", "add_task", "create_task", "gather",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Own:
    """Something of the repository: a function, a class, an instance of one; or a module or folder, by its path."""

    kind: str  # function, class, instance, module
    routine: Routine | None = None
    path: str = ""


Meaning = str | Own
_NOTHING: Final[frozenset[Meaning]] = frozenset()


class Meanings:
    """The meanings of the nodes of a program, each found once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._known: dict[tuple[int, int], frozenset[Meaning]] = {}
        self._members: dict[tuple[int, str], frozenset[Meaning]] = {}
        self._depth = 0

    def of(self, ref: Ref) -> frozenset[Meaning]:
        """What a node may mean."""
        key = id(ref.routine), ref.number
        known = self._known.get(key)
        if known is not None:
            return known
        if self._depth > _DEPTH:
            return _NOTHING
        self._known[key] = _NOTHING  # while it is looked for
        self._depth += 1
        try:
            node = ref.node
            find = _FINDERS.get(node.op)
            found = frozenset(_few(find(self, ref, node))) if find is not None else _NOTHING
        finally:
            self._depth -= 1
        self._known[key] = found
        return found

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

    def called(self, call: Ref) -> frozenset[str]:
        """The access paths of what a call calls."""
        return self.paths(call.to(call.node.inputs[0]))

    def routines(self, call: Ref) -> tuple[Routine, ...]:
        """The functions of the repository that a call runs: a constructor for a class, `__call__` for an instance."""
        found: list[Routine] = []
        for one in self.of(call.to(call.node.inputs[0])):
            if isinstance(one, Own) and one.routine is not None:
                found += self._run(one)
        return tuple(sorted(set(found), key=lambda routine: (routine.path, routine.number)))

    def _run(self, one: Own) -> Iterator[Routine]:
        if one.kind == "function" and one.routine is not None:
            yield one.routine
        elif one.routine is not None and one.kind in ("class", "instance"):
            for name in ("__init__",) if one.kind == "class" else ("__call__", "forward"):
                for member in self.member(one.routine, name):
                    if isinstance(member, Own) and member.kind == "function" and member.routine is not None:
                        yield member.routine

    def bases(self, owner: Routine, seen: frozenset[int] = frozenset()) -> frozenset[str]:
        """The access paths of a class's foreign bases, those of its own bases included."""
        found: set[str] = set()
        around = self.program.parent(owner)
        for number in owner.function.bases:
            for one in self.of(Ref(around, number)):
                if isinstance(one, str):
                    found.add(one.removesuffix("[]"))
                elif one.routine is not None and id(one.routine) not in seen:
                    found |= self.bases(one.routine, seen | {id(owner)})
        return frozenset(found)

    def ancestors(self, owner: Routine) -> list[Routine]:
        """A class and its bases of the repository, itself first."""
        found = [owner]
        for one in found:
            around = self.program.parent(one)
            for number in one.function.bases:
                for meaning in self.of(Ref(around, number)):
                    base = meaning.routine if isinstance(meaning, Own) else None
                    if base is not None and base not in found and base.function.kind == "class":
                        found.append(base)
        return found

    def member(self, owner: Routine, name: str) -> frozenset[Meaning]:
        """What an attribute of an instance, or of the class, may be."""
        key = id(owner), name
        if key in self._members:
            return self._members[key]
        self._members[key] = _NOTHING
        found: frozenset[Meaning] = _NOTHING
        for one in self.ancestors(owner):
            refs = [Ref(one, number) for number in one.function.names.get(name, ())]
            refs += [ref.to(ref.node.inputs[1]) for ref in self.kept(one, name)]
            found = _union(self.of(ref) for ref in refs)
            if found:
                break
            found = self._declared(one, name)
            if found:
                break
        if all(map(self._is_abstract, found)):  # none at all too
            found |= _union(
                self.of(Ref(one, number)) for one in self.heirs(owner) for number in one.function.names.get(name, ())
            )
        if not found:
            found = frozenset(f"{base}().{name}" for base in self.bases(owner)) or frozenset({f"?self.{name}"})
        self._members[key] = found
        return found

    @staticmethod
    def _is_abstract(one: Meaning) -> bool:
        """Whether a function says nothing but that somebody else has to."""
        function = one.routine.function if isinstance(one, Own) and one.routine is not None else None
        if function is None or one.kind != "function" or len(function.nodes) > _STUB:  # type: ignore[union-attr]
            return False
        return not any(node.op == "return" and node.inputs or node.op == "yield" for node in function.nodes)

    def heirs(self, owner: Routine) -> tuple[Routine, ...]:
        """The classes that are made of a class."""
        return self._heirs.get(owner, ())

    @cached_property
    def _heirs(self) -> Mapping[Routine, tuple[Routine, ...]]:
        found: dict[Routine, tuple[Routine, ...]] = {}
        classes = [routine for routine in list(self.program.routines()) if routine.function.kind == "class"]
        for routine in classes:
            for base in self.ancestors(routine)[1:] if routine.function.bases else ():
                found[base] = (*found.get(base, ()), routine)
        for protocol in classes:
            if protocol.function.bases and self.bases(protocol) & _PROTOCOLS:
                wanted = {method.function.name for method in self.program.methods(protocol)}
                fitting = [
                    one for one in classes if one is not protocol and wanted and wanted <= one.function.names.keys()
                ]
                found[protocol] = tuple(dict.fromkeys((*found.get(protocol, ()), *fitting)))[:_CALLERS]
        return found

    def _declared(self, owner: Routine, name: str) -> frozenset[Meaning]:
        """What a field of a class is annotated as."""
        for number in owner.all_of("field"):
            node = owner.function.nodes[number]
            if node.name == name:
                return frozenset(self.annotated(Ref(owner, node.inputs[0])))
        return _NOTHING

    def kept(self, owner: Routine, name: str) -> list[Ref]:
        """Where methods of a class put something into an attribute of `self`."""
        return [ref for ref in self.program.stores.get(name, ()) if self.is_self(ref.to(ref.node.inputs[0]), owner)]

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

    def returned(self, routine: Routine) -> frozenset[Meaning]:
        """What a function gives."""
        refs = [Ref(routine, node.inputs[0]) for node in routine.function.nodes if node.op == "return" and node.inputs]
        found = _union(self.of(ref) for ref in refs)
        if not found:
            yields = [
                Ref(routine, node.inputs[0]) for node in routine.function.nodes if node.op == "yield" and node.inputs
            ]
            found = _union(self.of(ref) for ref in yields)
        if not found and routine.function.returns != NONE:
            around = self.program.parent(routine)
            found = frozenset(self.annotated(Ref(around, routine.function.returns)))
        return found

    def callers(self, routine: Routine) -> list[Ref]:
        """The calls that run a function, under its own name or another."""
        return [*self._unnamed.get(routine, ()), *self._by_name(routine)]

    def _by_name(self, routine: Routine) -> list[Ref]:
        """The calls that run a function under its own name."""
        owner = self.program.owner(routine)
        name = routine.function.name
        if name == "__init__" and owner is not None:
            name = owner.function.name
        if not name or (name.startswith("__") and name.endswith("__")):
            return []
        return [call for call in self.program.calls.get(name, ()) if routine in self.routines(call)]

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
        for name in RUNNERS:
            for call in self.program.calls.get(name, ()):
                for number in call.node.inputs[1:]:
                    for one in self.of(call.to(number)):
                        if isinstance(one, Own) and one.kind in ("function", "instance"):
                            for routine in self._run(one):
                                found.setdefault(routine, []).append(call)
        return found

    def annotated(self, ref: Ref) -> Iterator[Meaning]:
        """Instances of what an annotation names."""
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

    # What each kind of node may mean.

    def _import(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        dotted = node.name
        whole = self.program.resolve(ref.routine.path, dotted)
        if whole is not None:
            base, _, last = dotted.rpartition(".")
            holder = self.program.resolve(ref.routine.path, base or ".") if last and base.strip(".") else None
            inside = self.program.module(holder) if holder and holder.endswith("__init__.py") else None
            if inside is not None and last in inside.functions[0].names and holder != ref.routine.path:
                yield from self._named(holder or "", last)
            else:
                yield Own("module", path=whole)
            return
        base, _, last = dotted.rpartition(".")
        level = len(dotted) - len(dotted.lstrip("."))
        holder = (
            self.program.resolve(ref.routine.path, base if base.strip(".") else "." * level) if base or level else None
        )
        if holder is None:
            yield dotted.lstrip(".") if not level else f"?{last}"
        else:
            yield from self._named(holder, last)

    def _named(self, path: str, name: str) -> Iterator[Meaning]:
        """A name of a module."""
        module = self.program.module(path)
        if module is not None:
            top = self.program.routine(module, 0)
            refs = self.program.lookup(top, name)
            if refs:
                yield from _union(self.of(ref) for ref in (*refs, *self._handed_to(path, name)))
                return
        inner = self.program.at(package(path), name)
        yield Own("module", path=inner) if inner is not None else f"?{name}"

    def _handed_to(self, path: str, name: str) -> list[Ref]:
        """What other modules put into a name of a module: `server.worker = Worker()`."""
        stores = self.program.stores.get(name, ())[:_CALLERS]
        return [
            store.to(store.node.inputs[1])
            for store in stores
            if any(isinstance(one, Own) and one.path == path for one in self.of(store.to(store.node.inputs[0])))
        ]

    def _name(self, ref: Ref, node: Node) -> Iterable[Meaning]:
        refs = self.program.lookup(ref.routine, node.name)
        if refs and refs[0].routine.number == 0 and node.name in self.program.stores:
            refs = [*refs, *self._handed_to(ref.routine.path, node.name)]
        if refs:
            return _union(self.of(found) for found in refs) or (f"?{node.name}",)
        if node.name in _BUILTINS:
            return (f"builtins.{node.name}",)
        return (f"?{node.name}",)

    def _param(self, ref: Ref, node: Node) -> Iterable[Meaning]:
        routine = ref.routine
        around = self.program.parent(routine)
        parameters = routine.function.parameters
        position, parameter = next(
            ((number, one) for number, one in enumerate(parameters) if one.name == node.name), (0, None)
        )
        if parameter is None:
            return ()
        if around.function.kind == "class" and position == 0 and routine.function.kind == "function":
            static = {
                path.rpartition(".")[2]
                for number in routine.function.decorators
                for path in self.paths(Ref(around, number))
            }
            if "staticmethod" not in static:
                return (
                    Own("class" if static & {"classmethod", "validator", "root_validator"} else "instance", around),
                )
        found = set(self._given(routine, around, parameter))
        if not found:
            found = set(self._handed(routine, position, parameter))
        return found or (f"?{node.name}",)

    def _given(self, routine: Routine, around: Routine, parameter: Parameter) -> Iterator[Meaning]:
        """By its annotation and its default."""
        if parameter.annotation != NONE:
            yield from self.annotated(Ref(around, parameter.annotation))
        if parameter.default != NONE:
            default = Ref(around, parameter.default)
            if default.node.op == "call":
                found = self.of(default)
                yield from (one for one in found if not isinstance(one, Own) or one.kind != "function")
                for one in found:  # Depends(get_model)
                    if isinstance(one, Own) and one.kind == "function" and one.routine is not None:
                        yield from self.returned(one.routine)
            elif default.node.op not in ("const", "items", "table"):
                yield from self.of(default)

    def _handed(self, routine: Routine, position: int, parameter: Parameter) -> Iterator[Meaning]:
        """By those who call."""
        shift = 1 if self.program.parent(routine).function.kind == "class" else 0
        for call in self._by_name(routine)[:_CALLERS]:
            number = call.node.argument(parameter.name, position - shift)
            if number != NONE:
                yield from self.of(call.to(number))

    def _attr(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        base = ref.to(node.inputs[0])
        for one in self.of(base) or (f"?{base.node.name}",):
            if isinstance(one, str):
                kept = self._put(one, ref, node.name)
                yield from kept
                if not kept and len(one) < _LENGTH:
                    yield f"{one}.{node.name}"
            elif one.kind == "module":
                yield from self._named(one.path, node.name)
            elif one.kind in ("instance", "class") and one.routine is not None:
                yield from self._read(self.member(one.routine, node.name))
            elif one.routine is not None:
                made = self._decorated(one.routine)
                yield from (f"{path}.{node.name}" for path in made or ("?",))

    def _decorated(self, routine: Routine) -> list[str]:
        """What its decorators make of a function: `@app.task` of Celery a task, on which one calls `delay`."""
        around = self.program.parent(routine)
        found: list[str] = []
        for number in routine.function.decorators:
            ref = Ref(around, number)
            calls = ref.node.op == "call"
            found += [
                f"{path}()()" if calls else f"{path}()" for path in (self.called(ref) if calls else self.paths(ref))
            ]
        return found

    def _read(self, found: frozenset[Meaning]) -> Iterator[Meaning]:
        """An attribute as it is read: a property is what its function gives."""
        for one in found:
            if isinstance(one, Own) and one.kind == "function" and one.routine is not None:
                around = self.program.parent(one.routine)
                ends = {
                    self.written(Ref(around, number)).rpartition(".")[2] for number in one.routine.function.decorators
                }
                if ends & {"property", "cached_property"}:
                    yield from self.returned(one.routine)
                    continue
            yield one

    def written(self, ref: Ref, *, inside: bool = False) -> str:
        """What a call calls, a name, or an attribute's whole chain, as written; empty for anything else.

        `inside`: of another, where a value is called by the name that it is kept in.
        """
        node = ref.node
        named = ref.routine.named.get(ref.number) if inside or node.op != "call" else None
        if named is not None and node.op not in ("import", "def"):
            return named
        if node.op in ("name", "param"):
            return node.name
        if node.op == "import":
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

    def _put(self, base: str, ref: Ref, name: str) -> frozenset[Meaning]:
        """What somebody put into an attribute of somebody else's object: `app.state.model = …`."""
        if name not in self.program.stores:
            return _NOTHING
        last = base.rpartition(".")[2]
        found: list[frozenset[Meaning]] = []
        for store in self.program.stores[name][:_CALLERS]:
            target = store.to(store.node.inputs[0])
            if any(path == base or (last == "state" and path.endswith(".state")) for path in self.paths(target)):
                found.append(self.of(store.to(store.node.inputs[1])))
        return _union(found)

    def _call(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        for one in self.of(ref.to(node.inputs[0])):
            if isinstance(one, str):
                yield from self._foreign(one, ref, node)
            elif one.kind == "class":
                yield Own("instance", one.routine)
            elif one.routine is not None and one.kind == "function":
                yield from self.returned(one.routine)
            elif one.routine is not None and one.kind == "instance":
                runs = list(self._run(one))
                yield from (f"{base}()()" for base in self.bases(one.routine))
                for routine in runs:
                    yield from self.returned(routine)

    def _foreign(self, path: str, ref: Ref, node: Node) -> Iterator[Meaning]:
        base, _, last = path.rpartition(".")
        if (last in _SAME and base.endswith((")", "]"))) or (last in _SAME and base.startswith("?")):
            yield from self._self_of(ref, node, base)
        elif path in _GIVES or path in _FIRST:
            if len(node.inputs) > 1:
                yield from self.of(ref.to(node.inputs[1]))
        else:
            for number in node.inputs[1:]:  # run_in_executor(None, predict, x)
                for one in self.of(ref.to(number)):
                    if isinstance(one, Own) and one.kind == "function" and one.routine is not None and last in RUNNERS:
                        yield from self.returned(one.routine)
            if len(path) < _LENGTH:
                yield f"{path}()"

    def _self_of(self, ref: Ref, node: Node, base: str) -> Iterator[Meaning]:
        function = ref.to(node.inputs[0])
        if function.node.op == "attr":
            yield from self.of(function.to(function.node.inputs[0]))
        else:
            yield base

    def _item(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        base, key = ref.to(node.inputs[0]), ref.to(node.inputs[1])
        held = list(self._held(base, key))
        if held:
            yield from _union(self.of(one) for one in held)
            return
        for one in self.of(base):
            if isinstance(one, str) and len(one) < _LENGTH:
                yield f"{one}[]"
            elif isinstance(one, Own) and one.kind == "class":
                yield one

    def _held(self, base: Ref, key: Ref) -> Iterator[Ref]:
        """What stands under a key of a table that is written here, or put into one of the module's."""
        places = [base]
        if base.node.op == "name":
            places = self.program.lookup(base.routine, base.node.name)
        for place in places:
            node = place.node
            if node.op == "table":
                for inner, held in zip(node.inputs[::2], node.inputs[1::2], strict=True):
                    if inner != NONE and (place.to(inner).node.name == key.node.name or key.node.op != "const"):
                        yield place.to(held)
        if base.node.op == "name":
            for number, routine in self.program_items(base):
                made = routine.function.nodes[number]
                same = routine.function.nodes[made.inputs[1]].name == key.node.name
                if same or key.node.op != "const":
                    yield Ref(routine, made.inputs[2])

    def program_items(self, base: Ref) -> Iterator[tuple[int, Routine]]:
        """Where the functions of a module put something under a key of a name of the module."""
        for routine in (
            self.program.routine(base.routine.module, n) for n in range(len(base.routine.module.functions))
        ):
            for number in routine.all_of("setitem"):
                target = routine.function.nodes[routine.function.nodes[number].inputs[0]]
                if target.op == "name" and target.name == base.node.name:
                    yield number, routine

    def _each(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        for one in self.of(ref.to(node.inputs[0])):
            if isinstance(one, str) and len(one) < _LENGTH:
                yield f"{one}[]"

    def _definition(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        routine = self.program.routine(ref.routine.module, int(node.name))
        yield Own("class" if routine.function.kind == "class" else "function", routine)

    def _any(self, ref: Ref, _: Node) -> Iterable[Meaning]:
        return _union(self.of(inner) for inner in ref.inputs())

    def _choice(self, ref: Ref, node: Node) -> Iterable[Meaning]:
        return _union(self.of(ref.to(number)) for number in node.inputs[1:])

    def _first(self, ref: Ref, node: Node) -> Iterable[Meaning]:
        return self.of(ref.to(node.inputs[0]))

    def _piped(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        """`prompt | model | parser`: LangChain's chains are what their parts are; other operators make new values."""
        if node.name == "|":
            for one in self._any(ref, node):
                if isinstance(one, str) and one.startswith("langchain"):
                    yield one
        elif node.name == "<<":
            return

    def _unpacked(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        base = ref.to(node.inputs[0])
        routines = self.routines(base) if base.node.op == "call" else ()
        for routine in routines:
            for made in routine.function.nodes:
                if made.op == "return" and made.inputs and node.name.isdigit():
                    given = routine.function.nodes[made.inputs[0]]
                    if given.op == "items" and int(node.name) < len(given.inputs):
                        yield from self.of(Ref(routine, given.inputs[int(node.name)]))
        if not routines:
            yield from self._each(ref, node)


_FINDERS: Final[Mapping[str, Callable[[Meanings, Ref, Node], Iterable[Meaning]]]] = {
    "import": Meanings._import,
    "name": Meanings._name,
    "param": Meanings._param,
    "attr": Meanings._attr,
    "call": Meanings._call,
    "item": Meanings._item,
    "each": Meanings._each,
    "part": Meanings._unpacked,
    "def": Meanings._definition,
    "join": Meanings._any,
    "or": Meanings._any,
    "and": Meanings._any,
    "if": Meanings._choice,
    "enter": Meanings._first,
    "grown": Meanings._first,
    "global": Meanings._first,
    "binary": Meanings._piped,
    "caught": Meanings._first,
}


def _union(sets: Iterable[Iterable[Meaning]]) -> frozenset[Meaning]:
    found: set[Meaning] = set()
    for one in sets:
        found |= set(one)
        if len(found) > _MOST:
            break
    return frozenset(found)


def _few(found: Iterable[Meaning]) -> Iterator[Meaning]:
    for number, one in enumerate(found):
        if number == _MOST:
            return
        yield one
