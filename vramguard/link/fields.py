"""Which declared numbers answer requests with what a model gave: handlers, schemas and their bases across modules.

Names are followed as they are written, through imports. Whether a handler gives model output is told by what its body
reaches by name, `gives_model_output`, and by the value flow.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vramguard.facts.fields import Guard, ModuleNames, NumberField, ResponseModel, SchemaClass
from vramguard.facts.values import Unknown
from vramguard.link.code.outputs import answering, joined
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vramguard.facts import Facts

_DEPTH: Final = 8
_REACH: Final = 400  # definitions that one handler is followed through
# What a handler, its route or its schema says of itself: it predicts; it tells of the service or of the model.
_PREDICTS: Final = re.compile(
    r"predict|forecast|inference|\binfer\b|completion|transcri",
    re.IGNORECASE,
)
_TELLS: Final = re.compile(
    r"health|ready|\blive|liveness|status|metric|stats|statistic|version|\binfo|_info|info_|metadata|config|settings"
    r"|login|token|auth|\buser|monitor|drift|evaluat|calibrat|compar|threshold|\btrain|retrain|upload|benchmark|experiment|model_?card|usage",
    re.IGNORECASE,
)
_FORMS_OF_BASES: Final = {"BaseModel": "pydantic", "Struct": "msgspec", "Schema": "marshmallow"}


@dataclass(frozen=True, slots=True)
class Answered:
    """A number in an answer. `handler` answers with it; `through`: the schemas on the way from the answer to it.

    `guards`: every validator that is declared for it, in the classes that hold or inherit it too; `finite`: what the
    configuration of its class, or of a base, says. `counts`: its class counts tokens. `refuses`: the renderer fails on
    NaN. `guarded`: whatever a model gives it is asked, on its way, whether it is finite.
    """

    number: NumberField
    handler: str
    at: Location  # of what answers
    through: tuple[SchemaClass, ...] = ()
    guards: tuple[Guard, ...] = ()
    finite: bool | Unknown | None = None
    form: str = ""
    counts: bool = False
    refuses: bool = False
    python: bool = True
    guarded: bool = False


def gives_model_output(program: Program, handler: ResponseModel) -> bool:
    """Whether a handler answers with what a model gave, by names alone; the value flow knows of others."""
    if _tells(handler):
        return False
    if handler.predicts or _PREDICTS.search(f"{handler.handler} {handler.route} {' '.join(handler.models)}"):
        return True
    return program.reaches_model(handler)


def _tells(handler: ResponseModel) -> bool:
    """Whether a handler tells of the service or of the model, by its name and route."""
    told = _TELLS.search(f"{handler.handler} {handler.route}") is not None
    return told and _PREDICTS.search(handler.handler) is None


def answered(facts: Facts, gives: Callable[[Program, ResponseModel], bool] = gives_model_output) -> Iterator[Answered]:
    """Every number in an answer that a model is behind, each once, with the handler that comes first."""
    program = Program(facts)
    flowing, guarded = answering(facts), _guarded(facts)
    seen: set[Location] = set()
    serves = False
    for handler in sorted(facts.of(ResponseModel), key=lambda one: one.refuses):
        key = handler.at.path, handler.handler.rpartition(".")[2]
        flows = key in flowing and not _tells(handler)
        if not flows and not gives(program, handler):
            continue
        serves = True
        for found in program.numbers(handler):
            if found.number.at not in seen:
                seen.add(found.number.at)
                yield replace(found, guarded=key in guarded)
    for number in facts.of(NumberField):
        if number.answers and (serves or _PREDICTS.search(number.answers)) and _is_predicted(number):
            yield Answered(number, number.answers, number.at, finite=number.finite, form=number.form, python=False)


def _guarded(facts: Facts) -> frozenset[tuple[str, str]]:
    """The handlers that refuse, on every way of a model's number to them, what is not finite."""
    outputs = joined(facts)
    found: dict[tuple[str, str], bool] = {}
    for way in outputs.ways():
        if way.surface is not None and way.row["kind"] in ("number", "any"):
            key = way.surface.routine.path, way.surface.routine.function.name
            refused = any(
                one.kind in ("finite", "bounds") and one.form != "assert" and {"nan", "inf"} <= one.excludes
                for one in outputs.guards(way)
            )
            found[key] = found.get(key, True) and refused
    return frozenset(key for key, refused in found.items() if refused)


