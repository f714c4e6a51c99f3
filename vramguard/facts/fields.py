"""What schemas declare of their numbers, and which answer requests: pydantic and its like, OpenAPI, protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from vramguard.facts.values import Unknown
from vramguard.source import Location

# Values that stand for all others: what a field lets through of them is what a rule asks.
NAN, INFINITY, MINUS_INFINITY, ZERO, NEGATIVE = "nan", "inf", "-inf", "0", "-1"
SAMPLES: Mapping[str, float] = {
    NAN: float("nan"),
    INFINITY: float("inf"),
    MINUS_INFINITY: float("-inf"),
    ZERO: 0.0,
    NEGATIVE: -1.0,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """The end of a range; `strict`: it is not part of it. `infinite`: plus or minus infinity, by the end's own side."""

    value: Fraction | Unknown
    strict: bool
    infinite: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """A validator of the repository, tried on the samples: which it refuses, and of which nobody can tell.

    `fields`: the names that it is declared for; `*` for all.
    """

    at: Location
    name: str
    fields: tuple[str, ...]
    refuses: frozenset[str] = frozenset()
    unclear: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NumberField:
    """A field of a schema that holds numbers.

    `finite`: whether its declaration refuses NaN and infinity; None where it says nothing. `form`: pydantic, sqlmodel,
    dataclass, attrs, msgspec, typeddict, namedtuple, marshmallow, class (bases are looked up by `link`), openapi,
    jsonschema, protovalidate, protoc-gen-validate, protobuf. `answers`: of a file that is no code, what the schema
    is the answer of.
    """

    at: Location
    model: str
    name: str
    form: str
    type: str  # as written
    kind: str  # float, decimal, int
    many: bool = False
    finite: bool | Unknown | None = None
    lower: Bound | None = None
    upper: Bound | None = None
    default: Fraction | Unknown | None = None
    guards: tuple[Guard, ...] = ()
    bases: tuple[str, ...] = ()
    answers: str = ""


@dataclass(frozen=True, slots=True)
class SchemaClass:
    """A class with declared fields. `finite`: what its own configuration says of NaN and infinity.

    `form` is None where only its bases can say what it is. `holds`: the names of types that its fields hold.
    `counts`: it counts tokens, so that a cost in it is that of the call.
    """

    at: Location
    name: str
    form: str | None
    bases: tuple[str, ...] = ()
    finite: bool | Unknown | None = None
    guards: tuple[Guard, ...] = ()
    holds: tuple[str, ...] = ()
    counts: bool = False


@dataclass(frozen=True, slots=True)
class ResponseModel:
    """A function that answers requests, and the schemas of its answer, by their names as written.

    `how`: what names them (response_model, return annotation, returned). `requests`: the types of its parameters.
    `uses`: the names that its body reads. `predicts`: its body itself calls what looks like a model. `refuses`: what
    renders the answer fails on NaN, so that nobody gets it (FastAPI without a declared model: 500, tried).
    """

    at: Location
    handler: str
    models: tuple[str, ...]
    how: str
    route: str = ""
    requests: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    predicts: bool = False
    refuses: bool = False


@dataclass(frozen=True, slots=True)
class ModuleNames:
    """What a module imports and defines, so that a name in it can be followed.

    `imports`: name -> (module, attribute or None, leading dots); `*N` for the N-th star import. `uses`: the names that
    each definition reads. `predicting`: the definitions whose own text calls what looks like a model.
    """

    at: Location
    imports: Mapping[str, tuple[str, str | None, int]] = field(default_factory=dict)
    uses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    predicting: frozenset[str] = frozenset()
