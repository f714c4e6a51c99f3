"""The repository's functions as one program: which module an import means, what a name stands for, who calls whom."""

from __future__ import annotations

import posixpath
import sys
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.extract.code import parsed
from vramguard.facts import CodeModule, PathClass, PythonText
from vramguard.link.code.endings import Endings
from vramguard.link.code.stars import Stars
from vramguard.link.roots import roots
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.source.graph import Function, Node


_PROJECTS: Final = ("pyproject.toml", "setup.py", "setup.cfg")


class Routine:
    """A function, class body or module of the repository. One object each: compared by identity."""

    __slots__ = ("__dict__", "function", "module", "number")

    def __init__(self, module: CodeModule, number: int) -> None:
        self.module = module
        self.number = number
        self.function: Function = module.functions[number]

    def __repr__(self) -> str:
        return f"<{self.module.at.path}:{self.function.line} {self.function.name or self.function.kind}>"

    @property
    def path(self) -> str:
        """The file."""
        return self.module.at.path

    @cached_property
    def users(self) -> Mapping[int, tuple[int, ...]]:
        """For each node the nodes of this function that it is an input of."""
        found: dict[int, list[int]] = defaultdict(list)
        for number, node in enumerate(self.function.nodes):
            for inner in set(node.inputs):
                if inner != NONE:
                    found[inner].append(number)
        return {number: tuple(users) for number, users in found.items()}

    @cached_property
    def named(self) -> Mapping[int, str]:
        """For each node the first name that it is kept in."""
        found: dict[int, str] = {}
        for name, numbers in self.function.names.items():
            for number in numbers:
                found.setdefault(number, name)
        return found

    @cached_property
    def blocks(self) -> Mapping[int, tuple[int, ...]]:
        """For each block the blocks around it, itself first."""
        found: dict[int, tuple[int, ...]] = {}
        for number, block in enumerate(self.function.blocks):
            found[number] = (number, *found.get(block.parent, ()))
        return found

    @cached_property
    def _handlers(self) -> Mapping[int, tuple[int, ...]]:
        """For each `try` its handlers."""
        found: dict[int, tuple[int, ...]] = {}
        last: dict[int, int] = {}  # the latest `try` in each block
        for number, block in enumerate(self.function.blocks):
            if block.kind == "try":
                last[block.parent] = number
            elif block.kind == "except" and block.parent in last:
                found[last[block.parent]] = (*found.get(last[block.parent], ()), number)
        return found

    def handlers(self, block: int) -> tuple[int, ...]:
        """The handlers of every `try` that a block stands in; not of one that it only stands behind."""
        found: tuple[int, ...] = ()
        behind = 0
        for number in self.blocks[block]:
            kind = self.function.blocks[number].kind
            if kind == "after":
                behind += 1
            elif kind in ("try", "with") and behind:
                behind -= 1
            elif kind == "try":
                found += self._handlers.get(number, ())
        return found

    def caught(self, block: int) -> bool:
        """Whether what a block raises is caught in the same function by a handler that goes on."""
        return any(not self.function.blocks[one].leaves for one in self.handlers(block))

    def all_of(self, op: str) -> Iterator[int]:
        """The nodes of a kind."""
        return (number for number, node in enumerate(self.function.nodes) if node.op == op)


class Ref(NamedTuple):
    """A node of the program."""

    routine: Routine
    number: int

    @property
    def node(self) -> Node:
        """What stands there."""
        return self.routine.function.nodes[self.number]

    def to(self, number: int) -> Ref:
        """Another node of the same function."""
        return Ref(self.routine, number)

    def inputs(self) -> Iterator[Ref]:
        """What the node is made of."""
        return (Ref(self.routine, number) for number in self.node.inputs if number != NONE)

    @property
    def at(self) -> Location:
        """Where it stands."""
        return Location(self.routine.path, *self.node[4:8])


