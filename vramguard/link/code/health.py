"""Routes that say how an application is, and whether they ask what it is for: its model."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.services import HealthRoute
from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import table
from vramguard.link.code.serving import called, serving
from vramguard.link.code.timeouts import waits
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.link.code.program import Routine
    from vramguard.link.code.surfaces import Surface

_LEXICON: Final = frozenset({
    "health", "healthz", "healthcheck", "health_check", "health-check", "healthy", "ready", "readyz", "readiness",
    "live", "livez", "liveness", "ping", "status", "alive", "up", "heartbeat", "heart_beat", "is_alive", "isalive",
    "is_ready", "is_healthy", "get_health", "check_health", "liveness_check", "readiness_check", "liveness_probe",
    "readiness_probe", "health_status", "get_status", "server_status", "system_status", "service_status", "api_health",
    "api_status",
})  # fmt: skip
_ANSWERS: Final = re.compile(
    r"(^|[/_\-{])(predict|predictions?|infer|inference|forecasts?|recommendations?|recommend|generate|completions|classify"
    r"|transcribe|embeddings?)\b",
    re.IGNORECASE,
)
_TEXT: Final = frozenset({
    "isoformat", "strftime", "format", "join", "strip", "upper", "lower", "total_seconds", "timestamp", "get", "dict",
    "items", "model_dump", "keys", "utcnow", "now", "replace", "split", "astimezone", "encode", "json", "to_dict",
    "update", "append", "title",
})  # fmt: skip
_SETTINGS: Final = re.compile(r"settings|config|conf$|cfg$|options|constants|env", re.IGNORECASE)
_OF_APP: Final = frozenset(
    {"version", "title", "description", "name", "debug", "config", "openapi_version", "docs_url", "root_path"}
)
_OF_REQUEST: Final = frozenset(
    {"method", "url", "headers", "client", "path", "remote_addr", "base_url", "host", "query_params"}
)
# Words before `status` in a path that leave it the service's own: the status of a task or of a limit is no health.
_GENERAL: Final = re.compile(r"api|v\d+|health|server|service|system|app|status|internal|admin|monitoring|_*")
_REDIRECTS: Final = ("RedirectResponse", "redirect", "HttpResponseRedirect", "Redirect")
# A root that is described as the check of the service's health, and as nothing else beside it.
_CHECKS: Final = re.compile(
    r"\b(?:health|liveness|readiness|heartbeat)[ -]?(?:check|probe|endpoint|status)|\bhealthcheck\b", re.I
)
_NOT_YET: Final = ("None", "False")  # with what a flag begins that somebody sets: `{"ready": False}`
_WELL: Final = frozenset({"healthy", "ok", "alive", "up", "live", "ready"})
# What the rows of `aside` touch: the machine tells whether there is a card, a file or an object, and no model's answer.
_TOUCHES: Final = {"shallow": (), "store": ("store",), "machine": ("state",)}
_DEEP: Final = 4
_ALIKE: Final = 3  # methods of one name
_ROUTES: Final = 4  # of an application's health that are shown


class Health:
    """Finds health routes and asks what they touch."""

    def __init__(self, facts: Facts) -> None:
        self.serving = serving(facts)
        self.code = self.serving.code
        self.waits = waits(facts)

    def routes(self) -> Iterator[HealthRoute]:
        """Of each application the constant routes of its health, or one that asks something."""
        apps: dict[Hashable, list[Surface]] = defaultdict(list)
        for surface in sorted(
            self.serving.surfaces.values(), key=lambda one: (one.routine.path, one.routine.function.line)
        ):
            if surface.kind == "http" or (surface.kind == "rpc" and surface.by is not None):
                apps[self.serving.app(surface)].append(surface)
        for surfaces in apps.values():
            routes = [one for one in surfaces if one.by is not None]
            routes = [one for one in routes if not self._sends_on(one.routine)]
            health = [one for one in routes if self.is_health(one)] or [one for one in routes if self._says_so(one)][:1]
            named = [(one, self.touched(one.routine)) for one in health]
            constant = [one for one, touched in named if not touched and self._answers(one.routine)]
            if not named:
                continue
            deep = any(touched - {"store"} for _, touched in named)
            model = self._model(surfaces) or self._beside(surfaces)
            for one in constant[:_ROUTES] or [named[0][0]]:
                others = tuple(
                    Step(self.serving.at(other.routine), f"`{self.path(other)}` is constant too")
                    for other in constant[:_ROUTES]
                    if other is not one
                )
                at, name = self.serving.at(one.routine), self.code.name(one.routine)
                yield HealthRoute(at, name, self.path(one), bool(constant), model, deep, others)

    # Which routes those are.

    def path(self, surface: Surface) -> str:
        """The route's path as written, its router's prefix before it."""
        by = surface.by
        if by is None or by.node.op != "call":
            return ""
        given = next(
            (one for word in ("path", "rule", "uri") if (one := self.code.argument(by, word)) is not None), None
        )
        given = given or self.code.argument(by, "#", 0)
        text = given.node.name.strip("'\"") if given is not None and given.node.op == "const" else ""
        function = by.to(by.node.inputs[0])
        if function.node.op == "attr":
            for made in self.serving.origins(function.to(function.node.inputs[0]))[:1]:
                for word in ("prefix", "url_prefix"):
                    prefix = self.code.argument(made, word)
                    if prefix is not None and prefix.node.op == "const" and prefix.node.name[:1] in "'\"":
                        text = prefix.node.name.strip("'\"").rstrip("/") + "/" + text.lstrip("/")
        return text

    def is_health(self, surface: Surface) -> bool:
        """Whether a route's last word, or its function, is of the lexicon, and it asks for nothing in particular."""
        path = self.path(surface).lower()
        if "{" in path or "<" in path:
            return False
        words = [word for word in path.split("/") if word]
        name = surface.routine.function.name.lower().strip("_")
        in_path = bool(words) and (words[-1] in _LEXICON or words[-1].replace("-", "_") in _LEXICON)
        if in_path and words[-1] == "status" and not all(_GENERAL.fullmatch(word) for word in words[:-1]):
            return False
        in_path = in_path or "health" in words
        return (in_path or (name in _LEXICON and len(words) <= 1)) and self._asks_nothing(surface.routine)

    def _says_so(self, surface: Surface) -> bool:
        """Whether the root answers that all is well, `{"status": "healthy"}`, or is described as a health check."""
        if self.path(surface) != "/" or not self._asks_nothing(surface.routine):
            return False
        if _CHECKS.search(surface.routine.function.says):
            return True
        nodes = surface.routine.function.nodes
        for made in (node for node in nodes if node.op == "table"):
            for key, value in zip(made.inputs[::2], made.inputs[1::2], strict=True):
                word = nodes[value].name.strip("'\"").lower() if nodes[value].op == "const" else ""
                if "HTTPStatus.OK" in self.code.meanings.written(Ref(surface.routine, value)):
                    return True
                if key != NONE and nodes[key].name.strip("'\"").lower() in ("status", "health") and word in _WELL:
                    return True
        return False

    def _asks_nothing(self, routine: Routine) -> bool:
        for parameter in routine.function.parameters:
            if parameter.name in ("self", "cls", "request", "req", "response", "_", "_request") or parameter.stars:
                continue
            if parameter.default == NONE and parameter.annotation == NONE and parameter.name not in ("_", "event"):
                return False
            around = self.code.program.parent(routine)
            depends = parameter.default != NONE and Ref(around, parameter.default).node.op == "call"
            written = self.code.written(Ref(around, parameter.annotation)) if parameter.annotation != NONE else ""
            if not depends and written.rpartition(".")[2] not in (
                "Request",
                "Response",
                "HttpRequest",
                "Annotated",
                "HTTPConnection",
            ):
                return False
        return True

    @staticmethod
    def _answers(routine: Routine) -> bool:
        """Whether a route gives an answer, if it be an empty one; what only raises gives none."""
        ops = {node.op for node in routine.function.nodes}
        return any(node.op == "return" and node.inputs for node in routine.function.nodes) or "raise" not in ops

    def _sends_on(self, routine: Routine) -> bool:
        """Whether a route only sends on to another one, which is judged by itself."""
        given = [Ref(routine, node.inputs[0]) for node in routine.function.nodes if node.op == "return" and node.inputs]
        return bool(given) and all(one.node.op == "call" and called(one) in _REDIRECTS for one in given)

    # What a route touches.

    def touched(self, routine: Routine, depth: int = 0) -> set[str]:
        """What a function touches beyond constants: store, model, state; `call` beside it where that calls what nobody
        here knows. Empty: its answer is always the same.
        """
        found: set[str] = set()
        if depth > _DEEP or self.waits.models.get(routine):
            return {"model"}
        for number, node in enumerate(routine.function.nodes):
            ref = Ref(routine, number)
            if node.op == "call":
                found |= self._called(ref, depth)
            elif node.op == "name":
                found |= self._read(ref)
            elif node.op == "attr":
                found |= self._attribute(ref)
            elif node.op == "import":  # in the function itself
                found |= self._bound(ref)
            elif node.op in ("global", "yield"):
                found.add("state")
        for _, inner in self.serving.depended(routine):
            found |= self.touched(inner, depth + 1)
        return found

    def _called(self, call: Ref, depth: int) -> set[str]:
        function = call.to(call.node.inputs[0])
        own = self.code.meanings.routines(call)
        if any(isinstance(one, Own) and one.kind == "class" for one in self.code.meanings.of(function)):
            return set()  # a schema of the repository
        if own:
            return set().union(*(self.touched(one, depth + 1) for one in own if one is not call.routine))
        row = table("aside", "aside").among(self.code.meanings.called(call))
        if row is not None:
            return set(_TOUCHES[row["kind"]])
        if function.node.op == "attr" and (named := self._named.get(function.node.name, ())):
            return {"state"}.union(*(self.touched(one, depth + 1) for one in named if one != call.routine))
        is_text = function.node.op == "attr" and function.node.name in _TEXT
        return self._held(function) if is_text else {"state", "call"}

    @cached_property
    def _named(self) -> dict[str, list[Routine]]:
        """Methods by names of several words, which hardly anybody else gives; at most three of a name."""
        found: dict[str, list[Routine]] = defaultdict(list)
        for routine in self.code.routines:
            name = routine.function.name
            if "_" in name.strip("_") and not name.startswith("__") and self.code.program.owner(routine) is not None:
                found[name].append(routine)
        return {name: routines for name, routines in found.items() if len(routines) <= _ALIKE}

    def _held(self, ref: Ref) -> set[str]:
        """What a method of a text or a table is called on: state, where it is a table of the module that is filled."""
        base = ref.to(ref.node.inputs[0])
        while base.node.op == "attr":
            base = base.to(base.node.inputs[0])
        if base.node.op == "param":
            return {"state"} if base.node.name in ("self", "cls") else set()
        if base.node.op != "name" or _SETTINGS.search(base.node.name):
            return set()
        found = self.code.program.lookup(base.routine, base.node.name)
        return set().union(*(self._bound(one) for one in found)) if found else set()

    def _read(self, ref: Ref) -> set[str]:
        """A name from around: a constant, something that is defined, the settings; or some state."""
        if self._goes_on(ref):
            return set()
        if _SETTINGS.search(ref.node.name) or ref.node.name in ("logger", "log"):
            return set()
        found = self.code.program.lookup(ref.routine, ref.node.name)
        return set().union(*(self._bound(one) for one in found)) if found else set()

    def _bound(self, ref: Ref) -> set[str]:
        node = ref.node
        if node.op in ("import", "def"):
            return self._imported(ref) if node.op == "import" else set()
        if node.op == "const":
            return {"state"} if node.name == "None" else set()
        if node.op in ("items", "table"):
            inner = list(ref.inputs())
            fixed = inner and all(one.node.op == "const" and one.node.name not in _NOT_YET for one in inner)
            return set() if fixed and not self._filled(ref) else {"state"}
        if node.op == "call":
            known = self._is_aside(self.code.meanings.called(ref), "shallow")
            return set() if known else {"state"}
        if node.op in ("format", "binary", "or", "item", "attr", "if"):
            return set()
        return {"state"}

    def _filled(self, ref: Ref) -> bool:
        """Whether a function puts something into a table of the module."""
        module = ref.routine.module
        names = {name for name, values in ref.routine.function.names.items() if ref.number in values}
        for number in range(1, len(module.functions)):
            routine = self.code.program.routine(module, number)
            nodes = routine.function.nodes
            for put in routine.all_of("setitem"):
                base = nodes[nodes[put].inputs[0]]
                if base.op == "name" and base.name in names:
                    return True
        return False

    def _imported(self, ref: Ref) -> set[str]:
        meanings = self.code.meanings.of(ref)
        if any(isinstance(one, Own) and one.kind == "instance" for one in meanings):
            owner = next(one.routine for one in meanings if isinstance(one, Own) and one.kind == "instance")
            return set() if owner is not None and _SETTINGS.search(owner.function.name) else {"state"}
        behind = self.serving.behind(ref)
        return set().union(*(self._bound(one) for one in behind if one.node.op != "import")) if behind else set()

    def _attribute(self, ref: Ref) -> set[str]:
        """What is read of an object: of settings, of the request, of the application's own description nothing."""
        if self._goes_on(ref):
            return set()
        chain, base = [ref.node.name], ref.to(ref.node.inputs[0])
        while base.node.op == "attr":
            chain.append(base.node.name)
            base = base.to(base.node.inputs[0])
        first, written = chain[-1], base.node.name
        if base.node.op == "param" and written not in ("self", "cls"):
            return set() if first in _OF_REQUEST or _SETTINGS.search(written) else {"state"}
        if base.node.op not in ("name", "param"):
            return set()  # of an answer that is judged by itself
        told = first in _OF_APP or first.isupper() or any(_SETTINGS.search(one) for one in (written, *chain[1:]))
        return set() if told else self._of(base, first)

    @staticmethod
    def _goes_on(ref: Ref) -> bool:
        """Whether all that uses a name or an attribute calls it or reads an attribute of it, and is judged instead."""
        nodes = ref.routine.function.nodes
        users = [nodes[user] for user in ref.routine.users.get(ref.number, ())]
        return bool(users) and all(
            one.op == "attr" or (one.op == "call" and one.inputs[0] == ref.number) for one in users
        )

    def _of(self, base: Ref, name: str) -> set[str]:
        for one in self.code.meanings.of(base):
            if isinstance(one, str) and self._is_aside([f"{one}.{name}"], "shallow"):
                return {"state"} if name == "state" else set()
            if isinstance(one, Own) and one.kind in ("class", "module"):
                return set() if one.kind == "class" else self._of_module(one, name)
        return {"state"}

    def _of_module(self, module: Own, name: str) -> set[str]:
        found = self.code.program.module(module.path)
        if found is None:
            return set()
        refs = self.code.program.lookup(self.code.program.routine(found, 0), name)
        return set().union(*(self._bound(one) for one in refs)) if refs else set()

    @staticmethod
    def _is_aside(paths: Iterable[str], kind: str) -> bool:
        row = table("aside", "aside").among(paths)
        return row is not None and row["kind"] == kind

    # What the application is for.

    def _model(self, surfaces: list[Surface]) -> Step | None:
        """Where a route of the application asks its model."""
        for surface in surfaces:
            if self.is_health(surface):
                continue
            for routine in self.serving.reached(surface.routine, beside=True):
                for call in self.asks.get(routine, ()):
                    route = self.path(surface) or surface.routine.function.name
                    return Step(call.at, f"`{route}` asks the model: `{self.code.written(call)}(…)`")
        return None

    @property
    def asks(self) -> dict[Routine, list[Ref]]:
        if not hasattr(self, "_known"):
            self._known: dict[Routine, list[Ref]] = defaultdict(list)
            for call, row in self.code.calls("output"):
                if not row.get("weak") or row["kind"] != "vector":
                    self._known[call.routine].append(call)
        return self._known

    def _beside(self, surfaces: list[Surface]) -> Step | None:
        """A route that is named for a model's answers, in a repository that has a model."""
        if not self.asks:
            return None
        for surface in surfaces:
            path = self.path(surface)
            if _ANSWERS.search(path) or _ANSWERS.search(surface.routine.function.name):
                return Step(
                    self.serving.at(surface.routine),
                    f"`{path or surface.routine.function.name}` gives a model's answers",
                )
        return None


def health(facts: Facts) -> Health:
    """What is known of health routes, joined once."""
    return facts.once("health", Health)


def health_routes(facts: Facts) -> tuple[HealthRoute, ...]:
    """The health of each application."""
    return facts.once("health-routes", lambda facts: tuple(health(facts).routes()))
