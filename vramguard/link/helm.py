"""Charts that stand in the repository: values over a chart's own and its subcharts', and keys that nobody reads."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

from vramguard.extract.engines import mentions
from vramguard.extract.helm import is_values, launches
from vramguard.extract.helm.releases import releases
from vramguard.extract.helm.shared import FORM
from vramguard.extract.made import children, count, mapping, overlaid
from vramguard.facts import HelmChart, HelmKey, HelmRelease, HelmUnread, Launch, Manifest
from vramguard.facts.nodes import Node
from vramguard.link import templates
from vramguard.source import Document
from vramguard.source import read as parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vramguard.facts import Facts, Subchart
    from vramguard.link.templates import Path
    from vramguard.source import Location

_MAX_DEPTH = 4  # of subcharts within subcharts
_MAX_MERGES = 5000  # of one repository's values
_MAX_VALUES = 200_000  # of merged values that are read again, of one repository
_TEMPLATES = (".yaml", ".yml", ".tpl", ".txt", ".json")


class Charts:
    """The charts of a repository, by their folders; `read` gives a file's bytes."""

    def __init__(self, facts: Facts, read: Callable[[str], bytes | None]) -> None:
        self.paths = facts.paths
        self.charts = {posixpath.dirname(chart.at.path): chart for chart in facts.of(HelmChart)}
        self.read = read
        self.named = sorted(filter(is_values, facts.paths)) if self.charts else []
        self.root = cache(self._root)
        self.subcharts = cache(self._subcharts)
        self.left = _MAX_MERGES
        self.unread = _MAX_VALUES

    def owner(self, path: str) -> str | None:
        """The folder of the chart that a file of values belongs to: its own, or one above a `ci` or `values` folder."""
        folder = posixpath.dirname(path)
        while folder not in self.charts:
            if posixpath.basename(folder) not in ("ci", "values", "environments", "env", "envs"):
                return None
            folder = posixpath.dirname(folder)
        return folder

    def _root(self, path: str) -> Node | None:
        """The first document of a YAML file; None where it cannot be read as a mapping."""
        document = self.document(path)
        if document is None or not document.value or not isinstance(document.value[0], dict):
            return None
        return Node(document, (0,), document.value[0])

    def document(self, path: str) -> Document | None:
        data = self.read(path) if path in self.paths else None
        yaml = path.endswith((".yaml", ".yml"))
        document = parse(path, data, kind="yaml") if data is not None and yaml else None
        return document if isinstance(document, Document) else None

    def _subcharts(self, folder: str) -> list[tuple[Subchart, str]]:
        """The dependencies of a chart that stand in the repository, with their folders."""
        return list(self._found(folder))

    def _found(self, folder: str) -> Iterator[tuple[Subchart, str]]:
        for subchart in self.charts[folder].dependencies if folder in self.charts else ():
            scheme, _, path = subchart.repository.partition("://")
            named = posixpath.normpath(posixpath.join(folder, path)) if scheme == "file" else None
            vendored = posixpath.join(folder, "charts", subchart.name)
            for where in (vendored, named):
                if where in self.charts:
                    yield subchart, where
                    break

    def afford(self, folder: str, over: Node | None) -> bool:
        """Whether a chart's values may be read once more, with others over them; counts it."""
        if self.unread > 0:
            own = self.root(posixpath.join(folder, "values.yaml"))
            self.unread -= sum(count(node.value) for node in (own, over) if node)
        return self.unread > 0

    def values(self, folder: str, *over: Node, depth: int = _MAX_DEPTH) -> Node | None:
        """The values of a chart: its own file, what lies over it, and each subchart's defaults below its key."""
        own = self.root(posixpath.join(folder, "values.yaml"))
        merged = own
        for node in over:
            merged = node if merged is None else overlaid(merged, node)
        self.left -= 1
        if merged is None or depth < 0 or self.left < 0:
            return merged
        parts = children(merged)
        for subchart, where in self.subcharts(folder):
            condition = merged.get(*subchart.condition.split(",")[0].strip().split(".")) if subchart.condition else None
            if condition is not None and condition.value is False:
                parts.pop(subchart.key, None)
                continue
            said = parts.get(subchart.key)
            inner = self.values(where, *([said] if said and isinstance(said.value, dict) else []), depth=depth - 1)
            if inner is not None:
                parts[subchart.key] = inner
        return mapping(merged, parts)

    def below(self, start: str) -> list[str]:
        """The files below a folder, which ends in a slash unless it is the root."""
        begin = bisect_left(self._sorted, start)
        return self._sorted[begin : bisect_left(self._sorted, f"{start}\U0010ffff", begin)] if start else self._sorted

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.paths)

    def is_vendored(self, folder: str) -> bool:
        """Whether a chart is vendored in another, which fills it with its own values."""
        return any(folder.startswith(posixpath.join(outer, "charts") + "/") for outer in self.charts if outer != folder)

    def template_path(self, folder: str, inner: str) -> str:
        """Where a file stands that helm names from a chart's folder: in a subchart, which may be elsewhere."""
        while inner.startswith("charts/"):
            name, _, rest = inner.removeprefix("charts/").partition("/")
            known = (
                {subchart.name: where for subchart, where in self.subcharts(folder)} if folder in self.charts else {}
            )
            folder, inner = known.get(name, posixpath.join(folder, "charts", name)), rest
        return posixpath.join(folder, inner)

    def overlays(self, folder: str) -> list[str]:
        """The further files of values beside a chart's own."""
        own = posixpath.join(folder, "values.yaml")
        return [path for path in self.named if path != own and posixpath.dirname(path) == folder]

    def templates(self, folder: str) -> list[tuple[str, str]]:
        """The templates of a chart: their paths and texts, comments left out of these."""
        held = (path for path in self.below(posixpath.join(folder, "templates") + "/") if path.endswith(_TEMPLATES))
        return [(path, templates.without_comments(self.read(path) or b"")) for path in held]

    def speaking(self, said: Iterable[str]) -> set[str]:
        """Charts whose values, or a subchart's, ask for a launch; `said` are the folders that do by themselves."""
        found = {folder for folder in said if folder in self.charts}
        while True:
            more = {
                folder
                for folder in self.charts.keys() - found
                if any(where in found for _, where in self.subcharts(folder))
            }
            if not more:
                return found
            found |= more


