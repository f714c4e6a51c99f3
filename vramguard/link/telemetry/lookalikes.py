"""Names that look like those of a program that runs here, and that neither it nor anything else here exports."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard import data
from vramguard.facts import Deployment, Image, PythonMetrics
from vramguard.facts.values import UNREAD
from vramguard.link.cluster import cluster
from vramguard.link.telemetry import names
from vramguard.link.telemetry.collectors import MONITORS, exporters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Facts
    from vramguard.source import Location

# Sources of languages in which nobody here looks for metrics. Pages for a browser export none.
_OTHER_LANGUAGES: Final = re.compile(r"\.(?:go|rs|java|kt|scala|cs|rb|php|exs?|c|cc|cpp|cu)$")
_SCRIPTS: Final = re.compile(r"\.(?:[cm]?[jt]s)$")
_PAGES: Final = re.compile(
    r"(?:^|/)(?:front-?end|ui|web|webapp|www|static|public|assets|client|docs?|site)(?:/|$)"
    r"|(?:^|/)(?:tests?|load[-_]?tests?|k6|benchmarks?)(?:/|$)"
    r"|k6|\.(?:config|test|spec)\.",
    re.IGNORECASE,
)
_RENAMERS: Final = re.compile(r"otel|opentelemetry|telegraf|vector:|statsd|datadog", re.IGNORECASE)


class Unexported(NamedTuple):
    """A name that nobody exports: why, what was meant, and where what exports others says so.

    `sure`: of an engine; an exporter of cards may be installed by another repository.
    """

    because: str
    meant: str
    at: Location | None = None
    sure: bool = True


@cache
def _rows() -> tuple[tuple[re.Pattern[str], Mapping[str, Any]], ...]:
    return tuple((re.compile(row["pattern"]), row) for row in data.load("metrics")["lookalike"])


def lookalike(facts: Facts, metric: str) -> Unexported | None:
    """A name spelt as one of an engine, or of an exporter of cards, that runs here and spells its own otherwise."""
    row = next((row for pattern, row in _rows() if pattern.fullmatch(metric)), None)
    if row is None or not runs(facts, row["of"]) or renamed(facts) or has_other_sources(facts, scripts=False):
        return None
    meant = next((found for found in _readings(row, metric) if _is_known(found)), "")
    return Unexported(str(row["because"]), meant, sure=row["of"] != "dcgm")


def _readings(row: Mapping[str, Any], metric: str) -> list[str]:
    return [own + metric.removeprefix(foreign) for foreign, own in row["read"] if metric.startswith(foreign)]


def _is_known(metric: str) -> bool:
    family = names.family_of(metric)
    return metric in names.fields() or (family is not None and names.base(metric, family.spans) in family.spans)


def runs(facts: Facts, program: str) -> bool:
    """Whether an engine is started here; of dcgm-exporter, whether it is the only exporter of cards."""
    if program == "dcgm":
        found = exporters(facts)
        return bool(found) and all(one.dcgm for one in found)
    running: frozenset[str] = facts.once("running-engines", _running)
    return program in running


def _running(facts: Facts) -> frozenset[str]:
    images = " ".join(one.name for one in facts.of(Image) if facts.classify(one.at.path) not in UNREAD)
    engines = {one.engine for one in facts.of(Deployment) if isinstance(one.engine, str) and not one.training}
    found = {name for name, word in (("triton", "tritonserver"), ("vllm", "vllm")) if word in images}
    return frozenset(found | engines)


def renamed(facts: Facts) -> bool:
    """Whether what passes metrics on here may give them other names: a collector of OpenTelemetry, a rule that does."""
    return facts.once("renamed-metrics", _renamed)


def _renamed(facts: Facts) -> bool:
    graph = cluster(facts)
    if graph.of("OpenTelemetryCollector") or any(_RENAMERS.search(one.name) for one in facts.of(Image)):
        return True
    if any("otel" in posixpath.basename(path).lower() for path in facts.paths):
        return True
    held = [*graph.of(*MONITORS), *graph.configured("prometheus"), *graph.configured("prometheus-stack")]
    return any("__name__" in str(one.node.value) for one in held)


def has_other_sources(facts: Facts, *, scripts: bool) -> bool:
    """Whether the repository has programs in languages that nobody here reads."""
    found: tuple[bool, bool] = facts.once("other-sources", _other_sources)
    return found[0] or (scripts and found[1])


def _other_sources(facts: Facts) -> tuple[bool, bool]:
    return (
        any(_OTHER_LANGUAGES.search(path) for path in facts.paths),
        any(_SCRIPTS.search(path) and not _PAGES.search(path) for path in facts.paths),
    )


# --- names of this repository's own service


class _Own(NamedTuple):
    """What Python of this repository exports: by the first word of a name, and all words that may be a name."""

    by_word: Mapping[str, frozenset[str]]
    at: Mapping[str, Location]
    named: frozenset[str]


def unknown_own(facts: Facts, metric: str) -> Unexported | None:
    """A name that begins as those of this repository's service do, of which it exports others, and not this one."""
    own: _Own | None = facts.once("own-metrics", _own)
    word = metric.partition("_")[0]
    if own is None or word not in own.by_word:
        return None
    held = own.by_word[word]
    plain = names.base(metric, held)
    if plain in held or not own.named.isdisjoint({metric, *(metric.removesuffix(end) for end in names.ADDED)}):
        return None
    meant = names.alike(metric, held)
    because = f"`{own.at[word].path}` gives {len(held)} metrics names that begin with `{word}_`, and none is this one"
    return Unexported(because, meant, own.at[word])


def _own(facts: Facts) -> _Own | None:
    table = data.load("metrics")["own"]
    modules = facts.of(PythonMetrics)
    if any(one.open for one in modules) or has_other_sources(facts, scripts=True) or renamed(facts):
        return None
    exporting = [one for one in modules if one.exports and facts.classify(one.at.path) not in UNREAD]
    told = {name: one.at for one in reversed(exporting) for name in one.exports}
    count = Counter(name.partition("_")[0] for name in told if "_" in name)
    words = [word for word, times in count.items() if times >= table["least"] and word not in table["shared"]]
    by_word = {word: frozenset(name for name in told if name.startswith(f"{word}_")) for word in words}
    at = {word: next(place for name, place in told.items() if name.startswith(f"{word}_")) for word in words}
    return _Own(by_word, at, frozenset(name for one in modules for name in one.named))
