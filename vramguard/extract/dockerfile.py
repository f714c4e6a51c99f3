"""A Dockerfile: its stages, and what the last of them starts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.facts import Launch, Word
from vramguard.shell import commands
from vramguard.source import Location
from vramguard.source.filling import MAX_FILLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.source import Document
    from vramguard.source.dockerfile import Instruction

_FLAGS = re.compile(r"\s*(?:--[\w-]+(?:=\S*)?\s+)+")  # --mount=…, --platform=…
_FROM = re.compile(r"\s*(?:--[\w-]+=\S+\s+)*(\S+)(?:\s+as\s+(\S+))?", re.IGNORECASE)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"[A-Za-z_]\w*")
MAX_STAGES = 200  # each takes along what those before it have set
_PYTHON = re.compile(
    r"^[ \t]*(?:CMD|ENTRYPOINT)\b[^\n]*(?:\.(?:py|sh)\b|python|uvicorn|gunicorn|serve|fastapi)", re.M | re.I
)
_HUB_ID = re.compile(r"(?!.*\.(?:sh|py)$)[\w.-]+/[\w.-]+")


@dataclass
class Stage:
    """One stage, with what it has from the stage of the same file that it begins with.

    `start` and `arguments` are ENTRYPOINT and CMD: the words of a list, or the text for a shell. `runs` are the scripts
    of its RUN instructions.
    """

    at: Location
    name: str
    image: Word
    variables: dict[str, Word] = field(default_factory=dict)  # ARG and ENV
    env: dict[str, Word] = field(default_factory=dict)
    start: tuple[Word, ...] | Word | None = None
    arguments: tuple[Word, ...] | Word | None = None
    started: Location | None = None
    runs: list[Word] = field(default_factory=list)
    base: str = ""  # the stage of the same file that it begins with


def extract(document: Document) -> Iterator[Launch]:
    """What the last stage starts, if the file speaks of an engine, or starts a program in Python or a script."""
    if not mentions(document.text) and not _PYTHON.search(document.text):
        return
    found = stages(document)
    if found and (found[-1].start or found[-1].arguments or any("MODEL" in name for name in found[-1].env)):
        yield _launch(found[-1])


def stages(document: Document) -> list[Stage]:
    """The stages of a file in order."""
    found: list[Stage] = []
    for stage, _, _ in steps(document):
        if not found or found[-1] is not stage:
            found.append(stage)
    return [] if len(found) > MAX_STAGES else found


def steps(document: Document) -> Iterator[tuple[Stage, str, Word]]:
    """Every instruction with its stage, which is as the instructions before it have left it: keyword, and text.

    The text stands in its place, its keyword blank. What comes before the first stage is none of them.
    """
    found: list[Stage] = []
    outer: dict[str, Word] = {}
    for instruction in document.value:
        text = Word(instruction.text, _at(document.path, instruction), first=(instruction.row, 1))
        if instruction.keyword == "FROM":
            found.append(_begun(text, found, outer))
            yield found[-1], "FROM", text
            if len(found) > MAX_STAGES:
                return
        elif found:
            yield found[-1], instruction.keyword, text
            _apply(instruction.keyword, text, found[-1], outer)
        elif instruction.keyword == "ARG":
            outer |= _assigned(text, outer)


def _at(path: str, instruction: Instruction) -> Location:
    first, _, _ = instruction.text.partition("\n")
    begin = len(first) - len(first.lstrip())
    return Location(path, instruction.row, begin + 1, instruction.row, max(begin + 2, len(first.rstrip()) + 1))


def _begun(text: Word, before: list[Stage], outer: Mapping[str, Word]) -> Stage:
    match = _FROM.match(text.text)
    written = match[1] if match else ""
    name = (match[2] or "") if match else ""
    at = text.place(0, match.start(1), len(written)) if match else text.at
    base = next((stage for stage in reversed(before) if stage.name and stage.name.lower() == written.lower()), None)
    if base:
        env, more = dict(base.env), dict(base.env)
        start = (base.start, base.arguments, base.started)
        return Stage(text.at, name, base.image, env, more, *start, base=base.name)
    image = _expanded(Word(written, at, first=(at.line, at.column)), outer)
    return Stage(text.at, name, image)


def _expanded(word: Word, variables: Mapping[str, Word]) -> Word:
    """A word with its variables filled in."""
    if "$" not in word.text:
        return word
    found = instruction_words(Word(f'  "{word.text}"', word.at), variables)
    return Word(found[0].text, word.at, found[0].known) if len(found) == 1 else Word(word.text, word.at, known=False)


def instruction_words(text: Word, variables: Mapping[str, Word]) -> tuple[Word, ...]:
    """The words of an instruction, which are a shell's; its first character is a blank, where its keyword was."""
    names = _NAME.findall(text.text) if "$" in text.text else ()
    named = {name: variables[name] for name in names if name in variables}
    found = commands(Word(":" + text.text[1:], text.at, first=text.first), named)
    return found[0].words[1:] if found else ()


