"""Who installs a chart, and with which values: Argo CD's Application, Flux's HelmRelease, helmfile.

Argo CD: `spec.source(s)[].helm.{values,valuesObject,valueFiles,parameters}` (docs, user-guide/helm).
Flux: `spec.values`, `spec.chart.spec.{chart,valuesFiles}` (helm.toolkit.fluxcd.io/v2, HelmReleaseSpec).
helmfile: `releases[].{chart,values,set}` (helmfile docs, configuration).
"""

from __future__ import annotations

import posixpath
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from vramguard.extract.made import made, mapping, overlaid
from vramguard.facts.nodes import Node

_MAX_ENTRIES, _MAX_KEYS = 500, 20  # of values that are set one by one, and of the way to one of them

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document, Location


class Release(NamedTuple):
    """One installation: the chart's folder where it is one of this repository, its files of values, its own values."""

    at: Location
    chart: str | None
    files: tuple[str, ...]
    values: tuple[Node, ...]  # in the order in which they are merged


def releases(document: Document) -> Iterator[Release]:
    """Every installation that a file asks for."""
    for number, value in enumerate(document.value):
        root = Node(document, (number,), value)
        kind, group = root.get("kind").text, root.get("apiVersion").text.partition("/")[0]
        if kind == "HelmRelease" and group == "helm.toolkit.fluxcd.io":
            yield _flux(root)
        elif kind in ("Application", "ApplicationSet") and group == "argoproj.io":
            spec = root.get("spec", "template", "spec") if kind == "ApplicationSet" else root.get("spec")
            for source in (spec.get("source"), *spec.get("sources").list()):
                if source.get("helm").value or source.get("chart").value:
                    yield _argo(source)
        elif root.get("releases").value and not kind:
            folder = posixpath.dirname(document.path)
            for release in root.get("releases").list():
                yield _helmfile(release, folder)


def _flux(root: Node) -> Release:
    spec = root.get("spec")
    chart = spec.get("chart", "spec")
    local = chart.get("sourceRef", "kind").text in ("GitRepository", "Bucket")
    folder = _path("", chart.get("chart").text) if local else None
    files = _files("", chart.get("valuesFiles")) if local else ()
    return Release(root.at, folder, files, _present(spec.get("values")))


def _argo(source: Node) -> Release:
    """`$name/path` names a file of another source, which is mostly this repository."""
    helm, folder = source.get("helm"), source.get("path").text
    names = helm.get("valueFiles")
    found = (_path("", node.text.partition("/")[2]) if node.text.startswith("$") else _path(folder, node.text)
             for node in names.list())  # fmt: skip
    inline = [*helm.get("values").parsed(), helm.get("valuesObject"), _set(helm.get("parameters"))]
    chart = _path("", folder) if folder else None
    return Release(source.at, chart, tuple(path for path in found if path), _present(*inline))


def _helmfile(release: Node, folder: str) -> Release:
    """A release of a helmfile that is no template (`.gotmpl` is one, and is not read)."""
    entries = list(release.get("values").list())
    files = tuple(path for node in entries if isinstance(node.value, str) and (path := _path(folder, node.text)))
    inline = [node for node in entries if isinstance(node.value, dict)]
    chart = release.get("chart").text
    local = _path(folder, chart) if chart.startswith(".") else None
    return Release(release.at, local, files, _present(*inline, _set(release.get("set"))))


def _set(entries: Node) -> Node:
    """`name: a.b`, `value: c` of each entry, as values; a name with an index, or an escaped dot, is left out."""
    result = made(entries, {})
    for entry in islice(entries.list(), _MAX_ENTRIES):
        keys = entry.get("name").text.split(".", _MAX_KEYS)
        simple = len(keys) <= _MAX_KEYS and all(key and not set(key) & set("[]\\") for key in keys)
        if simple and entry.get("value").value is not None:
            part = entry.get("value")
            for key in reversed(keys):
                part = mapping(entry, {key: part})
            result = overlaid(result, part)
    return result


def _present(*values: Node) -> tuple[Node, ...]:
    return tuple(node for node in values if isinstance(node.value, dict) and node.value)


def _files(folder: str, names: Node) -> tuple[str, ...]:
    return tuple(path for node in names.list() if (path := _path(folder, node.text)))


def _path(folder: str, name: str) -> str | None:
    """A path as it is in the repository; None for one that leads out of it, or is filled in elsewhere."""
    path = posixpath.normpath(posixpath.join(folder, name)) if name and "{{" not in name and "://" not in name else ".."
    return None if path.startswith(("..", "/")) or "\0" in path else path
