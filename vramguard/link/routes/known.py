"""What data/gateways.toml says: defaults of systems, and the names by which a model is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from vramguard import data

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class System:
    """What a system does where nothing is written. `timeout` in milliseconds, None for one without end."""

    name: str
    source: str
    date: str
    timeout: int | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """A program that serves models. `streams`: it answers in tokens."""

    name: str
    pattern: re.Pattern[str]
    source: str
    date: str
    streams: bool = False


@cache
def systems() -> Mapping[str, System]:
    """Every system by its name."""
    return MappingProxyType({row["name"]: System(**row) for row in data.load("gateways")["system"]})


def default_timeout(system: str) -> int | None:
    """Milliseconds after which a system gives a request up by itself; None: never."""
    row = systems().get(system)
    return row.timeout if row else None


def model(name: str) -> Upstream | None:
    """The program that serves models in whose way something is called; None also for what only stands beside one."""
    text = name.lower()
    return None if beside(text) else next((row for row in _upstreams() if row.pattern.search(text)), None)


def beside(name: str) -> bool:
    """Whether a name is that of something that stands beside a model: its dashboard, its picker, its store."""
    return any(pattern.search(name.lower()) for pattern in _others())


def made(name: str, host: str) -> bool:
    """Whether a controller gives this host to what serves a model under this name: `price-predictor` to `price`."""
    return host == name or (host.startswith(f"{name}-") and host[len(name) + 1 :] in _suffixes())


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for row in data.load("gateways")["generated"] for suffix in row["suffixes"])


@cache
def _upstreams() -> tuple[Upstream, ...]:
    rows = data.load("gateways")["upstream"]
    return tuple(Upstream(**{**row, "pattern": re.compile(row["pattern"])}) for row in rows)


@cache
def _others() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(row["pattern"]) for row in data.load("gateways")["other"])
