"""TOML: the commands of hatch's scripts, pixi's and poe's tasks, pdm's, rye's and taskipy's scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

from vramguard.extract.installs import indexes, tox
from vramguard.extract.installs.commands import Reading, Runs
from vramguard.extract.installs.tools import worth
from vramguard.extract.tools.values import Node, top
from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

    _Script = tuple[Word | tuple[Word, ...], Runs]

_MAX_DEPTH = 6
_MAX_SCRIPTS = 1000
# Tables of commands by their ways; `*` is any name.
_TABLES = (
    ("tool", "hatch", "envs", "*", "scripts"),
    ("tool", "hatch", "envs", "*", "pre-install-commands"),
    ("tool", "hatch", "envs", "*", "post-install-commands"),
    ("tool", "pdm", "scripts"),
    ("tool", "poe", "tasks"),
    ("tool", "rye", "scripts"),
    ("tool", "taskipy", "tasks"),
    ("tool", "pixi", "tasks"),
    ("tool", "pixi", "feature", "*", "tasks"),
    ("tool", "pixi", "target", "*", "tasks"),
)
_PIXI = (("tasks",), ("feature", "*", "tasks"), ("target", "*", "tasks"))
_NAMED = re.compile(r"scripts|tasks|-commands")
_TEXTS = ("cmd", "shell", "composite", "sequence", "chain", "script", "cmds")
_FOLDERS = ("cwd", "working_dir")


def facts(document: Document) -> Iterator[Fact]:
    """The facts of a pyproject.toml, a pixi.toml or a tox.toml."""
    name = document.path.rpartition("/")[2]
    if "tox" in document.text and name != "pixi.toml":
        yield from tox.facts(document)
    yield from indexes.facts(document)
    if name in {"tox.toml", "Pipfile"} or not (_NAMED.search(document.text) and worth(document.text)):
        return
    reading = Reading(document.lines)
    for script, runs in islice(_scripts(document), _MAX_SCRIPTS):
        if isinstance(script, Word):
            reading.script(script, runs)
        else:
            reading.command(script, runs)
    yield from reading.facts


def _scripts(document: Document) -> Iterator[_Script]:
    name = document.path.rpartition("/")[2]
    for keys in _PIXI if name == "pixi.toml" else _TABLES:
        form = "pixi" if "pixi" in (*keys, name.partition(".")[0]) else "pyproject"
        for table in _under(top(document)[0], keys):
            for key, node in table.items() if isinstance(table.value, Mapping) else [("", table)]:
                yield from _task(node, Runs(form, f"{document.path}#{key}" if key else document.path), 0)


def _under(node: Node, keys: tuple[str, ...]) -> Iterator[Node]:
    if not keys:
        yield node
    elif keys[0] == "*":
        for entry in node.items():
            yield from _under(entry[1], keys[1:])
    else:
        inner = node.get(keys[0])
        if inner.value is not None:
            yield from _under(inner, keys[1:])


def _task(node: Node, runs: Runs, depth: int) -> Iterator[_Script]:
    """A command: a text, several of them, or a table that has one under a key of its tool's."""
    if isinstance(node.value, str):
        if worth(node.value):
            yield node.script() or Word(node.value, node.at), runs
    elif isinstance(node.value, list) and depth < _MAX_DEPTH:
        for item in node:
            yield from _task(item, runs, depth + 1)
    elif isinstance(node.value, Mapping) and depth < _MAX_DEPTH:
        folder = node.first(*_FOLDERS).text or runs.directory
        here = runs._replace(directory=folder, env={**runs.env, **node.get("env").variables()})
        for key in _TEXTS:
            inner = node.get(key)
            texts = inner.value if isinstance(inner.value, list) else []
            if key == "cmd" and texts and all(isinstance(text, str) for text in texts):
                if worth(" ".join(texts) + " "):
                    yield inner.words(), here
            else:
                yield from _task(inner, here, depth + 1)
