"""The commands of a script that install packages, each as an `Install` with the requirements that it names."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.extract.installs import fetches, tools
from vramguard.extract.installs.kept import assigned
from vramguard.extract.installs.starts import base, inner, start
from vramguard.extract.installs.tools import (
    CONSTRAINTS,
    DIRECTORY,
    EDITABLE,
    FILES,
    NAMES,
    PACKAGES,
    worth,
)
from vramguard.extract.installs.traces import Trace
from vramguard.extract.installs.words import VARIABLE, Option, each, requirements, split
from vramguard.facts import Install, Requirement, Word
from vramguard.shell import commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.extract.installs.starts import Start
    from vramguard.facts import Fact
    from vramguard.shell import Command
    from vramguard.source import Location

_NEAR = 40  # lines
_WIDE = 4000  # characters of a line
_MAX_LOOKS = 2000  # for words, of one file
_MAX_DEPTH = 5  # of scripts in scripts
_MAX_COMMANDS = 20_000  # of one file
_NAMED = re.compile(r"[A-Za-z_]\w*")
_OFF = {"", "0", "false", "no", "off", "n", "f"}
_SWITCHES = frozenset(
    (
        *("no-cache-dir", "no-deps", "pre", "no-index", "require-hashes", "no-build-isolation", "user", "frozen"),
        *("locked", "no-sync", "no-cache", "upgrade", "system", "system-python", "break-system-packages", "no-build"),
    )
)
_VARIABLE = re.compile(r"\"?\$[{(]?\w+[})]?\"?")
_WORD_END = re.compile(r"(?<!\$)[\s\"';&|]|$")
_QUIET = {"help", "dry-run", "version"}  # of these a command installs nothing
_EQUALS = re.compile(r"[A-Za-z0-9][\w.\[\],-]*={1,2}")
_BRACES = str.maketrans("()", "{}")
_SETS = {"set", "add", "append", "prepend"}
_PRINTS = {"cat", "grep", "egrep", "sed", "awk", "head", "tail"}


class Runs(NamedTuple):
    """Where commands run: the form and the place of their facts, the folder that they begin in, what is set there.

    `fill`: what marks of the tool stand for that fills a script in before a shell reads it: `env.X`, `matrix.torch`.
    `apart`: each line has a shell of its own, as make's and tox' do. `marks`: what a program fills in before the shell
    reads a word, though the shell would take it as it stands: a notebook's `{version}`. `kept`: a command that is kept
    for later, of which only what it names counts.
    """

    form: str
    place: str
    directory: str = ""
    env: Mapping[str, Word] = {}
    copied: tuple[tuple[str, str], ...] = ()
    fill: Mapping[str, Word] = {}
    apart: bool = False
    marks: re.Pattern[str] | None = None
    kept: bool = False


class Started(NamedTuple):
    """A command that was started: for those that fetch something, which only others after it make exact."""

    words: tuple[Word, ...]
    at: Location


class Reading:
    """The commands of one place: a script, or a stage's scripts one after the other."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._facts: dict[Fact, None] = {}
        self._seen: set[tuple[Location, str, str]] = set()
        self._started: list[Started] = []
        self._moved: set[tuple[str, int, int]] = set()
        self._fetches = False
        self._form = ""
        self._directory = ""
        self._outside: list[tuple[tuple[int, int], str]] = []
        self._row = self._looked = 0

    @property
    def facts(self) -> Iterator[Fact]:
        """What was found: requirements before the commands that name them, then what is fetched."""
        yield from self._facts
        if self._fetches:
            yield from fetches.found([item for item in self._started if item.words], self._form)

    def script(self, text: Word, runs: Runs) -> None:
        """Read a script for a shell."""
        self._directory, self._outside, self._row = runs.directory, [], 0
        self._form = runs.form
        if worth(text.text) or (self._fetches and "git" in text.text):
            self._script(text, runs, 0)
            for kept in assigned(text):  # what is run in this very script has been read there, its variables filled in
                if not any(_holds(kept.at, key[0]) for key in self._seen):
                    self._script(kept, runs._replace(kept=True), 1)

    def command(self, words: tuple[Word, ...], runs: Runs) -> None:
        """Read the words of one command."""
        self._directory, self._form = runs.directory, runs.form
        if words:
            self._start(words, runs, None, 0)

    def _script(self, text: Word, runs: Runs, depth: int) -> None:
        self._fetches = self._fetches or tools.fetches(text.text)
        names = set(_NAMED.findall(text.text)) if "$" in text.text and runs.env else ()
        variables = {name: runs.env[name] for name in names if name in runs.env}
        trace = Trace(text, self._lines) if text.first is None else None
        for command in commands(text, variables):
            if len(self._started) > _MAX_COMMANDS:
                return
            self._where(command.at, runs)
            here = runs._replace(env={**runs.env, **command.env}) if command.env else runs
            words = trace.words(command.words) if trace else command.words
            words = tuple(_filled(word, runs.fill) for word in words) if runs.fill else words
            if runs.marks:
                words = tuple(_open(word, runs.marks) for word in words)
            self._start(words, here, command, depth, text)

    def _start(
        self, words: tuple[Word, ...], runs: Runs, command: Command | None, depth: int, script: Word | None = None
    ) -> None:
        at = command.at if command else words[0].at
        self._started.append(Started(words, at))
        name = base(words[0])
        if name in {"cd", "pushd"} and words[0].known:
            self._enter(words, at, script)
            return
        found = start(words) or (start(words[1:]) if _leads(words) else None)  # `$SUDO pip install`
        if found and found.verb.positional == "command":
            self._install(found, words, runs, command)
            rest, _ = split(found.words, found.verb)
            if rest and depth < _MAX_DEPTH:
                self._start(tuple(rest), runs, command, depth + 1, script)
        elif found:
            self._install(found, words, runs, command)
        elif depth < _MAX_DEPTH:
            for item in inner(words, command.stdin if command else None):
                if isinstance(item, Word):
                    if not item.known and item.text.startswith(("$(", "`", "<(")):
                        continue  # what these hold was read where they are filled in
                    kept = self._directory, self._outside
                    self._script(item, runs, depth + 1)
                    self._directory, self._outside = kept
                else:
                    self._start(item, runs, command, depth + 1, script)

    # Folders

    def _where(self, at: Location, runs: Runs) -> None:
        """Leave the subshells that are over, and a line's own shell."""
        while self._outside and (at.line, at.column) > self._outside[-1][0]:
            self._directory = self._outside.pop()[1]
        if runs.apart and at.line != self._row:
            before = self._lines[max(0, self._row - 1) : at.line - 1]
            if not (self._row and self._row < at.line and all(line.rstrip().endswith("\\") for line in before)):
                self._directory = runs.directory
        self._row = at.line

    def _enter(self, words: tuple[Word, ...], at: Location, script: Word | None) -> None:
        named = [word for word in words[1:] if not word.text.startswith("-") or word.text == "-"]
        text = named[0].text if named else "~"
        close = _closing(script, at) if script and script.first else None
        if close:
            self._outside.append((close, self._directory))
        self._directory = joined(self._directory, text) if text != "-" else "$OLDPWD"

    # Installs

    def _install(self, found: Start, words: tuple[Word, ...], runs: Runs, command: Command | None) -> None:
        rest, options = split(found.words, found.verb)
        if any(option.name in _QUIET for option in options):
            return
        named = list(self._requirements(found, rest, options, runs, command))
        files = [option.value for option in options if option.name in FILES and option.value]
        files += rest if found.verb.positional == "files" else []
        if (found.verb.positional == "command" or runs.kept) and not named and not files:
            return
        given = [(option.name, option.value.text if option.value else "") for option in options]
        if found.verb.action == "config":
            given = list(_configured(rest, options))
        install = Install(
            at=_span(words, command),
            form=runs.form,
            tool=NAMES.get(found.tool, found.tool),
            action=found.verb.action,
            place=runs.place,
            requirements=tuple(item for item in named if item.pinned is not None),
            files=tuple(word.value for word in (*files, *self._printed(words, named, files))),
            constraints=tuple(option.value.value for option in options if option.name in CONSTRAINTS and option.value),
            local=tuple(item.specifier for item in named if item.pinned is None),
            options=(*_from_environment(found.tool, runs.env), *given, *self._folder(options)),
            copied=runs.copied,
        )
        for requirement in install.requirements:  # a folder has no version: it stands in the command only
            rounds = requirement.at[:3] in self._moved  # of a loop: one word, several values
            key = (requirement.at, requirement.name, "" if rounds else requirement.specifier)
            if key not in self._seen:
                self._seen.add(key)
                self._facts[requirement] = None
        self._facts[install] = None

    def _folder(self, options: list[Option]) -> list[tuple[str, str]]:
        own = next((option.value.text for option in reversed(options) if option.name in DIRECTORY and option.value), "")
        folder = joined(self._directory, own) if own else self._directory
        return [("directory", folder)] if folder else []

    def _printed(self, words: tuple[Word, ...], named: list[Requirement], files: list[Word]) -> list[Word]:
        """The files that `cat requirements.txt | xargs pip install` takes its packages from."""
        before = [item for item in self._started[-4:-1] if item.at.line >= words[0].at.line - 3]
        if named or files or not any(base(item.words[0]) == "xargs" for item in self._started[-2:]):
            return []
        for item in before:
            if base(item.words[0]) in _PRINTS:
                return [word for word in item.words[1:] if word.text.endswith((".txt", ".in", ".lock"))]
        return []

    def _requirements(
        self, found: Start, rest: list[Word], options: list[Option], runs: Runs, command: Command | None
    ) -> Iterator[Requirement]:
        verb = found.verb
        if found.tool == "setuptools":
            folder = posixpath.dirname(found.words[0].text) or "."
            yield Requirement(found.words[0].at, folder, folder, None, hashed=False, form=runs.form)
            return
        asked = [option.value for option in options if option.name in PACKAGES and option.value]
        if found.tool in {"pdm", "poetry"}:  # there `--with` takes a group
            asked = []
        positional: list[Word] = []
        if verb.positional == "packages":
            positional = rest
        elif verb.positional == "first" and not any(option.name in {"from", "spec"} for option in options):
            positional = [word for word in rest[:1] if not word.text.endswith(".py")]
        editable = [option.value for option in options if option.name in EDITABLE and option.value]
        for words, edits in ((each(asked), False), (positional, False), (editable, True)):
            own = [self._own(word, command, runs) for word in words]
            yield from requirements(own, verb, runs.form, editable=edits)

    def _own(self, word: Word, command: Command | None, runs: Runs) -> Word:
        """The word in its own place, where a variable's value would lead elsewhere; to its end."""
        at = word.at
        name = _EQUALS.match(word.text)
        if command is not None and name and not _within(at, command.at):
            found = self._written(name[0], command.at)
            at = found or at
            self._moved |= {found[:3]} if found else set()
        if at.line == at.end_line and 0 < at.line <= len(self._lines):
            at = _to_its_end(at, word.text, self._lines[at.line - 1])
        text = word.text
        if runs.form == "makefile" and not word.known and at.line == at.end_line:  # make's own `$(package)`
            given = self._lines[at.line - 1][at.column - 1 : at.end_column - 1]
            text = given if given.translate(_BRACES) == text else text
        return Word(text, at, word.known)

    def _written(self, begin: str, at: Location) -> Location | None:
        """The word that begins so and goes on with a variable: in the command, or where a variable keeps it, above."""
        self._looked += 1
        if self._looked > _MAX_LOOKS:
            return None
        after = range(at.line, min(at.line + _NEAR, len(self._lines)) + 1)
        for row in (*after, *range(at.line - 1, max(0, at.line - _NEAR), -1)):
            line = self._lines[row - 1][:_WIDE]
            column = line.find(begin + "$", at.column - 1 if row == at.line else 0)
            if column >= 0:
                end = re.compile(r"[\s\"';&|]|$").search(line, column + len(begin))
                return at._replace(
                    line=row, column=column + 1, end_line=row, end_column=(end.start() if end else 0) + 1
                )
        return None


