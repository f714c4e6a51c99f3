"""Functions whose answers go to people: handlers of web frameworks, model servers, pages and bots."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref, Routine
from vramguard.link.code.roles import Row, Table, rows
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.link.code import Code


_PLAIN: Final = frozenset({"builtins.object", "abc.ABC"})


@dataclass(frozen=True)
class Surface:
    """A handler. `by`: the decorator or the call that makes it one; None where its class or its name does."""

    routine: Routine
    row: Row
    by: Ref | None = None

    @property
    def framework(self) -> str:
        """Whose handler it is."""
        return str(self.row["framework"])

    @property
    def kind(self) -> str:
        """http, rpc, ui, bot, batch."""
        return str(self.row["kind"])


def surfaces(code: Code) -> Mapping[Routine, Surface]:
    """Every handler of the repository."""
    found: dict[Routine, Surface] = {}
    for surface in (*_decorated(code), *_passed(code), *_methods(code), *_shaped(code), *_named(code)):
        known = found.get(surface.routine)
        if known is None or (known.row.get("weak") and not surface.row.get("weak")):
            found[surface.routine] = surface
    return found


def _rows(key: str) -> list[Row]:
    return [row for row in rows().get("handler", ()) if row.get(key)]


def _decorated(code: Code) -> Iterator[Surface]:
    table = Table(_rows("decorator"), "decorator")
    for routine in code.routines:
        for ref, paths in code.decorators(routine) if routine.function.decorators else ():
            row = table.among(paths)
            if row is None:
                continue
            if routine.function.kind == "class":
                wanted = row.get("methods", ["__call__"])
                for method in code.program.methods(routine):
                    if method.function.name in wanted:
                        yield Surface(method, row, ref)
            else:
                yield Surface(routine, row, ref)


def _passed(code: Code) -> Iterator[Surface]:
    """Functions that are handed to a framework: `add_url_rule(view_func=…)`, `gr.Interface(fn=…)`."""
    table = Table([row for row in _rows("call") if row.get("function") is not None])
    for call, paths in code.called:
        row = table.among(paths)
        if row is not None:
            for target in _functions(code, call, row):
                yield Surface(target, row, call)


def _functions(code: Code, call: Ref, row: Row) -> Iterator[Routine]:
    given = row["function"]
    for word in given if isinstance(given, list) else [given]:
        number = call.node.argument("", word) if isinstance(word, int) else call.node.argument(word)
        if number != NONE:
            yield from code.meanings.functions(call.to(number))


def _methods(code: Code) -> Iterator[Surface]:
    """Methods of classes with a base, or a name, that servers know; of those that hand an answer on to another method
    only where there is none.
    """
    for routine, row in _served(code):
        defined = _members(code, routine)
        handed = {first for first, then in row.get("hands", ()) if then in defined}
        for method in code.program.methods(routine):
            name = method.function.name
            named = name in row.get("methods", ()) and name not in handed
            if named or (row.get("own") and not name.startswith("_")):
                yield Surface(method, row)


def _served(code: Code) -> Iterator[tuple[Routine, Row]]:
    """The classes with a base, or a name, that servers know."""
    known = Table([row for row in _rows("base") if not row.get("weak")], "base")
    weak = Table([row for row in _rows("base") if row.get("weak")], "base")
    named = {name: row for row in _rows("classes") for name in row["classes"]}
    for routine in code.routines:
        if routine.function.kind == "class":
            bases = _bases(code, routine)
            row = known.among(bases) or named.get(routine.function.name) or weak.among(bases)
            if row is not None:
                yield routine, row


def _members(code: Code, owner: Routine) -> Mapping[str, Routine]:
    """The methods of a class and of its bases of the repository, but for the library's own."""
    found: dict[str, Routine] = {}
    for one in code.meanings.ancestors(owner):
        if one is owner or code.published(one) is None:
            for method in code.program.methods(one):
                found.setdefault(method.function.name, method)
    return found


def relays(code: Code) -> Mapping[Routine, Routine]:
    """Functions whose answer a server hands to another: `inference` to `postprocess`, `predict_fn` to `output_fn`."""
    found: dict[Routine, Routine] = {}
    for routine, row in _served(code):
        members = _members(code, routine) if row.get("hands") else {}
        for first, then in row.get("hands", ()):
            if first in members and then in members:
                found[members[first]] = members[then]
    for row in _rows("functions"):
        for first, then in row.get("hands", ()):
            for routine in code.routines:
                after = code.program.module_level(routine, then) if routine.function.name == first else None
                if after is not None:
                    found[routine] = after
    return found


def _shaped(code: Code) -> Iterator[Surface]:
    """Methods of classes without a base that a server knows by their methods, in a file of that name."""
    for row in _rows("having"):
        for routine in code.routines:
            stem = posixpath.basename(routine.path).partition(".")[0]
            if routine.function.kind != "class" or not any(fnmatchcase(stem, one) for one in row["files"]):
                continue
            methods = {method.function.name: method for method in code.program.methods(routine)}
            if _bases(code, routine) <= _PLAIN and methods.keys() >= set(row["having"]):
                yield from (
                    Surface(methods[name], row)
                    for name in row["methods"]
                    if name in methods and len(methods[name].function.parameters) > row.get("arguments", 0)
                )


def _bases(code: Code, owner: Routine) -> set[str]:
    """The paths of a class's bases; those that were generated for gRPC, and stand in the repository, among
    them, and those of a library that is the repository itself.
    """
    above = code.meanings.ancestors(owner)[1:] if owner.function.bases else []
    generated = (one for one in above if one.path.endswith("_pb2_grpc.py"))
    found = code.meanings.bases(owner) if owner.function.bases else frozenset()
    published = (code.published(one) for one in above)
    return {*found, *(f"?{one.function.name}" for one in generated), *(name for name in published if name)}


def _named(code: Code) -> Iterator[Surface]:
    """Functions that servers call by their names."""
    listed = _rows("functions")
    for routine in code.routines:
        if routine.function.kind == "function" and code.program.parent(routine).function.kind == "module":
            row = next((row for row in listed if _is_called(routine, row)), None)
            then = [then for first, then in (row or {}).get("hands", ()) if first == routine.function.name]
            if row is not None and not any(code.program.module_level(routine, one) for one in then):
                yield Surface(routine, row)


def _is_called(routine: Routine, row: Row) -> bool:
    """Whether a server calls a function by its name, in a file of that name, with so many arguments."""
    if routine.function.name not in row["functions"]:
        return False
    stem = posixpath.basename(routine.path).partition(".")[0]
    files = row.get("files", ["*"])
    beside = row.get("beside")
    return (
        any(fnmatchcase(stem, one) for one in files)
        and len(routine.function.parameters) >= row.get("arguments", 0)
        and (beside is None or beside in routine.module.functions[0].names)
    )
