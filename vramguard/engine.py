"""The one loop: read, extract, judge, suppress, sort. Everything it calls is pure but for the tree's files."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard import policy, settings, suppression
from vramguard.beside import beside, processes, spread
from vramguard.classes import classifier
from vramguard.discover import matcher
from vramguard.extract import extract
from vramguard.facts import CodeModule, Facts, HelmChart, HelmRelease, Include, Kustomization
from vramguard.fixing import mended
from vramguard.forge import protections
from vramguard.hub import resolved
from vramguard.link.deployments import deployments
from vramguard.link.judging import UNSERVED, not_judged
from vramguard.policy import Finding, Rule
from vramguard.schema import ConfigError
from vramguard.settings import Configuration
from vramguard.source import Location, Unreadable, kind_of, read
from vramguard.source.heads import HEADERS, read_head
from vramguard.source.sampling import DATA, read_sample
from vramguard.suppression import Suppressed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vramguard.checks import Problem, Severity
    from vramguard.checks.vram import VramBudget
    from vramguard.discover import Tree
    from vramguard.facts import Deployment, Fact
    from vramguard.memory import Proof, Tracing
    from vramguard.source import Document
    from vramguard.suppression import Comment


@dataclasses.dataclass(frozen=True)
class Policy:
    """What one tree is judged by: a configuration and the rules that it selects. `words`: every rule by id."""

    configuration: Configuration
    rules: list[Rule]
    words: Mapping[str, Rule]


# Extractors whose facts only some demands ask for: what code does and declares, what trainers are told, and data.
_ASKED_BY: Mapping[str, tuple[int, ...]] = {"code": (3, 4, 5), "fields": (3,), "datafiles": (5,), "lightning": (3, 5)}
CODE = frozenset(_ASKED_BY)
_WORTH_PROCESSES = 256  # files
_APART = (4, 5)  # demands whose rules take about as long as all others on code
_PART = 16  # files that a process is handed at a time


class Extracted(NamedTuple):
    """What one file says: its facts, and the suppressions written in it."""

    facts: tuple[Fact, ...]
    comments: tuple[Comment, ...] = ()


@dataclasses.dataclass(frozen=True)
class Report:
    """The answer: findings in order, what was accepted, what was not judged, and the proofs behind VG2xx."""

    findings: list[Finding]
    suppressed: list[Suppressed]
    facts: Facts
    files: int
    proofs: list[Proven]
    rules: Mapping[str, Rule]
    notes: list[str] = dataclasses.field(default_factory=list)  # what a reader has to know beside the findings
    baselined: int = 0  # findings that a base or a baseline already held

    def count(self, severity: Severity) -> int:
        """How many findings have exactly this severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def templates(self) -> int:
        """Files that a renderer has to fill in first."""
        return sum(fact.template for fact in self.facts.of(Unreadable))

    @property
    def not_judged(self) -> int:
        """Files and deployments that somebody else has to fill in first."""
        return self.templates + sum(1 for _ in not_judged(self.facts, frozenset(UNSERVED)))


class Proven(NamedTuple):
    """A proof, the place of the model's config and that config's digest (empty where there is none)."""

    proof: Proof
    at: Location
    sha256: str = ""
    model: str | None = None


def load_policy(
    tree: Tree,
    path: str | None = None,
    only: frozenset[str] | None = None,
    **overrides: Any,  # noqa: ANN401 - fields of Settings
) -> Policy:
    """The policy that stands in a tree: its configuration with the command line's `overrides`, and its rules.

    `only`: the kinds of check whose rules are asked for, where those of others need not be read.
    """
    configuration = settings.load(tree.read, path)
    online, audit = bool(overrides.pop("online", False)), bool(overrides.pop("audit", False))
    osv_url = overrides.pop("osv_url", None)
    chosen = {key: value for key, value in overrides.items() if value is not None}
    configuration = dataclasses.replace(
        configuration,
        online=online,
        audit=audit or osv_url is not None,
        osv_url=osv_url,
        settings=dataclasses.replace(configuration.settings, **chosen),
        places={key: place for key, place in configuration.places.items() if key not in chosen},
    )
    extra = [(name, _policy_file(tree, configuration, name)) for name in configuration.settings.policies]
    rules = policy.load_rules(extra, only)
    chosen_rules = policy.selected(rules, configuration, whole=only is None)
    return Policy(configuration, chosen_rules, {rule.id: rule for rule in rules})


