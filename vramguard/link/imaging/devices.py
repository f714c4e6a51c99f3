"""What stands between a card and its pods: the device plugin, the driver, the operator; pinned, and watching."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard import data
from vramguard.facts import Image, Launch, ScriptText, Unknown
from vramguard.link.cluster import cluster
from vramguard.shell import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, Word
    from vramguard.facts.nodes import Node
    from vramguard.source import Location

_MOVING: Final = frozenset(("latest", "main", "master", "edge", "nightly", "staging", "devel"))
_WORTH: Final = re.compile(r"helm|kubectl")
_HEALTH: Final = "DP_DISABLE_HEALTHCHECKS"
_MAX_DEPTH: Final = 12
_MOST: Final = 3000


class Unpinned(NamedTuple):
    """A piece that is whatever stands there when it is installed."""

    at: Location
    name: str
    why: str


class Blind(NamedTuple):
    """A device plugin that does not look for sick cards."""

    at: Location
    value: str


def unpinned(facts: Facts) -> Iterator[Unpinned]:
    """Images with a moving tag, charts without a version, manifests of a branch."""
    rows = data.load("images")["device"]
    for image in facts.of(Image):
        moving = image.tag is None or (not isinstance(image.tag, Unknown) and image.tag in _MOVING)
        if image.digest is None and moving and image.use != "built":
            for row in rows:
                if any(image.name == name or image.name.endswith("/" + name) for name in row["images"]):
                    yield Unpinned(image.at, row["name"], f"its image has the tag {image.tag or 'latest'}")
    for kind, chart, version in _RELEASES:
        for manifest in cluster(facts).of(kind):
            yield from _release(manifest.node.get(*chart), manifest.node.get(*version))
    for script in facts.of(ScriptText):
        if _WORTH.search(script.text.text):
            yield from _script(script.text)


# Who installs a chart for a repository, and where it says which: Flux and Argo CD.
_RELEASES: Final = (
    ("HelmRelease", ("spec", "chart", "spec", "chart"), ("spec", "chart", "spec", "version")),
    ("Application", ("spec", "source", "chart"), ("spec", "source", "targetRevision")),
)


def _release(chart: Node, version: Node) -> Iterator[Unpinned]:
    """A release of a chart without a version, or with any."""
    if chart.text and version.text.strip("\"' ") in ("", "*", "latest", "HEAD"):
        for row in data.load("images")["device"]:
            if any(chart.text == name.rpartition("/")[2] for name in row["charts"]):
                yield Unpinned((version or chart).at, row["name"], "its chart is released without a version")


def _script(script: Word) -> Iterator[Unpinned]:
    rows = data.load("images")["device"]
    if not any(
        re.search(row["url"], script.text) or any(chart in script.text for chart in row["charts"]) for row in rows
    ):
        return
    for command in commands(script):
        words = [word.text for word in command.words]
        if not words:
            continue
        name = words[0].rpartition("/")[2]
        for row in rows:
            if name == "helm" and {"install", "upgrade"} & {*words} and {*row["charts"]} & {*_charts(words)}:
                if not any(word == "--version" or word.startswith("--version=") for word in words):
                    yield Unpinned(command.at, row["name"], "its chart is installed without --version")
            elif name == "kubectl" and (
                url := next((word for word in command.words if re.search(row["url"], word.text)), None)
            ):
                yield Unpinned(url.at, row["name"], "its manifest is that of a branch")


def _charts(words: list[str]) -> list[str]:
    """The words of `helm install NAME REPOSITORY/CHART` that can be a chart."""
    return [word for word in words[2:] if "/" in word and not word.startswith(("-", ".", "/"))]


def blind(facts: Facts) -> Iterator[Blind]:
    """DP_DISABLE_HEALTHCHECKS of all checks, or of XIDs (k8s-device-plugin, internal/rm/health.go)."""
    seen: set[Location] = set()
    joined = cluster(facts)
    for manifest in joined.objects():
        for pod in joined.pods_of(manifest):
            for container in pod.containers:
                for item in container.node.get("env").list():
                    yield from _off(item, seen)
    for launch in facts.of(Launch):
        value = launch.env.get(_HEALTH)
        if value is not None and hasattr(value, "text") and value.text in ("all", "xids") and value.at not in seen:
            seen.add(value.at)
            yield Blind(value.at, value.text)


def _off(item: Node, seen: set[Location]) -> Iterator[Blind]:
    if item.get("name").text == _HEALTH:
        value = item.get("value")
        if any(word in ("all", "xids") for word in value.text.split(",")) and value.at not in seen:
            seen.add(value.at)
            yield Blind(value.at, value.text)
