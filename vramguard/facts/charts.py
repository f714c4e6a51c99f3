"""Facts of what is built before it runs: Helm's charts and their values, kustomize's overlays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vramguard.source import Location


class Subchart(NamedTuple):
    """A dependency of a chart: its values stand under `key`, and `condition` names the value that switches it on."""

    key: str
    name: str
    repository: str
    condition: str


@dataclass(frozen=True, slots=True)
class HelmChart:
    """A Chart.yaml. `library`: it has no templates of its own, only ones for others to use."""

    at: Location
    name: str
    dependencies: tuple[Subchart, ...] = ()
    library: bool = False


@dataclass(frozen=True, slots=True)
class HelmKey:
    """A key of a chart's values that states `field` of a deployment, by the keys that lead to it."""

    at: Location
    keys: tuple[str, ...]
    field: str


@dataclass(frozen=True, slots=True)
class HelmRelease:
    """A chart that is installed with values: by Argo CD, Flux or helmfile. `chart`: its folder, where one is named."""

    at: Location
    chart: str | None
    files: tuple[str, ...]  # of values, as paths in the repository


@dataclass(frozen=True, slots=True)
class HelmUnread:
    """A key of a chart's values that states `field` of a deployment, and that no template of the chart reads."""

    at: Location
    keys: tuple[str, ...]
    field: str
    chart: str


@dataclass(frozen=True, slots=True)
class HelmUnrendered:
    """A chart that was to be rendered, and was not: why, in words."""

    at: Location
    reason: str


@dataclass(frozen=True, slots=True)
class Kustomization:
    """A kustomization.yaml: the folder's objects are those of `resources`, paths in the repository, changed by it."""

    at: Location
    resources: tuple[str, ...]
    remote: tuple[str, ...] = ()  # resources that stand elsewhere
    patches: tuple[str, ...] = ()  # files whose objects are laid over those of `resources`
    component: bool = False
