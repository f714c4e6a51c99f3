"""How a reader sees a value: the names that it has, the words of these, and an expression nearly as written."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.link.code.program import Ref

_DEPTH: Final = 6  # of an expression, deeper than anybody reads
_SHOWN: Final = 8  # parts of an expression
_JOINS: Final = 3  # of the loop around, and of a branch
_LONG: Final = 160  # characters of a name, or of a few
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+\d*|\d+")


def word_set(text: str) -> frozenset[str]:
    """Words, as a set."""
    return frozenset(text.split())


def parts(name: str) -> list[str]:
    """The words of an identifier, in small letters."""
    return [one.lower() for one in _PART.findall(name[:_LONG])]


class Reader:
    """Reads values by their names."""

    def names(self, ref: Ref, depth: int = 0) -> tuple[str, ...]:
        """The names that a value has in its function."""
        kept: dict[int, list[str]] | None = ref.routine.__dict__.get("names_of")
        if kept is None:
            kept = {}
            for name, values in ref.routine.function.names.items():
                for number in values:
                    kept.setdefault(number, []).append(name)
            ref.routine.__dict__["names_of"] = kept
        found = tuple(dict.fromkeys(kept.get(ref.number, ())))
        if not found and ref.node.op == "join" and depth < _JOINS:
            return next((names for one in ref.inputs() if one != ref and (names := self.names(one, depth + 1))), ())
        return found

    def words(self, ref: Ref, depth: int = 0) -> Iterator[str]:
        """The parts of the names that an expression is written with."""
        node = ref.node
        names = self.names(ref)
        for name in names:
            yield from parts(name)
        if depth > _DEPTH or (names and node.op != "join"):
            return
        if node.op in ("name", "param", "attr", "import"):
            yield from parts(node.name.rpartition(".")[2])
        elif node.op == "const" and node.name[:1] in "'\"":
            yield from parts(node.name)
        elif node.op == "join":
            return
        for inner in ref.inputs():
            yield from self.words(inner, depth + 1)

    def text(self, ref: Ref, depth: int = 0) -> str:
        """An expression, nearly as written."""
        node, names = ref.node, self.names(ref)
        if names and depth:
            return names[0]
        if depth > _DEPTH or node.op not in _FORMS:
            return "…"
        inner = [self.text(one, depth + 1) for one in itertools.islice(ref.inputs(), _SHOWN)]
        return _FORMS[node.op](node.name, inner)


def _attribute(name: str, inner: list[str]) -> str:
    return f"({inner[0]}).{name}" if " " in inner[0] and inner[0][:1] != "(" else f"{inner[0]}.{name}"


_FORMS: Final[Mapping[str, Callable[[str, list[str]], str]]] = {
    "const": lambda name, _: name,
    "name": lambda name, _: name,
    "param": lambda name, _: name,
    "import": lambda name, _: name.rpartition(".")[2],
    "and": lambda _, inner: " and ".join(inner),
    "or": lambda _, inner: " or ".join(inner),
    "items": lambda _, inner: f"[{', '.join(inner)}]",
    "compare": lambda name, inner: f" {name} ".join(inner),
    "binary": lambda name, inner: f" {name} ".join(inner),
    "unary": lambda name, inner: f"not {inner[0]}" if name == "not" else f"{name}{inner[0]}",
    "attr": _attribute,
    "item": lambda _, inner: f"{inner[0]}[{inner[-1]}]",
    "call": lambda _, inner: f"{inner[0]}({', '.join(inner[1:])})",
}