def _policy_file(tree: Tree, configuration: Configuration, name: str) -> bytes:
    data = tree.read(configuration.resolve(name))
    if data is None:
        raise ConfigError(f"the policy file `{name}` is not there", configuration.at("policies"))
    return data


def check(tree: Tree, by: Policy, only: Iterable[str] = (), jobs: int = 1) -> Report:
    """Judge one tree. `only`: folders and files to which the report is narrowed; the tree is read whole all the same,
    because a lock, an included file or a model's config may stand elsewhere. `jobs`: processes that read.
    """
    with _uncollected():
        return _judged(tree, by, tuple(only), jobs)


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is read stays until the report stands, so that looking for garbage in it only costs time: half of all."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _judged(tree: Tree, by: Policy, only: tuple[str, ...], jobs: int) -> Report:
    files, facts = gather(tree, by.configuration, only, jobs, _unasked(by))
    findings = _findings(by.rules, facts, jobs)
    comments = [comment for found in files.values() for comment in found.comments]
    outcome = suppression.apply(findings, comments, by.configuration, frozenset(rule.id for rule in by.rules))
    kept = [*outcome.kept, *own_findings(by, facts, outcome.problems)]
    within = _within(only)
    return Report(
        findings=sorted(
            mended((found for found in kept if _concerns(found, within)), tree.read), key=lambda found: found.order
        ),
        suppressed=[item for item in outcome.suppressed if _concerns(item.finding, within)],
        facts=facts,
        files=sum(map(within, files)),
        proofs=[proven for proven in proofs(facts, by) if within(proven.at.path)],
        rules=by.words,
    )


def _unasked(by: Policy) -> frozenset[str]:
    """Extractors whose facts no selected rule asks for: what code does is only taken apart for demands 3 to 5."""
    judged = {rule.demand for rule in by.rules}
    return frozenset(name for name, demands in _ASKED_BY.items() if judged.isdisjoint(demands))


def _findings(rules: list[Rule], facts: Facts, jobs: int) -> list[Finding]:
    """What the rules find. Those of some demands are judged beside the others, where there is much code."""
    apart = [rule for rule in rules if rule.demand in _APART]
    rest = [rule for rule in rules if rule.demand not in _APART]
    worth = bool(apart and rest) and _is_much(facts, jobs)
    if worth:
        from vramguard.link.code.outputs import joined

        joined(facts).surfaces  # noqa: B018 - kept for both
    with beside(lambda: _judge(apart, facts), worth=worth) as there:
        found = _judge(rest, facts)
        return sorted([*there(), *found], key=lambda finding: finding.id)  # the order of the rules


def _judge(rules: list[Rule], facts: Facts) -> list[Finding]:
    return [finding for rule in rules for finding in rule.judge(facts)]


def _is_much(facts: Facts, jobs: int) -> bool:
    """Whether a process is worth its start where code is judged."""
    return processes(jobs) > 1 and len(facts.of(CodeModule)) >= _WORTH_PROCESSES


def own_findings(by: Policy, facts: Facts, problems: Iterable[tuple[str, Problem]]) -> Iterator[Finding]:
    """Findings of the tool's own rules, for problems that the engine or the governance saw; if they are selected."""
    problems = list(problems)
    for rule in by.rules:
        yield from rule.word((problem for name, problem in problems if name == rule.id), facts)


def _concerns(finding: Finding, within: Callable[[str], bool]) -> bool:
    """Whether a finding, or a link of what led to it, lies within: a model's folder hears of its deployment's fault."""
    return within(finding.at.path) or any(within(link.at.path) for link in finding.evidence)


