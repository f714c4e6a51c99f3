"""Helm: values, read as what the public charts make of them, and what names values (Argo CD, Flux, helmfile).

A template is no YAML and is not read here: each module says beside each key which template of which chart reads it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.extract.helm.charts import BLOCKS
from vramguard.extract.helm.generic import container
from vramguard.extract.helm.releases import releases
from vramguard.extract.helm.stated import stated
from vramguard.facts import HelmChart, HelmRelease, Launch, Subchart
from vramguard.facts.nodes import Node
from vramguard.source import under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_VALUES = re.compile(r"(?:^|/)(?:[^/]*values[^/]*|(?:helm[-_]?)?values/[^/]+)\.ya?ml\Z", re.IGNORECASE)
_TEMPLATE = re.compile(r"(?:^|/)templates/")
_RELEASES = ("helm.toolkit.fluxcd.io", "argoproj.io/", "releases:")
_MAX_MAPPINGS = 5000  # of one document that are looked at, aliases written out
_MAX_DEPTH = 12  # of mappings, below which a block of values is looked for
_OFF = ("enabled", "create", "deployed", "enable")  # keys that switch a block off


def is_values(path: str) -> bool:
    """Whether a file is named as Helm's values are: `values.yaml`, `values-prod.yaml`, `gpu-values.yaml`."""
    return _VALUES.search(path) is not None and not _TEMPLATE.search(path)


def is_manifest(node: Node) -> bool:
    """Whether a mapping is an object of Kubernetes."""
    return under(node.value, ("apiVersion",)) is not None and under(node.value, ("kind",)) is not None


def extract(document: Document) -> Iterator[Fact]:
    """What a chart's description, a file of values or one that names values says."""
    roots = [Node(document, (number,), value) for number, value in enumerate(document.value)]
    if document.path.rpartition("/")[2] == "Chart.yaml":
        yield from (_chart(root) for root in roots[:1])
    elif is_values(document.path):
        if mentions(document.text):
            for root in roots:
                if not is_manifest(root):
                    yield from launches(root)
                    yield from stated(root)
    elif any(word in document.text for word in _RELEASES):
        for release in releases(document):
            yield HelmRelease(release.at, release.chart, release.files)
            for values in release.values:
                yield from launches(values)


def _chart(root: Node) -> HelmChart:
    """Chart.yaml: its dependencies, by the key under which their values stand (helm.sh/docs/topics/charts)."""
    found = [
        Subchart(
            key=node.get("alias").text or node.get("name").text,
            name=node.get("name").text,
            repository=node.get("repository").text,
            condition=node.get("condition").text,
        )
        for node in root.get("dependencies").list()
    ]
    return HelmChart(root.at, root.get("name").text, tuple(found), root.get("type").text == "library")


def launches(values: Node) -> Iterator[Launch]:
    """Every launch that the values of a chart ask for, whichever chart it is."""
    yield from _within(values, "", _MAX_DEPTH, iter(range(_MAX_MAPPINGS)))


def _within(node: Node, name: str, depth: int, budget: Iterator[int]) -> Iterator[Launch]:
    """The launches of a mapping and of those within, but for blocks that are switched off and those that are read."""
    if depth < 0 or not isinstance(node.value, dict) or _is_off(node) or next(budget, None) is None:
        return
    if is_manifest(node):
        yield from _manifest(node)
        return
    taken = {"image"}  # its `repository` is no container
    said = False
    for block in BLOCKS:
        if block.key in node.value and (found := list(block.read(node, name))):
            said = True
            taken.update(block.takes)
            yield from found
    if not said and (launch := container(node, name)):
        yield launch
        taken.update(("model", "config"))
    for key, child in node.items():
        if key not in taken:
            yield from _within(child, f"{name}.{key}" if name else key, depth - 1, budget)
            for number, item in enumerate(child.list()):
                label = item.get("name").text or str(number)
                yield from _within(item, f"{name}.{label}" if name else label, depth - 2, budget)


def _is_off(node: Node) -> bool:
    return any(node.value.get(key) is False for key in _OFF)


def _manifest(node: Node) -> Iterator[Launch]:
    """A whole object that stands among the values (`extraObjects`, `customObjects`), which charts pass on."""
    from vramguard.extract.kubernetes import of_manifest

    yield from (fact for fact in of_manifest(node) if isinstance(fact, Launch))
