"""The repository's own schemas: pydantic, msgspec and other models, what they ask, and who declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine
    from vramguard.link.code.surfaces import Surface

_DEEP: Final = 4  # of an annotation
_WIDE: Final = 60  # parts of a field that are looked at
_LIMITS: Final = frozenset({"pattern", "regex", "max_length"})
_NUMERIC: Final = frozenset({
    "builtins.float", "builtins.int", "decimal.Decimal", "pydantic.FiniteFloat", "pydantic.PositiveFloat",
    "pydantic.confloat",
    "pydantic.NonNegativeFloat", "pydantic.conint", "pydantic.condecimal", "numpy.float64", "numpy.float32",
})  # fmt: skip
_MODELS: Final = (
    "pydantic.**BaseModel",
    "pydantic.**RootModel",
    "sqlmodel.SQLModel",
    "msgspec.Struct",
    "langchain**.BaseModel",
)
_SCHEMAS: Final = ("marshmallow.Schema", "flask_marshmallow.**Schema", "pandera.**Model", "ninja.Schema")
# Methods of a model that make one, and ask everything of what it is made of; and those that ask nothing.
VALIDATES: Final = frozenset({
    "model_validate", "model_validate_json", "model_validate_strings", "parse_obj", "parse_raw", "from_orm", "validate",
})  # fmt: skip
CONSTRUCTS: Final = frozenset({"model_construct", "construct"})


class Models:
    """The schemas of a repository."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._models = Table([{"call": list(_MODELS)}])
        self._schemas = Table([{"call": [*_MODELS, *_SCHEMAS]}])

    def is_model(self, owner: Routine) -> bool:
        """Whether a class of ours asks of its values what their annotations say."""
        return self._models.among(self.code.meanings.bases(owner)) is not None

    def is_schema(self, owner: Routine) -> bool:
        """Whether a class of ours is a model, or a schema that loads."""
        return self._schemas.among(self.code.meanings.bases(owner)) is not None

    def made(self, call: Ref) -> Routine | None:
        """The model of ours that a call makes and asks: `Quote(…)`, `Quote.model_validate_json(…)`."""
        own = self.code.own_class(call)
        if own is not None:
            return own if self.is_model(own) else None
        return self._by_method(call, VALIDATES)

    def parses(self, call: Ref) -> bool:
        """Whether a call makes a model of all that it is given: `Quote.model_validate_json(x)`, `Quote(**x)`."""
        return "**" in call.node.keywords or self._by_method(call, VALIDATES) is not None

    def constructed(self, call: Ref) -> Routine | None:
        """The model of ours that a call makes without asking anything: `Quote.model_construct(…)`."""
        return self._by_method(call, CONSTRUCTS)

    def _by_method(self, call: Ref, names: frozenset[str]) -> Routine | None:
        function = call.to(call.node.inputs[0])
        if function.node.op != "attr" or function.node.name not in names:
            return None
        base = function.to(function.node.inputs[0])
        found = next(self.classes(base), None)
        if found is None and base.node.op == "call" and len(base.node.inputs) > 1:  # TypeAdapter(Quote)
            last = base.routine.function.nodes[base.node.inputs[0]].name.rpartition(".")[2]
            found = next(self.classes(base.to(base.node.inputs[1])), None) if last == "TypeAdapter" else None
        return found

    def response_model(self, surface: Surface) -> Ref | None:
        """The class of the repository that a handler declares its responses to be, or to be made of."""
        keyword = surface.row.get("response_keyword")
        if keyword and surface.by is not None and surface.by.node.op == "call":
            found = self.code.argument(surface.by, keyword)
            if found is not None:
                return found if self.holds_class(found) else None
        return self.annotated(surface)

    def annotated(self, surface: Surface) -> Ref | None:
        """The class of the repository that a handler's return annotation names."""
        returns = surface.routine.function.returns
        if surface.row.get("annotation") and returns != NONE:
            ref = Ref(self.code.program.parent(surface.routine), returns)
            return ref if self.holds_class(ref) else None
        return None

    def holds_class(self, ref: Ref) -> bool:
        """Whether an annotation names a model of ours."""
        return next(self.classes(ref), None) is not None

    def classes(self, ref: Ref, depth: int = 0) -> Iterator[Routine]:
        """The models of ours that an annotation names: `Answer`, `list[Answer]`, `Answer | None`."""
        for one in self.code.meanings.of(ref):
            if isinstance(one, Own) and one.kind == "class" and one.routine is not None and self.is_model(one.routine):
                yield one.routine
        if ref.node.op in ("item", "items", "binary") and depth < _DEEP:
            for inner in ref.inputs():
                yield from self.classes(inner, depth + 1)

    def asks(self, *models: Routine) -> str:
        """What a model asks of its values: `schema` if it has a closed set, `model` if it has numbers, else `shape`."""
        kinds = {kind for model in models for kind in self._field_kinds(model, frozenset())}
        return next((kind for kind in ("model", "schema") if kind in kinds), "shape")

    def asks_of(self, model: Routine, fields: Collection[str], inner: Collection[Routine] = ()) -> str:
        """What a model asks of some fields, but of what `inner` models hold; of all where it does not declare one."""
        declared = {
            owner.function.nodes[number].name: Ref(owner, number)
            for owner in self.code.meanings.ancestors(model)[::-1]
            for number in owner.all_of("field")
        }
        if not set(fields) <= declared.keys():
            return self.asks(model)
        places = [declared[name] for name in fields]
        seen = frozenset((model, *inner))
        kinds = {kind for ref in places for kind in self._kinds_of(ref.to(ref.node.inputs[0]), seen)}
        if any(map(self._restricts, places)) or self._validates(model, fields):
            kinds.add("schema")
        return next((kind for kind in ("model", "schema") if kind in kinds), "shape")

    def _restricts(self, field: Ref) -> bool:
        """Whether a field says which texts it takes: `Field(pattern=…)`, `constr(max_length=…)`."""
        pending = list(field.inputs())
        for ref in pending:
            if ref.node.op == "call" and not _LIMITS.isdisjoint(ref.node.keywords):
                return True
            if ref.node.op in ("item", "items", "binary", "call") and len(pending) < _WIDE:
                pending += ref.inputs()
        return False

    def _validates(self, model: Routine, fields: Collection[str]) -> bool:
        """Whether a method of a model refuses values of some fields, or of them all."""
        for owner in self.code.meanings.ancestors(model):
            for method in self.code.program.methods(owner):
                names = self._validated(method) if method.function.decorators else frozenset()
                raises = any(node.op in ("raise", "assert") for node in method.function.nodes) if names else False
                if raises and not names.isdisjoint({*fields, "*"}):
                    return True
        return False

    def _validated(self, method: Routine) -> frozenset[str]:
        """The fields that a validator is for; `*` for all."""
        found: set[str] = set()
        for ref, _ in self.code.decorators(method):
            last = self.code.written(ref).rpartition(".")[2]
            if last in ("model_validator", "root_validator"):
                found.add("*")
            elif last in ("field_validator", "validator") and ref.node.op == "call":
                found.update(inner.node.name.strip("'\"") for inner in ref.inputs() if inner.node.op == "const")
        return frozenset(found)

    def _field_kinds(self, model: Routine, seen: frozenset[Routine]) -> Iterator[str]:
        for owner in self.code.meanings.ancestors(model):
            for number in owner.all_of("field"):
                yield from self._kinds_of(Ref(owner, owner.function.nodes[number].inputs[0]), seen | {model})

    def _kinds_of(self, ref: Ref, seen: frozenset[Routine], depth: int = 0) -> Iterator[str]:
        paths = self.code.meanings.paths(ref)
        if paths & _NUMERIC:
            yield "model"
        if any(path.rpartition(".")[2] in ("Literal", "Literal[]", "Enum", "StrEnum", "IntEnum") for path in paths):
            yield "schema"
        if ref.node.op == "const" and ref.node.name.strip("'\"") in ("float", "int"):
            yield "model"
        for inner in self.classes(ref):
            if inner not in seen:
                yield from self._field_kinds(inner, seen)
        if ref.node.op in ("item", "items", "binary", "call") and depth < _DEEP:
            for part in ref.inputs():
                yield from self._kinds_of(part, seen, depth + 1)
