"""What may run where only the run decides: nodes of a graph of agents, tools, entries of a registry.

Asked only where too much does less harm than too little: whether a client may be used while somebody waits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref, Routine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.link.code import Code
    from vramguard.link.code.backward import Backward
    from vramguard.link.code.meaning import Meaning

# Frameworks that run functions, tools and classes which they were given, when an agent, a chain or a graph is asked.
AGENTS: Final = re.compile(
    r"(langgraph|langchain\w*|llama_index|crewai|autogen\w*|agents|pydantic_ai|haystack|smolagents|semantic_kernel|dspy"
    r"|google\.adk|agno|phi)\."
)
ASKED: Final = frozenset({
    "invoke", "ainvoke", "stream", "astream", "astream_events", "astream_log", "batch", "abatch", "run", "arun",
    "run_sync", "run_stream", "run_streamed", "run_async", "kickoff", "kickoff_async", "call", "acall", "chat",
    "achat", "stream_chat", "astream_chat", "query", "aquery", "initiate_chat", "a_initiate_chat", "generate_reply",
    "print_response", "execute", "step", "get_relevant_documents", "aget_relevant_documents", "predict", "apredict",
})  # fmt: skip
# Methods that such a framework calls of a class that is made of one of its own.
_HOOKS: Final = frozenset({
    "_run", "_arun", "_call", "_acall", "_generate", "_agenerate", "_stream", "_astream", "_get_relevant_documents",
    "_aget_relevant_documents", "forward", "aforward", "invoke", "ainvoke", "complete", "stream_complete", "chat",
    "_query", "_retrieve", "_aretrieve", "embed_documents", "embed_query", "run", "run_async", "compress_documents",
})  # fmt: skip
# Names of methods that so many things have that the name says nothing.
_COMMON: Final = frozenset({
    "add", "all", "append", "apply", "begin", "close", "commit", "connect", "copy", "count", "create", "decode",
    "delete", "dict", "dump", "dumps", "emit", "encode", "end", "error", "execute", "exists", "extend", "fetch",
    "fetchall", "fetchone", "filter", "find", "first", "fit", "flush", "format", "forward", "get", "get_or_create",
    "info", "init", "insert", "items", "join", "json", "keys", "list", "load", "loads", "log", "map", "match", "open",
    "parse", "pop", "post", "publish", "push", "put", "read", "refresh", "register", "remove", "render", "replace",
    "request", "reset", "result", "save", "search", "select", "send", "set", "setup", "show", "shutdown", "sort",
    "split", "start", "status", "step", "stop", "strip", "submit", "sum", "text", "to_dict", "update", "upload",
    "download", "values", "wait", "warning", "write", "validate", "transform", "train", "main", "test", "evaluate",
    "build", "compile", "clear", "name", "size",
})  # fmt: skip
_VALUES: Final = ("each", "item", "param", "join", "part")  # what a function may be taken from, to be called
_PLACES: Final = 60  # at which a function is looked for that was put into a list
_FITTING: Final = 6  # methods of a name that are all taken to be meant
_FILES: Final = 2000  # modules that are looked through for what one imports


class Dispatch:
    """Finds what a call may run beyond what is known of it."""

    def __init__(self, code: Code, backward: Backward) -> None:
        self.code = code
        self.backward = backward
        self._imports: dict[str, frozenset[str]] = {}
        self._reached: dict[str, frozenset[str]] = {}

    def of(self, call: Ref) -> Iterator[Routine]:
        """The functions of the repository that a call of somebody else's, or of nobody knows whose, may run."""
        function = call.to(call.node.inputs[0])
        paths = self.code.meanings.called(call)
        known = {path for path in paths if not path.startswith("?")}
        if function.node.op != "attr":
            yield from self._kept(function) if function.node.op in _VALUES and not known else ()
            return
        near = self.reached(call.routine.path)
        if function.node.name in ASKED and any(AGENTS.match(path) for path in known):
            yield from (one for at, one in self._given if at in near)
        elif not known and function.node.name in self._fields:
            yield from (one for at, one in self._fields[function.node.name] if at in near)
        elif not known and paths and function.node.name not in _COMMON:
            named = [one for one in self._methods.get(function.node.name, ()) if one.path in near and _fits(one, call)]
            yield from named if len(named) <= _FITTING else ()

    def _kept(self, function: Ref) -> Iterator[Routine]:
        """`for callback in self.callbacks: callback(event)`: the functions that were put into the list."""
        pending, seen = [function], {function}
        while pending and len(seen) < _PLACES:
            place = pending.pop(0)
            if place.node.op in ("attr", "def", "name", "import"):
                yield from self._run(place)
            inner = [one for one in self.backward.back(place) if one not in seen]
            seen.update(inner)
            pending += inner

    @cached_property
    def _given(self) -> list[tuple[str, Routine]]:
        """Functions that frameworks of agents were given, each with the file in which that happens."""
        found: dict[tuple[str, Routine], None] = {}
        for call, paths in self.code.called:
            if any(AGENTS.match(path) for path in paths):
                for given in self._arguments(call):
                    found.update(dict.fromkeys((call.routine.path, one) for one in self._run(given)))
        for routine in self.code.routines:
            if routine.function.kind == "class":
                found.update(dict.fromkeys((routine.path, one) for one in self._hooks(routine)))
            elif any(AGENTS.match(path) for _, paths in self._decorators(routine) for path in paths):
                found[routine.path, routine] = None
            for number in routine.all_of("binary"):
                found.update(dict.fromkeys((routine.path, one) for one in self._piped(Ref(routine, number))))
        return list(found)

    def _decorators(self, routine: Routine) -> Iterator[tuple[Ref, frozenset[str]]]:
        return self.code.decorators(routine) if routine.function.decorators else iter(())

    def _arguments(self, call: Ref) -> Iterator[Ref]:
        for number in call.node.inputs[1:]:
            given = call.to(number)
            if given.node.op in ("items", "table"):
                yield from given.inputs()
            elif given.node.op != "const":
                yield given

    def _run(self, given: Ref) -> Iterator[Routine]:
        for one in self.code.meanings.of(given):
            if not isinstance(one, str) and one.kind in ("function", "instance"):
                yield from self.code.meanings.run(one)

    def _hooks(self, owner: Routine) -> Iterator[Routine]:
        """Methods that a framework calls of a class which is made of one of its own."""
        if owner.function.bases and any(AGENTS.match(base) for base in self.code.meanings.bases(owner)):
            yield from (one for one in self.code.program.methods(owner) if one.function.name in _HOOKS)

    def _piped(self, ref: Ref) -> Iterator[Routine]:
        """`retriever | as_text | prompt | model`: functions among the parts of a chain."""
        if ref.node.name == "|" and any(AGENTS.match(path) for one in ref.inputs() for path in self._paths(one)):
            for one in ref.inputs():
                yield from self._run(one)

    def _paths(self, ref: Ref) -> Iterator[str]:
        return (one for one in self.code.meanings.of(ref) if isinstance(one, str))

    @cached_property
    def _methods(self) -> Mapping[str, list[Routine]]:
        """The methods of the repository by their names."""
        found: dict[str, list[Routine]] = defaultdict(list)
        for routine in self.code.routines:
            if routine.function.kind == "class":
                for method in self.code.program.methods(routine):
                    found[method.function.name].append(method)
        return found

    @cached_property
    def _fields(self) -> Mapping[str, list[tuple[str, Routine]]]:
        """Functions that instances were given to keep, by the field: `Provider(call=ask)`; and the files of that."""
        declared = {
            node.name for routine in self.code.routines for node in routine.function.nodes if node.op == "field"
        }
        found: dict[str, list[tuple[str, Routine]]] = defaultdict(list)
        for routine in self.code.routines if declared else ():
            for number in routine.all_of("call"):
                call = Ref(routine, number)
                given = [(word, one) for word, one in call.node.arguments() if word in declared]
                if given and any(self._is_class(one) for one in self.code.meanings.of(call.to(call.node.inputs[0]))):
                    for word, value in given:
                        found[word] += [(routine.path, one) for one in self._functions(call.to(value))]
        return found

    @staticmethod
    def _is_class(one: Meaning) -> bool:
        return not isinstance(one, str) and one.kind == "class"

    def _functions(self, given: Ref) -> Iterator[Routine]:
        """The functions that a value may be, by their names."""
        if given.node.op in ("name", "attr", "def", "import"):
            for one in self.code.meanings.of(given):
                if not isinstance(one, str) and one.kind == "function" and one.routine is not None:
                    yield one.routine

    # Which files a file comes to.

    def reached(self, path: str) -> frozenset[str]:
        """The files that a file imports, those that they import included, itself among them."""
        if path not in self._reached:
            found, pending = {path}, [path]
            for one in pending:
                inner = self._imported(one) - found if len(found) < _FILES else frozenset[str]()
                found |= inner
                pending += sorted(inner)
            self._reached[path] = frozenset(found)
        return self._reached[path]

    def _imported(self, path: str) -> frozenset[str]:
        if path not in self._imports:
            module = self.code.program.module(path)
            names = {
                node.name
                for function in (module.functions if module is not None else ())
                for node in function.nodes
                if node.op == "import"
            }
            stars = set(module.stars) if module is not None else set()
            found = (self._file(path, name) for name in names | stars)
            self._imports[path] = frozenset(one for one in found if one is not None)
        return self._imports[path]

    def _file(self, path: str, name: str) -> str | None:
        """The file of a module, or of the module that a name stands in."""
        base = name.rpartition(".")[0] or "." * (len(name) - len(name.lstrip(".")))
        for one in (name, base):
            found = self.code.program.resolve(path, one) if one else None
            if found is not None and found.endswith(".py"):
                return found
        return None


def _fits(method: Routine, call: Ref) -> bool:
    """Whether a method takes so many arguments."""
    parameters = method.function.parameters[1:]
    given = sum(1 for keyword, _ in call.node.arguments() if not keyword)
    return any(one.stars for one in parameters) or given <= len(parameters)
