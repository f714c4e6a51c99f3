"""What each kind of node may mean, made of the meanings of its inputs."""

from __future__ import annotations

import builtins
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.link.code.applications import is_same
from vramguard.link.code.elements import asked_for, elements, entries
from vramguard.link.code.program import Ref, Routine, package
from vramguard.link.code.tuples import attribute, tuples
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from vramguard.link.code.meaning import Meanings
    from vramguard.source.graph import Node, Parameter

_MOST: Final = 12  # meanings of one value
_LENGTH: Final = 160  # of a path that grows further
_LONGEST: Final = 1000  # of a path: longer ones are written by programs
_CALLERS: Final = 12  # that are asked what they hand over
_BUILTINS: Final = frozenset(dir(builtins))
# Methods that give what they are called on, and functions that give their first argument.
_SAME: Final = frozenset({
    "to", "eval", "cuda", "cpu", "half", "float", "double", "bfloat16", "train", "requires_grad_", "share_memory",
    "with_options", "__enter__", "__aenter__", "copy", "bind_tools", "bind", "with_config", "with_retry", "compile",
    "set_params",
})  # fmt: skip
_GIVES: Final = frozenset({
    "asyncio.run", "asyncio.create_task", "asyncio.ensure_future", "asyncio.shield", "asyncio.wait_for",
    "torch.compile", "torch.jit.script", "torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel",
    "copy.copy", "copy.deepcopy", "typing.cast", "builtins.iter", "functools.partial", "functools.lru_cache()",
    "functools.cache", "functools.wraps()", "streamlit.cache_resource", "streamlit.cache_resource()",
    "streamlit.cache_data", "streamlit.cache_data()", "ray.get", "anyio.run", "fastapi.Depends",
    "fastapi.params.Depends", "ray.remote", "torch.no_grad()", "torch.inference_mode()",
})  # fmt: skip
_FIRST: Final = frozenset({"builtins.next", "builtins.anext", "builtins.sorted", "builtins.reversed", "builtins.list"})
# Functions that run a function which they are given.
RUNNERS: Final = frozenset({
    "run_in_executor", "to_thread", "run_in_threadpool", "submit", "run_sync", "map", "map_batches", "apply",
    "applymap", "imap", "transform", "starmap", "Thread", "Process", "Timer", "partial", "call", "call_async",
    "retry_call", "run_until_complete", "call_soon", "run", "apply_async", "foreach", "flat_map", "filter", "pipe",
    "add_task", "create_task", "gather",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Own:
    """Something of the repository: a function, a class, an instance of one; or a module or folder, by its path."""

    kind: str  # function, class, instance, module
    routine: Routine | None = None
    path: str = ""


Meaning = str | Own


class Values:
    """Evaluates nodes."""

    def __init__(self, meanings: Meanings) -> None:
        self.meanings = meanings
        self._finders: Mapping[str, Callable[[Ref, Node], Iterable[Meaning]]] = {
            "import": self._import,
            "name": self._name,
            "param": self._param,
            "attr": self._attr,
            "call": self._call,
            "item": self._item,
            "each": self._each,
            "part": self._unpacked,
            "def": self._definition,
            "join": self._any,
            "or": self._any,
            "and": self._any,
            "if": self._choice,
            "enter": self._first,
            "grown": self._first,
            "global": self._first,
            "binary": self._piped,
            "caught": self._first,
        }

    def of(self, ref: Ref) -> tuple[Meaning, ...]:
        """What a node may mean, in the order of names and places."""
        node = ref.node
        find = self._finders.get(node.op)
        found = () if find is None else dict.fromkeys(find(ref, node))
        whole = [one for one in found if not isinstance(one, str) or len(one) < _LONGEST]
        return tuple(whole if len(whole) < 2 else sorted(whole, key=_order)[:_MOST])  # noqa: PLR2004

    def _import(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        dotted = node.name
        whole = self.meanings.program.resolve(ref.routine.path, dotted)
        if whole is not None:
            base, _, last = dotted.rpartition(".")
            holder = self.meanings.program.resolve(ref.routine.path, base or ".") if last and base.strip(".") else None
            inside = self.meanings.program.module(holder) if holder and holder.endswith("__init__.py") else None
            if inside is not None and last in inside.functions[0].names and holder != ref.routine.path:
                yield from self._named(holder or "", last)
            else:
                yield Own("module", path=whole)
            return
        base, _, last = dotted.rpartition(".")
        level = len(dotted) - len(dotted.lstrip("."))
        holder = (
            self.meanings.program.resolve(ref.routine.path, base if base.strip(".") else "." * level)
            if base or level
            else None
        )
        if holder is None:
            yield dotted.lstrip(".") if not level else f"?{last}"
        else:
            yield from self._named(holder, last)

    def _named(self, path: str, name: str) -> Iterator[Meaning]:
        """A name of a module."""
        module = self.meanings.program.module(path)
        if module is not None:
            top = self.meanings.program.routine(module, 0)
            refs = self.meanings.program.lookup(top, name)
            if refs:
                yield from union(self.meanings.of(ref) for ref in (*refs, *self._handed_to(path, name)))
                return
        inner = self.meanings.program.at(package(path), name)
        yield Own("module", path=inner) if inner is not None else f"?{name}"

    def _handed_to(self, path: str, name: str) -> list[Ref]:
        """What other modules put into a name of a module: `server.worker = Worker()`."""
        stores = self.meanings.program.stores.get(name, ())[:_CALLERS]
        return [
            store.to(store.node.inputs[1])
            for store in stores
            if any(
                isinstance(one, Own) and one.path == path for one in self.meanings.of(store.to(store.node.inputs[0]))
            )
        ]

    def _name(self, ref: Ref, node: Node) -> Iterable[Meaning]:
        refs = self.meanings.program.lookup(ref.routine, node.name)
        if refs and refs[0].routine.number == 0 and node.name in self.meanings.program.stores:
            refs = [*refs, *self._handed_to(ref.routine.path, node.name)]
        if refs:
            return union(self.meanings.of(found) for found in refs) or (f"?{node.name}",)
        if node.name in _BUILTINS:
            return (f"builtins.{node.name}",)
        return (f"?{node.name}",)

    def _param(self, ref: Ref, node: Node) -> Iterable[Meaning]:
        routine = ref.routine
        around = self.meanings.program.parent(routine)
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
                for path in self.meanings.paths(Ref(around, number))
            }
            if "staticmethod" not in static:
                return (
                    Own("class" if static & {"classmethod", "validator", "root_validator"} else "instance", around),
                )
        found = set(self._given(around, parameter))
        if not found:
            found = set(self._handed(routine, position, parameter))
        return found or (f"?{node.name}",)

    def _given(self, around: Routine, parameter: Parameter) -> Iterator[Meaning]:
        """By its annotation and its default."""
        if parameter.annotation != NONE:
            yield from self.meanings.annotated(Ref(around, parameter.annotation))
        if parameter.default != NONE:
            default = Ref(around, parameter.default)
            if default.node.op == "call":
                found = self.meanings.of(default)
                yield from (one for one in found if not isinstance(one, Own) or one.kind != "function")
                for routine in self.meanings.functions(default):  # Depends(get_model)
                    yield from self.meanings.returned(routine)
            elif default.node.op not in ("const", "items", "table"):
                yield from self.meanings.of(default)

    def _handed(self, routine: Routine, position: int, parameter: Parameter) -> Iterator[Meaning]:
        """By those who call."""
        shift = 1 if self.meanings.program.parent(routine).function.kind == "class" else 0
        for call in self.meanings.by_name(routine)[:_CALLERS]:
            number = call.node.argument(parameter.name, position - shift)
            if number != NONE:
                yield from self.meanings.of(call.to(number))

    def _attr(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        return self._attribute(ref.to(node.inputs[0]), node.name)

    def _attribute(self, base: Ref, name: str) -> Iterator[Meaning]:
        for one in self.meanings.of(base) or (f"?{base.node.name}",):
            if isinstance(one, str):
                kept = self._put(one, name)
                yield from kept
                if not kept and len(one) < _LENGTH:
                    yield f"{one}.{name}"
            elif one.kind == "module":
                yield from self._named(one.path, name)
            elif one.kind in ("instance", "class") and one.routine is not None:
                yield from self._read(self.meanings.member(one.routine, name))
            elif one.routine is not None:
                made = self._decorated(one.routine)
                yield from (f"{path}.{name}" for path in made or ("?",))

    def _decorated(self, routine: Routine) -> list[str]:
        """What its decorators make of a function: `@app.task` of Celery a task, on which one calls `delay`."""
        around = self.meanings.program.parent(routine)
        found: list[str] = []
        for number in routine.function.decorators:
            ref = Ref(around, number)
            calls = ref.node.op == "call"
            found += [
                f"{path}()()" if calls else f"{path}()"
                for path in (self.meanings.called(ref) if calls else self.meanings.paths(ref))
            ]
        return found

    def _read(self, found: tuple[Meaning, ...]) -> Iterator[Meaning]:
        """An attribute as it is read: a property is what its function gives."""
        for one in found:
            if isinstance(one, Own) and one.kind == "function" and one.routine is not None:
                around = self.meanings.program.parent(one.routine)
                ends = {
                    self.meanings.written(Ref(around, number)).rpartition(".")[2]
                    for number in one.routine.function.decorators
                }
                if ends & {"property", "cached_property"}:
                    yield from self.meanings.returned(one.routine)
                    continue
            yield one

    def _put(self, base: str, name: str) -> tuple[Meaning, ...]:
        """What somebody put into an attribute of somebody else's object: `app.state.model = …`."""
        if name not in self.meanings.program.stores:
            return ()
        found: list[tuple[Meaning, ...]] = []
        for store in self.meanings.program.stores[name][:_CALLERS]:
            target = store.to(store.node.inputs[0])
            if any(is_same(path, base) for path in self.meanings.paths(target)):
                found.append(self.meanings.of(store.to(store.node.inputs[1])))
        return union(found)

    def _call(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        """What a call gives; of what nobody can tell, what the function asks whether it is an instance of."""
        found = list(self._given_by(ref, node))
        yield from found
        if not any(isinstance(one, Own) for one in found):
            classes = (one for kind in asked_for(ref) for one in self.meanings.of(kind))
            yield from (Own("instance", one.routine) for one in classes if isinstance(one, Own) and one.kind == "class")

    def _given_by(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        for one in self.meanings.of(ref.to(node.inputs[0])):
            if isinstance(one, str):
                yield from self._foreign(one, ref, node)
            elif one.kind == "class":
                yield Own("instance", one.routine)
            elif one.routine is not None and one.kind == "function":
                yield from self.meanings.returned(one.routine)
            elif one.routine is not None and one.kind == "instance":
                runs = list(self.meanings.run(one))
                yield from (f"{base}()()" for base in self.meanings.bases(one.routine))
                for routine in runs:
                    yield from self.meanings.returned(routine)

    def _foreign(self, path: str, ref: Ref, node: Node) -> Iterator[Meaning]:
        base, _, last = path.rpartition(".")
        if (last in _SAME and base.endswith((")", "]"))) or (last in _SAME and base.startswith("?")):
            yield from self._self_of(ref, node, base)
        elif path in _GIVES or path in _FIRST:
            if len(node.inputs) > 1:
                yield from self.meanings.of(ref.to(node.inputs[1]))
        elif path == "builtins.getattr" and attribute(ref):  # `getattr(app.state, "model", None)`
            yield from self._attribute(ref.to(node.inputs[1]), attribute(ref))
            yield from (one for number in node.inputs[3:] for one in self.meanings.of(ref.to(number)))
        else:
            for number in node.inputs[1:] if last in RUNNERS else ():  # run_in_executor(None, predict, x)
                for routine in self.meanings.functions(ref.to(number)):
                    yield from self.meanings.returned(routine)
            if len(path) < _LENGTH:
                yield f"{path}()"

    def _self_of(self, ref: Ref, node: Node, base: str) -> Iterator[Meaning]:
        function = ref.to(node.inputs[0])
        if function.node.op == "attr":
            yield from self.meanings.of(function.to(function.node.inputs[0]))
        else:
            yield base

    def _item(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        base, key = ref.to(node.inputs[0]), ref.to(node.inputs[1])
        held = list(entries(self.meanings, base, key))
        if held:
            yield from union(self.meanings.of(one) for one in held)
            return
        for one in self.meanings.of(base):
            if isinstance(one, str) and len(one) < _LENGTH:
                yield f"{one}[]"
            elif isinstance(one, Own) and one.kind == "class":
                yield one

    def _each(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        base = ref.to(node.inputs[0])
        held = list(itertools.islice(elements(self.meanings.program, base), _MOST))
        if held:
            yield from union(self.meanings.of(one) for one in held)
            return
        for one in self.meanings.of(base):
            if isinstance(one, str) and len(one) < _LENGTH:
                yield f"{one}[]"

    def _definition(self, ref: Ref, node: Node) -> Iterator[Meaning]:
        routine = self.meanings.program.routine(ref.routine.module, int(node.name))
        yield Own("class" if routine.function.kind == "class" else "function", routine)

    def _any(self, ref: Ref, _: Node) -> Iterable[Meaning]:
        return union(self.meanings.of(inner) for inner in ref.inputs())

    def _choice(self, ref: Ref, node: Node) -> Iterable[Meaning]:
        return union(self.meanings.of(ref.to(number)) for number in node.inputs[1:])

    def _first(self, ref: Ref, node: Node) -> Iterable[Meaning]:
        return self.meanings.of(ref.to(node.inputs[0]))

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
        whole = list(tuples(self.meanings, base))
        for given in whole if node.name.isdigit() else ():
            if int(node.name) < len(given.node.inputs):
                yield from self.meanings.of(given.to(given.node.inputs[int(node.name)]))
        if not whole and not (base.node.op == "call" and self.meanings.routines(base)):
            yield from self._each(ref, node)


def _order(one: Meaning) -> tuple[bool, str, str, int]:
    """What is known of, by name; then what is ours, by place."""
    if isinstance(one, str):
        return False, one, "", 0
    return (
        True,
        one.kind,
        one.path or (one.routine.path if one.routine else ""),
        one.routine.number if one.routine else 0,
    )


def union(sets: Iterable[Iterable[Meaning]]) -> tuple[Meaning, ...]:
    """What is in any of several, each once."""
    found: dict[Meaning, None] = {}
    for one in sets:
        found.update(dict.fromkeys(one))
        if len(found) > _MOST:
            break
    return tuple(found)
