"""What one Python module says, as plain values: its imports, its scopes, what they bind, and the calls in them.

A scope is known by its number in `PythonModule.scopes`; number 0 is the module's own. Names are as written: what they
mean in the repository is for `link/python` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vramguard.source import Location, Span
from vramguard.source.expression import Call, Expression

MODULE = 0  # the number of the module's own scope


@dataclass(frozen=True, slots=True)
class Import:
    """`import module as name` (attribute None), or `from module import attribute as name`; `*` imports every name."""

    name: str
    module: str
    attribute: str | None
    level: int  # leading dots
    scope: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function."""

    name: str
    default: Expression | None = None
    annotation: Expression | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """The module, a class or a function. Lambdas and comprehensions have none of their own."""

    kind: str  # module, class, function
    name: str
    parent: int
    span: Span
    parameters: tuple[Parameter, ...] = ()
    decorators: tuple[Expression, ...] = ()
    bases: tuple[Expression, ...] = ()


Condition = tuple[Expression | None, bool]


@dataclass(frozen=True, slots=True)
class Binding:
    """A name gets a value. What a method puts into `self.x` is bound to `x` of its class.

    `scope` is where the value's names are looked up; `key` is set for `name["key"] = value`. `under`: the conditions
    on which it happens, each with what it must be; a loop or a handler is None. Without any, no earlier value stands.
    """

    name: str
    value: Expression
    scope: int
    under: tuple[Condition, ...] = ()
    key: str | None = None

    @property
    def conditional(self) -> bool:
        """Whether an earlier value may stand."""
        return bool(self.under)


@dataclass(frozen=True, slots=True)
class Called:
    """A call that somebody may want to know of, and the scope that makes it."""

    call: Call
    scope: int


@dataclass(frozen=True, slots=True)
class Inside:
    """What holds a module's text in another file: an object's name, its key, where the text's lines begin there.

    `first` is None where the lines do not stand in the file as they are: then only the text's place can be told.
    """

    name: str
    key: str
    first: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class PythonModule:
    """One module. `bindings` are by scope, then by name, in the order of the text; `calls` are too."""

    at: Location
    imports: tuple[Import, ...] = ()
    scopes: tuple[Scope, ...] = ()
    bindings: Mapping[int, Mapping[str, tuple[Binding, ...]]] = field(default_factory=dict)
    calls: tuple[Called, ...] = ()
    loads: bool = False  # whether it names a loader of models; others are read for their constants
    serves: Location | None = None  # what in it answers requests
    files: frozenset[str] = frozenset()  # of a module that serves, names of configuration files that stand in it
    inside: Inside | None = None  # of a module that is a value in another file

    @property
    def key(self) -> str:
        """What no other module of the repository is called."""
        return self.at.path if self.inside is None else f"{self.at.path}#{self.at.line}/{self.inside.key}"

    def place(self, expression: Expression) -> Location:
        """Where an expression of this module stands."""
        if self.inside is None:
            return Location(self.at.path, *expression.span)
        if self.inside.first is None:
            return self.at
        line, column = self.inside.first[0] - 1, self.inside.first[1] - 1
        begin, start, end, stop = expression.span
        return Location(self.at.path, begin + line, start + column, end + line, stop + column)

    def around(self, scope: int) -> Iterator[int]:
        """The scopes in which a name is looked up, from the inside; a class's own only from itself."""
        first = scope
        while True:
            if scope == first or self.scopes[scope].kind != "class":
                yield scope
            if scope == MODULE:
                return
            scope = self.scopes[scope].parent

    def name_of(self, scope: int) -> str:
        """The function and class that a scope is: `Server.load`; empty for the module's own."""
        names: list[str] = []
        while scope != MODULE:
            names.append(self.scopes[scope].name)
            scope = self.scopes[scope].parent
        return ".".join(reversed(names))


@dataclass(frozen=True, slots=True)
class PythonText:
    """A module that loads no model itself, and is not parsed: it may hold a setting of one, or call what does."""

    at: Location
    kind: str  # python, notebook
    text: str


@dataclass(frozen=True, slots=True)
class TrainingMode:
    """Something that leaves a model in training's ways: dropout on, gradients kept.

    `serving`: what in its own file serves; None where only the files around it can say so.
    """

    at: Location
    what: str  # as written: `training=True`, `model.train()`
    form: str  # flag, train, missing-eval, missing-inference-mode
    function: str = ""
    serving: Location | None = None