def _leads(words: tuple[Word, ...]) -> bool:
    """Whether the program is a variable alone, which may well be a prefix, or nothing."""
    return not words[0].known and len(words) > 1 and _VARIABLE.fullmatch(words[0].text) is not None


def _to_its_end(at: Location, text: str, line: str) -> Location:
    """The place of a whole word whose first piece is at `at`: `torch==` of `torch==${VERSION}`."""
    if line.startswith(text, at.column - 1) and text:
        return at._replace(end_column=at.column + len(text))
    written = line[at.column - 1 : at.end_column - 1]
    end = _WORD_END.search(line, at.end_column - 1)
    goes_on = text.startswith(written) and line[at.end_column - 1 : at.end_column] in {"$", '"', "'", "{"}
    return at._replace(end_column=end.start() + 1) if end and (goes_on or not text) and written else at


def _holds(at: Location, inner: Location) -> bool:
    return at.line == inner.line and at.column <= inner.column < at.end_column


def _within(at: Location, command: Location) -> bool:
    return (command.line, command.column) <= (at.line, at.column) and at.line <= command.line + 60


def _span(words: tuple[Word, ...], command: Command | None) -> Location:
    """From the first word to the last that stands on its line; the command's own place where a variable holds it."""
    at = words[0].at
    if command is not None and not _within(at, command.at):
        return command.at
    last = max((word.at for word in words if word.at.line == at.line), default=at)
    return at._replace(end_line=at.line, end_column=max(last.end_column, at.end_column))


