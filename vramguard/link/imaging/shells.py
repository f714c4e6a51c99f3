"""Whether a shell stands between a server and the SIGTERM that ends it.

As PID 1 a shell has no handler for SIGTERM, so that the kernel drops it (pid_namespaces(7)); the server never hears
of it, and dies of SIGKILL when the grace period is over. Which shells become their last command is in data/images.toml.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard import data
from vramguard.source.shell import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tree_sitter import Node

    from vramguard.facts import Word
    from vramguard.source.shell import Script

DASH, BASH, BUSYBOX = "dash", "bash", "busybox"
_SHELLS: Final = frozenset(("sh", "bash", "dash", "ash", "zsh"))
_OPTION: Final = re.compile(r"-[a-z]*c[a-z]*")
_TRAP: Final = re.compile(r"\btrap\b|\bkill\s+-?(?:TERM|15|-TERM)|\b(?:tini|dumb-init|supervisord)\b")
_OPEN: Final = re.compile(r"^[\"']?(?:\$|\{\{|\$\(|<)")
_FILE: Final = re.compile(r"[\w./${}-]+\.(?:sh|bash)|(?:\./|/)?[\w./-]*entrypoint[\w-]*")
_IDLE: Final = frozenset(  # what only waits, and what is the shell's own
    (
        *("sleep", "tail", "cat", "true", "echo", "printf", "wait", "exit", "return", ":"),
        *("set", "cd", "export", "source", ".", "ulimit", "umask", "shift", "unset", "test", "[", "eval", "fg"),
    )
)
_MOST: Final = 2000  # nodes of a script that are looked at
_WRAPPERS: Final = frozenset(
    ("nohup", "env", "sudo", "time", "nice", "numactl", "stdbuf", "ionice", "taskset", "python", "python3")
)


class Held(NamedTuple):
    """A script whose shell stays: what runs below it, and why."""

    program: str
    why: str


class Started(NamedTuple):
    """What a container starts: a text for a shell (`shell` is its name, `sh` or `bash`), or a script's file."""

    shell: str
    text: Word | None
    file: str = ""


def family(image: str) -> str:
    """Whose shell an image's /bin/sh is: dash, bash or busybox; empty where it is not known."""
    rows = data.load("images")["shell"]
    return next((row["family"] for row in rows if re.search(row["image"], image.partition("@")[0])), "")


def started(words: Sequence[Word]) -> Started | None:
    """The shell that a command line starts; None for a program, and for an init that hands signals on."""
    if not words:
        return None
    name = words[0].text.rpartition("/")[2]
    if name in _SHELLS:
        for number, word in enumerate(words[1:], start=1):
            if _OPTION.fullmatch(word.text) and "c" in word.text:
                return Started(name, words[number + 1]) if number + 1 < len(words) else None
            if not word.text.startswith("-"):
                return Started(name, None, word.text) if word.text.endswith((".sh", ".bash")) else None
        return None
    return Started("", None, words[0].text) if _FILE.fullmatch(words[0].text) else None


def held(text: str, shell: str, image: str, *, file: bool = False) -> Held | None:
    """Why the shell of a script stays above the server that it starts; None where it does not, or nothing is known."""
    script = parsed(text)
    if script.root is None or _TRAP.search(text):
        return None
    statements = [node for node in script.root.named_children if node.type not in ("comment", "heredoc_body")]
    if not statements:
        return None
    kind = BASH if shell == "bash" else family(image)
    found = _last(statements, script)
    server = found.program
    if not server or found.replaced or _OPEN.match(server):
        return None
    why = _why(found, kind, _How(text, shell, several=len(statements) > 1, file=file))
    return Held(server, why) if why else None


class _How(NamedTuple):
    """A script, and how it is handed to its shell."""

    text: str
    shell: str
    several: bool
    file: bool


class _Last(NamedTuple):
    """The statement that a script ends in: the program below it, its own type, whether it is exec'd for certain."""

    program: str
    form: str  # command, list, redirected, pipeline, subshell, control, waited
    replaced: bool


_INSIDE: Final = {
    "pipeline": "a pipeline's shell stays until its last part ends",
    "subshell": "a subshell's shell stays until it ends",
    "control": "the shell of an `if`, a loop or an `||` stays until it ends",
    "waited": "the shell waits for what it has started in the background",
}


def _why(found: _Last, kind: str, how: _How) -> str:
    """Why the shell stays; empty where it becomes its last command, or where that is not known."""
    name = how.shell or "shell"
    if how.file:
        return "a script's shell stays until its last command ends, and that is no `exec`"
    if found.form in _INSIDE:
        return _INSIDE[found.form]
    if kind == DASH:
        return f"the `{name}` of its image is Debian's dash, which stays above the last command of `-c`"
    if found.form == "redirected" and kind != BUSYBOX:
        return f"`{name}` stays above a command whose output is redirected"
    if kind in (BASH, BUSYBOX):
        behind = r"\n\s*\n\s*\Z" if kind == BASH else r"\n\Z"
        return f"`{name}` stays above a command behind which lines are empty" if re.search(behind, how.text) else ""
    return f"`{name}` runs several commands and stays above the last" if how.several or found.form == "list" else ""