def gather(
    tree: Tree,
    configuration: Configuration,
    only: Iterable[str] = (),
    jobs: int = 1,
    without: frozenset[str] = frozenset(),
) -> tuple[dict[str, Extracted], Facts]:
    """What every file of a kind we read says, and every file that those include, by path; and all facts together.

    `without`: extractors that are left out.
    """
    paths = tree.paths()  # asks git, so once
    excluded = matcher(configuration.settings.exclude)
    pending = {path: kind for path in paths if (kind := kind_of(path)) and not excluded(path)}
    pending |= {path: kind for path in only if (kind := kind_of(path, explicit=True)) and _is_there(tree, path)}
    pending |= {item.config: "json" for item in configuration.deployments if item.config}
    done: dict[str, Extracted] = {}
    gone: set[str] = set()  # listed, and no longer there
    while pending:
        found = _all_extracted(tree, pending, jobs, without)
        gone |= {path for path, said in found.items() if said is None and pending[path] not in (*HEADERS, *DATA)}
        done |= {path: extracted for path, extracted in found.items() if extracted is not None}
        targets = {target for extracted in found.values() if extracted for target in _included(extracted)}
        pending = {path: "requirements" for path in sorted(targets - done.keys()) if _is_there(tree, path)}
    every = [fact for extracted in done.values() for fact in extracted.facts]
    every += [*configuration.deployments, *configuration.calls, *configuration.gates]
    facts = Facts(every, classifier(configuration.settings.classes), set(paths) - gone)
    facts = _assembled(facts, tree, excluded, configuration)
    if configuration.online:
        facts = facts.adding(protections(facts, getattr(tree, "root", None)))
    return done, _completed(facts, configuration, ahead="code" not in without and _is_much(facts, jobs))


def _completed(facts: Facts, configuration: Configuration, *, ahead: bool) -> Facts:
    """The facts, what is deployed, and what others know of it. `ahead`: what calls mean is found at the same time."""
    code = None
    with beside(lambda: list(_told(deployments(facts), configuration)), worth=ahead) as told:
        if ahead:
            from vramguard.link.code import program

            code = program(facts)
            code.called  # noqa: B018 - it is kept
        found = facts.adding(told())
    found = found.adding(resolved(found, online=configuration.online))
    found = found.adding(_audited(found, configuration))
    if code is not None:
        code.hand_on(found)
    return found


def _audited(facts: Facts, configuration: Configuration) -> Iterable[Fact]:
    """What a service knows of the locked versions, where the command line lets one be asked."""
    if not configuration.audit:
        return ()
    from vramguard.audit import Service, audited

    return audited(facts, Service(configuration.osv_url))


def _told(found: Iterable[Deployment], configuration: Configuration) -> Iterator[Deployment]:
    """Deployments with what the configuration says of the paths that they name."""
    models = configuration.settings.models
    for item in found:
        held = models.get(item.model) if isinstance(item.model, str) else None
        assumed = (*item.assumed, f"`{item.model}` holds {held}, as the configuration says")
        if held is None:
            yield item
        elif held.endswith(".json"):
            yield dataclasses.replace(item, config=configuration.resolve(held), assumed=assumed)
        else:
            yield dataclasses.replace(item, holds=held, assumed=assumed)


def _assembled(facts: Facts, tree: Tree, excluded: Callable[[str], bool], configuration: Configuration) -> Facts:
    """The facts with what charts and overlays make of several files in the place of what each says by itself."""
    if not any(facts.of(kind) for kind in (HelmChart, HelmRelease, Kustomization)):
        return facts
    from vramguard.link import helm, kustomize

    def read(path: str) -> bytes | None:
        try:
            return None if excluded(path) else tree.read(path)
        except (OSError, ValueError):  # said by the file itself
            return None

    facts = kustomize.overlaid(helm.composed(facts, read), read)
    if configuration.settings.render:
        from vramguard.render import rendered

        return rendered(facts, helm.Charts(facts, read), UNSERVED)
    return facts


