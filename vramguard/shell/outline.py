"""A script as it is written, before its variables are filled in: what could start something, and its here-documents.

Both are asked before a script is interpreted, which costs many times as much.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from vramguard.shell.parts import span
from vramguard.source.shell import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tree_sitter import Node

    from vramguard.source.shell import Script

_PRINTING = frozenset({"echo", "printf"})
_TAKING = frozenset({"cat", "tee", "kubectl", "oc"})  # a here-document that is data to them, as a rule
# Beside a here-document: what may be a shell that reads it (`bash`, `ssh`), or a script that it becomes (`run.sh`).
_MAY_RUN = re.compile(r"sh|[$`]")
_LOOKS = 20  # how often, on average, each byte of a script may be looked at
_BOTH = {"heredoc_start", "heredoc_body"}
_EFFECT = re.compile(r"\$\(|`|<\(|>\(|\$\{\w+:?=")  # in words that are printed: commands, and variables that are set


@lru_cache(maxsize=256)
def effective(text: str) -> str:
    """A script without comments, printed words, and here-documents that no shell reads: a part of it, often small."""
    script = parsed(text)
    cuts: list[tuple[str, int, int]] = []  # the command whose words go, and where they stand
    functions: set[str] = set()
    left = _LOOKS * len(script.bytes)
    for node in _nodes(script):
        kind = node.type
        if kind == "comment":
            cuts.append(("", *span(node)))
        elif kind == "function_definition":
            functions.add(script.text(*span(node.child_by_field_name("name"))))
        elif kind in _CUT:
            left -= node.end_byte - node.start_byte
            if left < 0:  # commands in commands, deeper than anybody writes them
                return text
            cuts += _CUT[kind](node, script)
    gone = [(start, end) for name, start, end in cuts if name not in functions]
    return _without(script, gone, (0, len(script.bytes)))


def written(text: str) -> Iterator[str]:
    """The here-documents of a script, as they are written."""
    script = parsed(text)
    return (script.of(node) for node in _nodes(script) if node.type == "heredoc_body")


def _nodes(script: Script) -> Iterator[Node]:
    pending = [script.root] if script.root is not None else []
    while pending:
        node = pending.pop()
        yield node
        pending += node.named_children


def _without(script: Script, cuts: list[tuple[int, int]], within: tuple[int, int]) -> str:
    parts = []
    last, whole = within
    for start, end in sorted(cuts):
        if start >= last:
            parts.append(script.text(last, start))
        last = max(last, end)
    return " ".join([*parts, script.text(last, whole)])


def _name(command: Node | None, script: Script) -> str:
    """The name of a command, as it is written."""
    name = command.child_by_field_name("name") if command is not None and command.type == "command" else None
    return script.of(name) if name is not None else ""


def _printed(command: Node, script: Script) -> Iterator[tuple[str, int, int]]:
    name = _name(command, script)
    if name in _PRINTING and not _EFFECT.search(script.of(command)):
        yield name, *span(command)


def _data(statement: Node, script: Script) -> Iterator[tuple[str, int, int]]:
    """The here-documents of a statement that only passes them on."""
    name = _name(statement.child_by_field_name("body"), script)
    if name not in _TAKING:
        return
    redirects = [child for child in statement.named_children if child.type == "heredoc_redirect"]
    inside = [{child.type: child for child in redirect.named_children} for redirect in redirects]
    pairs = [(found["heredoc_start"], found["heredoc_body"]) for found in inside if found.keys() >= _BOTH]
    beside = _without(script, [span(body) for _, body in pairs], span(statement))
    for mark, body in pairs if not _MAY_RUN.search(beside) else ():
        if set(script.of(mark)) & set("'\"\\") or not _EFFECT.search(script.of(body)):
            yield name, *span(body)


_CUT: Mapping[str, Callable[[Node, Script], Iterator[tuple[str, int, int]]]] = {
    "command": _printed,
    "redirected_statement": _data,
}