def composed(facts: Facts, read: Callable[[str], bytes | None]) -> Facts:
    """The facts with each file of values laid over its chart's own, and without what no template reads."""
    if not facts.of(HelmChart) and not facts.of(HelmRelease):
        return facts
    charts = Charts(facts, read)
    said = [launch for launch in facts.of(Launch) if launch.form == FORM]
    folders = {folder for launch in said if (folder := charts.owner(launch.at.path)) is not None}
    speaking = charts.speaking(folders)
    replaced: dict[str, list[Launch]] = {}
    for path in charts.named if speaking else ():
        folder = charts.owner(path)
        if folder is not None and folder in speaking and not charts.charts[folder].library:
            found = _composed(charts, folder, path)
            if found is not None:
                replaced[path] = found
    for path in sorted({release.at.path for release in facts.of(HelmRelease)}):
        _released(charts, path, facts, replaced)
    for release in installs(facts):
        values = charts.values(release.chart, *release.values) if release.chart in charts.charts else None
        for node in release.values if values is None else ():
            values = overlaid(values, node) if values else node
        replaced.setdefault(release.path, []).extend(launches(values) if values else ())
    gone = [launch for launch in said if launch.at.path in replaced]
    facts = facts.replacing(gone, _once(launch for found in replaced.values() for launch in found))
    return _with_objects(_read_only(facts, charts), charts)


def _with_objects(facts: Facts, charts: Charts) -> Facts:
    """The facts with the objects of charts, in the place of what their templates say that are YAML already."""
    from vramguard.link.charts import manifests

    found = manifests(facts, charts)
    paths = {one.at.path for one in found}
    return facts.replacing([one for one in facts.of(Manifest) if one.at.path in paths], found)


class Install(NamedTuple):
    """A chart that Terraform installs: the file that says so, the chart's folder or "", the values over its own."""

    path: str
    chart: str
    values: list[Node]


def installs(facts: Facts) -> Iterator[Install]:
    """Every chart that Terraform installs."""
    from vramguard.extract import terraform

    for one in facts.of(Manifest):
        if one.form == terraform.FORM and one.kind == "helm_release":
            chart = terraform.local(one.node, one.node.get("chart").text)
            yield Install(one.at.path, chart or "", terraform.values(one.node))


