"""What models answer, and the ways on which their answers reach people."""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.source import Location

MEANS = ("output", "validator", "sink")
ANSWERS = ("number", "text", "label", "vector", "media")
ASKS = ("finite", "bounds", "closed", "schema")


@dataclass(frozen=True, slots=True)
class KnownCall:
    """What a configuration says of a function: that it `means` one of `MEANS`, by its access path or dotted name."""

    at: Location
    means: str
    call: str
    answer: str = "number"
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One place on a way, and what happens there."""

    at: Location
    what: str


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """A call whose answer is a model's. `kind`: text, number, label, vector, media, any (a number or a label).

    `weak`: known by names alone. `remote`: over the network.
    """

    at: Location
    call: str  # as written: `model.predict`
    kind: str
    function: str = ""
    weak: bool = False
    remote: bool = False


@dataclass(frozen=True, slots=True)
class UserSink:
    """A place where values reach people.

    `kind`: http, rpc, ui, bot, batch; page, message, queue, cache, database, file.
    """

    at: Location
    kind: str
    framework: str
    name: str


@dataclass(frozen=True, slots=True)
class Layer:
    """Something that stands between a model and people.

    `kind`: finite, bounds, member, text, schema (it can refuse); truth, type, none, confidence, other (it says nothing
    of the value); mask (it hides a bad one), swallowed (a handler that goes on). `form`: if, assert, call, model.
    `excludes`: which of nan, inf, zero and negative do not pass. `leaves`: how the way ends on which it fails.
    """

    at: Location
    kind: str
    form: str
    what: str
    excludes: frozenset[str] = frozenset()
    leaves: str = ""


@dataclass(frozen=True, slots=True)
class Exposure:
    """An answer on its way to people, and what stands between. `fields`: keys, keywords and names that it goes under.

    `at` is the call's place. `stream`: piece by piece.
    """

    at: Location
    output: ModelOutput
    sink: UserSink
    steps: tuple[Step, ...]
    layers: tuple[Layer, ...] = ()
    fields: tuple[str, ...] = ()
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Bypass:
    """A schema of the repository that a model's answer is led around.

    `form`: response (of a framework, which validates none), undeclared (`response_model=None`), construct, jsonify.
    `at` is the act; `model` the schema's name.
    """

    at: Location
    form: str
    act: str  # as written: `JSONResponse`
    model: str
    output: ModelOutput
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Swallowed:
    """A handler of exceptions around the validation of a model's answer that goes on as if nothing had been refused.

    `at` is the handler; `how`: passes, raw (it answers what was refused), text (it answers a text as if it were one).
    """

    at: Location
    how: str
    caught: str
    validator: str
    function: str
    output: ModelOutput
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Execution:
    """A text of a model that becomes code, a command, a query, the name of what is called, or data without a schema.

    `kind`: code, shell, sql, tool, parse. `at` is the act.
    """

    at: Location
    kind: str
    act: str
    output: ModelOutput
    steps: tuple[Step, ...]
