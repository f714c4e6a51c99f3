"""What a Python module does, as plain values: one graph of values for each of its functions.

A node is a value or an act; its inputs are earlier nodes of the same function, so that a value's way is followed
without the tree. Names are bound where the text binds them: a name that a function only reads is a node of its own,
looked up around it by `link/code`. Blocks say under which conditions a node runs: what stands behind
`if bad: raise` is in the block of `not bad`, so that a guard is an ancestor of what it guards.

| op | name | inputs |
|---|---|---|
| param | the parameter | |
| const | the literal, as Python writes it; strings up to 400 characters | |
| import | the full name, `.` before it for each level of a relative one | |
| name | the name, of a builtin or of a scope around | |
| attr | the attribute | base |
| item | | base, key |
| call | the keywords of the arguments, `|` between them; empty for a positional one, `*`, `**` | function, arguments |
| unary, binary, compare | the sign | operands; a chain of comparisons is an `and` |
| and, or | | operands |
| if | | test, then, else |
| format | | what an f-string holds, its text too |
| items | list, tuple, set | elements |
| table | | key, value, key, value …; a key of -1 for `**` |
| each | | what is iterated |
| part | the position | what is unpacked |
| enter | | a context manager: what `as` binds |
| join | | the values that a name may have |
| grown | the method or sign | what it was, what was added |
| def | the function's number in the module | |
| caught | | the exception's type, -1 for any |
| return, yield, raise, assert | | value |
| store | the attribute | base, value |
| setitem | | base, key, value |
| global | the name | value |
| field | the name | annotation, value; -1 for none. Of a class body |
| delete, opaque | | what it was made of |
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from vramguard.source import Location

NONE = -1  # no such node, or block


class Node(NamedTuple):
    """A value or an act, with its place. Lines and columns count from 1."""

    op: str
    name: str
    inputs: tuple[int, ...]
    block: int
    line: int
    column: int
    end_line: int
    end_column: int

    @property
    def keywords(self) -> tuple[str, ...]:
        """Of a call: the keyword of each argument."""
        return tuple(self.name.split("|")) if len(self.inputs) > 1 else ()

    def arguments(self) -> Iterator[tuple[str, int]]:
        """Of a call: each argument's keyword and node."""
        return zip(self.keywords, self.inputs[1:], strict=True)

    def argument(self, keyword: str, position: int = NONE) -> int:
        """Of a call: the node of an argument by its keyword, or else by its position; NONE for an absent one."""
        number = 0
        for name, node in self.arguments():
            if (keyword and name == keyword) or (not name and number == position):
                return node
            number += not name
        return NONE


class Block(NamedTuple):
    """Statements that run together. `kind`: body, if, else, assert, for, while, try, except, finally, with, case,
    after (what follows a `try` whose handlers all leave, or a `with`: its parent ran before it).

    `test` is the node of the condition, the iterable, the context manager or the exception's type; `holds` what a
    condition was. `leaves` says how the block always ends: return, raise, continue, break, exit, loop; empty if it
    may be passed.
    """

    kind: str
    parent: int
    test: int
    holds: bool
    leaves: str
    line: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function; its default and annotation are nodes of the function around."""

    name: str
    default: int = NONE
    annotation: int = NONE
    stars: int = 0


@dataclass(frozen=True, slots=True)
class Function:
    """A function, a lambda, a class's body or the module's own code (number 0).

    `names` has every value that a name gets in it, in the order of the text. Decorators, bases and annotations are
    nodes of the function around, `parent`. `says`: the first line of a decorated function's own description.
    """

    kind: str  # module, class, function, lambda
    name: str
    parent: int
    line: int
    nodes: tuple[Node, ...] = ()
    blocks: tuple[Block, ...] = ()
    names: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    decorators: tuple[int, ...] = ()
    bases: tuple[int, ...] = ()
    returns: int = NONE
    is_async: bool = False
    says: str = ""


@dataclass(frozen=True, slots=True)
class CodeModule:
    """A module's functions. `stars` are the modules of which it imports every name."""

    at: Location
    functions: tuple[Function, ...]
    stars: tuple[str, ...] = ()
    notebook: bool = False

    def __reduce__(self) -> tuple[Callable[..., CodeModule], tuple[Any, ...]]:
        """On the way between processes a module is one table of plain values: a fifth of the time of its objects."""
        rows = [
            (*_PLAIN(one), _columns(one.nodes), _columns(one.blocks), dict(one.names), _parameters(one))
            for one in self.functions
        ]
        return _arrived, (self.at, marshal.dumps(rows), self.stars, self.notebook)


_PLAIN = attrgetter("kind", "name", "parent", "line", "decorators", "bases", "returns", "is_async", "says")


def _columns(rows: tuple[tuple[Any, ...], ...]) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*rows, strict=True))


def _parameters(function: Function) -> list[tuple[str, int, int, int]]:
    return [(one.name, one.default, one.annotation, one.stars) for one in function.parameters]


def _arrived(at: Location, data: bytes, stars: tuple[str, ...], notebook: bool) -> CodeModule:  # noqa: FBT001 - pickle's
    """What `CodeModule.__reduce__` sent."""
    return CodeModule(at, tuple(_function(*row) for row in marshal.loads(data)), stars, notebook)  # noqa: S302 - ours


def _function(*row: Any) -> Function:  # noqa: ANN401 - as sent
    *head, decorators, bases, returns, is_async, says, nodes, blocks, names, parameters = row
    node, block = partial(tuple.__new__, Node), partial(tuple.__new__, Block)  # past a named tuple's own, which is slow
    own = tuple(map(node, zip(*nodes, strict=True))), tuple(map(block, zip(*blocks, strict=True)))
    taken = tuple(Parameter(*one) for one in parameters)
    parts: list[Any] = [*head, *own, names, taken, decorators, bases, returns, is_async, says]
    return Function(*parts)
