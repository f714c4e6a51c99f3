"""Python programs that install packages: `subprocess.run([sys.executable, "-m", "pip", …])`, `os.system`, `pip.main`.

A noxfile's `session.install(…)` and `session.run("pip", …)` as well, Modal's `run_commands`, and a command that a
variable keeps for later: `command = os.environ.get("TORCH_COMMAND", "pip install torch==2.1.0")`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from vramguard.extract.installs.commands import Reading, Runs
from vramguard.extract.installs.kept import begins, is_kept
from vramguard.extract.installs.tools import worth
from vramguard.extract.python.called import dotted
from vramguard.extract.python.literals import Contents, Either, Items, Module, Opaque, Table, Text
from vramguard.facts import Fetch, Install, Requirement, Word
from vramguard.source import Document, Location, python
from vramguard.source.python import DATABRICKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Fact

_WORTH = re.compile(
    r"[\"'\s](?:pip[0-9.]{0,5}|uvx?|poetry|pdm|pipenv|conda|mamba|micromamba|pixi|pipx|easy_install)[\"'\s][^\n]{0,200}"
    r"(?:\n[^\n]{0,200}){0,3}?\b(?:install|sync|add|create|update|compile|download|wheel)\b|pip\.main|pip\._internal"
    r"|from pip\b|session\.\w*install|git\s+clone|[\"']git[\"'],\s*[\"']clone|\w_pip3?\("
)
_CALLS = re.compile(
    r"subprocess|os\.|system|popen|Popen|check_call|check_output|pip\.main|pip\._internal|pip_?main|session|getoutput|sh\("
    r"|run_commands|(?i:cmd|command)"
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
_WRAPPER = re.compile(r"(?:\w{1,40}\.)?(?:run|call|exec|execute|do|invoke)_pip3?")
_DEFAULTS = {"get", "getenv", "setdefault", "pop"}
_MAX_CALLS = 400
_MAX_OPTIONS = 100
_WORDS = 50  # of one call; a list of more is read in the place of further calls


def facts(document: Document) -> Iterator[Fact]:
    """The facts of a Python file's calls; of a notebook of Databricks, of its commands as well."""
    if document.text.startswith(DATABRICKS):
        from vramguard.extract.installs import notebooks

        yield from notebooks.of_databricks(document)
    yield from of_source(document, "python")


def of_source(document: Document, form: str, place: str = "") -> Iterator[Fact]:
    """The calls of a Python text, or of a notebook's cells."""
    nox = document.path.rpartition("/")[2] == "noxfile.py"
    text = document.value.text
    if not (nox or _may_install(text)) or document.value.tree is None:
        return
    program = _Program(document, "nox" if nox else form, place)
    for node in ast.walk(document.value.tree):
        if program.left:
            program.read(node)
    yield from program.reading.facts


def _may_install(text: str) -> bool:
    """Whether a program names an installer's command, and something that starts one; the fast questions first."""
    named = worth(text) or "pip.main" in text or "pip._internal" in text or "from pip" in text
    named = named or "_pip(" in text
    return named and _CALLS.search(text) is not None and _WORTH.search(text) is not None


def of_text(word: Word, document: Document, runs: Runs) -> Iterator[Fact]:
    """The calls of a Python text that stands in another file as it is, each of its lines equally indented."""
    if word.first is None:
        return
    row, column = word.first
    text = "\n" * (row - 1) + word.text
    inner = Document(document.path, "python", text, document.sha256, python.parse(text))
    for fact in of_source(inner, runs.form, runs.place):
        yield moved(fact, lambda at: at._replace(column=at.column + column - 1, end_column=at.end_column + column - 1))


def moved(fact: Fact, to: Callable[[Location], Location]) -> Fact:
    """The fact at another place."""
    if isinstance(fact, Install):
        named = tuple(replace(item, at=to(item.at)) for item in fact.requirements)
        return replace(fact, at=to(fact.at), requirements=named)
    return replace(fact, at=to(fact.at)) if isinstance(fact, Requirement | Fetch) else fact


