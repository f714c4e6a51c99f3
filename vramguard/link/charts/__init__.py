"""The objects that a repository's charts make of their values, without a renderer.

`manifests(facts, charts)`: each chart filled with its own values, with each file of values that lies beside them, and
with the values of every release of it that the repository installs.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vramguard.extract.helm.releases import releases
from vramguard.extract.made import children, mapping
from vramguard.facts import HelmRelease, Manifest, Unknown
from vramguard.facts.nodes import Node
from vramguard.link.builds import once
from vramguard.link.charts.filling import Budget, Files, Filler
from vramguard.link.charts.pieces import Origin
from vramguard.link.charts.reading import NAMESPACE, RELEASE, objects
from vramguard.link.charts.values import StopFillingError, Value, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.helm import Charts

_STEPS: Final = 1_500_000  # expressions and texts that all charts of a repository ask for
_CHARACTERS: Final = 24 << 20  # that they write
_MAX_BUILDS: Final = 400  # charts with values over them
_MAX_DEPTH: Final = 4  # of subcharts within subcharts
_MAX_FILE: Final = 1 << 20  # bytes of a file that a template may ask for
_MAX_FILES: Final = 200  # of one chart
_FILLED: Final = (".yaml", ".yml")
_READ: Final = (*_FILLED, ".tpl")
_NOTES: Final = "/templates/tests/"


Told = dict[tuple[str, bool, str], list[Manifest]]  # what a chart made of values, by its folder and what those say


@dataclass(frozen=True, slots=True)
class _Part:
    """A chart of a build: its folder, its values, and what its templates get; those of its subcharts likewise."""

    folder: str
    values: Value
    root: Mapping[str, Value]
    below: tuple[_Part, ...]


class _Build:
    """One chart with its values: which templates, of it and of its subcharts, are filled with which."""

    def __init__(self, charts: Charts, folder: str, filler: Filler, told: Told) -> None:
        self.charts, self.folder, self.filler, self.told = charts, folder, filler, told

    def found(self, values: Node | None, overlay: str) -> Iterator[Manifest]:
        """Every object that the chart makes of these values."""
        pending = [self._part(self.folder, values, _MAX_DEPTH)]
        while pending:
            part = pending.pop()
            pending += part.below
            said = part.values.value if isinstance(part.values, Node) else None
            try:
                size_of(said)
            except StopFillingError:
                continue
            key = (part.folder, part.folder == self.folder, repr(said))
            if key not in self.told:
                self.told[key] = list(self._filled(part, overlay))
            yield from (replace(one, overlay=overlay) for one in self.told[key])

    def _filled(self, part: _Part, overlay: str) -> Iterator[Manifest]:
        for path in _templates(self.charts, part.folder):
            try:
                pieces = self.filler.fill(path, part.root)
            except (StopFillingError, RecursionError):
                continue
            yield from objects(path, pieces, overlay, guessed="{{" in self.filler.origins[path].text)

    def _part(self, folder: str, values: Value, depth: int) -> _Part:
        below: dict[str, _Part] = {}
        for subchart, where in self.charts.subcharts(folder) if depth else ():
            inner = values.get(subchart.key) if isinstance(values, Node) else None
            if inner is not None and isinstance(inner.value, dict):
                below[subchart.key] = self._part(where, _with_global(inner, values), depth - 1)
        root = self._root(folder, values, {key: part.root for key, part in below.items()})
        return _Part(folder, values, root, tuple(below.values()))

    def _root(self, folder: str, values: Value, below: Mapping[str, Value]) -> Mapping[str, Value]:
        chart = self.charts.root(posixpath.join(folder, "Chart.yaml"))
        told = {key[:1].upper() + key[1:]: node for key, node in chart.items()} if chart else {}
        release = {"Name": RELEASE, "Namespace": NAMESPACE, "Service": "Helm", "Revision": 1}
        return {
            "Values": values if values is not None else {},
            "Chart": {"IsRoot": folder == self.folder, **told},
            "Release": {**release, "IsInstall": True, "IsUpgrade": False},
            "Capabilities": Unknown("Capabilities"),
            "Template": {"BasePath": posixpath.join(folder, "templates"), "Name": ""},
            "Files": Files(lambda: _beside(self.charts, folder)),
            "Subcharts": below,
        }


def _with_global(inner: Node, outer: Node) -> Node:
    """A subchart's values with what the chart above it tells all."""
    told = outer.get("global")
    if not isinstance(told.value, dict):
        return inner
    own = inner.get("global")
    merged = {**(children(own) if isinstance(own.value, dict) else {}), **children(told)}
    return mapping(inner, {**children(inner), "global": mapping(told, merged)})


