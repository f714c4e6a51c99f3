"""Python programs that install packages: `subprocess.run([sys.executable, "-m", "pip", …])`, `os.system`, `pip.main`.

A noxfile's `session.install(…)` and `session.run("pip", …)` as well.
"""

from __future__ import annotations

import ast
import re
from functools import cached_property
from typing import TYPE_CHECKING

from vramguard.extract.installs.commands import Reading, Runs
from vramguard.extract.installs.tools import worth
from vramguard.extract.python.called import dotted
from vramguard.extract.python.literals import Contents, Either, Items, Module, Opaque, Text
from vramguard.facts import Word
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_WORTH = re.compile(
    r"[\"'\s](?:pip[0-9.]{0,5}|uvx?|poetry|pdm|pipenv|conda|mamba|micromamba|pixi|pipx|easy_install)[\"'\s][^\n]{0,200}"
    r"(?:\n[^\n]{0,200}){0,3}?(?:install|sync|add|create|update|compile)|pip\.main|_internal|session\.\w*install|git\s+clone"
    r"|[\"']git[\"'],\s*[\"']clone"
)
_CALLS = re.compile(
    r"subprocess|os\.|system|popen|Popen|check_call|check_output|pip\.main|_internal|session|getoutput|sh\("
)
_STARTS = frozenset(
    [
        "run",
        "call",
        "check_call",
        "check_output",
        "Popen",
        "system",
        "popen",
        "getoutput",
        "getstatusoutput",
        "create_subprocess_exec",
        "create_subprocess_shell",
        "spawn",
        "execvp",
        "execv",
        "execute_command",
        "run_command",
        "run_cmd",
        "run_process",
    ]
)
_PIP_MAIN = {"pip.main", "pip._internal.main", "pipmain", "pip_main", "_internal.main", "pip._internal.cli.main.main"}
_SESSION = {"install", "run", "run_always", "run_install", "conda_install"}
_MAX_CALLS = 400
_MAX_OPTIONS = 100


def facts(document: Document) -> Iterator[Fact]:
    """The facts of a Python file's calls."""
    yield from of_source(document, "python")


def of_source(document: Document, form: str) -> Iterator[Fact]:
    """The calls of a Python text, or of a notebook's cells."""
    nox = document.path.rpartition("/")[2] == "noxfile.py"
    text = document.value.text
    if not ((nox or _WORTH.search(text)) and _CALLS.search(text)) or document.value.tree is None:
        return
    program = _Program(document, "nox" if nox else form)
    for node in ast.walk(document.value.tree):
        if isinstance(node, ast.Call) and program.left:
            program.call(node)
    yield from program.reading.facts