class _Program:
    """One file's calls."""

    def __init__(self, document: Document, form: str, place: str = "") -> None:
        self.reading = Reading(document.lines)
        self.left = _MAX_CALLS
        self._document = document
        self._module = Module(document.value)
        self._form = form
        self._runs = Runs(form, place or document.path)

    def read(self, node: ast.AST) -> None:
        """A call, or a statement that keeps a command."""
        if isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is not None and any(is_kept(_name(target)) for target in targets):
                self._keep(node.value)

    def _keep(self, node: ast.expr) -> None:
        """A text that begins with an installer's command."""
        kept = _kept_in(node)
        if kept is None:
            return
        self.left -= 1
        value = self._module.value(kept)
        if isinstance(value, Either):  # what it holds of other names may be one of several
            value = value.options[0]
        if isinstance(value, Text):
            self.reading.script(self._word(value), self._runs._replace(kept=True))

    @cached_property
    def _keeping(self) -> set[str]:
        """The names that hold such a text: it was read where it stands, not where it is run."""
        nodes = (node for node in ast.walk(self._document.value.tree) if isinstance(node, ast.Assign))
        return {name for node in nodes if _kept_in(node.value) for name in map(_name, node.targets) if is_kept(name)}

    def call(self, node: ast.Call) -> None:
        """A call that starts a command, if it is one."""
        name = dotted(node.func)
        last = name.rpartition(".")[2] or (node.func.attr if isinstance(node.func, ast.Attribute) else "")
        if name in _PIP_MAIN and node.args:
            self._words([_text("pip", node), *self._flat(node.args[0])])
        elif self._form == "nox" and name.startswith("session.") and last in _SESSION:
            self._session(node, last)
        elif last == "run_commands" and "modal" in self._document.text:
            for argument in node.args:
                self._scripts(argument, self._runs._replace(form="modal"))
        elif last in _DEFAULTS and len(node.args) == 2 and is_kept(_name(node.args[0])):  # noqa: PLR2004
            self._keep(node)
        elif node.args and _WRAPPER.fullmatch(name):
            self._wrapped(node.args[0])
        elif last in _STARTS and node.args and self._mentions(node):
            self._start(node, last)

    def _scripts(self, node: ast.expr, runs: Runs) -> None:
        self.left -= 1
        for one in self._flat(node):
            if isinstance(one, Text) and worth(one.value + " "):
                self.reading.script(self._word(one), runs)

    def _wrapped(self, node: ast.expr) -> None:
        """`run_pip(f"install {package}")`: what stands between blanks is a word, with the place of its own text."""
        self.left -= 1
        words: list[Text | Contents | Opaque] = [Text("pip", node, None)]
        for part in node.values if isinstance(node, ast.JoinedStr) else [node]:
            if isinstance(part, ast.FormattedValue):
                value = self._module.value(part.value)
                words += self._module.flat(value)[:1] if isinstance(value, Either) else self._flat(part.value)
                continue
            texts = [one for one in self._flat(part) if isinstance(one, Text)]
            words += [Text(word, node, None) for text in texts for word in text.value.replace('"', "").split()]
        if len(words) > 1 and isinstance(words[1], Text) and words[1].value == "install":
            self._words(words)

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
        if any(isinstance(one, ast.Name) and one.id in self._keeping for one in ast.walk(node.args[0])):
            return
        value = self._module.value(node.args[0])
        for one in value.options[:8] if isinstance(value, Either) else (value,):
            if isinstance(one, Items):
                self._words(list(self._items(one)))
            elif isinstance(one, Text) and worth(one.value + " "):
                self.reading.script(self._word(one), self._runs)

    def _items(self, value: Items) -> Iterator[Text | Contents | Opaque]:
        option = False  # the item before is an option that may take this one
        for item in value.items:
            behind, option = option, isinstance(item, Text) and item.value.startswith("-")
            if isinstance(item, Items):
                yield from self._items(item)
            elif isinstance(item, Either) and behind:
                yield next((one for one in item.options if isinstance(one, Text)), Opaque(item.node, "value"))
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
        if isinstance(value, Opaque) and self._form == "nox" and (held := self._listed(node)):
            return held
        if isinstance(value, Items):
            found = list(self._items(value))
            self.left -= len(found) // _WORDS  # a long list counts as the calls that nobody makes of it
            return found
        if isinstance(value, Opaque) and (given := self._given(node)) is not None:
            return list(given)
        return [value] if isinstance(value, Text | Contents | Opaque) else []

    def _listed(self, node: ast.expr) -> list[Text | Contents | Opaque]:
        """All that a table of the file holds, of which `TABLE[name]` takes one list: each is installed some time."""
        if isinstance(node, ast.Name):
            given = [
                one.value
                for one in ast.walk(self._function(node) or ast.Module([], []))
                if isinstance(one, ast.Assign) and any(getattr(to, "id", "") == node.id for to in one.targets)
            ]
            node = given[-1] if given else node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            node = node.func
        if not isinstance(node, ast.Subscript | ast.Attribute):
            return []
        table = self._module.value(node.value)
        return self._module.flat(table) if isinstance(table, Table) else []

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


def _name(node: ast.expr) -> str:
    """The name that a value is bound to, or that it has in the environment."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return str(getattr(node, "id", getattr(node, "attr", "")))


def _kept_in(node: ast.expr) -> ast.expr | None:
    """The command that a value is, or that it has as its default."""
    if isinstance(node, ast.Call) and len(node.args) == 2 and dotted(node.func).rpartition(".")[2] in _DEFAULTS:  # noqa: PLR2004
        node = node.args[1]
    first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
    command = isinstance(first, ast.Constant) and isinstance(first.value, str) and begins(first.value)
    return node if command else None


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
