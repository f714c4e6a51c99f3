"""What one Python file, or notebook, does: a graph of values for each function, for `link/code` to follow.

Only modules that could be of interest are taken apart, by the words in their text; of the others the text is kept
(`PythonText`), for the day when one that is of interest calls them.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from vramguard import data
from vramguard.extract.code.expressions import value
from vramguard.extract.code.scope import Scope
from vramguard.extract.code.statements import suite
from vramguard.extract.python import may_load
from vramguard.source import Location, Unreadable
from vramguard.source.graph import NONE, CodeModule, Function, Parameter
from vramguard.source.notebook import Notebook
from vramguard.source.python import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.code.scope import Defined
    from vramguard.facts import Fact
    from vramguard.source import Document
    from vramguard.source.graph import Block, Node
    from vramguard.source.program import PythonText

_IMPORTED = re.compile(r"^[ \t]*(?:from|import)[ \t]+(\w+)", re.MULTILINE)
# Modules of the standard library that load, fetch, run or answer; the others say nothing of a model.
_TELLING = frozenset({"urllib", "http", "pickle", "subprocess", "sched", "socketserver", "xmlrpc", "smtplib"})
# What else a module has that could matter: a model, its training, a health check, a declared response.
_WORDS = (
    *("predict", "train", "Train", "BaseModel", "health", "Health", "model(", "Model(", "promot", "langchain"),
    "git push",
)


_LINE = 120  # characters of a description's first line


def extract(document: Document) -> Iterator[Fact]:
    """The module's graphs, if it could matter."""
    if not may_matter(document.text) and not may_load(document.text):
        return  # what may load is kept by `extract/python` as a module, and so not as text
    source: Source = document.value
    if source.tree is not None:
        yield module_of(document.path, source, notebook=document.kind == "notebook")
    elif document.kind == "python" and not may_load(document.text):  # else `extract/python` has said so
        yield Unreadable(Location(document.path), "it is no Python 3, so that nobody can tell what it does", True)


def may_matter(text: str) -> bool:
    """Whether a module has a word of what is followed, or imports a package that we know."""
    return any(word in text for word in _WORDS) or not _known().isdisjoint(_IMPORTED.findall(text))


@cache
def _known() -> frozenset[str]:
    """The packages of `data/code_*.toml`, without what every program imports."""
    found = {
        name
        for rows in data.code().values()
        for row in rows
        for key in ("call", "decorator", "base")
        for text in _listed(row.get(key, []))
        for name in _names(text)
    }
    return frozenset(found - sys.stdlib_module_names) | _TELLING


def _listed(found: str | list[str]) -> list[str]:
    return [found] if isinstance(found, str) else found


def _names(text: str) -> list[str]:
    """The packages that a pattern begins with: `{fastapi,starlette}.**`."""
    match = re.match(r"\{([\w,]+)\}\.|(\w+)\.", text)
    return (match[1] or match[2]).split(",") if match else []


@lru_cache(maxsize=4096)  # base and head of a pull request share nearly every module
def parsed(found: PythonText) -> CodeModule | None:
    """The graphs of a module that was kept as text; None where it is no Python 3."""
    source = Notebook(found.text) if found.kind == "notebook" else Source(found.text)
    return None if source.tree is None else module_of(found.at.path, source, notebook=found.kind == "notebook")


def module_of(path: str, source: Source, *, notebook: bool = False) -> CodeModule:
    """The graphs of a module. The source has a tree."""
    builder = _Builder(source)
    return CodeModule(Location(path), builder.whole(), tuple(builder.stars), notebook)


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.stars: list[str] = []
        self._functions: list[Function | None] = [None]
        self._numbers: dict[int, int] = {}  # of scopes, by identity

    def whole(self) -> tuple[Function, ...]:
        tree = self.source.tree
        scope = Scope(self)
        self._numbers[id(scope)] = 0
        self._run(scope, list(tree.body) if tree else [])
        self._functions[0] = Function("module", "", NONE, 1, *_frozen(scope))
        return tuple(one for one in self._functions if one is not None)

    def function(self, node: Defined, around: Scope) -> int:
        """The number of the graph of a function, which it gets before those inside of it."""
        number = len(self._functions)
        self._functions.append(None)
        scope = Scope(self, of_class=isinstance(node, ast.ClassDef))
        self._numbers[id(scope)] = number
        parent = self._numbers[id(around)]
        if isinstance(node, ast.ClassDef):
            outer = _values(around, node.decorator_list), _values(around, node.bases)
            self._run(scope, node.body)
            made = Function("class", node.name, parent, node.lineno, *_frozen(scope), (), *outer)
        else:
            made = self._callable(node, scope, around, parent)
        self._functions[number] = made
        return number

    def _callable(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope, around: Scope, parent: int
    ) -> Function:
        parameters = tuple(_parameters(node.args, around))
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            scope.bind(argument.arg, scope.add("param", argument.arg, (), argument))
        for rest in (node.args.vararg, node.args.kwarg):
            if rest is not None:
                scope.bind(rest.arg, scope.add("param", rest.arg, (), rest))
        if isinstance(node, ast.Lambda):
            scope.add("return", "", (value(scope, node.body),), node.body)
            return Function("lambda", "", parent, node.lineno, *_frozen(scope), parameters)
        decorators = _values(around, node.decorator_list)
        returns = NONE if node.returns is None else _values(around, [node.returns])[0]
        self._run(scope, node.body)
        own = _frozen(scope)
        is_async = isinstance(node, ast.AsyncFunctionDef)
        head = ("function", node.name, parent, node.lineno)
        says = _says(node) if decorators else ""
        return Function(*head, *own, parameters, decorators, (), returns, is_async, says)

    def _run(self, scope: Scope, body: list[ast.stmt]) -> None:
        try:
            suite(scope, body)
        except RecursionError:  # written by a program
            scope.block = 0


def _frozen(scope: Scope) -> tuple[tuple[Node, ...], tuple[Block, ...], dict[str, tuple[int, ...]]]:
    return tuple(scope.nodes), tuple(scope.blocks), {name: tuple(found) for name, found in scope.every.items()}


def _says(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The first line of a function's description."""
    text = (ast.get_docstring(node) or "").strip()
    return text.partition("\n")[0][:_LINE]


def _values(scope: Scope, nodes: list[ast.expr]) -> tuple[int, ...]:
    return tuple(value(scope, node) for node in nodes)


def _parameters(arguments: ast.arguments, around: Scope) -> Iterator[Parameter]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [*zip(plain, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]

    def optional(node: ast.expr | None) -> int:
        return NONE if node is None else _values(around, [node])[0]

    for argument, default in pairs:
        yield Parameter(argument.arg, optional(default), optional(argument.annotation))
    if arguments.vararg is not None:
        yield Parameter(arguments.vararg.arg, stars=1)
    if arguments.kwarg is not None:
        yield Parameter(arguments.kwarg.arg, stars=2)