class _Program:
    """One file's calls."""

    def __init__(self, document: Document, form: str) -> None:
        self.reading = Reading(document.lines)
        self.left = _MAX_CALLS
        self._document = document
        self._module = Module(document.value)
        self._form = form
        self._runs = Runs(form, document.path)

    def call(self, node: ast.Call) -> None:
        """A call that starts a command, if it is one."""
        name = dotted(node.func)
        last = name.rpartition(".")[2] or (node.func.attr if isinstance(node.func, ast.Attribute) else "")
        if name in _PIP_MAIN and node.args:
            self._words([_text("pip", node), *self._flat(node.args[0])])
        elif self._form == "nox" and name.startswith("session.") and last in _SESSION:
            self._session(node, last)
        elif last in _STARTS and node.args and self._mentions(node):
            self._start(node, last)

    def _mentions(self, node: ast.Call) -> bool:
        """Whether the call, or a name that it uses, could install: a cheap look before anything is evaluated."""
        first = node.args[0]
        if isinstance(first, ast.Constant):
            return isinstance(first.value, str) and worth(first.value + " ")
        return True

    def _start(self, node: ast.Call, last: str) -> None:
        self.left -= 1
        if last in {"create_subprocess_exec", "run_command", "run_cmd"} and len(node.args) > 1:
            self._words([part for argument in node.args for part in self._flat(argument)])
            return
        value = self._module.value(node.args[0])
        for one in value.options[:8] if isinstance(value, Either) else (value,):
            if isinstance(one, Items):
                self._words(list(self._items(one)))
            elif isinstance(one, Text) and worth(one.value + " "):
                self.reading.script(self._word(one), self._runs)

    def _items(self, value: Items) -> Iterator[Text | Contents | Opaque]:
        for item in value.items:
            if isinstance(item, Items):
                yield from self._items(item)
            elif isinstance(item, Opaque) and (given := self._given(item.node)) is not None:
                yield from given
            elif isinstance(item, Text | Contents | Opaque):
                yield item
            elif isinstance(item, Either):  # a loop over packages: every one of them
                yield from (option for option in item.options[:_MAX_OPTIONS] if isinstance(option, Text))

    def _given(self, node: ast.AST) -> list[Text] | None:
        """What the file's own calls give for a parameter: `def install(package)`; None for what is no parameter."""
        if not isinstance(node, ast.Name) or not hasattr(node, "lineno"):
            return None
        function = self._function(node)
        if function is None:
            return None
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        star = function.args.vararg.arg if function.args.vararg else None
        if node.id not in (*names, star):
            return None
        place = names.index(node.id) if node.id in names else len(names)
        found: list[Text] = []
        for call in self._calls.get(function.name, ())[:_MAX_OPTIONS]:
            named = [keyword.value for keyword in call.keywords if keyword.arg == node.id]
            given = call.args[place:] if node.id == star else call.args[place : place + 1]
            for argument in named or given:
                found += [text for text in self._module.strings(argument) if isinstance(text, Text)]
        return found

    def _function(self, node: ast.Name) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function that a name stands in."""
        around = [f for f in self._functions if f.lineno <= node.lineno <= (f.end_lineno or f.lineno)]
        return max(around, key=lambda found: found.lineno, default=None)

    @cached_property
    def _functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [n for n in ast.walk(self._document.value.tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]

    @cached_property
    def _calls(self) -> dict[str, list[ast.Call]]:
        found: dict[str, list[ast.Call]] = {}
        for node in ast.walk(self._document.value.tree):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                found.setdefault(name, []).append(node)
        return found

    def _flat(self, node: ast.expr) -> list[Text | Contents | Opaque]:
        if isinstance(node, ast.Starred):
            node = node.value
        value = self._module.value(node)
        if isinstance(value, Items):
            return list(self._items(value))
        if isinstance(value, Opaque) and (given := self._given(node)) is not None:
            return list(given)
        return [value] if isinstance(value, Text | Contents | Opaque) else []

    def _session(self, node: ast.Call, last: str) -> None:
        """`session.install("pytest", "-r", "x.txt")`: the words of pip's command."""
        self.left -= 1
        said = [part for argument in node.args for part in self._flat(argument)]
        begin = {"install": ("pip", "install"), "conda_install": ("conda", "install")}.get(last, ())
        self._words([*(_text(word, node) for word in begin), *said])

    def _words(self, values: list[Text | Contents | Opaque]) -> None:
        words = tuple(self._word(value) for value in values)
        if words and worth(" ".join(word.text for word in words) + " "):
            self.reading.command(words, self._runs)

    def _word(self, value: Text | Contents | Opaque) -> Word:
        at = Location(self._document.path, *self._module.place(value))
        if isinstance(value, Text):
            inside = isinstance(value.node, ast.Constant) and value.node.value == value.value
            at = _without_quotes(at, self._document, value) if inside else at
            literal = inside and at.end_column - at.column == len(value.value)
            first = (at.line, at.column) if literal else None
            return Word(value.value, at, value.known, first)
        written = value.written if isinstance(value, Opaque) else value.path.value
        return Word("${" + re.sub(r"\W+", "_", written)[:60].strip("_") + "}", at, known=False)


def _without_quotes(at: Location, document: Document, value: Text) -> Location:
    """The place of a string's text, where it stands as it is between two quotes."""
    if at.line != at.end_line:
        return at
    line = document.lines[at.line - 1]
    column = line.find(value.value, at.column - 1, at.end_column)
    return (
        at._replace(column=column + 1, end_column=column + 1 + len(value.value)) if column >= 0 and value.value else at
    )


def _text(word: str, node: ast.Call) -> Text:
    return Text(word, node.func, None)
