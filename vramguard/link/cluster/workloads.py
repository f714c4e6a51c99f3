"""What controllers give the pods of a kind by themselves, and what the engines' cheap endpoints are: read from data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from vramguard.data import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Manifest

SURGE: Final = "surge"


@dataclass(frozen=True)
class Workload:
    """A kind of object that starts pods. `gives`: readiness, startup, memory, shm, grace, cards."""

    kind: str
    group: str
    gives: frozenset[str]
    rollout: str  # "surge", "replace"; empty where the controller has a way of its own
    max_surge: str
    max_unavailable: str
    source: str


@cache
def _rows() -> Mapping[str, tuple[Workload, ...]]:
    found: dict[str, tuple[Workload, ...]] = {}
    for row in load("workloads")["workload"]:
        kind, gives = str(row["kind"]), frozenset(map(str, row["gives"]))
        words = [str(row.get(name, "")) for name in ("rollout", "max_surge", "max_unavailable", "source")]
        found[kind] = (*found.get(kind, ()), Workload(kind, str(row["group"]), gives, *words))
    return found


def workload(manifest: Manifest) -> Workload | None:
    """What is known of an object's kind; None where its pods are made as they are written, as far as is known."""
    rows = _rows().get(manifest.kind, ())
    return next((row for row in rows if manifest.group == row.group or manifest.group.endswith(f".{row.group}")), None)


def gives(manifest: Manifest, what: str) -> bool:
    """Whether the controller of an object gives its pods this where the object is silent."""
    row = workload(manifest)
    return row is not None and what in row.gives


@cache
def _endpoints() -> Mapping[str, frozenset[str]]:
    return {str(row["engine"]): frozenset(map(str, row["paths"])) for row in load("workloads")["endpoint"]}


@cache
def engines() -> frozenset[str]:
    """The engines whose endpoints are known."""
    return frozenset(_endpoints()) - {"any"}


@cache
def programs() -> Mapping[str, str]:
    """The engines by the program that starts them."""
    return {str(name): str(row["engine"]) for row in load("workloads")["endpoint"] for name in row.get("programs", ())}


def is_shallow(path: str, engine: str | None) -> bool:
    """Whether an endpoint answers 200 as long as the process lives; of an unknown engine, where all do so."""
    plain = path.partition("?")[0].rstrip("/") or "/"
    return plain in _endpoints().get(engine or "any", _endpoints()["any"])
