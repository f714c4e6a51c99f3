"""Images as a repository runs them: what it builds, what an overlay replaces, and what `.env` fills in."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vramguard.extract.images.builds import BUILT
from vramguard.extract.images.reference import CHART_TAG, VARIABLE, is_moving, reference
from vramguard.facts import Image, Kustomization, Texts, Unknown, Word
from vramguard.link.compose import interpolated
from vramguard.link.folders import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts

_DOCKER_HUB: Final = re.compile(r"(?:index\.)?docker\.io/(?:library/)?")
_HERE: Final = re.compile(r"(?:localhost|127\.0\.0\.1|kind-registry)[:/]")  # a registry that somebody has just filled
_REPLACES: Final = "replaces "  # the use of an entry of a kustomization
_MAX_PATTERNS = 500
_TELLING = 3  # letters beside the variables of a name: `$REPO/$NAME` may be anything
_UNKNOWN, _MOVING, _TAGGED = "unknown", "moving", "tagged"


def written(image: Image) -> str:
    """An image as one text."""
    if isinstance(image.pinned, Unknown):
        return image.pinned.text
    tag, digest = (part.text if isinstance(part, Unknown) else part for part in (image.tag, image.digest))
    return f"{image.name}{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}"


def grade(image: Image) -> str:
    """How far an image without a digest is from exact: `unknown`, `moving` (no tag, or one that moves), `tagged`."""
    if isinstance(image.pinned, Unknown):
        return _UNKNOWN
    return _MOVING if image.reason != CHART_TAG and is_moving(image.tag) else _TAGGED


@lru_cache(maxsize=4)  # Facts are compared by identity
def images(facts: Facts) -> tuple[Image, ...]:
    """Every image that something here starts, builds on or copies from.

    `pinned` is None for what the repository builds, and for what kustomize replaces wherever it is deployed; what only
    a chart's template holds open is left out, because the chart's values are judged.
    """
    own, overlays = _Own(facts), _Overlays(facts)
    return tuple(_judged(facts, own, overlays))


def _judged(facts: Facts, own: _Own, overlays: _Overlays) -> Iterator[Image]:
    variables = {texts.at.path: texts.values for texts in facts.of(Texts) if texts.form == "dotenv"}
    for image in facts.of(Image):
        if image.use == BUILT:
            continue
        found = _completed(image, variables) if image.form == "compose" else image
        if isinstance(found.pinned, Unknown) and is_template(facts, found.at.path):
            continue
        if found.pinned is not True and found.pinned is not None:
            replaced = found.form != "helm" and overlays.replaced(found.at.path, found.name)
            if replaced or own.has(found.name):
                found = replace(found, pinned=None, reason="")
        yield found


def _completed(image: Image, variables: Mapping[str, Mapping[str, Word]]) -> Image:
    """A service's image with the variables that the project's `.env` sets."""
    if not isinstance(image.pinned, Unknown):
        return image
    known = variables.get(posixpath.join(posixpath.dirname(image.at.path), ".env"), {})
    found = reference(interpolated(Word(image.pinned.text, image.at), known).text) if known else None
    if found is None:
        return image
    return Image(image.at, image.form, found.name, found.tag, found.digest, found.pinned, found.reason, image.use)


def is_template(facts: Facts, path: str) -> bool:
    """Whether a file is a template of a chart of the repository."""
    parts = path.split("/")
    charts = (parts[:number] for number, part in enumerate(parts) if part == "templates")
    return any("/".join([*chart, "Chart.yaml"]) in facts.paths for chart in charts)


class _Own:
    """The names that the repository builds images under.

    A name with a variable in it is any text there, but its last word is never left open: such a one is only itself.
    """

    def __init__(self, facts: Facts) -> None:
        self.names: set[str] = set()
        self.patterns: dict[str, list[list[str]]] = defaultdict(list)  # the texts around variables, by the last word
        left = _MAX_PATTERNS
        for image in facts.of(Image):
            if image.use != BUILT:
                continue
            name = plain(image.name)
            last = name.rpartition("/")[2]
            if not VARIABLE.search(name):
                self.names.add(name)
            elif VARIABLE.search(last):
                if len(VARIABLE.sub("", name)) > _TELLING:
                    self.names.add(name)  # written in the same way elsewhere, it is the same
            elif left > 0:
                left -= 1
                self.patterns[last].append(VARIABLE.sub("\0", name).split("\0"))

    def has(self, name: str) -> bool:
        """Whether an image of this name is built here."""
        name = plain(name)
        if name in self.names or _HERE.match(name):
            return True
        return any(_fills(name, parts) for parts in self.patterns.get(name.rpartition("/")[2], ()))


def _fills(name: str, parts: list[str]) -> bool:
    """Whether a name is these texts in their order, with anything between them: no pattern of many gaps is tried."""
    first, *middle, last = parts
    if not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def plain(name: str) -> str:
    """A name without the registry that it has by default."""
    return _DOCKER_HUB.sub("", name, count=1) if _DOCKER_HUB.match(name) else name


class _Overlays:
    """Which kustomizations take in a file, and what images they put in the place of others."""

    def __init__(self, facts: Facts) -> None:
        self.above: dict[str, list[str]] = defaultdict(list)
        self.names: dict[str, set[str]] = defaultdict(set)
        for image in facts.of(Image):
            if image.use.startswith(_REPLACES):
                self.names[folder_of(image.at.path)].add(image.use.removeprefix(_REPLACES))
        for kustomization in facts.of(Kustomization) if self.names else ():
            for resource in kustomization.resources:
                self.above[resource].append(folder_of(kustomization.at.path))

    def replaced(self, path: str, name: str) -> bool:
        """Whether every kustomization that deploys a file replaces the image on the way."""
        if path not in self.above:
            return False
        pending, seen = list(self.above[path]), set[str]()
        while pending:
            folder = pending.pop()
            if folder in seen or name in self.names.get(folder, ()):
                continue
            seen.add(folder)
            if folder not in self.above:
                return False  # deployed as it is
            pending += self.above[folder]
        return True
