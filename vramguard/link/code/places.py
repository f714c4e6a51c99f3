"""Paths, tables and queries, as far as the text tells them: through names, joins and f-strings."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from vramguard.link.code.words import text, texts, values, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Ref
    from vramguard.link.code.roles import Row

UNKNOWN: Final = "*"  # a part that the text does not tell
_DEEP: Final = 6
_SAME: Final = frozenset({
    "str", "Path", "PurePath", "fspath", "resolve", "absolute", "as_posix", "expanduser", "abspath", "open", "File",
})  # fmt: skip
_JOIN: Final = frozenset({"join", "joinpath"})
_TABLE: Final = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+[\"'`\[]?([\w.]+)", re.IGNORECASE)


def place(call: Ref, row: Row) -> Ref | None:
    """The argument of a call that names what it reads or writes."""
    for word in (*row.get("files", ()), *row.get("of", ())):
        number = call.node.argument("-", word) if isinstance(word, int) else call.node.argument(word)
        if number != NONE:
            return call.to(number)
    function = call.to(call.node.inputs[0])  # `Path("data.csv").read_text()`
    return function.to(function.node.inputs[0]) if function.node.op == "attr" else None


def written(code: Code, ref: Ref | None, depth: int = 0) -> str:
    """A path or query as one string, `*` for what is not known; empty where nothing is."""
    if ref is None or depth > _DEEP:
        return UNKNOWN
    node = ref.node
    if node.op == "const":
        return text(node) or UNKNOWN
    if node.op in ("binary", "format"):
        between = "/" if node.op == "binary" and node.name == "/" else ""
        return between.join(written(code, one, depth + 1) for one in ref.inputs())
    if node.op == "call":
        return _called(code, ref, depth)
    if node.op in ("enter", "grown", "join"):
        made = list(origins(ref))
        return written(code, made[0], depth + 1) if len(made) == 1 and made[0] != ref else UNKNOWN
    found = {written(code, one, depth + 1) for one in values(code, ref) if one != ref}
    return found.pop() if len(found) == 1 else UNKNOWN


def origins(ref: Ref) -> Iterator[Ref]:
    """What a name stood for before it was entered, or grew in a loop."""
    pending, seen = [ref.number], set[int]()
    while pending:
        number = pending.pop(0)
        if number == NONE or number in seen:
            continue
        seen.add(number)
        node = ref.to(number).node
        if node.op in ("enter", "grown"):
            pending += node.inputs[:1]
        elif node.op == "join":
            pending += node.inputs
        else:
            yield ref.to(number)


def _called(code: Code, ref: Ref, depth: int) -> str:
    node = ref.node
    function = ref.to(node.inputs[0])
    last = function.node.name.rpartition(".")[2]
    given = [ref.to(number) for number in node.inputs[1:] if number != NONE]
    if last in _JOIN:
        base = [function.to(function.node.inputs[0])] if last == "joinpath" else []
        return "/".join(written(code, one, depth + 1) for one in (*base, *given))
    if last in _SAME:
        method = function.node.op == "attr" and last not in ("Path", "PurePath", "fspath", "abspath")
        method = method and not (given and last == "open" and text(given[0].node)[:1] not in ("r", "w", "a", "x", ""))
        first = function.to(function.node.inputs[0]) if method else given[0] if given else None
        return written(code, first, depth + 1)
    return UNKNOWN


def words(code: Code, call: Ref, ref: Ref | None) -> list[str]:
    """Every word by which a call's path goes: its strings, and the names that it is kept in."""
    found = texts(code, ref) if ref is not None else []
    for one in within(ref) if ref is not None else ():
        if one.node.op in ("name", "attr", "param", "import"):
            found.append(one.node.name)
            named = one.routine.named.get(one.number)
            found += [named] if named else []
    named = call.routine.named.get(call.number)
    return [*found, named] if named else found


def tail(path: str) -> str:
    """By what a path is known elsewhere: its last part, and the folder before where both are told; a query's table."""
    table = _TABLE.search(path)
    if table is not None:
        return table[1].lower()
    parts = [part for part in posixpath.normpath(path.replace("\\", "/")).split("/") if part not in ("", ".", "..")]
    return parts[-1] if parts and UNKNOWN not in parts[-1] else ""


def same(one: str, other: str) -> bool:
    """Whether two paths may be one: the same last part, and no known folder that differs."""
    if not tail(one) or tail(one) != tail(other):
        return False
    folders = [
        [part for part in path.replace("\\", "/").split("/")[:-1] if part not in ("", ".", "..")]
        for path in (one, other)
    ]
    for left, right in zip(reversed(folders[0]), reversed(folders[1]), strict=False):
        if UNKNOWN in left or UNKNOWN in right:
            return True
        if left != right:
            return False
    return True


def any_of(found: Iterable[str], wanted: re.Pattern[str]) -> bool:
    """Whether one of some words matches."""
    return any(wanted.search(one) for one in found)