def _assigned(text: Word, variables: Mapping[str, Word]) -> dict[str, Word]:
    """The variables of an ARG or ENV, also in its older form `ENV NAME value`."""
    words = instruction_words(text, variables)
    if len(words) > 1 and "=" not in words[0].text:
        value = " ".join(word.text for word in words[1:])
        return {words[0].text: Word(value, words[1].at, all(word.known for word in words[1:]))}
    found: dict[str, Word] = {}
    for word in words:
        name, equals, value = word.text.partition("=")
        if equals and name.isidentifier():
            whole = word.at.end_column - word.at.column == len(word.text)  # else it is the value's own place
            at = word.at._replace(column=word.at.column + len(name) + 1) if whole else word.at
            found[name] = Word(value, at, word.known) if len(value) <= MAX_FILLED else Word("$…", at, known=False)
    return found


def _apply(keyword: str, text: Word, stage: Stage, outer: Mapping[str, Word]) -> None:
    if keyword == "ENV":
        found = _assigned(text, stage.variables)
        stage.env |= found
        stage.variables |= found
    elif keyword == "ARG":
        name = text.text.strip()
        given = {name: outer[name]} if name in outer else _assigned(text, stage.variables)
        stage.variables |= {key: value for key, value in given.items() if key not in stage.env}
    elif keyword == "RUN":
        stage.runs.append(without_flags(text))
    elif keyword == "ENTRYPOINT":  # a new one forgets the image's arguments
        stage.start, stage.started = started(text), text.at
        stage.arguments = None
    elif keyword == "CMD":
        stage.arguments = started(text)
        stage.started = stage.started if stage.start else text.at


def without_flags(text: Word) -> Word:
    """An instruction without `--mount=…` and its like, which are blanks."""
    match = _FLAGS.match(text.text)
    rest = text.text if match is None else " " * match.end() + text.text[match.end() :]
    return Word(rest, text.at, first=text.first)


def started(text: Word) -> tuple[Word, ...] | Word:
    """The words of `["a", "b"]`, or the text that a shell gets."""
    plain = text.text.replace("\\\n", " \n")
    try:
        values = json.loads(plain) if plain.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return text
    places = [_place(text, plain, match) for match in _STRING.finditer(plain)]
    return tuple(_listed(value, at) for value, at in zip(values, places, strict=True))


def _listed(value: str, at: Location) -> Word:
    """A word of a list; `"$MODEL"` there is filled in by nobody, and meant to be."""
    literal = at.end_column - at.column == len(value)
    open_ = "$" in value and not any(character.isspace() for character in value)
    return Word(value, at, not open_, (at.line, at.column) if literal else None)


def _place(text: Word, plain: str, match: re.Match[str]) -> Location:
    start = match.start() + 1
    row = plain.count("\n", 0, start)
    return text.place(row, start - (plain.rfind("\n", 0, start) + 1), max(1, match.end() - 1 - start))


def _launch(stage: Stage) -> Launch:
    """ENTRYPOINT and CMD together, as docker joins them."""
    at = stage.started or stage.at
    script: Word | None = None
    command: tuple[Word, ...] = ()
    entrypoint = True
    if isinstance(stage.start, Word):
        script = stage.start
    elif stage.start:
        command = (*stage.start, *_as_words(stage.arguments))
    elif isinstance(stage.arguments, Word):
        script = stage.arguments
    else:
        command = stage.arguments or ()
        entrypoint = bool(command) and _is_program(command[0].text)
    begins = {"entrypoint": str(len(stage.start)) if isinstance(stage.start, tuple) else "0"} if stage.start else {}
    return Launch(
        at,
        "dockerfile",
        stage.name,
        command=command,
        script=script,
        entrypoint=entrypoint,
        env=dict(stage.env),
        image=stage.image,
        joins=begins,
    )


def _as_words(arguments: tuple[Word, ...] | Word | None) -> tuple[Word, ...]:
    if isinstance(arguments, Word):
        return (Word("/bin/sh", arguments.at), Word("-c", arguments.at), arguments)
    return arguments or ()


def _is_program(text: str) -> bool:
    """Whether the first word of a CMD is a program, not an argument for the image's own: an option, a model."""
    return not text.startswith("-") and _HUB_ID.fullmatch(text) is None
