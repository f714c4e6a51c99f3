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


@dataclass(frozen=True)
class Example:
    """Files that break a rule and files that keep it: the rule's tests and its page."""

    bad: Mapping[str, str] = field(default_factory=dict)
    good: Mapping[str, str] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True)
class Stanza:
    """A `[[rule]]` as it stands in a policy file, without the parameters of its check."""

    id: str
    name: str
    check: str
    severity: Severity
    message: str
    why: str
    fix: str
    example: tuple[Example, ...] = ()


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
    """A demand: a kind of check with its parameters, and the words for what it finds."""

    id: str
    name: str
    check: Check
    severity: Severity
    message: str
    why: str
    fix: str
    examples: tuple[Example, ...]
    at: Location

    @property
    def demand(self) -> int:
        """Which of the demands it belongs to; 0 for the tool's own, 7 for the infrastructure around them."""
        return int(self.id[2])

    def judge(self, facts: Facts) -> Iterator[Finding]:
        """A finding for each problem that the check sees."""
        return self.word(self.check.find(facts), facts)

    def word(self, problems: Iterable[Problem], facts: Facts) -> Iterator[Finding]:
        """The problems in this rule's words, each with a fingerprint that holds where lines move."""
        seen: Counter[str] = Counter()
        for problem in problems:
            key = "\0".join((self.id, problem.at.path, problem.subject))
            seen[key] += 1
            yield self._finding(problem, f"{key}\0{seen[key]}", facts.classify(problem.at.path).value)

    def _finding(self, problem: Problem, key: str, path_class: str) -> Finding:
        return Finding(
            id=self.id,
            name=self.name,
            demand=self.demand,
            severity=min(problem.severity or self.severity, self.severity),
            message=masked(self._words(self.message, problem.values)),
            at=problem.at,
            help=masked(self._words(self.fix, problem.values)),
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
_STANZA_KEYS = frozenset(stanza.name for stanza in dataclasses.fields(Stanza))


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
        asked = only is None or not isinstance(table, Mapping) or table.get("check") in only
        if asked:
            yield _rule(document, number, table)


def _rule(document: Document, number: int, table: Mapping[str, Any]) -> Rule:
    keys = ("rule", number)
    parameters = {key: value for key, value in table.items() if key not in _STANZA_KEYS}
    stanza = decode(Stanza, document, keys, table, skip=frozenset(parameters))
    if not re.fullmatch(r"VG\d{3}", stanza.id):
        raise ConfigError(f"`{stanza.id}` is no rule id: VG and three digits", document.at(*keys, "id"))
    for key in ("message", "fix"):
        for found in _BRACES.findall(getattr(stanza, key)):
            if not _NAME.fullmatch(found):
                units = ", ".join(UNITS)
                raise ConfigError(f"`{found}` is no {{name}} or {{name:unit}}; units: {units}", document.at(*keys, key))
    kind = checks.kind(stanza.check)
    if kind is None:
        hint = suggestion(stanza.check, checks.load())
        raise ConfigError(f"unknown kind of check `{stanza.check}`{hint}", document.at(*keys, "check"))
    check = decode(kind, document, keys, parameters)
    words = (stanza.severity, stanza.message, stanza.why, stanza.fix, stanza.example)
    return Rule(stanza.id, stanza.name, check, *words, document.at(*keys, "id"))


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
    for key, words in {**shortened, "severity": tuple(settings.severity), "rules": tuple(settings.rules)}.items():
        for word in words:
            meant = [name for name in known if word and name.startswith(word)]
            if word not in known and not (meant and key in shortened):
                raise ConfigError(f"no rule `{word}`{suggestion(word, known)}", configuration.places.get(key))


def _configured(rule: Rule, configuration: Configuration) -> Rule:
    settings = configuration.settings
    names = {parameter.name for parameter in dataclasses.fields(rule.check)}  # type: ignore[arg-type]
    general = {key: getattr(settings, key) for key in ("budget", "gpu", "concurrency", "catalogue")}
    changes: dict[str, Any] = {key: value for key, value in general.items() if value is not None and key in names}
    places = {key: configuration.places.get(key) for key in changes}
    if rule.id in configuration.parameters:
        document, keys = configuration.parameters[rule.id]
        own = partial(type(rule.check), document, keys, settings.rules[rule.id])
        changes |= own
        places |= {key: document.at(*keys, key) for key in own}
    check = rule.check
    for name, value in changes.items():
        try:
            check = dataclasses.replace(check, **{name: value})  # type: ignore[type-var]
        except ValueError as error:  # the check refuses the value
            raise ConfigError(str(error), places[name]) from error
    return dataclasses.replace(rule, check=check, severity=settings.severity.get(rule.id, rule.severity))
