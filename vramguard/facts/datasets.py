"""Where the data comes from that models learn from, and what looks at it first."""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.facts.outputs import Step
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class DataValidation:
    """Something that may refuse data. `flaw` says why it refuses nothing; empty for what does refuse."""

    at: Location
    what: str  # as written: `schema.validate`
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class DataSource:
    """A file, table or folder that training reads. `of`: its path, table or query where the text tells it.

    `steps` lead to what trains; `saved`: the call that writes what was trained, empty where nothing does. `more`: other
    reads of the same function that train too. `latest`: the part of the path that says that it changes.
    """

    at: Location
    call: str
    of: str
    function: str
    trains: str
    steps: tuple[Step, ...] = ()
    validations: tuple[DataValidation, ...] = ()
    saved: str = ""
    more: int = 0
    latest: str = ""

    @property
    def validated(self) -> bool:
        """Whether something on the way can refuse."""
        return any(not one.flaw for one in self.validations)


@dataclass(frozen=True, slots=True)
class WebData:
    """What came over the network and is kept as data, its status unread.

    `kind` of the sink: table, file, vectors, training, database. `checks`: what would read the status. `strict`: a key
    of the answer is asked for by name, so that most error pages stop the program.
    """

    at: Location
    call: str
    function: str
    sink: str
    kind: str
    steps: tuple[Step, ...] = ()
    checks: tuple[str, ...] = ()
    strict: bool = False


@dataclass(frozen=True, slots=True)
class BlindValidator:
    """A validator of text that asks no more than whether there is any. `column`: of which text."""

    at: Location
    what: str
    column: str
    function: str


@dataclass(frozen=True, slots=True)
class OwnOutputs:
    """Data for training that the repository's own model has written. `at`: where training reads it."""

    at: Location
    of: str
    output: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class SwallowedError:
    """Rows or errors of a loader that vanish uncounted. `how`: what makes them vanish, as written."""

    at: Location
    how: str
    what: str  # what is lost
    function: str
    steps: tuple[Step, ...] = ()
