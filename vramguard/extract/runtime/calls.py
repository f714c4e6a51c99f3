"""Calls and decorators of Python by which a framework is told what to install, when it builds or when it runs.

A file is only parsed where a word of some framework stands in it, and a call only counts where its name, as the file
imports it, is that framework's.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vramguard.extract.python.called import dotted
from vramguard.extract.python.literals import Either, Module, Opaque, Scalar, Table, Text, Value
from vramguard.extract.python.worth import flat
from vramguard.extract.runtime.listed import Entry, Listed
from vramguard.facts import Requirement, Unknown
from vramguard.source import Location
from vramguard.source.python import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

# Words of which both kinds stand in a file that is worth a look: a framework's name, and what it is asked by.
_WORDS: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = (
    (("kfp",), ("packages_to_install",)),
    (("airflow",), ("virtualenv", "Virtualenv")),
    (("ray", "anyscale"), ("runtime_env", "RuntimeEnv")),
    (("bentoml",), ("python_packages", "requirements_file")),
    (("modal",), ("pip_install", "micromamba_install")),
    (("truss",), ("pip_requirements",)),
    (("mlflow",), ("pip_requirements", "conda_env")),
    (("sagemaker",), ("SourceCode",)),
    (("zenml",), ("DockerSettings",)),
    (("metaflow",), ("pypi", "conda")),
    (("databricks", "dbutils"), ("installPyPI", "PyPiLibrary")),
    (("flyte", "union"), ("ImageSpec", "with_pip_packages")),
    (("aiplatform",), ("requirements=",)),
)


def _asks(text: str) -> bool:
    return any(any(ask in text for ask in asks) and any(name in text for name in names) for names, asks in _WORDS)


def installs(document: Document) -> Iterator[Fact]:
    """Everything that a framework is asked to install, each requirement once."""
    source: Source = document.value
    if not _asks(document.text) or source.tree is None:
        return
    from vramguard.extract.runtime import frameworks

    seen: set[tuple[Location, str]] = set()
    for fact in frameworks.read(Program(document.path, source)):
        key = (fact.at, fact.name if isinstance(fact, Requirement) else type(fact).__name__)
        if key not in seen:
            seen.add(key)
            yield fact


@dataclass(slots=True)
class Program:
    """One file: its calls in the order of the text, what its names are imported as, and what its literals are worth."""

    path: str
    source: Source
    module: Module = field(init=False)
    imports: dict[str, str] = field(default_factory=dict)
    calls: list[ast.Call] = field(default_factory=list)
    packages: frozenset[str] = frozenset()  # that are imported
    locks: bool = True  # whether BentoML locks what it is given
    owners: dict[int, str] = field(default_factory=dict)  # of a call: the function that it decorates, the name it makes

    def __post_init__(self) -> None:
        self.module = Module(self.source)
        for node in ast.walk(self.source.tree or ast.Module([], [])):
            if isinstance(node, ast.Call):
                self.calls.append(node)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.owners |= {id(one): node.name for one in node.decorator_list}
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.owners |= {id(one): node.targets[0].id for one in _chain(node.value)}
        self.packages = frozenset(origin.partition(".")[0] for origin in self.imports.values())
        self.locks = re.search(r"lock_python_packages\s*=\s*False", self.source.text) is None
        self.calls.sort(key=lambda call: (call.end_lineno or 0, call.end_col_offset or 0))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                self.imports[alias.asname or whole] = whole
            else:
                before = "." * node.level + (node.module or "")
                self.imports[alias.asname or alias.name] = f"{before}.{alias.name}"

    def uses(self, *roots: str) -> bool:
        """Whether the file imports one of these packages."""
        return not self.packages.isdisjoint(roots)

    def origin(self, function: ast.expr) -> str:
        """The full name of a function, as it is imported; as written where it is not."""
        first, dot, rest = dotted(function).partition(".")
        return self.imports.get(first, first) + dot + rest

    def foreign(self, function: ast.expr, roots: tuple[str, ...]) -> bool:
        """Whether what is called is imported from elsewhere than these packages."""
        first = dotted(function).partition(".")[0]
        origin = self.imports.get(first)
        return origin is not None and not _within(origin, roots)

    def at(self, value: Value, otherwise: ast.expr) -> Location:
        """Where a value stands."""
        node = value.node if hasattr(value.node, "lineno") else None
        span = self.source.span(otherwise) if node is None else self.module.place(value)
        return Location(self.path, *span)

    def listed(self, call: ast.Call, form: str, *, tool: str = "pip", section: str = "") -> Listed:
        """An empty list for what a call installs; into what it decorates, or makes, or stands in."""
        root = next((name for one in _chain(call) if (name := self.owners.get(id(one)))), "") or _root(call)
        at = Location(self.path, *self.source.span(call))
        folder = self.path.rpartition("/")[0]
        return Listed(form, at, f"{self.path}#{root or at.line}", tool, section, folder, locks=self.locks)


def _within(origin: str, roots: tuple[str, ...]) -> bool:
    return any(origin == root or origin.startswith(f"{root}.") for root in roots)


def _chain(node: ast.expr) -> Iterator[ast.expr]:
    """The calls of a chain of methods: `image.apt_install(...).pip_install(...)`."""
    while isinstance(node, ast.Call | ast.Attribute):
        if isinstance(node, ast.Call):
            yield node
            node = node.func
        else:
            node = node.value


def _root(node: ast.expr) -> str:
    """The name that a chain of methods begins with, if it is no module's."""
    while isinstance(node, ast.Call | ast.Attribute):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) and node.id[:1].islower() else ""


def options(value: Value) -> list[Value]:
    """The values that one may be, those aside that cannot be told."""
    found = value.options if isinstance(value, Either) else (value,)
    return [one for one in found if not isinstance(one, Opaque | Scalar)]


def under(value: Value, key: str) -> Value | None:
    """What a table holds under a key."""
    pairs = value.pairs if isinstance(value, Table) else ()
    return next((held for name, held in reversed(pairs) if isinstance(name, Text) and name.value == key), None)


def entries(program: Program, value: Value, otherwise: ast.expr) -> Iterator[Entry]:
    """The texts of a list; of one that cannot be told as a whole, nothing."""
    for one in options(value):
        for item in flat(one):
            at = program.at(item, otherwise)
            if isinstance(item, Text):
                yield Entry(item.value if item.known else Unknown(item.value), at)
            elif isinstance(item, Opaque):
                yield Entry(Unknown(item.written or "a value that is made elsewhere"), at)
