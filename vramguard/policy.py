"""What we demand: rules read from TOML, and the findings they make of problems."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard import checks
from vramguard.checks import Check, Evidence, Pin, Severity
from vramguard.extract.masking import masked, masked_within
from vramguard.memory import Proof
from vramguard.schema import ConfigError, decode, partial, suggestion
from vramguard.source import Document, Location, Unreadable, read
from vramguard.units import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.checks import Problem
    from vramguard.facts import Facts
    from vramguard.settings import Configuration
    from vramguard.source import KeyPath


@dataclass(frozen=True)
class Example:
    """Files that break a rule and files that keep it: the rule's tests and its page."""

    bad: Mapping[str, str] = field(default_factory=dict)
    good: Mapping[str, str] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True)
class Also:
    """A `[[rule.also]]`: a further kind of check for the same demand, in words of its own; its parameters beside it."""

    check: str
    message: str
    fix: str | None = None


@dataclass(frozen=True)
class Stanza:
    """A `[[rule]]` as it stands in a policy file, without the parameters of its check and its further checks."""

    id: str
    name: str
    check: str
    severity: Severity
    message: str
    why: str
    fix: str
    example: tuple[Example, ...] = ()


class Part(NamedTuple):
    """One kind of check of a rule with its parameters, and the words for what it finds."""

    check: Check
    message: str
    fix: str


class Edit(NamedTuple):
    """A stretch of a file, and the text that takes its place."""

    at: Location
    text: str


class Fix(NamedTuple):
    """Edits that mend a finding; the file's comments and layout stay."""

    what: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Finding:
    """A rule's word on a problem, ready for any report."""

    id: str
    name: str
    demand: int
    severity: Severity
    message: str
    at: Location
    help: str
    evidence: tuple[Evidence, ...] = ()
    fingerprint: str = ""
    amount: int = 1
    pins: tuple[Pin, ...] = ()
    fix: Fix | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    proof: Proof | None = None

    @property
    def order(self) -> tuple[Any, ...]:
        """Findings are sorted by place, then by rule."""
        return (self.at, self.id, self.message)


@dataclass(frozen=True)
class Rule:
    """A demand: a kind of check with its parameters, and the words for what it finds.

    `also`: further kinds of check for what breaks the same demand elsewhere: in code, and in manifests.
    """

    id: str
    name: str
    check: Check
    severity: Severity
    message: str
    why: str
    fix: str
    examples: tuple[Example, ...]
    at: Location
    also: tuple[Part, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every kind of check, the rule's own first."""
        return Part(self.check, self.message, self.fix), *self.also

    @property
    def demand(self) -> int:
        """Which of the demands it belongs to; 0 for the tool's own, 7 for the infrastructure around them."""
        return int(self.id[2])

    def judge(self, facts: Facts) -> Iterator[Finding]:
        """A finding for each problem that its checks see."""
        seen: Counter[str] = Counter()
        for part in self.parts:
            yield from self._worded(part, part.check.find(facts), facts, seen)

    def word(self, problems: Iterable[Problem], facts: Facts) -> Iterator[Finding]:
        """Problems that somebody else saw in this rule's words, each with a fingerprint that holds where lines move."""
        return self._worded(self.parts[0], problems, facts, Counter())

    def _worded(self, part: Part, problems: Iterable[Problem], facts: Facts, seen: Counter[str]) -> Iterator[Finding]:
        said: set[tuple[Location, str, Severity | None]] = set()
        for problem in problems:
            told = problem.at, self._words(part.message, problem.values), problem.severity
            if told in said:  # one template that several builds fill in, each with its own objects
                continue
            said.add(told)
            key = "\0".join((self.id, problem.at.path, problem.subject))
            seen[key] += 1
            yield self._finding(part, problem, f"{key}\0{seen[key]}", facts.classify(problem.at.path).value)

    def _finding(self, part: Part, problem: Problem, key: str, path_class: str) -> Finding:
        return Finding(
            id=self.id,
            name=self.name,
            demand=self.demand,
            severity=min(problem.severity or self.severity, self.severity),
            message=masked(self._words(part.message, problem.values)),
            at=problem.at,
            help=masked(self._words(part.fix, problem.values)),
            evidence=tuple(link._replace(what=masked(link.what)) for link in problem.evidence),
            fingerprint=hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32],
            amount=problem.amount,
            data={"path_class": path_class, **masked_within(dict(problem.data))},
            proof=problem.proof,
            pins=problem.pins,
        )

    def _words(self, text: str, values: Mapping[str, Any]) -> str:
        """`text` with its `{name}` and `{name:unit}` filled in: names only, so that a policy reaches nothing else."""

        def fill(match: re.Match[str]) -> str:
            name, unit = match.groups()
            if name not in values:
                supplied = ", ".join(values) or "nothing"
                raise ConfigError(f"{self.id} names {{{name}}}, but its check supplies {supplied}", self.at)
            try:
                return UNITS[unit or "plain"](values[name])
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{self.id} shows {{{name}}} as {unit}, but it is no number", self.at) from error

        return _NAME.sub(fill, text)