def _last(statements: list[Node], script: Script) -> _Last:
    node = statements[-1]
    if node.type == "command" and _name(node, script) in _IDLE:  # `server & wait`
        back = [_program(one, script) for one in statements[:-1] if _background(one, script)]
        return _Last(back[-1], "waited", replaced=False) if back else _Last("", "command", replaced=False)
    return _of(node, script)


def _of(node: Node, script: Script) -> _Last:
    if node.type == "command":
        return _Last(_program(node, script), "command", _name(node, script) == "exec")
    if node.type in ("redirected_statement", "list"):
        return _around(node, script)
    if node.type == "pipeline":
        return _Last(_program(node.named_children[0], script), "pipeline", replaced=False)
    return _within(node, script) if node.type in _COMPOUND else _Last("", "command", replaced=False)


_COMPOUND: Final = frozenset(
    ("subshell", "compound_statement", "if_statement", "while_statement", "for_statement", "case_statement")
)


def _around(node: Node, script: Script) -> _Last:
    """A command with redirections, or the last of `a && b`; of `a || b` the first, which has to fail before."""
    if node.type == "redirected_statement":
        body = node.child_by_field_name("body")
        inner = _of(body, script) if body is not None else _Last("", "command", replaced=False)
        return inner._replace(form="redirected") if inner.form in ("command", "list") else inner
    inner, first = _of(node.named_children[-1], script), node.named_children[0]
    while first.type == "list":
        first = first.named_children[-1]
    before = _program(first, script)
    if script.of(node.children[1]) == "||" and _name(first, script) != "exec" and serves(before.split()):
        return _Last(before, "control", replaced=False)
    return inner._replace(form="list") if inner.form == "command" else inner


def _within(node: Node, script: Script) -> _Last:
    """What a branch or a loop runs: replaced where any of its commands is an `exec`."""
    names = [(_name(one, script), one) for one in _commands(node)]
    servers = [_program(one, script) for name, one in names if name not in _IDLE]
    replaced = any(name == "exec" for name, _ in names)
    form = "subshell" if node.type in ("subshell", "compound_statement") else "control"
    serving = [name for name in servers if serves(name.split())]
    return _Last(serving[-1] if serving else "", form, replaced)


def _commands(node: Node) -> Iterator[Node]:
    pending, seen = [node], 0
    while pending and seen < _MOST:
        one = pending.pop()
        seen += 1
        if one.type == "command":
            yield one
        pending += reversed(one.named_children)


def _background(node: Node, script: Script) -> bool:
    """Whether a `&` follows a statement."""
    end = node.end_byte
    return script.text(end, min(end + 8, len(script.bytes))).lstrip(" \t").startswith("&") and node.type in (
        "command",
        "redirected_statement",
        "list",
    )


def _name(node: Node, script: Script) -> str:
    found = node.child_by_field_name("name")
    return script.of(found) if found is not None else ""


def _program(node: Node, script: Script) -> str:
    """The words of a command, in one line."""
    inner = next(_commands(node), None)
    return " ".join(script.of(inner).replace("\\\n", " ").split())[:200] if inner is not None else ""


@cache
def _rows() -> tuple[frozenset[str], re.Pattern[str], re.Pattern[str]]:
    row = data.load("images")["server"][0]
    return frozenset(row["programs"]), re.compile(row["words"], re.I), re.compile(row["training"], re.I)


def serves(words: Sequence[str]) -> bool:
    """Whether a command line starts a server, by its words."""
    programs, serving, training = _rows()
    plain = [word for word in words if "=" not in word.partition("/")[0] or word.startswith("-")]
    while plain and plain[0].rpartition("/")[2] in _WRAPPERS - {"python", "python3"}:
        plain = plain[1:]
    if not plain or any(training.search(word) for word in plain[:4]):
        return False
    name = plain[0].rpartition("/")[2].strip("\"'")
    if name in programs:
        return True
    if name.startswith("python") or name in ("bash", "sh", "poetry", "uv"):
        target = next(
            (word for word in plain[1:] if not word.startswith("-") and word not in ("run", "python", "python3")), ""
        )
        module = target.removesuffix(".py").removesuffix(".sh").replace(".", "/")
        return bool(serving.search(module)) or module.partition("/")[0] in programs or "uvicorn" in plain
    return bool(_FILE.fullmatch(plain[0])) and bool(serving.search(plain[0].removesuffix(".sh")))


def idles(program: str) -> bool:
    """Whether a command only waits, trains or tests."""
    words = program.split()
    return not words or words[0].rpartition("/")[2] in _IDLE or any(_rows()[2].search(word) for word in words[:4])
