"""Values of a document with their way and place, and the words of what is written in them.

A tool's file holds scripts and command lines in YAML of every style. The words of a folded or quoted scalar still have
their own places: its text is laid beside its source, character by character, where the two agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vramguard.extract.tools.layout import block_of, matched, shell_words, unfolded
from vramguard.facts import Unknown, Word
from vramguard.source import Document, KeyPath, Location, under

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_TEXT = 200_000  # characters of a scalar that somebody may have written: longer ones have no places inside

# What a renderer, a shell or somebody's variables fill in.
FILLED = re.compile(r"\$\{|\$\(|\$[A-Za-z_]|\{\{|\{%|<%")
_FOR_A_SHELL = re.compile(r"-[a-z]*c")  # `bash -lc`: the next word is a script, whose variables are the shell's affair


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document and the keys that lead to it; what is not there is a node whose value is None."""

    document: Document
    keys: KeyPath
    value: Any

    def get(self, *keys: str | int) -> Node:
        """The value under keys, or a node of None."""
        return Node(self.document, (*self.keys, *keys), under(self.value, keys))

    def first(self, *keys: str) -> Node:
        """The first of several keys that is there."""
        return next((node for key in keys if (node := self.get(key)).value is not None), self.get(keys[0]))

    def items(self) -> Iterator[tuple[str, Node]]:
        """A mapping's entries; none of anything else."""
        if isinstance(self.value, Mapping):
            for key in self.value:
                yield str(key), self.get(key)

    def __iter__(self) -> Iterator[Node]:
        """A list's items; of anything else that is there, itself alone."""
        if isinstance(self.value, list):
            yield from (self.get(number) for number in range(len(self.value)))
        elif self.value is not None:
            yield self

    @property
    def at(self) -> Location:
        """Where the value stands."""
        return self.document.at(*self.keys)

    @property
    def key_at(self) -> Location:
        """Where its key stands."""
        return self.document.key_at(*self.keys)

    @property
    def integer(self) -> int | Unknown | None:
        """The value as a count: a whole number, or what is written instead of one."""
        if isinstance(self.value, bool) or self.value is None:
            return None
        text = str(self.value).strip()
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else Unknown(text)

    @property
    def text(self) -> str | None:
        """A scalar as it is written; None for a collection, and for nothing."""
        if isinstance(self.value, str) or self.value is None:
            return self.value
        if isinstance(self.value, Mapping | list):
            return None
        written = _source(self.document, self.at)
        return written if len(written) < MAX_TEXT and "\n" not in written else str(self.value)

    def word(self) -> Word | None:
        """A scalar as a word; not known where a renderer's or another's variable is in it."""
        text = self.text
        return None if text is None else Word(text, self.at, FILLED.search(text) is None, _first(self, text))

    def script(self) -> Word | None:
        """A scalar as the text of a script; its folds undone where that changes nothing.

        It counts as known: its variables and its renderer's marks are for who reads the script, word by word.
        """
        text = self.text
        if text is None:
            return None
        first, places = _laid(self, text)
        if first is None and not places:
            places = _aligned(self, text)
        if first is not None or not places:
            return Word(text, self.at, first=first)
        return unfolded(text, places, self.at)

    def words(self) -> tuple[Word, ...]:
        """The words of a command: a list's scalars, or a line split as a shell would split it."""
        words: list[Word] = []
        if isinstance(self.value, list):
            for item in self:
                shell = bool(words) and _FOR_A_SHELL.fullmatch(words[-1].text)
                word = item.script() if shell else item.word()
                words += [] if word is None else [word]
        elif isinstance(self.value, str) and len(self.value) < MAX_TEXT:
            words += self._split(self.value)
        return tuple(words)

    def _split(self, line: str) -> Iterator[Word]:
        """The words of one line of a command, each with its own place where that can be told."""
        places = _aligned(self, line)
        previous = ""
        for text, offsets in shell_words(line):
            known = bool(_FOR_A_SHELL.fullmatch(previous)) or FILLED.search(text) is None
            previous = text
            if not places or not offsets:
                yield Word(text, self.at, known)
                continue
            where = [places[offset] for offset in offsets]
            last = where[-1]
            at = Location(self.document.path, *where[0], last[0], last[1] + 1)
            plain = block_of(text, where)
            yield Word(text, at, known, plain) if plain else unfolded(text, where, at, known=known)

    def variables(self) -> dict[str, Word]:
        """What a mapping sets, or a list of `NAME=value` or of `name:` and `value:`; a name alone is passed through."""
        result: dict[str, Word] = {}
        for name, node in self.items():
            result[name] = node.get("value").word() or node.word() or passed_through(name, node.key_at)
        for item in self if isinstance(self.value, list) else ():
            word = item.word()
            if word is None and isinstance(name := item.get("name").value, str):
                result[name] = item.get("value").word() or passed_through(name, item.get("name").at)
            elif word is not None:
                name, value = _assigned(word)
                result[name] = value
        return result


def passed_through(name: str, at: Location) -> Word:
    """The value of a variable that is only named: whatever it is where the tool runs."""
    return Word(f"${{{name}}}", at, known=False)


def _assigned(word: Word) -> tuple[str, Word]:
    """The name and the value of `NAME=value`."""
    name, equals, text = word.text.partition("=")
    if not equals:
        return name, passed_through(name, word.at)
    at = word.at if word.first is None else word.place(0, len(name) + 1, max(len(text), 1))
    first = None if word.first is None or "\n" in text else (word.first[0], word.first[1] + len(name) + 1)
    return name, Word(text, at, FILLED.search(text) is None, first)


