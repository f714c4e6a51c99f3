"""Metrics that nobody exports: left out of the collector's list, renamed since, or misspelt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.extract.objects.dashboards import COUNTERS
from vramguard.facts import Deployment, Image, PythonMetrics
from vramguard.facts.outputs import Step
from vramguard.facts.values import UNREAD
from vramguard.link.cluster import cluster
from vramguard.link.telemetry import lookalikes, names
from vramguard.link.telemetry.collectors import exporters
from vramguard.link.telemetry.expressions import Asked, asked, once
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.telemetry.names import Family, Span


_SERIES: Final = frozenset(("_bucket", "_sum", "_count"))


@dataclass(frozen=True)
class Dead:
    """A metric that a query waits for in vain. `kind`: misspelt, left-out, renamed, unborn, unknown."""

    at: Location
    metric: str
    kind: str
    because: str
    instead: str
    asked: Asked
    steps: tuple[Step, ...] = ()


def dead(facts: Facts) -> tuple[Dead, ...]:
    """Each dead metric at every line that asks for it; a histogram once, whichever of its series are named."""
    return facts.once("dead-metrics", lambda facts: tuple(_dead(facts)))


def _dead(facts: Facts) -> Iterator[Dead]:
    seen: set[tuple[Location, str]] = set()
    judge = _Judge(facts)
    for one in asked(facts):
        for metric in one.query.metrics:
            found = judge.of(one, metric)
            if found and (key := (one.at, judge.plain(metric))) not in seen:
                seen.add(key)
                yield found


class _Judge:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.recorded = {one.name for one in asked(facts) if one.kind == "record"}
        self.exporters = exporters(facts)
        self.standard = [one for one in self.exporters if one.standard]
        lists = [one for one in once(cluster(facts).configured(COUNTERS)) if facts.classify(one.at.path) not in UNREAD]
        self.lists = lists
        self.listed = {name for one in lists for name in one.node.value}

    @staticmethod
    def plain(metric: str) -> str:
        """What a file's queries are told of once: a histogram, not each of its series."""
        family = names.family_of(metric)
        return names.base(metric, family.spans) if family else metric

    def of(self, one: Asked, metric: str) -> Dead | None:
        if metric in self.recorded:
            return None
        if names.is_dcgm(metric):
            return self._field(one, metric)
        family = names.family_of(metric)
        if family is not None:
            apart = not metric.startswith(family.prefix)  # a prefix that others have as well
            known = not apart or (lookalikes.runs(self.facts, family.name) and not lookalikes.renamed(self.facts))
            return self._engine(one, metric, metric, family) if known else None
        if one.kind == "autoscaler" and ":" not in metric and (found := self._bare(one, metric)):
            return found
        return None if one.aliased or one.kind == "adapter" or self._defined(metric) else self._foreign(one, metric)

    def _foreign(self, one: Asked, metric: str) -> Dead | None:
        """What is spelt like a program's that runs here, or like this repository's own."""
        found = lookalikes.lookalike(self.facts, metric) or lookalikes.unknown_own(self.facts, metric)
        if found is None:
            return None
        steps = (Step(found.at, "exports its metrics here"),) if found.at else ()
        kind = "misspelt" if found.meant and found.sure else "unknown"
        return Dead(one.place(metric), metric, kind, found.because, found.meant, one, steps)

    def _bare(self, one: Asked, metric: str) -> Dead | None:
        """What an autoscaler names without its engine's prefix; an adapter's configuration may give it any name."""
        if cluster(self.facts).configured("prometheus-adapter"):
            return None
        prefixed = ((family, f"{family.prefix}{metric}") for family in names.families() if ":" in family.prefix)
        found = (self._engine(one, metric, name, family) for family, name in prefixed if name in family.renamed)
        return next((dead_ for dead_ in found if dead_), None)

    def _field(self, one: Asked, metric: str) -> Dead | None:
        if metric in self.listed:
            return None
        if metric not in names.fields():
            return self._no_field(one, metric)
        if not self.lists and not (self.exporters and len(self.standard) == len(self.exporters)):
            return None
        if self.standard:
            return self._uncounted(one, metric)
        because = f"the exporter's list of counters ({self.lists[0].at.path}) leaves it out"
        steps = tuple(Step(held.at, f"exports {len(held.node.value)} fields, and not this one") for held in self.lists)
        return Dead(one.place(metric), metric, "left-out", because, "", one, steps[:3])

    def _no_field(self, one: Asked, metric: str) -> Dead | None:
        if one.kind == "autoscaler" and metric.startswith(tuple(names.fields())):
            return None  # `DCGM_FI_DEV_GPU_UTIL_AVG`: an adapter's own name for what it makes of a field
        meant = names.alike(metric, names.fields())
        if not meant and self._defined(metric):
            return None
        return Dead(one.place(metric), metric, "misspelt", "DCGM has no field of that name", meant, one)

    def _uncounted(self, one: Asked, metric: str) -> Dead | None:
        """A field that no list which an image of dcgm-exporter brings has ever had."""
        if metric in names.exported() or self._defined(metric):
            return None
        because = "dcgm-exporter is installed with the list of counters that its image brings, which has never had it"
        steps = tuple(Step(held.at, held.what) for held in self.standard[:2])
        return Dead(one.place(metric), metric, "left-out", because, "", one, steps)

    def _engine(self, one: Asked, written: str, metric: str, family: Family) -> Dead | None:
        plain = names.base(metric, family.spans)
        span = family.spans.get(plain)
        if plain in family.single and metric[len(plain) :] in _SERIES and not lookalikes.renamed(self.facts):
            because = f"`{plain}` of {family.name} is one number, with no buckets, sums or counts"
            return None if self._defined(metric) else Dead(one.place(metric), metric, "misspelt", because, "", one)
        foreign = names.base(metric, family.others) in family.others
        if foreign and (span is None or self._started(family.images)):
            return None
        if span is None:
            return self._unknown(one, metric, family)
        return self._outdated(one, written, plain, family, span)

    def _unknown(self, one: Asked, metric: str, family: Family) -> Dead | None:
        if self._defined(metric):
            return None
        meant = names.alike(names.base(metric, frozenset()), family.spans)
        if one.aliased and not (meant and ":" in metric):
            return None
        read = " to ".join(dict.fromkeys((family.versions[0], family.versions[-1])))
        because = f"no release of {family.name} that was read ({read}) has it"
        return Dead(one.place(metric), metric, "misspelt" if meant else "unknown", because, meant, one)

    def _outdated(self, one: Asked, metric: str, plain: str, family: Family, span: Span) -> Dead | None:
        """A name that the engine has given up, unless every release that this repository runs still has it."""
        runs = self._runs(family.name)
        known = [names.version(text) for _, text in runs]
        certain = bool(known) and all(known)
        if span.after:
            if (certain and max(known) < names.version(span.after)) or self._defined(metric, exported=True):
                return None
            because = f"{family.name} has not exported it since {span.after} (last in {span.last})"
            return Dead(
                one.place(metric), metric, "renamed", because, family.renamed.get(plain, ""), one, _steps(runs, span)
            )
        if certain and span.before and max(known) <= names.version(span.before):
            because = f"{family.name} exports it from {span.first} on, and {runs[0][1]} runs here"
            old = next((old for old, new in family.renamed.items() if new == plain), "")
            return Dead(one.place(metric), metric, "unborn", because, old, one, _steps(runs, span))
        return None

    def _runs(self, engine: str) -> list[tuple[Location, str]]:
        """The releases of an engine that this repository starts, empty for one that is not known."""
        return [
            (one.places.get("engine_version", one.at), names.release(self.facts, one))
            for one in self.facts.of(Deployment)
            if one.engine == engine and not one.training and self.facts.classify(one.at.path) not in UNREAD
        ]

    def _started(self, words: tuple[str, ...]) -> bool:
        """Whether an image of these words runs here."""
        images = (image for image in self.facts.of(Image) if self.facts.classify(image.at.path) not in UNREAD)
        return any(word in image.name for image in images for word in words)

    def _defined(self, metric: str, *, exported: bool = False) -> bool:
        """Whether this repository's own Python names it; `exported`: as what exports it does."""
        plain = names.base(metric, frozenset())
        wanted = {metric, plain, *(plain.removesuffix(end) for end in names.ADDED)}
        words = self.facts.once("metric-words", _words)
        return not wanted.isdisjoint(words[1] if exported else words[0])


def _steps(runs: list[tuple[Location, str]], span: Span) -> tuple[Step, ...]:
    said = f"the metric was last in {span.last}" if span.after else f"the metric came with {span.first}"
    return tuple(Step(at, f"runs {text or 'a release that is not named'}; {said}") for at, text in runs[:2])


def _words(facts: Facts) -> tuple[frozenset[str], frozenset[str]]:
    """Names under an engine's prefix, or DCGM's, in Python of this repository: all, and those that it exports."""
    modules = facts.of(PythonMetrics)
    named = frozenset(word for module in modules for word in module.words)
    return named, frozenset(word for module in modules for word in module.exports)