def joined(folder: str, path: str) -> str:
    """A folder below another; one that begins at a root, or with what is not known, stands for itself."""
    whole = path if path.startswith(("/", "$", "~", "`", "{{")) or not folder else posixpath.join(folder, path)
    if VARIABLE.search(whole):
        return whole
    bare = posixpath.normpath(whole)
    return "" if bare == "." else bare


def _closing(script: Word, at: Location) -> tuple[int, int] | None:
    """Where the subshell ends that begins right before a place."""
    lines = script.text.split("\n")
    if script.first is None:
        return None
    row, column = at.line - script.first[0], at.column - script.first[1]
    if not 0 <= row < len(lines) or not lines[row][: max(0, column)].rstrip().endswith("("):
        return None
    depth = 1
    for number in range(row, min(row + 200, len(lines))):
        for offset, char in enumerate(lines[number]):
            if number == row and offset < column:
                continue
            depth += {"(": 1, ")": -1}.get(char, 0)
            if depth == 0:
                return script.first[0] + number, script.first[1] + offset
    return None


def _filled(word: Word, fill: Mapping[str, Word]) -> Word:
    """A word with what its tool fills in: `${{ env.TORCH }}`, `$(torchVersion)`."""
    if word.known:
        return word

    def value(mark: re.Match[str]) -> str:
        name = re.sub(r"^[$({<\s]+|[)}>\s]+$", "", mark[0])
        held = fill.get(name)
        return held.text if held is not None and held.known else mark[0]

    text = VARIABLE.sub(value, word.text)
    return word if text == word.text else Word(text, word.at, VARIABLE.search(text) is None)