def flags(node: Node, skip: frozenset[str] = frozenset()) -> tuple[Word, ...]:
    """An engine's arguments by name, as the words of its command line: `--max-model-len=4096`."""
    result: list[Word] = []
    for name, value in node.items():
        word = value.word()
        flag = "--" + name.replace("_", "-")
        if name in skip or value.value is None:
            continue
        if isinstance(value.value, bool):
            result.append(Word(flag if value.value else flag.replace("--", "--no-", 1), value.at))
        elif word is not None:
            result.append(Word(f"{flag}={word.text}", word.at, word.known))
        else:
            text = json.dumps(value.value, default=str)
            result.append(Word(f"{flag}={text}", value.at, FILLED.search(text) is None))
    return tuple(result)


def joined(words: Iterable[Word]) -> Word | None:
    """The commands that one shell runs one after the other, as one script; its lines in their places if they can be."""
    words = list(words)
    if not words:
        return None
    at, known = words[0].at, all(word.known for word in words)
    text = "\n".join(word.text.rstrip("\n") for word in words)
    firsts = [word.first for word in words if word.first is not None]
    if len(firsts) < len(words) or "<<" in text:
        return words[0] if len(words) == 1 else Word(text, at, known)
    row, column = firsts[0][0], min(first[1] for first in firsts)
    lines: list[str] = []
    for word, first in zip(words, firsts, strict=True):
        if first[0] - row < len(lines):  # several on one line, or an alias of what stands above
            return Word(text, at, known)
        lines += [""] * (first[0] - row - len(lines))
        lines += [" " * (first[1] - column) + line for line in word.text.rstrip("\n").split("\n")]
    return Word("\n".join(lines), at, known, (row, column))


def top(document: Document) -> list[Node]:
    """The values at a document's top: YAML may hold several."""
    if document.kind == "yaml":
        return [Node(document, (number,), value) for number, value in enumerate(document.value)]
    return [Node(document, (), document.value)]


_PROPERTIES = re.compile(r"(?:[&!][^\s]*+\s++)++")  # an anchor and a tag, which stand before a value and in its place


def _bare(node: Node) -> tuple[Location, str]:
    """Where a scalar stands without its anchor and tag, and what stands there."""
    at = node.at
    raw = _source(node.document, at)
    properties = _PROPERTIES.match(raw) if raw[:1] in {"&", "!"} else None
    if properties is None or "\n" in properties[0]:
        return at, raw
    return at._replace(column=at.column + properties.end()), raw[properties.end() :]


def _source(document: Document, at: Location) -> str:
    """What stands in the file from a place's start to its end."""
    if at.line == at.end_line:
        return _line(document, at.line)[at.column - 1 : at.end_column - 1]
    taken = document.lines[at.line - 1 : at.end_line]
    return "\n".join([taken[0][at.column - 1 :], *taken[1:-1], taken[-1][: at.end_column - 1]])


def _line(document: Document, number: int) -> str:
    return document.lines[number - 1] if number <= len(document.lines) else ""


def _aligned(node: Node, text: str) -> list[tuple[int, int]]:
    """Line and column of each character of a scalar, a blank's those of what comes before it; [] if they part ways."""
    if len(text) > MAX_TEXT or not text:
        return []
    at, raw = _bare(node)
    if len(raw) > 4 * MAX_TEXT:
        return []
    quote = raw[0] if raw[:1] in {"'", '"'} and raw[-1] == raw[0] and len(raw) > 1 else ""
    start = raw.find("\n") + 1 if raw[:1] in {"|", ">"} else len(quote)
    offsets = matched(text, raw, start, quote)
    return list(_positions(raw, offsets, at))


def _positions(raw: str, offsets: list[int], at: Location) -> Iterator[tuple[int, int]]:
    """Line and column of offsets, which only grow, in a text that begins at a place."""
    ends = [*(match.start() for match in re.finditer("\n", raw)), len(raw) + 1]
    row, start = 0, 1 - at.column  # where the line begins, counted in the text
    for offset in offsets:
        while offset > ends[row]:
            start = ends[row] + 1
            row += 1
        yield at.line + row, offset - start + 1


def _first(node: Node, text: str) -> tuple[int, int] | None:
    """Where a text's lines begin, if they stand in the file as they are."""
    return _laid(node, text)[0]


def _laid(node: Node, text: str) -> tuple[tuple[int, int] | None, list[tuple[int, int]]]:
    """The same, and the places of all characters where those had to be asked for."""
    at, raw = _bare(node)
    if at.line == at.end_line:  # the short way, for nearly all
        if raw == text:
            return (at.line, at.column), []
        if len(raw) == len(text) + 2 and raw[1:-1] == text:
            return (at.line, at.column + 1), []
        return None, []
    places = _aligned(node, text)
    return block_of(text, places), places


def joined_names(names: Iterable[str]) -> Unknown:
    """Several values of which any one may be taken: which one is not known."""
    return Unknown(", ".join(dict.fromkeys(names)))


_PIN = re.compile(r"\b(vllm|sglang)(?:\[[\w,-]{0,80}\])?==([0-9][\w.+!-]{0,40})")


def pinned(script: Word, *more: Word | None) -> dict[str, Word]:
    """The version of the engine that a script installs and names, by its field's name."""
    found = {}
    for word in filter(None, (script, *more)):
        for match in _PIN.finditer(word.text):
            line = word.text.count("\n", 0, match.start(2))
            column = match.start(2) - (word.text.rfind("\n", 0, match.start(2)) + 1)
            found[match[1], match[2]] = Word(match[2], word.place(line, column, len(match[2])))
    started = {key: word for key, word in found.items() if re.search(rf"\b{key[0]}\b(?!\S*==)", script.text)}
    return {"engine_version": next(iter(started.values()))} if len(started) == 1 else {}
