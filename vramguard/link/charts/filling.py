"""A chart's templates filled with its values, by reading alone: nothing runs, and what cannot be told is marked so.

Helm 3.19, pkg/engine/engine.go: what `include`, `tpl`, `required`, `lookup` and the objects of the root mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.facts.nodes import Node
from vramguard.link.charts import functions, sprig
from vramguard.link.charts.pieces import Origin, Piece, Pieces, Spot, looks_of, mark
from vramguard.link.charts.values import (
    MAX_TEXT,
    StopFillingError,
    UntoldError,
    field,
    is_true,
    plain,
    settled,
    size_of,
    text_of,
    written,
)
from vramguard.source import Location, ParseError
from vramguard.source.gotemplate import Action, Block, Call, Field, Jump, Literal, Pipe, Template, Words, template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vramguard.link.charts.values import Value
    from vramguard.source.gotemplate import Expression, Statement

_MAX_DEPTH: Final = 30  # of templates that include each other, and of values that are templates
_FOR_ONE_STEP: Final = 40  # characters and values that a function may get for one step
_MAX_STEPS: Final = 100_000  # of one template; the largest of public charts asks for a few thousand
_MAX_EXPRESSION: Final = 80  # of expressions within expressions, and blocks within blocks

read = lru_cache(maxsize=512)(template)  # many charts hold the same helpers


# Helpers of Bitnami's chart `common` (2.31), which most charts have from elsewhere: what they write, in our words.
_COMMON: Final = Origin(
    "",
    """
{{ define "common.names.name" }}{{ .Chart.Name }}{{ end }}
{{ define "common.names.fullname" -}}
{{ if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}
{{ define "common.names.namespace" }}{{ .Release.Namespace }}{{ end }}
{{ define "common.labels.matchLabels" -}}
app.kubernetes.io/name: {{ .context.Chart.Name | default .Chart.Name }}
app.kubernetes.io/instance: {{ .context.Release.Name | default .Release.Name }}
{{- range $key, $value := .customLabels }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{ define "common.labels.standard" }}{{ include "common.labels.matchLabels" . }}{{ end }}
{{ define "common.tplvalues.render" -}}
{{ if typeIs "string" .value }}{{ tpl .value .context }}{{ else }}{{ tpl (toYaml .value) .context }}{{ end }}
{{- end }}
{{ define "common.images.image" -}}
{{ with .imageRoot }}{{ with .registry }}{{ . }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}
{{- else }}:{{ .tag }}{{ end }}{{ end }}
{{- end }}
""",
)


@cache
def _library() -> Mapping[str, tuple[Block, Origin]]:
    return {name: (block, _COMMON) for name, block in template(_COMMON.text).defined.items()}


class Budget:
    """How much all charts of a repository may ask for together."""

    def __init__(self, steps: int, characters: int) -> None:
        self.steps = steps
        self.characters = characters
        self.here = 0  # steps of the template that is being filled

    def spend(self, steps: int = 1, characters: int = 0) -> None:
        """Count what is done. Raises `StopFillingError` once it is too much."""
        self.steps -= steps
        self.here += steps
        self.characters -= characters
        if self.steps < 0 or self.characters < 0 or self.here > _MAX_STEPS:
            raise StopFillingError("more than the templates of one repository may ask for")


class _JumpError(Exception):
    """`break` or `continue`."""


class Filler:
    """The templates of one chart and of its subcharts; each is filled with values by `fill`."""

    def __init__(self, texts: Mapping[str, str], budget: Budget) -> None:
        self.budget = budget
        self.origins = {path: Origin(path, text) for path, text in texts.items()}
        self.trees: dict[str, Template] = {}
        self.defined: dict[str, tuple[Block, Origin]] = dict(_library())
        for path, origin in self.origins.items():
            try:
                self.trees[path] = read(origin.text)
            except ParseError:
                continue  # of another renderer
            self.defined |= {name: (block, origin) for name, block in self.trees[path].defined.items()}

    def fill(self, path: str, root: Mapping[str, Value]) -> list[Piece]:
        """What a template writes. Raises `StopFillingError` where it refuses its values, or asks for too much."""
        tree = self.trees.get(path)
        if tree is None:
            raise StopFillingError("no template of Helm")
        self.budget.here = 0
        run = _Run(self, self.origins[path], root, 0)
        run.written(tree.body)
        return run.pieces


class _Run:
    """One template that is filled: its dot, its variables, and what it has written."""

    def __init__(self, filler: Filler, origin: Origin, dot: Value, depth: int, place: Location | None = None) -> None:
        if depth > _MAX_DEPTH:
            raise StopFillingError("templates that include each other without end")
        self.filler, self.origin, self.depth, self.place = filler, origin, depth, place
        self.dot = dot
        self.frames: list[dict[str, Value]] = [{"$": dot}]
        self.pieces: list[Piece] = []
        self.size = 0

    def written(self, statements: Iterable[Statement]) -> None:
        """Write a whole template. Raises `StopFillingError` for a `break` outside of every `range`, as helm does."""
        try:
            self.write(statements)
        except _JumpError as jump:
            raise StopFillingError(f"`{jump}` outside of a loop") from jump

    def write(self, statements: Iterable[Statement]) -> None:
        if len(self.frames) > _MAX_EXPRESSION:
            raise StopFillingError("blocks nested too deep")
        for statement in statements:
            self.filler.budget.spend()
            if isinstance(statement, Words):
                place = self.place or (Spot(self.origin, statement.offset) if self.origin.path else None)
                self._put([Piece(statement.text, place)])
            elif isinstance(statement, Action):
                self._act(statement)
            elif isinstance(statement, Block):
                self._block(statement)
            elif isinstance(statement, Jump):
                raise _JumpError(statement.kind)

    def _put(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self.size += len(piece.text)
            self.filler.budget.spend(0, len(piece.text))
            if self.size > MAX_TEXT:
                raise StopFillingError("a template that writes too much")
            self.pieces.append(piece)

    def _act(self, action: Action) -> None:
        value = self.value(action.pipe)
        if action.variables:
            self._let(action.variables[-1], value, fresh=action.fresh)
            return
        here = self.place or (Spot(self.origin, action.offset, verbatim=False) if self.origin.path else None)
        self._put(Piece(text, place or here) for text, place in written(value))

    def _let(self, name: str, value: Value, *, fresh: bool) -> None:
        frame = next((held for held in reversed(self.frames) if name in held), self.frames[-1])
        (self.frames[-1] if fresh else frame)[name] = value

    # --- blocks

    def _block(self, block: Block) -> None:
        if block.kind == "block":
            self._put(self._included(block.name, self.value(block.pipe) if block.pipe else self.dot))
            return
        self.frames.append({})
        dot = self.dot
        try:
            value = self.value(block.pipe) if block.pipe else None
            for name in block.variables[-1:] if "range" not in block.kind else ():
                self._let(name, value, fresh=block.fresh)
            if block.kind == "range":
                self._range(block, value)
            elif is_true(value):
                self.dot = value if block.kind.endswith("with") else dot
                self.write(block.body)
            else:
                self.write(block.other)
        except UntoldError as error:
            self._leave_out(block, error.name)
        finally:
            self.dot = dot
            self.frames.pop()

    def _range(self, block: Block, value: Value) -> None:
        items = list(_each(value))
        for key, item in items:
            self.filler.budget.spend()
            self.dot = item
            self.frames.append({})
            names = block.variables
            if names:
                self._let(names[-1], item, fresh=True)
            if len(names) > 1:
                self._let(names[0], key, fresh=True)
            try:
                self.write(block.body)
            except _JumpError as jump:
                if str(jump) == "break":
                    break
            finally:
                self.frames.pop()
        if not items:
            self.write(block.other)

    def _leave_out(self, block: Block, name: str) -> None:
        """A mark where a block stands that is written, or not, for reasons that nobody knows here."""
        word = mark(name)
        here = self.place or Spot(self.origin, block.offset, verbatim=False)
        gap, item, assigned = looks_of(block.text)
        if gap is not None:
            self._put([Piece(f"\n{gap}- {word}" if item else f"\n{gap}{word}: {word}", here)])
        elif item:
            self._put([Piece(word, here)])
        for variable in assigned:  # it may be another after the block
            self._let(variable, Unknown(name), fresh=False)

    # --- expressions

    def value(self, expression: Expression, depth: int = 0) -> Value:
        """What an expression gives; `Unknown` where it cannot be told."""
        self.filler.budget.spend()
        if depth > _MAX_EXPRESSION:
            raise StopFillingError("expressions nested too deep")
        if isinstance(expression, Literal):
            return expression.value
        if isinstance(expression, Field):
            return self._field(expression, depth)
        if isinstance(expression, Pipe):
            return self._pipe(expression, depth)
        return self._call(expression, [], depth)

    def _pipe(self, pipe: Pipe, depth: int) -> Value:
        found = self.value(pipe.parts[0], depth + 1)
        for part in pipe.parts[1:]:
            found = self._call(part, [found], depth + 1) if isinstance(part, Call) else Unknown("pipe")
        return found

    def _field(self, expression: Field, depth: int) -> Value:
        of = expression.of
        if of == ".":
            value = self.dot
        elif isinstance(of, str):
            value = next((held[of] for held in reversed(self.frames) if of in held), Unknown(of))
        else:
            value = self.value(of, depth + 1)
        for name in expression.names:
            value = field(value, name)
        return value

    def _call(self, call: Call, more: list[Value], depth: int) -> Value:
        if isinstance(call.name, Field):
            return self._method(call.name, [*(self.value(one, depth + 1) for one in call.arguments), *more], depth)
        name = call.name
        if name in ("and", "or"):
            return self._either(name, call.arguments, more, depth)
        arguments = [self.value(one, depth + 1) for one in call.arguments] + more
        if name in ("include", "template"):
            return self._asked(arguments)
        if name == "tpl":
            return self._templated(arguments)
        if name == "fail":
            raise StopFillingError("the templates refuse the values")
        size = sum(map(size_of, arguments))
        self.filler.budget.spend(size // _FOR_ONE_STEP)
        return functions.call(name, arguments)

    def _either(self, name: str, arguments: tuple[Expression, ...], more: list[Value], depth: int) -> Value:
        """`and`, `or`: the first that decides, or the last; what comes after it is not looked at."""
        found: Value = None
        untold: Value = None
        for argument in (*arguments, *map(Literal, more)):
            found = self.value(argument, depth + 1)
            try:
                if is_true(found) is (name == "or"):
                    return found
            except UntoldError as error:
                untold = Unknown(error.name)
        return found if untold is None else untold

    def _method(self, of: Field, arguments: list[Value], depth: int) -> Value:
        if of.names[-2:] == ("APIVersions", "Has"):
            return True  # the object is there for a cluster that knows it
        holder = self._field(Field(of.of, of.names[:-1]), depth)
        if isinstance(holder, Files) and arguments:
            return holder.ask(of.names[-1], text_of(arguments[0]))
        return Unknown(".".join(of.names))

    def _asked(self, arguments: list[Value]) -> Value:
        try:
            name = plain(arguments[0]) if arguments else ""
        except UntoldError as error:
            return Unknown(error.name)
        return self._included(str(name), arguments[1] if len(arguments) > 1 else None)

    def _included(self, name: str, dot: Value) -> Value:
        held = self.filler.defined.get(name)
        if held is None:
            tree = self.filler.trees.get(name)
            return Unknown(name) if tree is None else Pieces(self._filled(tree.body, self.filler.origins[name], dot))
        return Pieces(self._filled(held[0].body, held[1], dot))

    def _filled(
        self, body: Iterable[Statement], origin: Origin, dot: Value, place: Location | None = None
    ) -> list[Piece]:
        run = _Run(self.filler, origin, dot, self.depth + 1, place)
        run.written(body)
        return run.pieces

    def _templated(self, arguments: list[Value]) -> Value:
        """`tpl`: a value that is a template itself."""
        value = settled(arguments[0]) if arguments else None
        if isinstance(value, Unknown) or value is None:
            return value
        text = written(value)
        if "{{" not in text.text:
            return text
        self.filler.budget.spend(len(text.text) // _FOR_ONE_STEP)
        try:
            tree = read(text.text)
        except ParseError:
            return Unknown("tpl")
        place = value.at if isinstance(value, Node) else text.place
        return Pieces(
            self._filled(
                tree.body, Origin(self.origin.path, text.text), arguments[1] if len(arguments) > 1 else None,
                place if isinstance(place, Location) else Location(self.origin.path),
            )
        )  # fmt: skip


def _each(value: Value) -> Iterator[tuple[Value, Value]]:
    """The items of what `range` goes through, with their numbers or keys. Raises `UntoldError`."""
    if isinstance(value, Unknown):
        raise UntoldError(value.text)
    if isinstance(value, Node) and isinstance(value.value, list):
        yield from enumerate(value.list())
    elif isinstance(value, list):
        yield from enumerate(value)
    elif isinstance(value, Mapping | Node):
        yield from sorted(sprig.entries(value).items(), key=lambda entry: str(entry[0]))
    elif isinstance(value, int) and not isinstance(value, bool):
        numbers = functions.call("until", [value])
        if not isinstance(numbers, list):
            raise UntoldError("until")
        yield from ((number, number) for number in numbers)


class Files:
    """`.Files` of a chart: what stands beside its templates."""

    def __init__(self, read_all: Callable[[], Mapping[str, Origin]]) -> None:
        self._read_all = read_all

    @cached_property
    def texts(self) -> Mapping[str, Origin]:
        """Each file by its path in the chart; read when a template asks for one."""
        return self._read_all()

    def ask(self, method: str, name: str) -> Value:
        """`.Files.Get "dashboard.json"`, `.Files.Glob "dashboards/*.json"`."""
        if method == "Get":
            origin = self.texts.get(name.removeprefix("./"))
            return Unknown(f"Files.{name}") if origin is None else _whole(origin)
        if method == "Glob":
            from fnmatch import fnmatchcase

            return {path: _whole(origin) for path, origin in self.texts.items() if fnmatchcase(path, name[:200])}
        return Unknown(f"Files.{method}")


def _whole(origin: Origin) -> Pieces:
    return Pieces((Piece(origin.text, Spot(origin, 0)),))
