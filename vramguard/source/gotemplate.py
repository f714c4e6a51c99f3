"""Go's text/template, the syntax of Helm's templates: a text as a tree of what stands between `{{` and `}}`.

Only read: what a name means is for `link/charts` to say. Go 1.25, text/template/parse/{lex,parse}.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from vramguard.source import ParseError, Ruler

_MAX_NESTED: Final = 60  # blocks within blocks, brackets within brackets
_MAX_TEXT: Final = 1 << 20  # characters of a template
_MAX_TOKENS: Final = 200_000  # of a template


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number, true, false or nil."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Field:
    """`.a.b`, `$x.a.b` or `(…).a.b`: fields of the dot (`of` is "."), of a variable ("$x") or of a value."""

    of: str | Expression
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A function, or a method where `name` is a field, with its arguments."""

    name: str | Field
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """`a | b`: each value is the last argument of the next."""

    parts: tuple[Expression, ...]


Expression = Literal | Field | Call | Pipe


@dataclass(frozen=True, slots=True)
class Words:
    """Text that is written as it is, with its offset in the template."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Action:
    """A value that is written, or that variables get. `fresh`: they are declared here."""

    offset: int
    pipe: Expression
    variables: tuple[str, ...] = ()
    fresh: bool = False


@dataclass(slots=True)
class Block:
    """`if`, `with`, `range`, `define`, `block`: its body, and what is written else. `name`: of what is defined."""

    kind: str
    offset: int
    pipe: Expression | None = None
    variables: tuple[str, ...] = ()
    fresh: bool = False
    name: str = ""
    body: list[Statement] = field(default_factory=list)
    other: list[Statement] = field(default_factory=list)
    text: str = ""  # the template's text between its opening and its end, or its `else`


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    kind: str


Statement = Words | Action | Block | Jump


@dataclass(frozen=True)
class Template:
    """A template: what it writes, and what it defines for others by name."""

    body: tuple[Statement, ...]
    defined: dict[str, Block]


def template(text: str) -> Template:
    """Read a template. Raises `ParseError`."""
    if len(text) > _MAX_TEXT:
        raise ParseError(f"a template larger than {_MAX_TEXT >> 20} MiB")
    return _Reader(text).read()


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<end>-?\}\})
    |(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\.)')
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?))
    |(?P<declare>:=|=)
    |(?P<mark>[|(),])
    |(?P<variable>\$\w*)
    |(?P<field>\.\w+)
    |(?P<dot>\.)
    |(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    glued: bool  # nothing stands between it and the one before


class _Reader:
    """One pass over a text; open blocks stand on a list of our own, so that depth is no matter of Python's stack."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tokens = 0
        self.defined: dict[str, Block] = {}
        root = Block("root", 0)
        self.open: list[tuple[Block, list[Statement], int]] = [(root, root.body, 0)]

    def read(self) -> Template:
        trim = False
        while True:
            start = self.text.find("{{", self.at)
            words = self.text[self.at :] if start < 0 else self.text[self.at : start]
            offset = self.at
            if trim:
                kept = words.lstrip()
                offset += len(words) - len(kept)
                words = kept
            if start >= 0 and self.text[start + 2 : start + 3] == "-" and self.text[start + 3 : start + 4] in _SPACES:
                words = words.rstrip()
            if words:
                self._here().append(Words(words, offset))
            if start < 0:
                break
            trim = self._action(start)
        if len(self.open) > 1:
            raise self._error("a block that is not ended", self.open[-1][0].offset)
        return Template(tuple(self.open[0][0].body), self.defined)

    def _here(self) -> list[Statement]:
        return self.open[-1][1]

    def _error(self, what: str, offset: int) -> ParseError:
        return ParseError(what, *Ruler(self.text).position(offset))

    def _action(self, start: int) -> bool:
        """Read one action; whether it trims what follows it."""
        inner = start + 2
        if self.text[inner : inner + 1] == "-" and self.text[inner + 1 : inner + 2] in _SPACES:
            inner += 1
        comment = _COMMENT.match(self.text, inner)
        if comment:
            end = self.text.find("*/", comment.end())
            closing = _CLOSING.match(self.text, end + 2) if end >= 0 else None
            if closing is None:
                raise self._error("a comment that is not ended", start)
            self.at = closing.end()
            return closing[1] == "-"
        tokens, trims = self._lexed(inner, start)
        self._statement(tokens, start)
        return trims

    def _lexed(self, at: int, start: int) -> tuple[list[_Token], bool]:
        tokens: list[_Token] = []
        glued = False
        while match := _TOKEN.match(self.text, at):
            at = match.end()
            kind = match.lastgroup or ""
            if kind == "end":
                self.at = at
                return tokens, match[0].startswith("-")
            if kind != "space":
                tokens.append(_Token(kind, match[0], glued))
                self.tokens += 1
            glued = kind != "space"
            if self.tokens > _MAX_TOKENS:
                break
        raise self._error("an action that is not ended", start)

    def _statement(self, tokens: list[_Token], start: int) -> None:
        word = tokens[0].text if tokens and tokens[0].kind == "name" else ""
        rest = tokens[1:]
        if word in ("if", "with", "range"):
            variables, fresh, pipe = self._declared(rest, start)
            self._open(Block(word, start, pipe, variables, fresh))
        elif word in ("define", "block"):
            if not rest or rest[0].kind != "string":
                raise self._error("a definition without a name", start)
            name = _unquoted(rest[0].text)
            block = Block(word, start, self._pipe(rest[1:], start) if word == "block" else None, name=name)
            self.defined[name] = block
            self._open(block)
        elif word == "else":
            self._else(rest, start)
        elif word == "end":
            self._end(start)
        elif word in ("break", "continue") and not rest:
            self._here().append(Jump(word))
        elif tokens:
            variables, fresh, pipe = self._declared(tokens, start)
            self._here().append(Action(start, pipe, variables, fresh))

    def _open(self, block: Block) -> None:
        if block.kind != "define":
            self._here().append(block)
        if len(self.open) > _MAX_NESTED:
            raise self._error(f"blocks nested deeper than {_MAX_NESTED} levels", block.offset)
        self.open.append((block, block.body, self.at))

    def _close(self, start: int) -> Block:
        block, branch, begins = self.open.pop()
        if branch is block.body:
            block.text = self.text[begins:start]
        return block

    def _else(self, rest: list[_Token], start: int) -> None:
        if len(self.open) == 1:
            raise self._error("`else` outside of a block", start)
        block = self._close(start)
        self.open.append((block, block.other, self.at))
        if rest and rest[0].text in ("if", "with"):
            variables, fresh, pipe = self._declared(rest[1:], start)
            inner = Block(f"else {rest[0].text}", start, pipe, variables, fresh)
            self._open(inner)

    def _end(self, start: int) -> None:
        while True:
            if len(self.open) == 1:
                raise self._error("`end` outside of a block", start)
            block = self._close(start)
            if not block.kind.startswith("else "):  # `else if` is ended with what it stands in
                return

    def _declared(self, tokens: list[_Token], start: int) -> tuple[tuple[str, ...], bool, Expression]:
        """`$x := pipe`, `$k, $v := pipe`, `$x = pipe`, or a pipe alone."""
        signs = [number for number, token in enumerate(tokens[:4]) if token.kind == "declare"]
        if not signs or any(token.kind != "variable" and token.text != "," for token in tokens[: signs[0]]):
            return (), False, self._pipe(tokens, start)
        names = tuple(token.text for token in tokens[: signs[0]] if token.kind == "variable")
        return names, tokens[signs[0]].text == ":=", self._pipe(tokens[signs[0] + 1 :], start)

    def _pipe(self, tokens: list[_Token], start: int) -> Expression:
        parser = _Expressions(tokens)
        try:
            found = parser.pipe(0)
        except IndexError:
            raise self._error("an expression that is not ended", start) from None
        except ValueError as error:
            raise self._error(str(error), start) from None
        if parser.at < len(tokens):
            raise self._error(f"`{tokens[parser.at].text}` is not expected here", start)
        return found


