"""YAML: pipelines, task files, compose, Kubernetes and everything else that has commands under keys that say so.

A string is a script where its key says that it is run, and where it names an installer: prose is under other keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from vramguard.extract.installs.commands import Reading, Runs, joined
from vramguard.extract.installs.tools import named
from vramguard.extract.tools.values import Node, top
from vramguard.extract.tools.values import joined as one_script
from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_MAX_DEPTH = 30
_MAX_VALUES = 200_000
_LONGEST_KEY = 100
_SHELL_WORDS = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh", "env", "tini", "--", "dumb-init", "exec", ""})
_MAX_SCRIPTS = 2000  # of one file: with aliases it could name any number
_LONGEST = 200_000
_RUN = re.compile(
    r"(?:.*[._-])?(?:command|commands|cmd|cmds|script|scripts|entrypoint|args|run|setup|source|bash|sh|shell|exec|hook|"
    r"hooks|install|installer|init|startup|start|prestart|poststart|build|steps|before_script|after_script|before_install|"
    r"after_success|inline|preamble|prepare|onStart|user_?data|runcmd|postCreateCommand|\w{1,30}(?:_commands?|_script|_cmd"
    r"|Commands?|Script|Cmd)|(?:pre|post)_\w{1,30})",
    re.IGNORECASE,
)
_ARGV = frozenset({"command", "args", "entrypoint", "cmd", "argv", "exec"})
_NO_SHELL = re.compile(r"\s*#!\S*?(?:/env\s+(?:-S\s+)?)?(?:\S*/)?(?:python[0-9.]*|perl|ruby|node|pwsh|Rscript)\b")
_KFP = '[ -x "$(command -v pip)" ]'
_BOOTSTRAP = re.compile(  # kfp 2.x, component_factory.py: pip itself, by the distribution's own means
    r'if ! \[ -x "\$\(command -v pip\)" \]; then\n[^\n]{0,200}\nfi(?=\n)'
)
_DASH_C = re.compile(r"-[a-z]*c")


def facts(document: Document) -> Iterator[Fact]:
    """The facts of a YAML file."""
    from vramguard.extract.installs import containers, pipelines

    reader = pipelines.reader(document.path)
    visitor = Visitor(document)
    for node in top(document):
        if not isinstance(node.value, Mapping | list):
            continue
        if reader is not None:
            reader(node, visitor)
        elif isinstance(node.value, Mapping) and pipelines.is_pipeline(node):
            pipelines.azure(node, visitor)
        else:
            containers.read(node, visitor)
    yield from visitor.reading.facts
    yield from visitor.more


class Visitor:
    """Reads scripts wherever a reader of a kind of file says that they stand."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.reading = Reading(document.lines)
        self.more: list[Fact] = []
        self._read = 0

    def place(self, name: str) -> str:
        """The place of a part of the file."""
        return f"{self.document.path}#{name}" if name else self.document.path

    def script(self, node: Node, runs: Runs) -> None:
        """A string, or a list of them that one shell runs."""
        texts = [node.value] if isinstance(node.value, str) else node.value if isinstance(node.value, list) else []
        if not any(isinstance(text, str) and named(text) for text in texts):
            return
        if isinstance(node.value, str):
            self.text(script_of(node), runs)
            return
        words = [word for item in node if isinstance(item.value, str) and (word := script_of(item))]
        self.text(one_script(words), runs)

    def text(self, word: Word | None, runs: Runs) -> None:
        """The text of a script, unless another program reads it."""
        if word is None or len(word.text) > _LONGEST or _NO_SHELL.match(word.text[:200]):
            return
        if _KFP in word.text:
            word = Word(_BOOTSTRAP.sub(_blank, word.text), word.at, word.known, word.first)
        self._read += 1
        if self._read <= _MAX_SCRIPTS:
            self.reading.script(word, runs)

    def words(self, nodes: list[Node], runs: Runs) -> None:
        """The words of one command. Arguments alone may begin with the `-c` of an entry point that is a shell."""
        texts = [node.value if isinstance(node.value, str) else "" for node in nodes]
        if not any(named(text) for text in texts):
            return
        self._read += 1
        if self._read > _MAX_SCRIPTS:
            return
        shell = next((n for n, text in enumerate(texts[:-1]) if _DASH_C.fullmatch(text)), None)
        if shell is not None and all(
            text in _SHELL_WORDS or text.startswith("-") for text in map(_base, texts[:shell])
        ):
            behind = next((node for node in nodes[shell + 1 :] if node.value != "--"), None)
            self.text(script_of(behind) if behind else None, runs)
        else:
            self.reading.command(tuple(word for node in nodes if (word := node.word())), runs)

    def command(self, nodes: list[Node], runs: Runs) -> None:
        """A command whose parts are lists of words, or lines that a shell would split."""
        if all(isinstance(node.value, list) for node in nodes):
            self.words([item for node in nodes for item in node], runs)
        elif any(named(text) for node in nodes for text in _texts(node)):
            words = tuple(word for node in nodes for word in node.words())
            if words:
                self.reading.command(words, runs)

    def walk(self, node: Node, runs: Runs) -> None:
        """Everything below a node that a key says is run."""
        for keys in _holders(node.value):
            if self._read > _MAX_SCRIPTS:
                return
            holder, inner = node, self._within(node, runs)
            for key in keys:
                holder = holder.get(key)
                inner = self._within(holder, inner)
            self._mapping(holder, inner)

    def _mapping(self, node: Node, runs: Runs) -> None:
        """The commands and scripts of one mapping."""
        done = self._container(node, runs)
        for key, value in node.items():
            if key in done or not _says_run(key):
                continue
            if isinstance(value.value, str):
                self.script(value, runs)
            elif isinstance(value.value, list):
                self._listed(key, value, runs)

    def _listed(self, key: str, node: Node, runs: Runs) -> None:
        """A list of strings: the words of one command, or the lines of a script."""
        texts = _texts(node)
        if len(texts) < len(node.value) or not any(named(text) for text in texts):
            return
        if key in _ARGV and " " not in texts[0].strip() and "\n" not in texts[0]:
            self.words(list(node), runs)
        else:
            self.script(node, runs)

    def _container(self, node: Node, runs: Runs) -> tuple[str, ...]:
        """The command and arguments of a container, which are one command; the keys that were read."""
        command, arguments = node.get("command"), node.get("args")
        if isinstance(node.get("source").value, str) and isinstance(command.value, list):  # Argo's `script`
            self._source(node.get("source"), next(iter(_texts(command)), ""), runs)
            return "command", "args", "source"
        if not isinstance(command.value, list) or not isinstance(arguments.value, list):
            return ()
        self.words([*command, *arguments], runs)
        return "command", "args"

    def _source(self, node: Node, program: str, runs: Runs) -> None:
        """The text that a program is given: a shell's, or Python's."""
        if "sh" in _base(program):
            self.script(node, runs)
        elif _base(program).startswith("python") and (word := node.script()) is not None and word.first is not None:
            from vramguard.extract.installs.programs import of_text

            self.more += of_text(word, self.document, runs)

    def _within(self, node: Node, runs: Runs) -> Runs:
        """What a mapping says of its own commands: variables, and the folder that they run in."""
        if not isinstance(node.value, Mapping):
            return runs
        folder = next((node.value[key] for key in _FOLDERS if isinstance(node.value.get(key), str)), "")
        given = next((key for key in _VARIABLES if isinstance(node.value.get(key), Mapping | list)), None)
        if not folder and given is None:
            return runs
        env = {**runs.env, **node.get(given).variables()} if given else runs.env
        return runs._replace(env=env, directory=joined(runs.directory, folder) if folder else runs.directory)