def _templates(charts: Charts, folder: str) -> list[str]:
    start = posixpath.join(folder, "templates") + "/"
    held = (path for path in charts.below(start) if path.endswith(_FILLED))
    return [path for path in held if _NOTES not in path and not posixpath.basename(path).startswith("_")]


def _beside(charts: Charts, folder: str) -> dict[str, Origin]:
    """The files that templates of a chart may ask for; read when the chart is, so few and small ones."""
    start = f"{folder}/" if folder else ""
    found: dict[str, Origin] = {}
    for path in charts.below(start):
        inner = path.removeprefix(start)
        if inner.startswith(("templates/", "charts/")) or inner in ("values.yaml", "Chart.yaml"):
            continue
        if not inner.endswith((".json", ".yaml", ".yml", ".conf", ".csv", ".tpl", ".txt")):
            continue
        data = charts.read(path)
        if data is not None and len(data) <= _MAX_FILE and len(found) < _MAX_FILES:
            found[inner] = Origin(path, data.decode("utf-8", "replace"))
    return found


def manifests(facts: Facts, charts: Charts) -> list[Manifest]:
    """The objects of every chart that is no part of another, each once, with all builds that hold it."""
    budget = Budget(_STEPS, _CHARACTERS)
    left = _MAX_BUILDS
    found: list[Manifest] = []
    told: Told = {}
    installed = _installed(facts, charts)
    for folder in sorted(charts.charts):
        if charts.charts[folder].library or charts.is_vendored(folder):
            continue
        texts = _texts(charts, folder)
        if not texts:
            continue
        build = _Build(charts, folder, Filler(texts, budget), told)
        for overlay, over in [*_overlays(charts, folder), *installed.get(folder, ())]:
            left -= 1
            if left < 0:
                return once(found)
            found += build.found(charts.values(folder, *over), overlay)
    return once(found)


def _texts(charts: Charts, folder: str) -> dict[str, str]:
    """Every template of a chart and of its subcharts."""
    found: dict[str, str] = {}
    pending = [(folder, _MAX_DEPTH)]
    while pending:
        outer, depth = pending.pop()
        for path in charts.below(posixpath.join(outer, "templates") + "/"):
            if path.endswith(_READ) and path not in found:
                found[path] = (charts.read(path) or b"").decode("utf-8", "replace").replace("\r\n", "\n")
        pending += [(where, depth - 1) for _, where in charts.subcharts(outer) if depth]
    return found


def _overlays(charts: Charts, folder: str) -> Iterator[tuple[str, list[Node]]]:
    """A chart by itself, and with each further file of values beside its own."""
    yield folder or ".", []
    for path in charts.overlays(folder):
        node = charts.root(path)
        if node is not None:
            yield path, [node]


def _installed(facts: Facts, charts: Charts) -> dict[str, list[tuple[str, list[Node]]]]:
    """What releases of the repository lay over a chart that stands here, by its folder."""
    from vramguard.link.helm import installs

    found: dict[str, list[tuple[str, list[Node]]]] = {}
    for path in sorted({release.at.path for release in facts.of(HelmRelease)}):
        document = charts.document(path)
        for release in releases(document) if document else ():
            if release.chart in charts.charts:
                over = [node for file in release.files if (node := charts.root(file))] + list(release.values)
                found.setdefault(release.chart or "", []).append((path, over))
    for install in installs(facts):
        found.setdefault(install.chart, []).append((install.path, install.values))
    return found