class Program:
    """Every module of the repository that was taken apart; others are parsed when a name leads to one.

    `foreign`: packages that a mere folder of the same name does not stand for, since what they mean is known.
    """

    def __init__(self, facts: Facts, foreign: frozenset[str] = frozenset()) -> None:
        self.foreign = foreign
        self.modules = {module.at.path: module for module in facts.of(CodeModule) if not _tests(facts, module.at.path)}
        self._texts = {text.at.path: text for text in facts.of(PythonText) if not _tests(facts, text.at.path)}
        self.paths = facts.paths | self.modules.keys() | self._texts.keys()
        self.classify = facts.classify
        self._routines: dict[tuple[str, int], Routine] = {}
        self._resolved: dict[tuple[str, str], str | None] = {}
        self._stars = Stars(self)
        self._puts: dict[str, dict[str, list[Ref]]] = {}  # of each module by name
        self._within: dict[str, dict[int, list[Routine]]] = {}  # of each module its functions by the one around
        self._follow()

    def _follow(self) -> None:
        """Parse what the modules import, and what that imports: it may stand between two of them."""
        pending = list(self.modules.values())
        while pending and self._texts:
            known = set(self.modules)
            for module in pending:
                for function in module.functions:
                    for node in function.nodes:
                        if node.op == "import":
                            self._want(module.at.path, node.name)
                for star in module.stars:
                    self._want(module.at.path, star)
            pending = [self.modules[path] for path in self.modules.keys() - known]

    def _want(self, path: str, dotted: str) -> None:
        """Parse the module that an import names, or the one that holds the name."""
        for name in (dotted, dotted.rpartition(".")[0] or "." * (len(dotted) - len(dotted.lstrip(".")))):
            found = self.resolve(path, name) if name else None
            if found is not None:
                self.module(found)

    def routine(self, module: CodeModule, number: int) -> Routine:
        """The one object of a function."""
        key = module.at.path, number
        if key not in self._routines:
            self._routines[key] = Routine(module, number)
        return self._routines[key]

    def routines(self) -> Iterator[Routine]:
        """Every function of the modules that were taken apart from the start."""
        for module in self.modules.values():
            for number in range(len(module.functions)):
                yield self.routine(module, number)

    def module(self, path: str) -> CodeModule | None:
        """The module of a file, parsed on demand."""
        if path not in self.modules and path in self._texts:
            found = parsed(self._texts.pop(path))
            if found is not None:
                self.modules[path] = found
        return self.modules.get(path)

    def parent(self, routine: Routine) -> Routine:
        """The function around; a module's own code is its own."""
        return self.routine(routine.module, max(routine.function.parent, 0))

    def owner(self, routine: Routine) -> Routine | None:
        """The class of which a function is a method, also of a function inside of a method."""
        while routine.number:
            around = self.parent(routine)
            if around.function.kind == "class":
                return around
            routine = around
        return None

    def module_level(self, beside: Routine, name: str) -> Routine | None:
        """The function of that name of a module, beside one that stands there itself."""
        top = self.parent(beside)
        if top.number or beside.function.kind != "function":
            return None
        return next((one for one in self._children(top) if one.function.name == name), None)

    def methods(self, owner: Routine) -> Iterator[Routine]:
        """The functions in a class's body."""
        return (one for one in self._children(owner) if one.function.kind == "function")

    def inside(self, routine: Routine) -> Iterator[Routine]:
        """The functions that are defined in one, and in those."""
        pending = self._children(routine)[::-1]
        while pending:
            inner = pending.pop()
            yield inner
            pending += self._children(inner)[::-1]

    def _children(self, routine: Routine) -> list[Routine]:
        """The functions and classes whose text stands in a function or class, and in none inside of it."""
        module = routine.module
        found = self._within.get(module.at.path)
        if found is None:
            found = self._within[module.at.path] = defaultdict(list)
            for number, function in enumerate(module.functions[1:], 1):
                found[function.parent].append(self.routine(module, number))
        return found.get(routine.number, [])

    def lookup(self, routine: Routine, name: str) -> list[Ref]:
        """Every value that a name, read in a function that does not bind it, may have; empty for a builtin's."""
        around = routine
        while True:
            found = around.function.names.get(name, ()) if around.function.kind != "class" or around is routine else ()
            refs = [Ref(around, number) for number in found]
            if around.number == 0:
                refs += self._globals.get((around.path, name), [])
            if refs or around.number == 0:
                return refs or self._starred(routine.module, name)
            around = self.parent(around)

    def _starred(self, module: CodeModule, name: str) -> list[Ref]:
        for target in self._stars.of(module) if module.stars else ():
            if name in target.functions[0].names:
                return [Ref(self.routine(target, 0), number) for number in target.functions[0].names[name]]
        return []

    @cached_property
    def _globals(self) -> Mapping[tuple[str, str], list[Ref]]:
        """What functions put into names of their module."""
        found: dict[tuple[str, str], list[Ref]] = defaultdict(list)
        for routine in list(self.routines()):
            for number in routine.all_of("global"):
                found[routine.path, routine.function.nodes[number].name].append(Ref(routine, number))
        return found

    @cached_property
    def calls(self) -> Mapping[str, list[Ref]]:
        """Every call by the last part of what it calls; empty for what has no name."""
        found: dict[str, list[Ref]] = defaultdict(list)
        for routine in list(self.routines()):
            nodes = routine.function.nodes
            for number, node in enumerate(nodes):
                if node.op == "call":
                    function = nodes[node.inputs[0]]
                    last = function.name.rpartition(".")[2] if function.op in ("name", "attr", "import") else ""
                    if function.op == "def":
                        last = routine.module.functions[int(function.name)].name
                    found[last].append(Ref(routine, number))
        return found

    @cached_property
    def stores(self) -> Mapping[str, list[Ref]]:
        """Every `x.name = …` by the attribute."""
        found: dict[str, list[Ref]] = defaultdict(list)
        for routine in list(self.routines()):
            for number in routine.all_of("store"):
                found[routine.function.nodes[number].name].append(Ref(routine, number))
        return found

    def stores_in(self, module: CodeModule, name: str) -> list[Ref]:
        """Every `x.name = …` of a module."""
        return self._stores_by_module.get((module.at.path, name), [])

    @cached_property
    def _stores_by_module(self) -> Mapping[tuple[str, str], list[Ref]]:
        found: dict[tuple[str, str], list[Ref]] = defaultdict(list)
        for name, stores in self.stores.items():
            for store in stores:
                found[store.routine.path, name].append(store)
        return found

    def puts_in(self, module: CodeModule, name: str) -> list[Ref]:
        """Every `name[key] = …` of a module, where the name is of its scope around; of `.name` those of `self.name`."""
        if module.at.path not in self._puts:
            found = self._puts[module.at.path] = defaultdict(list)
            for number in range(len(module.functions)):
                routine = self.routine(module, number)
                for put in routine.all_of("setitem"):
                    target = routine.function.nodes[routine.function.nodes[put].inputs[0]]
                    if target.op == "name":
                        found[target.name].append(Ref(routine, put))
                    elif target.op == "attr" and routine.function.nodes[target.inputs[0]].name in ("self", "cls"):
                        found[f".{target.name}"].append(Ref(routine, put))
        return self._puts[module.at.path].get(name, [])

    def resolve(self, path: str, dotted: str) -> str | None:
        """The file, or the folder, of the repository that an import in a file names; None for somebody else's."""
        key = posixpath.dirname(path), dotted
        if key not in self._resolved:
            self._resolved[key] = self._resolve(*key)
        return self._resolved[key]

    def _resolve(self, folder: str, dotted: str) -> str | None:
        name = dotted.lstrip(".")
        level = len(dotted) - len(name)
        if level:
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            return self.at(folder, name)
        first = name.partition(".")[0]
        for root in roots(folder):
            base = posixpath.join(root, first)
            found = self.at(root, name) if base in self._beginnings else None
            if found is not None and (first not in self.foreign or self._is_package(base, folder)):
                return found
        return self._installed(first, name)

    def _installed(self, first: str, name: str) -> str | None:
        """A package of another project of the repository, which an installation puts on the path, or a setting."""
        found = (self.at(root, name) for root in self._projects.get(first, ()) if first not in self.foreign)
        path = next((path for path in found if path is not None), None)
        known = first in self.foreign or first in sys.stdlib_module_names
        ending = None if path is not None or known else self._endings.of(name)
        return path if ending is None else self.at(ending, "")

    @cached_property
    def _endings(self) -> Endings:
        return Endings(self.paths)

    @cached_property
    def _projects(self) -> Mapping[str, list[str]]:
        """The folders of projects by the names of the packages and modules that stand there."""
        folders = {posixpath.dirname(path) for path in self.paths if posixpath.basename(path) in _PROJECTS}
        folders |= {posixpath.join(folder, "src") for folder in folders}
        found: dict[str, list[str]] = defaultdict(list)
        for beginning in sorted(self._beginnings):
            folder, _, last = beginning.rpartition("/")
            if folder in folders:
                found[last].append(folder)
        return found

    def _is_package(self, base: str, folder: str) -> bool:
        """Whether a module or package is more than a folder with the name of a package that we know: a script in a
        folder `gradio` that imports gradio means the other one.
        """
        whole = f"{base}.py" in self.paths or posixpath.join(base, "__init__.py") in self.paths
        return whole and not f"{folder}/".startswith(f"{base}/")

    def at(self, folder: str, dotted: str) -> str | None:
        """The module or package of a dotted name below a folder."""
        base = posixpath.join(folder, *dotted.split(".")) if dotted else folder
        for path in (f"{base}.py", posixpath.join(base, "__init__.py")):
            if path in self.paths:
                return path
        return base if base in self._folders else None

    @cached_property
    def _folders(self) -> frozenset[str]:
        found: set[str] = set()
        for path in self.paths:
            folder = posixpath.dirname(path) if path.endswith(".py") else ""
            while folder and folder not in found:
                found.add(folder)
                folder = posixpath.dirname(folder)
        return frozenset(found)

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        """Modules and folders without their ending."""
        return self._folders | {path.removesuffix(".py") for path in self.paths if path.endswith(".py")}


def _tests(facts: Facts, path: str) -> bool:
    """Whether a file is of tests: what they put in a model's place says nothing of what serves."""
    return facts.classify(path) is PathClass.TEST


def package(path: str) -> str:
    """The folder in which the modules of a package stand: of a module that is no package, what would be its folder."""
    return posixpath.dirname(path) if path.rpartition("/")[2] == "__init__.py" else path.removesuffix(".py")