def _configured(rest: list[Word], options: list[Option]) -> Iterator[tuple[str, str]]:
    """`pip config set global.index-url URL`, `conda config --set channel_priority strict --add channels x`."""
    said = [option.value.text for option in options if option.value and option.name in _SETS]
    if not said and len(rest) > 1:
        yield rest[0].text.rpartition(".")[2], rest[1].text
    yield from zip(said, (word.text for word in rest), strict=False)


def _open(word: Word, marks: re.Pattern[str]) -> Word:
    return Word(word.text, word.at, word.known and not marks.search(word.text), word.first)


def _from_environment(tool: str, env: Mapping[str, Word]) -> list[tuple[str, str]]:
    """`PIP_EXTRA_INDEX_URL`, `UV_FROZEN`: options that the environment gives."""
    prefix = {"pip": "PIP_", "uv": "UV_", "uvx": "UV_"}.get(tool)
    found: list[tuple[str, str]] = []
    for name, word in env.items() if prefix else ():
        if prefix and name.startswith(prefix):
            option = name.removeprefix(prefix).lower().replace("_", "-")
            option = {"insecure-host": "allow-insecure-host"}.get(option, option)
            if option not in _SWITCHES:
                found.append((option, word.text))
            elif word.text.lower() not in _OFF:
                found.append((option, ""))
    return found
