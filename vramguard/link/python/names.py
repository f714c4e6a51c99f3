"""Which module of the repository an import means, and the values that are no constants: names, instances, options."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from vramguard.facts import Unknown
from vramguard.link.python.needed import modules
from vramguard.link.python.operations import PLAIN
from vramguard.link.python.settings import Settings
from vramguard.link.roots import roots
from vramguard.source.expression import Call, written
from vramguard.source.program import MODULE, PythonModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vramguard.facts import Facts
    from vramguard.source.program import Called, Import

T = TypeVar("T")

# Packages that are never the repository's own folder of the same name: what they mean is known.
KNOWN = frozenset({
    "vllm", "sglang", "transformers", "tensorrt_llm", "llama_cpp", "torch", "peft", "unsloth", "modal", "bentoml",
    "litserve", "ray", "sagemaker", "langchain", "langchain_community", "langchain_huggingface", "llama_index",
    "modelscope", "auto_gptq", "gptqmodel", "awq", "optimum", "trl", "os", "pathlib", "subprocess", "argparse", "click",
    "typer", "pydantic", "pydantic_settings", "dataclasses", "ctransformers", "intel_extension_for_transformers",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class External:
    """A name of somebody else's: `torch.bfloat16`, `vllm.LLM`."""

    origin: str

    @property
    def root(self) -> str:
        """The package."""
        return self.origin.partition(".")[0]

    @property
    def last(self) -> str:
        """The name itself."""
        return self.origin.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Folder:
    """A module, or a package without a module of its own, of the repository; `module` None where nobody parsed it."""

    path: str
    module: PythonModule | None


@dataclass(frozen=True, slots=True)
class Defined:
    """A class or function of the repository."""

    module: PythonModule
    scope: int


@dataclass(frozen=True, slots=True)
class Made:
    """What a call gives: an instance of `of`, where that is a class. `call` None for `self`, and for a parameter."""

    of: External | Defined
    call: Call | None
    module: PythonModule
    scope: int


@dataclass(frozen=True, slots=True)
class Options:
    """One of several values; which one is decided elsewhere."""

    values: tuple[object, ...]


class Repository:
    """The modules of the repository, by path."""

    def __init__(self, facts: Facts) -> None:
        self.every = {module.key: module for module in modules(facts)}
        self.modules = {path: module for path, module in self.every.items() if module.inside is None}
        self.paths = facts.paths | self.modules.keys()
        self.classify = facts.classify
        self.settings = Settings(facts)
        self._kept: dict[tuple[str, str], Any] = {}

    def once(self, what: str, module: PythonModule, ask: Callable[[PythonModule], T]) -> T:
        """The answer to a question about a module, asked once."""
        key = what, module.key
        if key not in self._kept:
            self._kept[key] = ask(module)
        found: T = self._kept[key]
        return found

    def uses(self, name: str) -> list[tuple[PythonModule, Called]]:
        """Every call of something of that name, wherever it is."""
        return self._uses.get(name, [])

    @cached_property
    def _uses(self) -> dict[str, list[tuple[PythonModule, Called]]]:
        from vramguard.link.python.callers import uses

        return uses(self)

    @cached_property
    def _folders(self) -> frozenset[str]:
        found: set[str] = set()
        for path in self.paths:
            folder = posixpath.dirname(path)
            while folder and folder not in found:
                found.add(folder)
                folder = posixpath.dirname(folder)
        return frozenset(found)

    def imported(self, module: PythonModule, found: Import) -> External | Folder | tuple[Folder, str]:
        """What an import means: a module, or a module and a name in it."""
        target = self._target(module.at.path, found.module, found.level)
        if target is None:
            origin = ".".join(part for part in ("." * found.level + found.module, found.attribute) if part)
            return External(origin)
        if found.attribute is None:
            return target
        inner = self._at(self._folder_of(target), found.attribute)
        named = target.module is not None and found.attribute in target.module.bindings.get(0, {})
        return inner if inner is not None and not named else (target, found.attribute)

    def inside(self, folder: Folder, name: str) -> Folder | None:
        """The module of that name in a package."""
        return self._at(self._folder_of(folder), name)

    @staticmethod
    def _folder_of(folder: Folder) -> str:
        path = folder.path
        if path.endswith("/__init__.py") or path == "__init__.py":
            return posixpath.dirname(path)
        return path.removesuffix(".py")

    def _target(self, path: str, dotted: str, level: int) -> Folder | None:
        if level:
            folder = posixpath.dirname(path)
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            return self._at(folder, dotted)
        if dotted.partition(".")[0] in KNOWN:
            return None
        return next(
            (found for root in roots(posixpath.dirname(path)) if (found := self._at(root, dotted)) is not None), None
        )

    def _at(self, root: str, dotted: str) -> Folder | None:
        base = posixpath.join(root, *dotted.split(".")) if dotted else root
        for path in (f"{base}.py", posixpath.join(base, "__init__.py")):
            if path in self.paths:
                return Folder(path, self.modules.get(path))
        return Folder(base, None) if base in self._folders else None


class Names(NamedTuple):
    """What each scope of a module (by its number) defines and imports under a name."""

    scopes: Mapping[tuple[int, str], list[int]]
    imports: Mapping[tuple[int, str], list[Import]]


def names_of(module: PythonModule) -> Names:
    """The names of a module."""
    scopes: dict[tuple[int, str], list[int]] = defaultdict(list)
    for number, scope in enumerate(module.scopes):
        if number != MODULE:
            scopes[scope.parent, scope.name].append(number)
    imports: dict[tuple[int, str], list[Import]] = defaultdict(list)
    for one in module.imports:
        imports[one.scope, one.name].append(one)
    return Names(dict(scopes), dict(imports))


def one_of(values: Iterable[object]) -> object:
    """The value that all agree on, else all of them."""
    found: list[object] = []
    for value in values:
        for one in value.values if isinstance(value, Options) else (value,):
            if not any(type(one) is type(other) and one == other for other in found):
                found.append(one)
    return found[0] if len(found) == 1 else Options(tuple(found[:8]))


def text_of(value: object) -> str:  # noqa: PLR0911 - a row each
    """A value in a message."""
    if isinstance(value, Options):
        return " or ".join(map(text_of, value.values))
    if isinstance(value, Unknown):
        return value.text
    if isinstance(value, External):
        return value.origin
    if isinstance(value, Made):
        return written(value.call) if value.call else "self"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text_of(key)}: {text_of(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text_of, value)) + "]"
    return str(value) if isinstance(value, PLAIN) or value is None else "a value of the repository"