def _holders(value: object) -> Iterator[tuple[str | int, ...]]:
    """The ways to the mappings that hold, under a key that says it is run, a text that installs something."""
    pending: list[tuple[object, tuple[str | int, ...]]] = [(value, ())]
    seen = 0
    while pending and seen < _MAX_VALUES:
        one, keys = pending.pop()
        seen += 1
        if isinstance(one, list):
            inner = [(item, (*keys, number)) for number, item in enumerate(one) if isinstance(item, dict | list)]
        elif isinstance(one, dict) and len(keys) < _MAX_DEPTH:
            if any(_is_run(key, item) for key, item in one.items() if isinstance(item, str | list)):
                yield keys
            inner = [(item, (*keys, key)) for key, item in one.items() if isinstance(item, dict | list)]
        else:
            continue
        pending += reversed(inner)


def _is_run(key: object, value: str | list[object]) -> bool:
    """Whether a key says that its value is run, and that names an installer: in Python, as `"pip", "install"`."""
    if not isinstance(key, str) or not _says_run(key):
        return False
    texts = [value] if isinstance(value, str) else value
    return any(isinstance(text, str) and named(text) for text in texts)


@lru_cache(maxsize=4096)  # a file has few keys, many times each
def _says_run(key: str) -> bool:
    return len(key) < _LONGEST_KEY and _RUN.fullmatch(key) is not None


def script_of(node: Node) -> Word | None:
    """A text with its places: a block that stands in the file as it is needs no look at each of its characters."""
    first = node.document.first(*node.keys) if isinstance(node.value, str) else None
    return node.script() if first is None else Word(node.value, node.at, first=first)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _base(text: str) -> str:
    return text.rpartition("/")[2]


def _texts(node: Node) -> list[str]:
    if isinstance(node.value, str):
        return [node.value]
    return [item for item in node.value if isinstance(item, str)] if isinstance(node.value, list) else []


_FOLDERS = ("working_dir", "workingDir", "working-directory", "working_directory", "workingDirectory")
_VARIABLES = ("env", "environment", "envs")