_NAME = re.compile(r"\{([a-z_]+)(?::(" + "|".join(UNITS) + r"))?\}")
_BRACES = re.compile(r"\{[^{}]*\}")
_STANZA_KEYS = frozenset((*(part.name for part in dataclasses.fields(Stanza)), "also"))
_ALSO_KEYS = frozenset(part.name for part in dataclasses.fields(Also))


def builtin() -> Path:
    """The folder of our own policies: inside an installed package, one folder up in a working copy."""
    package = Path(__file__).parent
    return next(folder for folder in (package / "policies", package.parent / "policies") if folder.is_dir())


def load_rules(extra: Iterable[tuple[str, bytes]] = (), only: frozenset[str] | None = None) -> list[Rule]:
    """Our own rules and those of further policy files, given as (path, bytes). Raises `ConfigError`.

    `only`: the kinds of check that are asked for; stanzas of others are not read, which saves their modules.
    """
    files = [(path.name, path.read_bytes()) for path in sorted(builtin().glob("*.toml"))]
    rules: dict[str, Rule] = {}
    for path, data in (*files, *extra):
        for rule in _rules_of(path, data, only):
            if rule.id in rules:
                raise ConfigError(f"rule {rule.id} again; ids are never reused", rule.at)
            rules[rule.id] = rule
    return sorted(rules.values(), key=lambda rule: rule.id)


def _rules_of(path: str, data: bytes, only: frozenset[str] | None) -> Iterator[Rule]:
    document = read(path, data, kind="toml")
    if isinstance(document, Unreadable):
        raise ConfigError(document.reason, document.at)
    for key in document.value:
        if key != "rule":
            raise ConfigError(f"unknown key `{key}`{suggestion(key, ['rule'])}", document.key_at(key))
    stanzas = document.value.get("rule", [])
    if not isinstance(stanzas, list):
        raise ConfigError("rules are `[[rule]]` tables", document.at("rule"))
    for number, table in enumerate(stanzas):
        if only is None or not isinstance(table, Mapping) or any(kind in only for kind in _kinds(table)):
            yield _rule(document, number, table)


def _kinds(table: Mapping[str, Any]) -> list[object]:
    """The kinds of check of a stanza, as written."""
    inner = (part.get("check") for part in _parts(table))
    return [table.get("check"), *inner]


def _rule(document: Document, number: int, table: Mapping[str, Any]) -> Rule:
    keys = ("rule", number)
    parameters = {key: value for key, value in table.items() if key not in _STANZA_KEYS}
    stanza = decode(Stanza, document, keys, table, skip=frozenset((*parameters, "also")))
    if not re.fullmatch(r"VG\d{3}", stanza.id):
        raise ConfigError(f"`{stanza.id}` is no rule id: VG and three digits", document.at(*keys, "id"))
    _refuse_braces(stanza, document, keys)
    if not isinstance(table.get("also", []), list):
        raise ConfigError("further checks are `[[rule.also]]` tables", document.at(*keys, "also"))
    check = _check(stanza.check, document, keys, parameters)
    words = (stanza.severity, stanza.message, stanza.why, stanza.fix, stanza.example)
    also = tuple(_also(document, (*keys, "also", part), inner, stanza) for part, inner in enumerate(_parts(table)))
    return Rule(stanza.id, stanza.name, check, *words, document.at(*keys, "id"), also)


