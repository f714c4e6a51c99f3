"""Expressions as a person would write them, from the graph: for messages that name what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from vramguard.link.code.program import Ref

_DEEP: Final = 8
_LONG: Final = 80  # characters of an expression that are shown
_PAIRS: Final = {"items": ("[", "]"), "table": ("{", "}")}


def spelled(ref: Ref, *, inside: bool = False) -> str:
    """An expression in Python's own signs, shortened where it is long; names stand for what they hold.

    `inside`: of another, where its own name stands for it too.
    """
    found = _spelled(ref, int(inside))
    return found if len(found) <= _LONG else f"{found[: _LONG - 1]}…"


def _spelled(ref: Ref, depth: int) -> str:  # noqa: C901, PLR0911 - a line for each kind of node
    node = ref.node
    named = ref.routine.named.get(ref.number)
    if depth and named is not None and node.op not in ("import", "def", "param"):
        return named
    if depth > _DEEP:
        return "…"
    parts = [_spelled(ref.to(number), depth + 1) if number != NONE else "" for number in _wanted(node.op, node.inputs)]
    if node.op in ("name", "param", "const"):
        return node.name
    if node.op == "import":
        return node.name.rpartition(".")[2]
    if node.op == "attr":
        return f"{parts[0]}.{node.name}"
    if node.op == "item":
        return f"{parts[0]}[{parts[1]}]"
    if node.op == "call":
        given = (
            f"{word}={text}" if word.strip("*") else f"{word}{text}"
            for word, text in zip(node.keywords, parts[1:], strict=False)
        )
        return f"{parts[0]}({', '.join(given)})"
    if node.op in ("compare", "binary", "and", "or"):
        return f" {node.name or node.op} ".join(parts)
    if node.op == "unary":
        return f"{node.name} {parts[0]}" if node.name.isalpha() else f"{node.name}{parts[0]}"
    if node.op in _PAIRS:
        return f"{_PAIRS[node.op][0]}{', '.join(parts)}{_PAIRS[node.op][1]}"
    return parts[0] if len(parts) == 1 else named or "…"


def _wanted(op: str, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """The inputs that are spelled out: of a mapping its keys."""
    return inputs[::2] if op == "table" else inputs