def _all_extracted(
    tree: Tree, pending: Mapping[str, str], jobs: int, without: frozenset[str]
) -> dict[str, Extracted | None]:
    """What each file says. Processes are worth their start only for many files."""
    if processes(jobs) == 1 or len(pending) < _WORTH_PROCESSES:
        return _part_extracted(tree, pending, without)
    # Facts of YAML hold their document, which costs more to hand over than to read: the last parts are done here.
    files = sorted(pending.items(), key=lambda item: item[1] == "yaml")
    parts = [dict(files[start : start + _PART]) for start in range(0, len(files), _PART)]
    found = spread(partial(_part_extracted, tree, without=without), parts, processes(jobs))
    said = {path: extracted for part in found for path, extracted in part.items()}
    return {path: said[path] for path in pending}


def _part_extracted(tree: Tree, part: Mapping[str, str], without: frozenset[str]) -> dict[str, Extracted | None]:
    return {path: _extracted(tree, path, kind, without) for path, kind in part.items()}


def _is_there(tree: Tree, path: str) -> bool:
    """Whether there is such a file, readable or not: one that is there and cannot be read is said by `_extracted`."""
    try:
        return tree.read(path) is not None
    except (OSError, ValueError):
        return True


def _included(extracted: Extracted) -> Iterator[str]:
    return (fact.target for fact in extracted.facts if isinstance(fact, Include) and isinstance(fact.target, str))


def _extracted(tree: Tree, path: str, kind: str, without: frozenset[str]) -> Extracted | None:
    """What one file says; None for one that is listed but not there (deleted and not yet committed)."""
    try:
        if kind in HEADERS:
            head = tree.head(path)
            return None if head is None else _said(read_head(path, head, kind), without)
        if kind in DATA:
            sample = None if "datafiles" in without else tree.sample(path, kind)
            return None if sample is None else _said(read_sample(path, sample, kind), without)
        data = tree.read(path)
    except (OSError, ValueError) as error:  # ValueError: a path that no system can open
        reason = getattr(error, "strerror", None) or str(error)
        return Extracted((Unreadable(Location(path), f"the system says: {reason}"),))
    return None if data is None else _of_bytes(path, kind, data, without)


@lru_cache(maxsize=100_000)  # base and head of a pull request share nearly every file
def _of_bytes(path: str, kind: str, data: bytes, without: frozenset[str]) -> Extracted:
    return _said(read(path, data, kind=kind), without)


def _said(document: Document | Unreadable, without: frozenset[str]) -> Extracted:
    if isinstance(document, Unreadable):
        return Extracted((document,))
    return Extracted(tuple(extract(document, without)), tuple(suppression.comments(document)))


def facts_of(tree: Tree, by: Policy, only: Iterable[str] = ()) -> list[Fact]:
    """Every fact of a tree in the order of their places, narrowed to `only`."""
    from vramguard.link.code import families

    only = tuple(only)
    within = _within(only)
    with _uncollected():
        _, facts = gather(tree, by.configuration, only, jobs=0)
        return [fact for fact in facts.adding(families.found(facts)) if within(fact.at.path)]


def _within(only: tuple[str, ...]) -> Callable[[str], bool]:
    folders = tuple(f"{path.rstrip('/')}/" for path in only)
    return lambda path: not only or path in only or path.startswith(folders)


def proofs(facts: Facts, by: Policy) -> list[Proven]:
    """The proof of every model that a selected VG2xx rule judges."""
    from vramguard.checks.vram import VramBudget

    judged = next((rule.check for rule in by.rules if isinstance(rule.check, VramBudget)), None)
    return [] if judged is None else [Proven(*item) for item in judged.proofs(facts)]


def prove_deployment(facts: Facts, judge: VramBudget, deployment: Deployment, tracing: Tracing | None = None) -> Proven:
    """The proof of one deployment by the terms of `judge`, and by `tracing` where it is given."""
    return Proven(*judge.prove_one(facts, deployment, tracing))
