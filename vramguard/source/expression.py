"""Python's expressions as plain values with places: what an analysis reads, and what facts hold.

They are small types of ours instead of the parser's nodes: their places count characters, they can be compared, and
they survive the way between processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vramguard.source import Span

MAX_NESTING: Final = 60  # of an expression; deeper ones are left as text
MAX_ITEMS: Final = 500  # of a display; longer ones are data
UNPACK: Final = "*…"  # the sign of `*items` inside a list
_PREFIXES: Final = {"not": "not ", UNPACK: "*"}
_MAX_WRITTEN: Final = 80  # characters of an expression as written, in a message

Constant = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Expression:
    """Something that has a value; by itself one that we do not look into."""

    span: Span


@dataclass(frozen=True, slots=True)
class Opaque(Expression):
    """What we do not look into, as written."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A text, number, truth value or None."""

    value: Constant


@dataclass(frozen=True, slots=True)
class Name(Expression):
    """A plain name."""

    name: str


@dataclass(frozen=True, slots=True)
class Attribute(Expression):
    """`base.name`."""

    base: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call: `name` None by position, `*` and `**` for what is unpacked."""

    name: str | None
    value: Expression


@dataclass(frozen=True, slots=True)
class Call(Expression):
    """`function(arguments)`."""

    function: Expression
    arguments: tuple[Argument, ...] = ()

    def argument(self, name: str, position: int | None = None) -> Expression | None:
        """The argument of this name, or at this position among those without one."""
        for argument in self.arguments:
            if argument.name == name:
                return argument.value
        plain = [argument.value for argument in self.arguments if argument.name is None]
        return plain[position] if position is not None and position < len(plain) else None


@dataclass(frozen=True, slots=True)
class Items(Expression):
    """A list, tuple or set."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Table(Expression):
    """A dict; the key of what `**` brings in is None."""

    items: tuple[tuple[Expression | None, Expression], ...]


@dataclass(frozen=True, slots=True)
class Joined(Expression):
    """An f-string of plain parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Operation(Expression):
    """A binary operation, by its sign, or `not` and `-` with the same operand twice."""

    sign: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Choice(Expression):
    """One of several: `a if test else b` with its test, `a or b` without one."""

    options: tuple[Expression, ...]
    test: Expression | None = None


@dataclass(frozen=True, slots=True)
class Item(Expression):
    """`base[index]`."""

    base: Expression
    index: Expression


def dotted(expression: Expression | None) -> str:
    """`a.b.c` of names and attributes; of a call or item inside, what is called: `a().b` is `a.b`; "" for others."""
    names: list[str] = []
    while expression is not None:
        if isinstance(expression, Attribute):
            names.append(expression.name)
            expression = expression.base
        elif isinstance(expression, Call):
            expression = expression.function
        elif isinstance(expression, Item):
            expression = expression.base
        elif isinstance(expression, Name):
            return ".".join([expression.name, *reversed(names)])
        else:
            return ""
    return ""


def written(expression: Expression) -> str:
    """An expression as it could have been written, on one line and not too long."""
    return short(_written(expression, 0))


def _written(of: Expression, depth: int) -> str:  # noqa: C901, PLR0911, PLR0912 - a row each
    if depth > MAX_NESTING:
        return "…"
    inner = depth + 1
    match of:
        case Opaque(text=text):
            return text
        case Literal(value=value):
            return f'"{value}"' if isinstance(value, str) else str(value)
        case Name(name=name):
            return name
        case Attribute(base=base, name=name):
            return f"{_written(base, inner)}.{name}"
        case Call(function=function, arguments=arguments):
            words = ", ".join(_argument(argument, inner) for argument in arguments[:8])
            return f"{_written(function, inner)}({words})"
        case Items(items=items):
            return f"[{', '.join(_written(item, inner) for item in items[:16])}]"
        case Table(items=pairs):
            return f"{{{', '.join(_pair(key, value, inner) for key, value in pairs[:16])}}}"
        case Joined(parts=parts):
            body = (p.value if isinstance(p, Literal) else f"{{{_written(p, inner)}}}" for p in parts[:16])
            return f'f"{"".join(map(str, body))}"'
        case Operation(sign=sign, left=left, right=right):
            if left is right:
                return f"{_PREFIXES.get(sign, sign)}{_written(right, inner)}"
            return f"{_written(left, inner)} {sign} {_written(right, inner)}"
        case Choice(options=options, test=None):
            return " or ".join(_written(option, inner) for option in options[:8])
        case Choice(options=(first, second), test=test):
            return f"{_written(first, inner)} if {_written(test, inner) if test else ''} else {_written(second, inner)}"
        case Item(base=base, index=index):
            return f"{_written(base, inner)}[{_written(index, inner)}]"
    return "…"


def _argument(argument: Argument, depth: int) -> str:
    before = {None: "", "*": "*", "**": "**"}.get(argument.name, f"{argument.name}=")
    return before + _written(argument.value, depth)


def _pair(key: Expression | None, value: Expression, depth: int) -> str:
    return f"**{_written(value, depth)}" if key is None else f"{_written(key, depth)}: {_written(value, depth)}"


def short(text: str) -> str:
    """A text that is not too long for a message."""
    return text if len(text) <= _MAX_WRITTEN else text[: _MAX_WRITTEN - 1] + "…"