def _is_predicted(number: NumberField) -> bool:
    """Whether a contract's schema is of a model's answer, by its name or that of its operation."""
    said = f"{number.answers} {number.model}"
    priced = re.search(r"Price|Quote|Valuation|Pricing", number.model) is not None
    return priced or number.form == "jsonschema" or _PREDICTS.search(said) is not None


class Program:
    """The modules of the repository that declare, serve or predict."""

    def __init__(self, facts: Facts) -> None:
        self.modules = {module.at.path: module for module in facts.of(ModuleNames)}
        self._paths = frozenset(self.modules)
        self._stars: dict[str, Sequence[str]] = {}  # by path
        self._targets: dict[tuple[str, str, int], str | None] = {}  # by folder, name and level of an import
        self._classes: dict[tuple[str, str], SchemaClass] = {}
        for schema in facts.of(SchemaClass):
            self._classes.setdefault((schema.at.path, schema.name), schema)
        self._numbers: dict[tuple[str, str], list[NumberField]] = defaultdict(list)
        for number in facts.of(NumberField):
            self._numbers[number.at.path, number.model].append(number)
        self._asked = {
            (found.at.path, found.name)
            for handler in facts.of(ResponseModel)
            for name in handler.requests
            if (found := self.schema(handler.at.path, name)) is not None
        }

    def schema(self, path: str, name: str) -> SchemaClass | None:
        """The class that a dotted name in a module means."""
        found = self.definition(path, name)
        return self._classes.get(found) if found is not None else None

    def definition(self, path: str, name: str, depth: int = 0) -> tuple[str, str] | None:
        """The module and the name there of what a dotted name in a module means."""
        head, _, rest = name.partition(".")
        module = self.modules.get(path)
        if module is None or depth > _DEPTH:
            return None
        if (path, head) in self._classes or head in module.uses:
            return path, head
        if head in module.imports:
            return self._imported(path, module.imports[head], rest, depth)
        for target in self._starred(path):
            found = self.definition(target, name, depth + 1)
            if found is not None:
                return found
        return None

    def _starred(self, path: str) -> Sequence[str]:
        """The modules of which a module imports everything."""
        known = self._stars.get(path)
        if known is None:
            starred = (said for key, said in self.modules[path].imports.items() if key.startswith("*"))
            targets = (self._target(path, origin, level) for origin, _, level in starred)
            known = self._stars[path] = [target for target in targets if target is not None and target != path]
        return known

    def _imported(
        self, path: str, imported: tuple[str, str | None, int], rest: str, depth: int
    ) -> tuple[str, str] | None:
        origin, attribute, level = imported
        if attribute is None:  # `import app.schemas`, and then `app.schemas.Price`
            parts = [*origin.split("."), *rest.split(".")] if rest else origin.split(".")
            for cut in range(len(parts) - 1, 0, -1):
                target = self._target(path, ".".join(parts[:cut]), level)
                if target is not None:
                    return self.definition(target, ".".join(parts[cut:]), depth + 1)
            return None
        inner = self._target(path, f"{origin}.{attribute}" if origin else attribute, level)
        if inner is not None and rest:
            return self.definition(inner, rest, depth + 1)
        target = self._target(path, origin, level)
        return self.definition(target, f"{attribute}.{rest}".rstrip("."), depth + 1) if target is not None else None

    def _target(self, path: str, dotted: str, level: int) -> str | None:
        """The file of a module that an import names: beside the importer, in a folder around it, or in its `src`."""
        key = posixpath.dirname(path), dotted, level
        if key not in self._targets:
            self._targets[key] = self._looked_up(*key)
        return self._targets[key]

    def _looked_up(self, folder: str, dotted: str, level: int) -> str | None:
        if level:
            for _ in range(level - 1):
                folder = posixpath.dirname(folder)
            return self._at(folder, dotted)
        while True:
            for root in (folder, posixpath.join(folder, "src")):
                found = self._at(root, dotted)
                if found is not None:
                    return found
            if not folder:
                return None
            folder = posixpath.dirname(folder)

    def _at(self, root: str, dotted: str) -> str | None:
        base = posixpath.join(root, *dotted.split(".")) if dotted else root
        options = (f"{base}.py", posixpath.join(base, "__init__.py"))
        return next((option for option in options if option in self._paths), None)

    def bases(self, schema: SchemaClass) -> list[SchemaClass]:
        """The class and those that it inherits from, nearest first."""
        found, pending = [schema], [(schema, base) for base in schema.bases]
        while pending and len(found) < _REACH:
            owner, name = pending.pop(0)
            base = self.schema(owner.at.path, name)
            if base is not None and base not in found:
                found.append(base)
                pending += [(base, inner) for inner in base.bases]
        return found

    def form(self, line: list[SchemaClass]) -> str | None:
        """What a class is, by itself, a base, or the name of a base that nobody has."""
        for schema in line:
            if schema.form is not None:
                return schema.form
        names = {base.rpartition(".")[2] for schema in line for base in schema.bases}
        return next((form for name, form in _FORMS_OF_BASES.items() if name in names), None)

    def numbers(self, handler: ResponseModel) -> Iterator[Answered]:
        """The numbers of a handler's answer, those of schemas inside it too."""
        pending: list[tuple[SchemaClass, tuple[SchemaClass, ...]]] = []
        for name in handler.models:
            found = self.schema(handler.at.path, name)
            pending += [(found, ())] if found is not None else []
        seen: set[tuple[str, str]] = set()
        while pending and len(seen) < _REACH:
            schema, through = pending.pop(0)
            key = schema.at.path, schema.name
            if key in seen or key in self._asked:
                continue
            seen.add(key)
            line = self.bases(schema)
            yield from self._own(handler, line, (*through, schema))
            for owner in line:
                inner = (self.schema(owner.at.path, name) for name in owner.holds)
                pending += [(one, (*through, schema)) for one in inner if one is not None]

    def _own(
        self, handler: ResponseModel, line: list[SchemaClass], through: tuple[SchemaClass, ...]
    ) -> Iterator[Answered]:
        form = self.form(line)
        if form is None:
            return
        finite = next((schema.finite for schema in line if schema.finite is not None), None)
        guards = tuple(guard for schema in line for guard in schema.guards)
        hidden: set[str] = set()
        for schema in line:
            key = schema.at.path, schema.name
            for number in () if key in self._asked else self._numbers[key]:
                if number.name in hidden:
                    continue
                hidden.add(number.name)
                own = (*number.guards, *(guard for guard in guards if {"*", number.name} & set(guard.fields)))
                said = finite if number.finite is None else number.finite
                yield Answered(
                    number, handler.handler, handler.at, through, own, said, form, schema.counts, handler.refuses
                )

    def reaches_model(self, handler: ResponseModel) -> bool:
        """Whether what a handler reads, in its module and in those that it imports, calls what looks like a model."""
        pending = [(handler.at.path, name) for name in handler.uses]
        seen: set[tuple[str, str]] = set()
        while pending and len(seen) < _REACH:
            found = self.definition(*pending.pop())
            if found is None or found in seen:
                continue
            seen.add(found)
            path, name = found
            module = self.modules[path]
            if name in module.predicting:
                return True
            pending += [(path, used) for used in module.uses.get(name, ())]
        return False
