"""What is known of metrics' names: whose they are, since and until when, what they measure (data/metrics.toml)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from vramguard import data
from vramguard.facts import Image

if TYPE_CHECKING:
    from vramguard.facts import Deployment, Facts

ADDED: Final = ("_total", "_bucket", "_count", "_sum", "_created")  # by Prometheus' clients
_ALIKE: Final = 0.92  # how like a name must be to another to be it, misspelt
_LONGEST: Final = 120  # characters of a name that somebody may have misspelt
_Version = tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """Between which of the releases read a name stands; `before` and `after` are the nearest that lack it."""

    first: str
    last: str
    before: str
    after: str


@dataclass(frozen=True)
class Family:
    """The names under one prefix, and the releases that were read."""

    name: str
    prefix: str
    versions: tuple[str, ...]
    spans: Mapping[str, Span]
    renamed: Mapping[str, str] = field(default_factory=dict)
    others: frozenset[str] = frozenset()  # names of other programs under the same prefix
    images: tuple[str, ...] = ()  # of those programs
    shared: tuple[str, ...] = ()  # further prefixes, which other exporters have as well
    single: frozenset[str] = frozenset()  # counters and gauges, that have no series of their own

    def owns(self, metric: str) -> bool:
        """Whether a name stands under a prefix of it."""
        return metric.startswith((self.prefix, *self.shared))


@cache
def families() -> tuple[Family, ...]:
    """Every engine whose whole list of names was read."""
    return tuple(_family(row) for row in data.load("metrics")["engine"])


def _family(row: Mapping[str, Any]) -> Family:
    versions = tuple(row["versions"])
    spans: dict[str, Span] = {}
    for span in row["span"]:
        first, last = versions.index(span["first"]), versions.index(span["last"])
        before = versions[first - 1] if first else ""
        after = versions[last + 1] if last + 1 < len(versions) else ""
        spans |= dict.fromkeys(span["names"], Span(span["first"], span["last"], before, after))
    others = frozenset(name for other in row.get("other", ()) for name in other["names"])
    images = tuple(image for other in row.get("other", ()) for image in other["images"])
    shared, single = tuple(row.get("shared", ())), frozenset(row.get("single", ()))
    return Family(row["name"], row["prefix"], versions, spans, row.get("renamed", {}), others, images, shared, single)


def family_of(metric: str) -> Family | None:
    """The engine under whose prefix a name stands."""
    return next((one for one in families() if one.owns(metric)), None)


def base(metric: str, known: Mapping[str, Any] | frozenset[str]) -> str:
    """The name as its program spells it: without what a client puts behind it."""
    if metric in known:
        return metric
    stripped = metric
    for _ in range(2):  # `_total_created`
        end = next((one for one in ADDED if stripped.endswith(one)), "")
        stripped = stripped.removesuffix(end)
        if stripped in known:
            return stripped
    return metric


def version(text: str) -> _Version:
    """`0.10.1.1`, `v0.8.5.post1` as numbers; empty for what is no release (`latest`, `nightly`)."""
    found = re.match(r"v?(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def release(facts: Facts, deployment: Deployment) -> str:
    """The release that a deployment runs, empty if not known: LMCache's images of vLLM have numbers of their own."""
    forks = facts.once("forked-images", lambda held: {one.at.path for one in held.of(Image) if "lmcache/" in one.name})
    said = deployment.engine_version
    return said if isinstance(said, str) and deployment.at.path not in forks else ""


@cache
def fields() -> frozenset[str]:
    """Every name that a list of counters may hold."""
    table = data.load("metrics")["dcgm"]
    return frozenset((*table["known"]["fields"], *table["own"]))


@cache
def exported() -> frozenset[str]:
    """Every field of the lists of counters that the images of dcgm-exporter brought, of any release that was read."""
    table = data.load("metrics")["dcgm"]
    return frozenset((*(name for names in table["files"].values() for name in names), *table["earlier"], *table["own"]))


def is_dcgm(metric: str) -> bool:
    """Whether it is a field of DCGM, by its prefix."""
    return metric.startswith(tuple(data.load("metrics")["dcgm"]["prefixes"]))


@lru_cache(maxsize=1000)
def _near(metric: str, known: frozenset[str]) -> str:
    found = difflib.get_close_matches(metric, known, n=1, cutoff=_ALIKE)
    return found[0] if found else ""


def alike(metric: str, known: frozenset[str] | Mapping[str, Any]) -> str:
    """The name that was meant; empty where none is near enough."""
    return _near(metric, frozenset(known)) if len(metric) <= _LONGEST else ""


@cache
def _signals() -> tuple[tuple[str, str, str, re.Pattern[str]], ...]:
    rows = data.load("metrics")["signal"]
    return tuple((row["name"], row["says"], row.get("needs", ""), re.compile(row["pattern"])) for row in rows)


def signals(metrics: tuple[str, ...], text: str = "") -> frozenset[str]:
    """What these metrics tell of: memory, nvlink, latency ... `text` is read too, as the name of an alert is."""
    said = (*metrics, text)
    return frozenset(name for name, _, _, pattern in _signals() if any(pattern.search(one.lower()) for one in said))


def wanted(*, parallel: bool) -> Mapping[str, str]:
    """The signals that alerts have to cover, in words; NVLink's only where cards work together."""
    return {name: says for name, says, needs, _ in _signals() if parallel or needs != "tensor-parallel"}


def of_host(metric: str) -> bool:
    """Whether it tells of a host or a container, and nothing of its cards."""
    return bool(_host("pattern").match(metric))


def of_load(metric: str) -> bool:
    """Whether it tells how busy a processor is, or how full the host's memory."""
    return bool(_host("load").match(metric))


@cache
def _host(key: str) -> re.Pattern[str]:
    return re.compile(f"(?:{data.load('metrics')['host'][key]})")


@cache
def unit(metric: str) -> str:
    """MiB, ratio, percent or seconds, where it is known."""
    rows = data.load("metrics")["unit"]
    return next((row["unit"] for row in rows if re.fullmatch(row["pattern"], metric)), "")
