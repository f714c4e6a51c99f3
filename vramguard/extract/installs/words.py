"""The words of an installer's command: its options, its packages, and where each of them stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.extract import matchspec, poetry
from vramguard.extract.declaration import Declaration, read
from vramguard.facts import Requirement, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.installs.tools import Verb

# What somebody else fills in: a shell's variables and substitutions, GitHub's, Helm's and Jinja's marks.
VARIABLE = re.compile(
    r"\$\{\{[^{}]{0,300}\}\}|\{\{[^{}]{0,300}\}\}|\$\{[^{}]{0,300}\}|\$\([^()]{0,300}\)|\$[A-Za-z_]\w*|\$[0-9@*#?]"
    r"|`[^`]{0,300}`|<<[^<>]{0,100}>>|\{[A-Za-z_][^{}\s]{0,100}\}|%\([A-Za-z_]\w{0,60}\)s|%[sd]"
)
_HELD = "${VALUE}"  # what stands for one while the rest is read: a variable as pip would expand it
_GIVEN = re.compile(
    r"[\"']?\$(?:[0-9@*]|\{[0-9@*](?::[^}]*)?\}|\{@:\d+\})[\"']?"
)  # a script's or a function's arguments
_OPTIONS = re.compile(r"\$\W{0,2}\w*(?:ARG|OPT|FLAG|args|opts|flags|options)\w*", re.ASCII)
_COMMA = re.compile(r",(?![^\[]*\])(?=\s*[A-Za-z])")  # between packages, not within extras or a range
_NAME = re.compile(r"[A-Za-z0-9]")
_AT = re.compile(r"([A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?)@(?!\s)(?!git\+|https?:|file:)(.*)")
_ELSEWHERE = "a variable says it, and nothing here says what that holds"
_FOLDER = re.compile(  # what stands for a folder: `$GITHUB_WORKSPACE`, `${CMAKE_SOURCE_DIR}`, `{toxinidir}`, `$(pwd)`
    r"(?:dir|directory|path|pwd|workspace|root|home|folder|here)\W*$|^\W*(?:pwd|dirname|realpath|readlink|ls|find"
    r"|git rev-parse|mktemp)\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\W*\w*(?:url|index|mirror|http|registry)\w*\W", re.IGNORECASE)
_AFTER_FOLDER = re.compile(r"[\"']?(?:$|[/\\\[])")
_RELATIVE = re.compile(r"\.{1,2}(?:$|[/\\\[])|~?/|[A-Za-z]:\\")
_PATTERN = re.compile(r"[\w./~-]*\*[\w.*/-]*(?:\[[\w,.-]*\])?")  # `dist/*.whl`


class Option(NamedTuple):
    """An option by its long name without dashes; None for the value of a switch."""

    name: str
    value: Word | None


def split(words: tuple[Word, ...], verb: Verb) -> tuple[list[Word], list[Option]]:
    """The words that are no options, and the options; behind the name of a program that is run, nothing is ours."""
    rest: list[Word] = []
    options: list[Option] = []
    number = 0
    while number < len(words):
        word = words[number]
        number += 1
        text = word.text
        if text == "--":
            rest += words[number:]
            break
        if not text.startswith("-") or text == "-":
            rest.append(word)
            if verb.positional in {"first", "command"}:
                rest += words[number:]
                break
            continue
        found, wants = _option(word, verb)
        if wants and number < len(words):
            found[-1] = found[-1]._replace(value=words[number])
            number += 1
        options += found
    return rest, options


def _option(word: Word, verb: Verb) -> tuple[list[Option], bool]:
    """The options of one word, and whether the last of them takes the next word."""
    if not word.text.startswith("--"):
        return _cluster(word, verb)
    name, equals, _ = word.text.partition("=")
    long = verb.valued.get(name)
    if equals:
        return [Option(long or name[2:], tail(word, len(name) + 1))], False
    return [Option(long or name[2:], None)], long is not None


def _cluster(word: Word, verb: Verb) -> tuple[list[Option], bool]:
    """`-r x`, `-rx`, `-qr x`, `-Uq`."""
    found: list[Option] = []
    for offset, letter in enumerate(word.text[1:], 1):
        long = verb.valued.get(f"-{letter}")
        if long is None:
            found.append(Option(verb.short.get(letter, letter), None))
            if offset > 6:  # noqa: PLR2004 - no cluster: `-some-option` of one dash
                break
            continue
        start = offset + 1 + word.text[offset + 1 : offset + 2].count("=")
        value = tail(word, start) if start < len(word.text) else None
        return [*found, Option(long, value)], value is None
    return found, False


def tail(word: Word, start: int) -> Word:
    """The rest of a word, from a character of it on, in its own place where that can be told."""
    text = word.text[start:]
    whole = word.at.end_column - word.at.column == len(word.text) and word.at.line == word.at.end_line
    at = word.at._replace(column=word.at.column + start) if whole else word.at
    return Word(
        text, at, word.known or VARIABLE.search(text) is None, (at.line, at.column) if whole and word.first else None
    )


def each(words: list[Word]) -> list[Word]:
    """Uv takes several packages behind one `--with`, parted by commas."""
    found: list[Word] = []
    for word in words:
        begin = 0
        for text in _COMMA.split(word.text):
            found.append(_part(word, begin, text))
            begin += len(text) + 1
    return found


def _part(word: Word, begin: int, text: str) -> Word:
    rest = tail(word, begin)
    at = rest.at._replace(end_column=rest.at.column + len(text)) if rest.first else rest.at
    return Word(text, at, rest.known, rest.first)


def value(word: Word | None) -> str | Unknown:
    """A word as the field of a fact."""
    return "" if word is None else word.value


def requirements(words: list[Word], verb: Verb, form: str, *, editable: bool = False) -> Iterator[Requirement]:
    """What the words that name packages say; a local path is one without a version."""
    for word in words:
        text = word.text.strip().rstrip(",")
        if not text or _GIVEN.fullmatch(text) or (not word.known and _OPTIONS.match(text)):
            continue
        if not word.known and text.startswith(("-", "[")):  # `[$EXTRAS]` goes on what stands before it
            continue
        found = _read(text, verb, known=word.known)
        if not (_NAME.match(found.name) or isinstance(found.pinned, Unknown) or found.pinned is None):
            continue
        if word.known and isinstance(found.pinned, Unknown) and not _NAME.match(text):  # a stray `\`, `&`, `>`
            continue
        yield Requirement(
            at=word.at,
            name=found.name,
            specifier=found.specifier,
            pinned=found.pinned,
            hashed=found.hashed,
            form=form,
            reason=found.reason,
            extras=found.extras,
            marker=found.marker,
            editable=editable,
        )


def is_path(text: str) -> bool:
    """Whether a word names what lies on the disk: `./x`, `dist/*.whl`, `$GITHUB_WORKSPACE/pkg[extra]`, `$(pwd)`."""
    begin = VARIABLE.match(text)
    if begin and _FOLDER.search(begin[0]) and _AFTER_FOLDER.match(text, begin.end()):
        return True
    wheels = _PATTERN.fullmatch(text) is not None and ("/" in text or ".whl" in text)
    return "://" not in text and (wheels or _RELATIVE.match(text) is not None)


def _read(text: str, verb: Verb, *, known: bool) -> Declaration:
    """A package as its tool writes it; what is filled in later is held open meanwhile."""
    if known or is_path(text):
        return Declaration(text, text, None) if is_path(text) else _plain(text, verb)
    marks = VARIABLE.findall(text)
    if not marks:  # a program's own value
        return Declaration(text, "", Unknown(text), reason=_ELSEWHERE)
    found = _plain(VARIABLE.sub(_HELD, text), verb)
    if found.pinned is None and not _ADDRESS.match(text):
        return found._replace(name=text, specifier=text)
    if _HELD not in found.name + found.specifier and isinstance(found.pinned, bool):  # in its marker, its extras
        return found
    name = VARIABLE.match(text)
    named = text if _HELD in found.name else found.name
    specifier = found.specifier.replace(_HELD, marks[-1]) if found.specifier.count(_HELD) == 1 else found.specifier
    if "://" in found.specifier or found.specifier.count(_HELD) > 1:
        specifier = text.partition("@ ")[2].strip() or text
    if name is None and re.match(r"[<>~!^]", found.specifier):  # whatever the variable holds
        return found._replace(name=named, specifier=specifier, pinned=False, reason=f"a range: {specifier}")
    return found._replace(name=named, specifier=specifier, pinned=Unknown(text), hashed=False, reason=_ELSEWHERE)


def _plain(text: str, verb: Verb) -> Declaration:
    if verb.syntax == "conda":
        return matchspec.read(text)
    at = _AT.fullmatch(text) if verb.syntax == "at" else None
    if at is None:
        return read(text)
    said = read(at[1])
    written = poetry.version(said.name, at[2])
    return written._replace(extras=said.extras)
