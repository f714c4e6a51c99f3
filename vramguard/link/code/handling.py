"""What code does with a model's answer beside handing it on: schemas that are led around, texts that are executed."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Bypass, Execution, ModelOutput, Step
from vramguard.link.code.expanding import carried_out
from vramguard.link.code.meaning import Own
from vramguard.link.code.outputs import Way, joined
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import table
from vramguard.link.code.siblings import asks_another_key, keys
from vramguard.link.code.spelling import spelled
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code.flow import Edge, Reached
    from vramguard.link.code.outputs import Outputs
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

_FAILED: Final = 400  # statuses from here on say that something went wrong
_PARSERS: Final = (
    "loads",
    "literal_eval",
    "safe_load",
    "full_load",
    "repair_json",
    "parse_json_markdown",
    "fromstring",
)
# What shows that a text comes from a wire, not from a model's own words.
_WIRE: Final = frozenset({
    "read", "iter_lines", "iter_content", "aiter_lines", "aiter_bytes", "json", "raise_for_status", "decode", "to_json",
    "model_dump_json", "dumps", "body", "Body", "payload", "PayloadPart", "bytes", "asdict", "as_numpy", "strip_data",
    "receive", "recv", "read_file", "open", "download",
})  # fmt: skip
_ASKING: Final = frozenset({
    "isinstance", "issubset", "issuperset", "validate", "isfinite", "isnan", "model_validate", "parse_obj", "check",
    "verify", "from_dict", "sanitize", "normalize", "isna",
})  # fmt: skip
_KEYS: Final = ("KeyError", "LookupError", "IndexError", "TypeError", "ValidationError")
_CHECKS: Final = ("validate", "check_", "is_valid", "verify")
_GUARDS: Final = ("member", "text", "schema", "bounds", "finite")
_CALLED: Final = frozenset({"function", "function_call"})  # where a model says what it wants to be called
_FEW: Final = 12  # values that a set is made of
_SCRIPTS: Final = ("-c", "-e", "-lc", "/c", "-Command", "--eval")  # of interpreters and shells
_BUILDERS: Final = ("sqlalchemy.", "sqlmodel.", "peewee.", "django.", "tortoise.", "pypika.")


class Handling:
    """Looks along the ways of answers."""

    def __init__(self, outputs: Outputs) -> None:
        self.outputs = outputs
        self.code = outputs.code

    # Schemas that are led around.

    def bypasses(self) -> Iterator[Bypass]:
        """Every schema that an answer is led around, once for each act."""
        seen = set[object]()
        for way in self.outputs.ways():
            for found in (self._response(way), self._undeclared(way), self._jsonify(way)):
                if found is not None and found.at not in seen:
                    seen.add(found.at)
                    yield found
        for call, row, reached in self.outputs.flows:
            for edge in reached.edges:
                found = self._constructed(call, row, reached, edge)
                if found is not None and found.at not in seen:
                    seen.add(found.at)
                    yield found

    def _response(self, way: Way) -> Bypass | None:
        """A response of the framework in a handler that declares a model."""
        surface = way.surface
        model = None if surface is None else self.outputs.models.response_model(surface)
        if model is None or self.outputs.is_stream(way):
            return None
        for ref in way.path:
            if ref.node.op != "call":
                continue
            if self.outputs.models.made(ref) is not None:
                return None  # what a model has asked about is only written out here
            row = self.code.row("response", ref)
            if row is not None and row.get("bypass") and not row.get("file") and not self._is_failure(ref):
                return self._bypass(way, ref, "response", self._model_name(model))
        return None

    def _is_failure(self, call: Ref) -> bool:
        """Whether a response says that something went wrong."""
        number = call.node.argument("status_code", 1)
        name = call.routine.function.nodes[number].name if number != NONE else ""
        digits = name if name.isdigit() else name.rpartition("HTTP_")[2][:3]
        return digits.isdigit() and int(digits) >= _FAILED

    def _undeclared(self, way: Way) -> Bypass | None:
        """`response_model=None` above a function that says which model it returns."""
        surface = way.surface
        if surface is None or surface.by is None or surface.by.node.op != "call" or self.outputs.is_stream(way):
            return None
        keyword = surface.row.get("response_keyword")
        declared = self.code.argument(surface.by, keyword) if keyword else None
        if declared is None or (declared.node.op, declared.node.name) != ("const", "None"):
            return None
        model = self.outputs.models.annotated(surface)
        if model is None or any(self.outputs.models.made(ref) for ref in way.path if ref.node.op == "call"):
            return None
        return self._bypass(way, declared, "undeclared", self._model_name(model))

    def _jsonify(self, way: Way) -> Bypass | None:
        """`jsonify` of a raw answer beside a schema of the module that has a field for it."""
        calls = [ref for ref in way.path if ref.node.op == "call"]
        last = next((ref for ref in reversed(calls) if self.code.written(ref).endswith("jsonify")), None)
        if last is None or self.code.row("response", last) is None:
            return None
        fields = set(self.outputs.fields(way))
        for schema in self._schemas(last.routine):
            if fields & self._field_names(schema) and not any(self._loads(ref, schema) for ref in calls):
                return self._bypass(way, last, "jsonify", schema.function.name)
        return None

    def _schemas(self, routine: Routine) -> Iterator[Routine]:
        """The schemas that a module has a name for, and that are no requests'."""
        top = self.code.program.routine(routine.module, 0)
        for name, numbers in top.function.names.items():
            if any(word in name.lower() for word in ("request", "input", "query", "param", "config", "setting")):
                continue
            for number in numbers:
                for one in self.code.meanings.of(Ref(top, number)):
                    owner = one.routine if isinstance(one, Own) and one.kind == "class" else None
                    if owner is not None and self.outputs.models.is_schema(owner):
                        yield owner

    @staticmethod
    def _field_names(schema: Routine) -> set[str]:
        return {name for name in schema.function.names if not name.startswith("_")} | {
            schema.function.nodes[number].name for number in schema.all_of("field")
        }

    def _loads(self, call: Ref, schema: Routine) -> bool:
        """Whether a call makes, loads or dumps something of a schema."""
        found = self.code.meanings.of(call.to(call.node.inputs[0]))
        if any(isinstance(one, Own) and one.routine is schema for one in found):
            return True
        function = call.to(call.node.inputs[0])
        base = self.code.meanings.of(function.to(function.node.inputs[0])) if function.node.op == "attr" else ()
        return any(isinstance(one, Own) and one.routine is schema for one in base)

    def _constructed(self, call: Ref, row: Row, reached: Reached, edge: Edge) -> Bypass | None:
        if edge.user.node.op != "call" or edge.position <= 0:
            return None
        model = self.outputs.models.constructed(edge.user)
        if model is None:
            return None
        way = Way(call, row, reached, edge.value, edge.user, None, None)
        return self._bypass(way, edge.user, "construct", model.function.name)

    def _bypass(self, way: Way, act: Ref, form: str, model: str) -> Bypass:
        words = "None" if form == "undeclared" else self.code.written(act)
        return Bypass(act.at, form, words, model, self.outputs.output(way), self.outputs.steps(way))

    def _model_name(self, model: Ref) -> str:
        return next((one.function.name for one in self.outputs.models.classes(model)), self.code.written(model))

    # Texts that are executed.

    def executions(self) -> Iterator[Execution]:
        """Every text of a model that is executed, or parsed and used as it is."""
        seen = set[object]()
        for call, row, reached in self.outputs.flows:
            if row["kind"] not in ("text", "any"):
                continue
            for edge in reached.edges:
                found = self._executed(call, row, reached, edge)
                if found is not None:
                    key = (call, edge.user.routine) if found.kind == "parse" else found.at
                    if key not in seen and found.at not in seen:
                        seen.update((key, found.at))
                        yield found

        yield from self._arguments(seen)

    def _arguments(self, seen: set[object]) -> Iterator[Execution]:
        """`json.loads(call.function.arguments)`: what a model has written for a tool, wherever it came from."""
        for routine in self.code.routines:
            for number in (*routine.all_of("attr"), *routine.all_of("item")):
                ref = Ref(routine, number)
                if "arguments" in keys(ref) and not _CALLED.isdisjoint(keys(ref.to(ref.node.inputs[0]))):
                    yield from self._parsed(ref, seen)

    def _parsed(self, given: Ref, seen: set[object]) -> Iterator[Execution]:
        """Where the arguments of a tool are taken apart, and nothing asks what they hold."""
        for edge in self.code.flow.forward(given).edges:
            user = edge.user
            if user.node.op != "call" or edge.position != 1 or user.at in seen or not self._parses(user):
                continue
            seen.add(user.at)
            if not self._is_checked(user) or self._is_carried_out(user):
                act = self.code.written(user)
                words = spelled(given)
                first = Step(given.at, f"`{words}` is what a model wrote for a tool")
                output = ModelOutput(given.at, words, "text", self.code.name(given.routine))
                yield Execution(user.at, "parse", act, output, (first, Step(user.at, _DOES["parse"].format(act))))

    def _parses(self, call: Ref) -> bool:
        """Whether a call takes a text apart."""
        known = self.code.written(call).rpartition(".")[2] in _PARSERS
        return known and self.code.row("parse", call) is not None

    def _executed(self, call: Ref, row: Row, reached: Reached, edge: Edge) -> Execution | None:
        user = edge.user
        if user.node.op == "item" and edge.position == 1:
            kind = "tool" if self._names_names(user) else ""
        elif user.node.op == "call" and edge.position > 0 and row["kind"] == "text":
            kind = self._kind(reached, edge)
        else:
            kind = ""
        way = Way(call, row, reached, edge.value, user, None, None)
        if not kind or (kind != "parse" and self._is_asked(way)):
            return None
        act = self.code.written(user.to(user.node.inputs[0]) if user.node.op == "item" else user)
        steps = (*self.outputs.steps(way)[:-1], Step(user.at, _DOES[kind].format(act)))
        return Execution(user.at, kind, act, self.outputs.output(way), steps)

    def _names_names(self, item: Ref) -> bool:
        """`globals()[name]`."""
        base = item.to(item.node.inputs[0])
        return base.node.op == "call" and bool(
            self.code.meanings.called(base) & {"builtins.globals", "builtins.locals", "builtins.vars"}
        )

    def _kind(self, reached: Reached, edge: Edge) -> str:
        """What a call does with a text that it is given."""
        user = edge.user
        row = self.code.row("execute", user)
        if row is not None:
            kind = str(row["kind"]) if self._takes(user, edge, row) else ""
            return kind if kind and self._is_whole(reached, edge, kind) else ""
        if not self._parses(user):
            return ""
        if edge.position != 1 or self.outputs.chains.structured(reached.source) is not None:
            return ""
        if self._is_wired(reached, edge) or self._is_checked(user):
            return ""
        return "parse"

    @staticmethod
    def _takes(user: Ref, edge: Edge, row: Row) -> bool:
        """Whether what it executes is in the argument that the text became."""
        keyword = user.node.keywords[edge.position - 1]
        place = sum(1 for word in user.node.keywords[: edge.position - 1] if not word)
        return (keyword or place) in row["of"]

    def _is_whole(self, reached: Reached, edge: Edge, kind: str) -> bool:
        """Whether the text itself is executed, and is no argument of a program or value of a statement."""
        path = reached.path(edge.value)
        if kind == "sql":
            calls = [ref for ref in path[1:] if ref.node.op == "call"]
            called = {one for ref in calls for one in self.code.meanings.called(ref)}
            built = {one for one in called if one.startswith(_BUILDERS) and not one.endswith(".text")}
            makes = any(self.code.own_class(ref) is not None for ref in calls)
            return not built and not makes and not self._is_value(path)
        if kind == "shell" and edge.value.node.op in ("items", "grown"):
            shell = self.code.argument(edge.user, "shell")
            first = edge.value.node.inputs[0] if edge.value.node.inputs else NONE
            shelled = shell is not None and shell.node.name == "True"
            return shelled or edge.value.to(first) in reached or self._is_script(reached, edge.value)
        return True

    @staticmethod
    def _is_script(reached: Reached, command: Ref) -> bool:
        """Whether what follows `-c` in a command is the text: `["python", "-c", code]`."""
        parts = list(command.inputs())
        return any(ref.node.name.strip("'\"") in _SCRIPTS and after in reached for ref, after in pairwise(parts))

    @staticmethod
    def _is_value(path: list[Ref]) -> bool:
        """Whether a text is a parameter of a statement: it came through a tuple, a list or a table."""
        return path[-1].node.op in ("items", "table")

    def _is_asked(self, way: Way) -> bool:
        """Whether the text had to be one of a set, or to pass a test, to come here."""
        path = way.path
        if any(ref.node.op == "call" and self._restricts(ref) for ref in path[1:-1]):
            return True
        names = frozenset(key for ref in path for key in keys(ref))
        guards = (guard for guard in self.outputs.guards(way) if guard.kind in _GUARDS)
        return any(not (names and asks_another_key(guard, names)) for guard in guards)

    def _restricts(self, call: Ref) -> bool:
        """Whether a call refuses a text for what it says: a model whose fields are any texts does not."""
        made = self.outputs.models.made(call)
        if made is not None:
            return self.outputs.models.asks(made) == "schema"
        return self.code.row("validator", call) is not None

    def _refuses(self, call: Ref) -> bool:
        return self.code.row("validator", call) is not None or self.outputs.models.made(call) is not None

    def _is_wired(self, reached: Reached, edge: Edge) -> bool:
        """Whether a text is an envelope: it came over a wire as such, and a program has written it."""
        for ref in reached.path(edge.value)[1:]:
            node = ref.node
            nodes = ref.routine.function.nodes
            name = node.name if node.op == "attr" else ""
            if node.op == "item":
                name = nodes[node.inputs[1]].name.strip("'\"")
            elif node.op == "call":
                name = nodes[node.inputs[0]].name.rpartition(".")[2]
            if name in _WIRE:
                return True
        return bool(table("output").among(self.code.meanings.called(reached.source)) is None)

    def _is_checked(self, parse: Ref) -> bool:
        """Whether something asks what was parsed for its keys, its types or its values."""
        if self._caught(parse) or parse.number not in parse.routine.users:
            return True
        after = self.code.flow.forward(parse, lambda edge: edge.user.node.op == "call" and self._refuses(edge.user))
        return any(self._asks(edge, parse) for edge in after.edges)

    def _is_carried_out(self, parse: Ref) -> bool:
        """Whether a tool is run with what was parsed, as it is."""
        return not self._caught(parse) and carried_out(self.code, parse, lambda edge: self._asks(edge, parse))

    def _asks(self, edge: Edge, parse: Ref) -> bool:
        """Whether a use of what was parsed asks it for something."""
        user, node = edge.user, edge.user.node
        nodes = user.routine.function.nodes
        if node.op == "compare" and not any(nodes[number].name == "None" for number in node.inputs):
            return not self._is_remembered(user, edge)
        if node.op == "call":
            if self._refuses(user) or (edge.position > 0 and self.code.own_class(user) is not None):
                return True
            last = nodes[node.inputs[0]].name.rpartition(".")[2].lower()
            if last == "isinstance" and nodes[node.inputs[-1]].name == "str":
                return False
            if last.lstrip("_") in _ASKING or last.lstrip("_").startswith(_CHECKS):
                return True
        return user.routine is parse.routine and self._caught(user)

    @staticmethod
    def _is_remembered(test: Ref, edge: Edge) -> bool:
        """`if call in seen`: whether it has come before, of what is written out again as a key of a set."""
        if test.node.name not in ("in", "not in") or edge.position != 0:
            return False
        other = test.to(test.node.inputs[1])
        pending = [other]
        for ref in pending:
            if ref.node.op == "grown" and ref.node.name == "add":
                return True
            pending += list(ref.inputs())[: _FEW - len(pending)] if ref.node.op in ("join", "grown") else []
        return False

    def _caught(self, ref: Ref) -> bool:
        """Whether a handler stands around a use that knows of missing keys or of wrong types."""
        function = ref.routine.function
        for block in (function.blocks[one] for one in ref.routine.handlers(ref.node.block)):
            if block.test != NONE:
                test = function.nodes[block.test]
                names = [test, *(function.nodes[one] for one in test.inputs if one != NONE)]
                if any(one.name.rpartition(".")[2] in _KEYS for one in names):
                    return True
        return False


_DOES: Final = {
    "code": "`{}(…)` runs it",
    "shell": "`{}(…)` runs it as a command",
    "sql": "`{}(…)` runs it as a query",
    "tool": "`{}` looks up by it what to call",
    "parse": "`{}(…)` takes it apart, and nothing asks what it holds",
}


def bypasses(facts: Facts) -> tuple[Bypass, ...]:
    """Every schema that a model's answer is led around."""
    return facts.once("bypasses", lambda facts: tuple(Handling(joined(facts)).bypasses()))


def executions(facts: Facts) -> tuple[Execution, ...]:
    """Every text of a model that is executed, or used as data without a schema."""
    return facts.once("executions", lambda facts: tuple(Handling(joined(facts)).executions()))