def _composed(charts: Charts, folder: str, path: str) -> list[Launch] | None:
    own = path == posixpath.join(folder, "values.yaml")
    over = None if own else charts.root(path)
    if not own and over is None:
        return None
    if not charts.afford(folder, over):
        return None
    values = charts.values(folder, *([over] if over else []))
    return None if values is None else _with_template(list(launches(values)), charts, folder, values)


def _with_template(found: list[Launch], charts: Charts, folder: str, values: Node) -> list[Launch]:
    """A chart's one launch with the flags that its one template of an engine writes whatever the values are."""
    speaking = [(path, text) for path, text in charts.templates(folder) if templates.starts(text)]
    if len(found) != 1 or len(speaking) != 1:
        return found
    own = {templates.flag(word.text) for word in found[0].command}
    words = [word for flag in templates.flags(*speaking[0], values) if flag[0] not in own for word in flag[1]]
    given = {name: word for name, word in found[0].given.items() if name not in {templates.flag(w.text) for w in words}}
    env = {**dict(templates.variables(*speaking[0], values)), **found[0].env}
    return [replace(found[0], command=(*found[0].command, *words), given=given, env=env)] if words else found


def _released(charts: Charts, path: str, facts: Facts, replaced: dict[str, list[Launch]]) -> None:
    """What a release installs: its chart's values, where the chart is here, its files and its own values over them."""
    document = charts.document(path)
    for release in releases(document) if document else ():
        over = [node for file in release.files if (node := charts.root(file))] + list(release.values)
        if release.chart in charts.charts:
            values = charts.values(release.chart or "", *over)
        else:
            values = over[0] if over else None
            for node in over[1:]:
                values = overlaid(values, node) if values else node
        if values is not None:
            replaced.setdefault(path, []).extend(launches(values))
            for file in release.files:
                if file in facts.paths:
                    replaced.setdefault(file, [])


def _once(found: Iterable[Launch]) -> list[Launch]:
    """Each launch once: what a file lays over does not touch most of what lies below."""
    kept: dict[Location, list[Launch]] = {}
    for launch in found:
        seen = kept.setdefault(launch.at, [])
        if not any(replace(launch, name=other.name) == other for other in seen):
            seen.append(launch)
    return [launch for launches in kept.values() for launch in launches]


def _read_only(facts: Facts, charts: Charts) -> Facts:
    """The facts without values that no template reads, which are said to be unread instead."""
    unread = list(_unread(facts, charts))
    places = {key.at for key in unread}
    changed = {
        id(launch): replace(launch, given=given)
        for launch in facts.of(Launch)
        if launch.form == FORM
        and len(given := {name: word for name, word in launch.given.items() if word.at not in places})
        < len(launch.given)
    }
    old = [launch for launch in facts.of(Launch) if id(launch) in changed]
    return facts.replacing(old, [*changed.values(), *unread])


def _unread(facts: Facts, charts: Charts) -> Iterator[HelmUnread]:
    """Every key that states a field of a deployment, and that no template of its chart reads."""
    by_chart: dict[str, list[HelmKey]] = {}
    for key in facts.of(HelmKey):
        folder = charts.owner(key.at.path)
        if folder is not None:
            by_chart.setdefault(folder, []).append(key)
    for folder, keys in by_chart.items():
        reading = _reading(charts, folder)
        others = {"global", *(subchart.key for subchart in charts.charts[folder].dependencies)}
        for key in keys if reading is not None else ():
            if key.keys[0] not in others and reading is not None and not templates.reads(reading, key.keys):
                yield HelmUnread(key.at, key.keys, key.field, charts.charts[folder].name)


def _reading(charts: Charts, folder: str) -> frozenset[Path] | None:
    """Every path of values that the templates of a chart read; None where some are read who knows where."""
    own = "\n".join(text for _, text in charts.templates(folder))
    if charts.charts[folder].library or not mentions(own):
        return None
    helpers = [text for _, where in charts.subcharts(folder) for _, text in charts.templates(where)]
    values = charts.read(posixpath.join(folder, "values.yaml")) or b""
    return templates.reading("\n".join((own, *helpers)), values.decode("utf-8", "replace"))
