"""What a command starts in turn: `bash -c "…"`, `docker exec x pip …`, `poetry run pip …`; and which verb it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.extract.installs.tools import TOOLS, Verb, installs, program
from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Mapping

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
# What runs a command, or the text of one, that stands somewhere among its words.
_RUNNERS = frozenset(
    [
        "docker",
        "docker-compose",
        "podman",
        "nerdctl",
        "kubectl",
        "oc",
        "ssh",
        "su",
        "runuser",
        "vagrant",
        "gcloud",
        "az",
        "lxc",
        "multipass",
        "apptainer",
        "singularity",
        "enroot",
        "srun",
        "mpirun",
        "mpiexec",
        "xargs",
        "parallel",
        "retry",
        "travis_retry",
        "xvfb-run",
        "flock",
        "chroot",
        "unshare",
        "fakeroot",
        "proot",
        "arch",
        "caffeinate",
        "setarch",
        "eatmydata",
        "proxychains",
        "proxychains4",
        "watch",
        "tmux",
        "screen",
        "wsl",
        "nix-shell",
        "script",
        "winpty",
        "catchsegv",
        "coverage",
        "dvc",
        "time",
        "doppler",
        "op",
        "infisical",
        "aws-vault",
        "dotenv",
        "with-contenv",
        "s6-setuidgid",
    ]
)
_TAKING_TEXT = frozenset(
    [
        "ssh",
        "su",
        "runuser",
        "vagrant",
        "gcloud",
        "az",
        "wsl",
        "nix-shell",
        "script",
        "tmux",
        "screen",
        "docker",
        "kubectl",
    ]
)
_MODULES = {"piptools": {"compile": "pip-compile", "sync": "pip-sync"}}
_MOST_WORDS = 80  # of a runner's own, before the command that it runs
_SETUP = Verb("install")


class Start(NamedTuple):
    """A tool's command: the tool, what it does, and the words behind that."""

    tool: str
    verb: Verb
    words: tuple[Word, ...]


def base(word: Word) -> str:
    """The name of a program, without its folder."""
    return word.text.rpartition("/")[2]


def start(words: tuple[Word, ...]) -> Start | None:
    """The installer's command that words are."""
    tool = program(words[0].text, known=words[0].known) if words else None
    rest = words[1:]
    if tool == "python":
        return _module(rest)
    return _verb(tool, rest) if tool else None


def _module(words: tuple[Word, ...]) -> Start | None:
    """`-m pip …` behind an interpreter, or `setup.py install`."""
    number = 0
    while number < len(words):
        text = words[number].text
        if text == "-m" or (text.startswith("-m") and text[2:] in TOOLS):
            at = number + (1 if text == "-m" else 0)
            name = words[at].text.removeprefix("-m") if at < len(words) else ""
            rest = words[at + 1 :]
            if name in _MODULES and rest:
                name, rest = _MODULES[name].get(rest[0].text, ""), rest[1:]
            return _verb(name, rest) if name in TOOLS else None
        if text.rpartition("/")[2] == "setup.py":
            does = number + 1 < len(words) and words[number + 1].text in {"install", "develop"}
            return Start("setuptools", _SETUP, words[number:]) if does else None
        if not text.startswith("-") or text == "-c":
            return None
        number += 2 if text in {"-X", "-W"} else 1
    return None


def _verb(tool: str, words: tuple[Word, ...]) -> Start | None:
    """The longest of the tool's commands that the words begin with, options before it kept."""
    verbs = TOOLS[tool]
    if "" in verbs:
        return Start(tool, verbs[""], words)
    valued = _valued(verbs)
    before: list[Word] = []
    said: list[str] = []
    number = 0
    found: Start | None = None
    while number < len(words) and len(said) < 2:  # noqa: PLR2004 - no command has more words
        word = words[number]
        number += 1
        if word.text.startswith("-"):
            before.append(word)
            if word.text in valued and number < len(words):
                before.append(words[number])
                number += 1
        elif word.known:
            said.append(word.text)
            verb = verbs.get(" ".join(said))
            if verb:
                found = Start(tool, verb, (*before, *words[number:]))
        elif not word.text.startswith("$"):
            break
        if found and len(said) == 1 and not any(name.startswith(said[0] + " ") for name in verbs):
            break
    return found


def _valued(verbs: Mapping[str, Verb]) -> set[str]:
    return {option for verb in verbs.values() for option in verb.valued}


def starts(words: tuple[Word, ...]) -> bool:
    """Whether words begin with an installer's command, or with a shell that is given a text."""
    shell = words[0].known and base(words[0]) in SHELLS and scripts(words, None) != []
    return shell or start(words) is not None


def inner(words: tuple[Word, ...], stdin: Word | None) -> list[Word | tuple[Word, ...]]:
    """What a command starts in turn: texts for a shell, or words."""
    name = base(words[0])
    if name in SHELLS:
        return list(scripts(words, stdin))
    if name == "eval":
        return [_text(words[1:])] if len(words) > 1 else []
    if name not in _RUNNERS:
        return []
    for number in range(1, min(len(words), _MOST_WORDS)):
        if starts(words[number:]):
            return [words[number:]]
    if name in _TAKING_TEXT:
        texts = [_value(word) for word in words[1:_MOST_WORDS] if " " in word.text.strip()]
        found = [word for word in texts if installs(word.text)]
        if found:
            return list(found)
    return [stdin] if stdin and name in {"ssh", "su", "docker", "kubectl"} else []


def scripts(words: tuple[Word, ...], stdin: Word | None) -> list[Word]:
    """The text that a shell is given: behind `-c`, or on its standard input."""
    for number, word in enumerate(words[1:], 1):
        text = word.text
        if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*", text):
            rest = [item for item in words[number + 1 :] if not item.text.startswith("-")]
            return rest[:1]
        if not text.startswith(("-", "+")) and text not in {"pipefail", "errexit", "nounset"}:
            return []
    return [stdin] if stdin else []


def _value(word: Word) -> Word:
    """The value of `--command=…`."""
    option = re.match(r"--?[\w-]+=", word.text)
    if option is None:
        return word
    first = None if word.first is None else (word.first[0], word.first[1] + option.end())
    return Word(word.text[option.end() :], word.at, word.known, first)


def _text(words: tuple[Word, ...]) -> Word:
    if len(words) == 1:
        return words[0]
    return Word(" ".join(word.text for word in words), words[0].at, all(word.known for word in words))