_SPACES: Final = (" ", "\t", "\n", "\r")
_COMMENT: Final = re.compile(r"\s*/\*")
_CLOSING: Final = re.compile(r"\s*(-?)\}\}")


class _Expressions:
    """Tokens to an expression. Raises `IndexError` where they end too early, `ValueError` where one is wrong."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def _next(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def pipe(self, depth: int) -> Expression:
        if depth > _MAX_NESTED:
            raise ValueError(f"brackets nested deeper than {_MAX_NESTED} levels")
        parts = [self._command(depth)]
        while (token := self._next()) and token.text == "|":
            self.at += 1
            parts.append(self._command(depth))
        return parts[0] if len(parts) == 1 else Pipe(tuple(parts))

    def _command(self, depth: int) -> Expression:
        first = self.tokens[self.at]
        if first.kind == "name" and first.text not in _CONSTANTS:
            self.at += 1
            return Call(first.text, self._operands(depth))
        operand = self._operand(depth)
        arguments = self._operands(depth)
        if arguments and isinstance(operand, Field):
            return Call(operand, arguments)
        if arguments:
            raise ValueError("a value is no function")
        return operand

    def _operands(self, depth: int) -> tuple[Expression, ...]:
        found: list[Expression] = []
        while (token := self._next()) and token.text not in ("|", ")", ",") and token.kind != "declare":
            found.append(self._operand(depth))
        return tuple(found)

    def _operand(self, depth: int) -> Expression:
        token = self.tokens[self.at]
        self.at += 1
        if token.kind in ("dot", "field"):
            return Field(".", (*((token.text[1:],) if token.kind == "field" else ()), *self._fields()))
        if token.kind == "variable":
            return Field(token.text, self._fields())
        if token.text == "(" and token.kind == "mark":
            inner = self.pipe(depth + 1)
            if self.tokens[self.at].text != ")":
                raise ValueError("a bracket that is not closed")
            self.at += 1
            names = self._fields()
            return Field(inner, names) if names else inner
        if token.kind == "name":
            return Literal(_CONSTANTS[token.text]) if token.text in _CONSTANTS else Call(token.text, ())
        return Literal(_constant(token))

    def _fields(self) -> tuple[str, ...]:
        names: list[str] = []
        while (token := self._next()) and token.kind == "field" and token.glued:
            names.append(token.text[1:])
            self.at += 1
        return tuple(names)


_CONSTANTS: Final[dict[str, bool | None]] = {"true": True, "false": False, "nil": None}


def _constant(token: _Token) -> str | int | float:
    if token.kind == "string":
        return _unquoted(token.text)
    if token.kind == "char":
        return ord(_unquoted(token.text)[:1] or "\0")
    if token.kind != "number" or len(token.text) > 40:  # noqa: PLR2004 - no number is that long
        raise ValueError(f"`{token.text[:40]}` is not expected here")
    try:
        return int(token.text, 0)
    except ValueError:
        return float(token.text)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]

    def plain(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(plain, text[1:-1])
