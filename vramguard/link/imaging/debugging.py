"""Debugging that was left on where a service runs: variables and options, by what data/debugging.toml knows of them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard import data
from vramguard.facts import DebugSetting, Deployment, Launch, Manifest, Recipe, Reference, ScriptText, Texts, Word
from vramguard.link.cluster import owner_of
from vramguard.link.cluster.pods import BATCH
from vramguard.link.imaging.recipes import lasts
from vramguard.shell import commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.facts import Facts
    from vramguard.facts.nodes import Node
    from vramguard.source import Location

# What is for people at work, by the path's words, or by a service's or an overlay's name.
_FOR_PEOPLE: Final = re.compile(
    r"(?:^|[/._-])(?:dev|develop|development|devel|devcontainer|local|debug|test|tests|testing|ci|e2e|bench|benchmarks?|example|sample|template)(?:[/._-]|$)",
    re.IGNORECASE,
)
_ELSEWHERE: Final = frozenset(("workflow", "makefile", "dockerfile", "compose"))
_SOURCES: Final = re.compile(r"\.{1,2}(?:/[\w./-]*)?(?::|$)")
_MAX_TEXT: Final = 20_000


class Left(NamedTuple):
    """A setting that is on. `slows`: it changes how the service runs, and not only what it writes."""

    at: Location
    written: str
    what: str
    slows: bool
    whose: str


@cache
def _variables() -> Mapping[str, tuple[re.Pattern[str], bool, str]]:
    rows = data.load("debugging")["variable"]
    return {row["name"]: (re.compile(row["values"], re.IGNORECASE), row["slows"], row["what"]) for row in rows}


def left_on(facts: Facts) -> Iterator[Left]:
    """Every setting in what the repository serves with, for the places that are not for people at work."""
    yield from _launched(facts)
    yield from _services(facts)
    yield from _made(facts)
    yield from _held(facts)
    settings = [one for one in facts.of(DebugSetting) if one.model and not is_for_people(one.at.path)]
    starts = _starts(facts) if settings else ""
    for one in settings:
        if one.serves and (not one.guarded or _is_started(one, starts)):
            yield from _python(one)


def _starts(facts: Facts) -> str:
    """All that is started somewhere, as one text."""
    found = [word.text for launch in facts.of(Launch) for word in (*launch.command, *filter(None, (launch.script,)))]
    found += [script.text.text for script in facts.of(ScriptText)]
    for recipe in facts.of(Recipe):
        for begin in (recipe.stages[-1].start, recipe.stages[-1].arguments):
            found += [begin.text] if isinstance(begin, Word) else [word.text for word in begin or ()]
    return "\n".join(found)


def _is_started(one: DebugSetting, starts: str) -> bool:
    """Whether a module is the program that runs: started as a file, or started by nothing here."""
    name = one.at.path.rpartition("/")[2].removesuffix(".py")
    if re.search(rf"(?<![\w-]){re.escape(name)}\.py\b|-m[ \n][\w.]*\b{re.escape(name)}\b", starts):
        return True
    return re.search(rf"\b{re.escape(name)}:\w", starts) is None


def is_for_people(text: str) -> bool:
    """Whether a path, or a name, says that it is for work on the service."""
    return _FOR_PEOPLE.search(text) is not None


def _variable(name: str, value: object, whose: str) -> Iterator[Left]:
    row = _variables().get(name)
    if row is None or not isinstance(value, Word) or not value.known:
        return
    pattern, slows, what = row
    if pattern.fullmatch(value.text.strip().strip("\"'")):
        yield Left(value.at, f"{name}={value.text.strip()}", what, slows, whose)


def _launched(facts: Facts) -> Iterator[Left]:
    training = {(one.at.path, owner_of(one.name)) for one in facts.of(Deployment) if one.training}
    serving = {one.at.path for one in facts.of(Deployment) if not one.training and one.form == "shell"}
    for launch in facts.of(Launch):
        apart = launch.name.partition("/")[0] in BATCH or (launch.at.path, owner_of(launch.name)) in training
        if apart or launch.form in _ELSEWHERE or is_for_people(f"{launch.at.path} {launch.name}"):
            continue
        if launch.form == "shell":
            yield from _script(launch) if launch.at.path in serving else ()
            continue
        for name, value in launch.env.items():
            yield from _variable(name, value, launch.name)
        if _may_have_option(launch):
            yield from _options(_words(launch), launch.name)


def _services(facts: Facts) -> Iterator[Left]:
    """The services of compose, whatever they run."""
    for project in facts.of(Manifest):
        if project.form != "compose" or is_for_people(project.at.path):
            continue
        for name, node in project.node.get("services").items():
            if is_for_people(name):
                continue
            for variable, value in _environment(node.get("environment")):
                yield from _variable(variable, value, name)
            if _is_deployed(node):
                words = (*node.get("entrypoint").words(), *node.get("command").words())
                yield from _options(_split(words), name)


def _environment(node: Node) -> Iterator[tuple[str, Word]]:
    """Variables of a mapping, or of a list of `NAME=value`."""
    for name, item in node.items():
        if (word := item.word()) is not None:
            yield name, word
    for item in node.list():
        word = item.word()
        name, equals, value = word.text.partition("=") if word is not None else ("", "", "")
        if word is not None and equals:
            yield name, Word(value, word.at, word.known)


def _is_deployed(node: Node) -> bool:
    """Whether a service is there to stay: it has no folder of sources mounted, or it is restarted."""
    restart = node.get("restart").text or node.get("deploy", "restart_policy", "condition").text
    mounts = [item.text or item.get("source").text for item in node.get("volumes").list()]
    sources = any(_SOURCES.match(text) for text in mounts)
    return not sources or restart in ("always", "unless-stopped", "on-failure", "any")


def _may_have_option(launch: Launch) -> bool:
    """Whether an option of the table stands in what is launched: asked before that is taken apart."""
    said = [word.text for word in (*launch.command, *filter(None, (launch.script,)))]
    return any(row["option"] in text for row in data.load("debugging")["option"] for text in said)


def _words(launch: Launch) -> list[Word]:
    if launch.script is not None:
        return [word for command in commands(launch.script) for word in command.words]
    return _split(launch.command)


def _split(words: Sequence[Word]) -> list[Word]:
    """The words of a command line; of one that is a text, and of a text for a shell, those in it."""
    found: list[Word] = []
    for word in words:
        if any(character.isspace() for character in word.text.strip()) and len(word.text) < _MAX_TEXT:
            found += [inner for command in commands(word) for inner in _inner(command.words)]
        else:
            found.append(word)
    return found


def _inner(words: Sequence[Word]) -> list[Word]:
    """The words of a command, those of a text that it hands to a shell in its place."""
    found: list[Word] = []
    for word in words:
        nested = " " in word.text.strip() and len(word.text) < _MAX_TEXT
        found += [one for command in commands(word) for one in command.words] if nested else [word]
    return found


def _options(words: Sequence[Word], whose: str) -> Iterator[Left]:
    names = {word.text.rpartition("/")[2] for word in words}
    for row in data.load("debugging")["option"]:
        program = next((name for name in row["programs"] if name in names), None)
        word = next((word for word in words if word.text == row["option"]), None)
        if program and word is not None:
            yield Left(word.at, f"{program} {row['option']}", row["what"], slows=True, whose=whose)


def _script(launch: Launch) -> Iterator[Left]:
    """Variables and options of a script that starts an engine."""
    if launch.script is None:
        return
    for command in commands(launch.script):
        for name, value in command.env.items():
            if value.at.path == launch.at.path:
                yield from _variable(name, value, launch.name)


def _made(facts: Facts) -> Iterator[Left]:
    """ENV and CMD of the images that Dockerfiles make."""
    for last in lasts(facts):
        if last.for_people or is_for_people(last.path):
            continue
        for name, value in last.stage.env.items():
            yield from _variable(name, value, last.path)
        for begin in (last.stage.start, last.stage.arguments):
            if isinstance(begin, Word):
                words = [
                    word
                    for command in commands(Word(begin.text, begin.at, first=begin.first))
                    for word in command.words
                ]
            else:
                words = _inner(begin or ())
            yield from _options(words, last.path)


def _held(facts: Facts) -> Iterator[Left]:
    """ConfigMaps and files of variables that something here takes in."""
    asked = {one.name for launch in facts.of(Launch) for one in _taken(launch)}
    files = {path for launch in facts.of(Launch) for path in launch.joins.get("env_file", "").split("\n")}
    for held in facts.of(Texts):
        known = held.name in asked if held.form == "configmap" else held.at.path in files
        if known and not is_for_people(f"{held.at.path} {held.name}"):
            for name, value in held.values.items():
                yield from _variable(name, value, held.name)


def _taken(launch: Launch) -> Iterator[Reference]:
    yield from launch.references
    yield from (value for value in launch.env.values() if isinstance(value, Reference))


def _python(one: DebugSetting) -> Iterator[Left]:
    known = {
        "set_detect_anomaly": ("every backward pass is searched for NaN, several times slower", False),
        "debug": ("the debugger runs code of whoever asks for it, and the reloader starts a second process", True),
        "reload": ("the service restarts, and loads its model anew, whenever a file changes", True),
    }
    if one.name in known:
        what, slows = known[one.name]
        yield Left(one.at, one.written, what, slows, one.at.path)
    else:
        for found in _variable(one.name, Word(one.value, one.at), one.at.path):
            yield found._replace(written=one.written)
