"""Words with their variables filled in, as Bash does it: quotes, `${X:-default}`, arrays, splitting at white space."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.shell.values import MAX_FIELDS, ExhaustedError, Piece, Variable, bounded, fields, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tree_sitter import Node

    from vramguard.facts import Word
    from vramguard.shell.values import State, Text
    from vramguard.source import Location
    from vramguard.source.shell import Script

MAX_DEPTH = 20  # of expansions in expansions
MAX_WORK = 300_000  # words, and pieces of values, of one reading
_ARGUMENTS = "@"  # the name under which a state has a function's arguments
_EXPANSION = re.compile(r"\$\{([#!]?)(\w+|[@*#?$!-])(\[([^\]]*)\])?(:?[-=+?]|.)?", re.DOTALL)
_ESCAPED = re.compile(r"\\(\n|.)", re.DOTALL)
_ESCAPED_IN_QUOTES = re.compile(r'\\([$`"\\\n])')
_ESCAPED_IN_HEREDOC = re.compile(r"\\([$`\\\n])")
_POSITIONAL = re.compile(r"\$\{?(?:[@*#]|[1-9])")
_ANSI = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}
_ANSI_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|u[0-9A-Fa-f]{1,4}|.)", re.DOTALL)


class Expander:
    """Expands the nodes of one script; `substituted` is told of the commands inside `$( … )`."""

    def __init__(self, script: Script, word: Word, state: State, substituted: Callable[[Node], None]) -> None:
        self.script, self.word, self.state = script, word, state
        self._substituted = substituted
        self._work = 0
        # Functions are read at every call: what stays the same is kept, by the number that the parser gives a node.
        self._constants: dict[int, Text] = {}
        self._filled: dict[int, list[Node]] = {}
        self._literals: dict[tuple[int, int, re.Pattern[str] | None], Piece] = {}
        self._places: dict[tuple[int, int], Location] = {}
        self._written: dict[tuple[int, int], Piece] = {}
        self._readers: dict[str, Callable[[Node, bool, int], Iterable[Piece | None]]] = {
            "raw_string": self._raw,
            "ansi_c_string": self._ansi,
            "string": self._string,
            "translated_string": self._inside,
            "concatenation": self._inside,
            "command_name": self._inside,
            "simple_expansion": self._simple,
            "expansion": self._expansion,
            "command_substitution": self._command,
            "process_substitution": self._command,
            "arithmetic_expansion": self._arithmetic,
        }

    def spend(self, amount: int) -> None:
        """Count work. Raises `ExhaustedError` once it is too much."""
        self._work += amount
        if self._work > MAX_WORK:
            raise ExhaustedError

    def fields(self, nodes: Iterable[Node]) -> Iterator[Sequence[Piece]]:
        """The fields that the nodes become; a node may be none of them, or several."""
        number = 0
        for node in nodes:
            found = self.pieces(node, quoted=False)
            for field in filter(None, (found,)) if isinstance(found, tuple) else fields(found):
                number += 1
                self.spend(1)
                if number > MAX_FIELDS:
                    return
                yield field

    def text(self, node: Node | None) -> Text:
        """The one text that a node becomes where nothing is split: a value, a subject of `case`."""
        if node is None:
            return ()
        found = self.pieces(node, quoted=True)
        joined = [piece or Piece(" ", self.at(node.start_byte, node.end_byte)) for piece in found]
        return bounded(joined, lambda: self.at(node.start_byte, node.end_byte))

    def pieces(self, node: Node, *, quoted: bool, depth: int = 0) -> Iterable[Piece | None]:
        """The pieces of a node, None where one field ends and the next begins; a tuple if they are always the same."""
        if depth > MAX_DEPTH:
            return (self._unknown(node),)
        found = self._constants.get(node.id)
        if found is not None:
            return found
        reader = self._readers.get(node.type)
        if reader:
            return reader(node, quoted, depth + 1)
        return self._constant(node, self._literal(node.start_byte, node.end_byte, _ESCAPED))

    def _constant(self, node: Node, pieces: Iterable[Piece]) -> Text:
        found = self._constants[node.id] = tuple(pieces)
        return found

    def at(self, start: int, end: int) -> Location:
        """Where a stretch of the script's bytes stands; of several lines, the first."""
        found = self._places.get((start, end))
        if found is None:
            found = self._places[start, end] = self.word.place(*self.script.stretch(start, end))
        return found

    def _literal(self, start: int, end: int, escapes: re.Pattern[str] | None) -> Iterator[Piece]:
        """Text as it is written, escapes taken out."""
        if start >= end:
            return
        found = self._literals.get((start, end, escapes))
        if found is None:
            found = self._literals[start, end, escapes] = self._read(start, end, escapes)
        yield found

    def _read(self, start: int, end: int, escapes: re.Pattern[str] | None) -> Piece:
        written = self.script.text(start, end)
        text = escapes.sub(lambda found: found[1] if found[1] != "\n" else "", written) if escapes else written
        first, at = None, self.at(start, end)
        if text == written and self.word.first:
            inside = "\n" not in text  # the lines after the first begin where the script's own do
            first = at.line, at.column if inside else self.word.first[1]
        return Piece(text, at, not self.script.filled_in(start, end), first)

    def _raw(self, node: Node, _quoted: bool, _depth: int) -> Text:  # noqa: FBT001 - a reader
        return self._constant(node, self._whole(node, node.start_byte + 1, None))

    def _whole(self, node: Node, start: int, escapes: re.Pattern[str] | None) -> Iterator[Piece]:
        """A quoted text without anything to fill in; it is a word even if it is empty."""
        end = (
            node.end_byte - 1 if self.script.bytes[node.end_byte - 1 : node.end_byte] in (b"'", b'"') else node.end_byte
        )
        if start >= end:
            yield Piece("", self.at(node.start_byte, node.end_byte))
        yield from self._literal(start, end, escapes)

    def _ansi(self, node: Node, _quoted: bool, _depth: int) -> Text:  # noqa: FBT001
        written = self.script.text(node.start_byte + 2, node.end_byte - 1)
        piece = Piece(_ANSI_ESCAPE.sub(_ansi_character, written), self.at(node.start_byte, node.end_byte))
        return self._constant(node, (piece,))

    def _string(self, node: Node, _quoted: bool, depth: int) -> Iterable[Piece | None]:  # noqa: FBT001
        children = self._filled.get(node.id)
        if children is None:
            children = [child for child in node.named_children if child.type != "string_content"]
            self._filled[node.id] = children
        if not children:
            return self._constant(node, self._whole(node, node.start_byte + 1, _ESCAPED_IN_QUOTES))
        return self._filled_in(node, children, depth)

    def _filled_in(self, node: Node, children: list[Node], depth: int) -> Iterator[Piece | None]:
        found = list(self.mixed(node.start_byte + 1, node.end_byte - 1, children, depth))
        if found or "@" not in self.script.of(node):  # `"$@"` without arguments is no word
            yield Piece("", self.at(node.start_byte, node.end_byte))
        yield from found

    def mixed(
        self, start: int, end: int, children: Iterable[Node], depth: int = 0, *, heredoc: bool = False
    ) -> Iterator[Piece | None]:
        """Quoted text with expansions in it: a string, the body of a here-document."""
        escapes = _ESCAPED_IN_HEREDOC if heredoc else _ESCAPED_IN_QUOTES
        for child in children:
            begin = self._begin(child)
            yield from self._literal(start, begin, escapes)
            yield from self.pieces(child, quoted=True, depth=depth)
            start = child.end_byte
        yield from self._literal(start, end, escapes)

    def _begin(self, node: Node) -> int:
        """Where an expansion begins: the grammar takes blanks before it into it."""
        found = self.script.bytes.find(b"$", node.start_byte, node.end_byte)
        return found if node.type in {"simple_expansion", "expansion"} and found > 0 else node.start_byte

    def _inside(self, node: Node, quoted: bool, depth: int) -> Iterable[Piece | None]:  # noqa: FBT001
        children = self._filled.get(node.id)
        if children is None:
            children = [child for child in node.children if child.is_named or node.type != "translated_string"]
            self._filled[node.id] = children
        if len(children) == 1:  # the name of a command, as a rule
            found = self.pieces(children[0], quoted=quoted, depth=depth)
            return self._constant(node, found) if isinstance(found, tuple) else found
        return (piece for child in children for piece in self.pieces(child, quoted=quoted, depth=depth))

    def _simple(self, node: Node, quoted: bool, _depth: int) -> Iterator[Piece | None]:  # noqa: FBT001
        name = self.script.text(self._begin(node) + 1, node.end_byte)
        yield from self._value(name, None, self._unknown(node), quoted=quoted)

    def _expansion(self, node: Node, quoted: bool, depth: int) -> Iterator[Piece | None]:  # noqa: FBT001
        written = self._unknown(node)
        match = _EXPANSION.match(written.text)
        if match is None:
            yield written
            return
        prefix, name, index, operator = match[1], match[2], match[4], match[5]
        variable = self._variable(name, index)
        if prefix == "#" and variable and variable.array:
            yield Piece(str(len(variable.texts)), written.at)
        elif prefix or operator not in {"}", ":-", "-", ":=", "=", ":+", "+", ":?", "?"}:
            yield written._replace(given=variable is None or variable.given)
        elif operator in {"}", ":?", "?"}:
            yield from self._value(name, index, written, quoted=quoted)
        else:
            yield from self._default(node, (name, index, operator), quoted=quoted, depth=depth)

    def _default(
        self, node: Node, parts: tuple[str, str | None, str], *, quoted: bool, depth: int
    ) -> Iterator[Piece | None]:
        name, index, operator = parts
        variable = self._variable(name, index)
        absent = variable is None or variable.given or (":" in operator and variable.plain == "")
        words = [child for child in node.named_children if child.type not in {"variable_name", "subscript"}]
        if "+" in operator:
            if variable is None or variable.given:
                yield self._unknown(node)._replace(given=True)
            elif not absent:
                yield from self._words(words, quoted=quoted, depth=depth)
        elif not absent:
            yield from self._value(name, index, self._unknown(node), quoted=quoted)
        else:
            found = list(self._words(words, quoted=quoted, depth=depth))
            if "=" in operator and index is None:
                at = self.at(node.start_byte, node.end_byte)
                self.state.set(name, Variable((bounded([piece for piece in found if piece], lambda: at),)))
            yield from found

    def _words(self, nodes: list[Node], *, quoted: bool, depth: int) -> Iterator[Piece | None]:
        """What stands behind `:-`; white space in it splits where it is unquoted."""
        for node in nodes:
            literal = node.type in {"word", "number", "regex"}
            for piece in self.pieces(node, quoted=quoted, depth=depth):
                yield piece._replace(quoted=quoted) if piece and literal else piece

    def _variable(self, name: str, index: str | None) -> Variable | None:
        """The variable, or the element of an array."""
        if name.isdecimal() and name.strip("0"):
            found = self.state.get(_ARGUMENTS)
            texts = found.texts if found else ()
            return Variable((texts[int(name) - 1],)) if len(name) < 4 and int(name) <= len(texts) else None  # noqa: PLR2004
        variable = self.state.get(_ARGUMENTS if name == "*" else name)
        if variable is None or index in {None, "@", "*"}:
            return variable
        if variable.array and index and index.isdigit() and len(index) < 5:  # noqa: PLR2004
            return Variable((variable.texts[int(index)],)) if int(index) < len(variable.texts) else None
        return Variable(((Piece(f"${{{name}}}", self.word.at, known=False),),))

    def _value(self, name: str, index: str | None, written: Piece, *, quoted: bool) -> Iterator[Piece | None]:
        variable = self._variable(name, index)
        if variable is None:
            yield written._replace(given=name not in {"?", "$", "!", "0", "-", "#"})
            return
        every = name in {"@", "*"} or index in {"@", "*"}
        texts = variable.texts if every or not variable.array else variable.texts[:1]
        for number, text in enumerate(texts):
            self.spend(1 + len(text) + sum(len(piece.text) for piece in text) // 16)
            if number:
                yield None
            if every and variable.array and quoted:
                yield Piece("", written.at)
            if not variable.array and text and not any(piece.known for piece in text):
                yield written._replace(given=all(piece.given for piece in text))
            else:
                yield from (piece._replace(quoted=quoted) for piece in text)

    def _command(self, node: Node, _quoted: bool, _depth: int) -> Iterator[Piece]:  # noqa: FBT001
        self._substituted(node)
        written = self._unknown(node)
        yield written._replace(given=_POSITIONAL.search(written.text) is not None)

    def _arithmetic(self, node: Node, _quoted: bool, _depth: int) -> Iterator[Piece]:  # noqa: FBT001
        written = self._unknown(node)
        number = _product(written.text[3:-2], self._number)
        yield written if number is None else Piece(str(number), written.at)

    def _number(self, name: str) -> str | None:
        variable = self._variable(name, None)
        return variable.plain if variable else None

    def _unknown(self, node: Node) -> Piece:
        key = node.start_byte, node.end_byte
        found = self._written.get(key)
        if found is None:
            start = self._begin(node)
            found = Piece(self.script.text(start, key[1]), self.at(start, key[1]), known=False)
            self._written[key] = found
        return found

    def plain(self, node: Node) -> str | None:
        """The text of a node, None if it is not known."""
        return plain(self.text(node))


def _ansi_character(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] in "xu" and len(code) > 1:
        return chr(int(code[1:], 16))
    return chr(int(code, 8) & 0xFF) if code[0].isdigit() and code[0] not in "89" else _ANSI.get(code, code)


_TERM = re.compile(r"\s*(?:\$?\{?([A-Za-z_]\w*)\}?|(\d{1,9}))\s*")
_MAX_TERMS = 20


def _product(text: str, value: Callable[[str], str | None]) -> int | None:
    """`A * B + 1` of known whole numbers, read from left to right with `*` first; None for all else."""
    total, terms = 0, re.split(r"([+-])", text)
    if len(terms) > _MAX_TERMS:
        return None
    for sign, term in zip(["+", *terms[1::2]], terms[::2], strict=True):
        product = 1
        for factor in term.split("*")[:_MAX_TERMS]:
            match = _TERM.fullmatch(factor)
            number = match and (match[2] or value(match[1]))
            if not number or not number.isdecimal() or len(number) > 9:  # noqa: PLR2004
                return None
            product *= int(number)
        total += product if sign == "+" else -product
    return total