def _parts(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = table.get("also", [])
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def _also(document: Document, keys: KeyPath, table: Mapping[str, Any], stanza: Stanza) -> Part:
    parameters = {key: value for key, value in table.items() if key not in _ALSO_KEYS}
    also = decode(Also, document, keys, table, skip=frozenset(parameters))
    _refuse_braces(also, document, keys)
    return Part(_check(also.check, document, keys, parameters), also.message, also.fix or stanza.fix)


def _refuse_braces(words: Stanza | Also, document: Document, keys: KeyPath) -> None:
    """Raise `ConfigError` for what looks like a name to fill in, and is none."""
    for key in ("message", "fix"):
        for found in _BRACES.findall(getattr(words, key) or ""):
            if not _NAME.fullmatch(found):
                units = ", ".join(UNITS)
                raise ConfigError(f"`{found}` is no {{name}} or {{name:unit}}; units: {units}", document.at(*keys, key))


def _check(name: str, document: Document, keys: KeyPath, parameters: Mapping[str, Any]) -> Check:
    kind = checks.kind(name)
    if kind is None:
        hint = suggestion(name, checks.load())
        raise ConfigError(f"unknown kind of check `{name}`{hint}", document.at(*keys, "check"))
    return decode(kind, document, keys, parameters)


def selected(rules: list[Rule], configuration: Configuration, *, whole: bool = True) -> list[Rule]:
    """The rules that a configuration asks for, with their parameters and severities. Raises `ConfigError`.

    Where `rules` are not the `whole` policy, words that stand for none of them are not refused.
    """
    settings = configuration.settings
    if whole:
        _refuse_unknown([rule.id for rule in rules], configuration)
    if not settings.select:
        raise ConfigError("`select` names no rule, so nothing would be judged", configuration.places.get("select"))
    return [
        _configured(rule, configuration)
        for rule in rules
        if rule.id.startswith(settings.select) and not (settings.ignore and rule.id.startswith(settings.ignore))
    ]


def _refuse_unknown(known: list[str], configuration: Configuration) -> None:
    """Raise `ConfigError` for a word that stands for no rule: `select`, `ignore` and waivers may shorten an id."""
    settings = configuration.settings
    shortened = {"select": settings.select, "ignore": settings.ignore}
    shortened["waiver"] = tuple(word for waiver in settings.waiver for word in waiver.rules)
    shortened["evidence"] = tuple(word for table in settings.evidence for word in table.rules)
    for key, words in {**shortened, "severity": tuple(settings.severity), "rules": tuple(settings.rules)}.items():
        for word in words:
            meant = [name for name in known if word and name.startswith(word)]
            if word not in known and not (meant and key in shortened):
                raise ConfigError(f"no rule `{word}`{suggestion(word, known)}", configuration.places.get(key))


def _configured(rule: Rule, configuration: Configuration) -> Rule:
    """The rule with the parameters that the configuration gives it: each to those of its checks that have it."""
    own = configuration.settings.rules.get(rule.id, {})
    _refuse_strange(rule, own, configuration)
    check = _with_parameters(rule, rule.check, configuration)
    also = tuple(part._replace(check=_with_parameters(rule, part.check, configuration)) for part in rule.also)
    severity = configuration.settings.severity.get(rule.id, rule.severity)
    return dataclasses.replace(rule, check=check, also=also, severity=severity)


def parameters_of(check: Check) -> list[str]:
    """The names of a check's parameters."""
    return [parameter.name for parameter in dataclasses.fields(check)]  # type: ignore[arg-type]


def _refuse_strange(rule: Rule, own: Mapping[str, Any], configuration: Configuration) -> None:
    """Raise `ConfigError` for a parameter that none of a rule's several checks has; one check says so itself."""
    known = [name for part in rule.parts for name in parameters_of(part.check)]
    for key in own if rule.also else ():
        if key not in known:
            document, keys = configuration.parameters[rule.id]
            raise ConfigError(f"unknown key `{key}`{suggestion(key, known)}", document.key_at(*keys, key))


def _with_parameters(rule: Rule, check: Check, configuration: Configuration) -> Check:
    settings = configuration.settings
    names = set(parameters_of(check))
    general = {key: getattr(settings, key) for key in ("budget", "gpu", "concurrency", "catalogue")}
    changes: dict[str, Any] = {key: value for key, value in general.items() if value is not None and key in names}
    places = {key: configuration.places.get(key) for key in changes}
    if rule.id in configuration.parameters:
        document, keys = configuration.parameters[rule.id]
        table = settings.rules[rule.id]
        own = partial(type(check), document, keys, _meant(table, names) if rule.also else table)
        changes |= own
        places |= {key: document.at(*keys, key) for key in own}
    for name, value in changes.items():
        try:
            check = dataclasses.replace(check, **{name: value})  # type: ignore[type-var]
        except ValueError as error:  # the check refuses the value
            raise ConfigError(str(error), places[name]) from error
    return check


def _meant(table: Mapping[str, Any], names: set[str]) -> Mapping[str, Any]:
    return {key: value for key, value in table.items() if key in names}
