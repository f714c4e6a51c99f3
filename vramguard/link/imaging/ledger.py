"""The ledger of an image: what it is made of, in 10^6 bytes, and what makes it larger than it need be.

Every number was measured by somebody and is a lower bound; what nobody measured is not counted, and named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.version import InvalidVersion, Version

from vramguard import data
from vramguard.facts import Launch, PathClass
from vramguard.link.cluster import cluster
from vramguard.link.imaging.baked import Baked, baked
from vramguard.link.imaging.recipes import Last, fits, lasts
from vramguard.link.launches import images
from vramguard.shell import commands
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from vramguard.facts import Facts

_MB: Final = 10**6
_TOOLKIT: Final = re.compile(r"nvidia-cuda-toolkit|cuda(?:-toolkit)?-\d+-\d+|cuda-toolkit")
_WORTH: Final = re.compile(r"cuda-|cuda-toolkit")
_ENOUGH: Final = frozenset(("scratch", "busybox", "alpine"))  # bases of images that hold a model and nothing to run it


@dataclass(frozen=True)
class Part:
    """A part of an image. `mb` is None where nobody measured it."""

    at: Location
    what: str
    mb: int | None
    source: str = ""


@dataclass(frozen=True)
class Ledger:
    """What an image is made of. `faults`: what could be left out, each with its place."""

    last: Last
    parts: tuple[Part, ...]
    faults: tuple[Part, ...]
    weights: tuple[Baked, ...]

    @property
    def least(self) -> int:
        """10^6 bytes that the image has at least."""
        return sum(part.mb or 0 for part in self.parts)

    @property
    def words(self) -> str:
        """The ledger in one line."""
        rows = [f"{part.what} {part.mb:,} MB" for part in self.parts if part.mb]
        return ", ".join((*rows, *(f"{part.what} not counted" for part in self.parts if part.mb is None)))


def ledgers(facts: Facts) -> list[Ledger]:
    """The ledger of the image of every Dockerfile that holds a model, or what runs one."""
    return facts.once("ledgers of images", lambda facts: [_ledger(facts, last) for last in lasts(facts)])


def _ledger(facts: Facts, last: Last) -> Ledger:
    weights = () if _is_a_store(last) else tuple(baked(facts, last))
    wheels = _wheels(last)
    base = _base(last)
    parts = [*base, *(() if base and base[0].what.split(":")[0].endswith(_HOLDING) else wheels)]
    parts += [Part(one.at, f"the weights {one.what}", one.bytes // _MB if one.bytes else None) for one in weights]
    return Ledger(last, tuple(parts), tuple(_faults(last, wheels)), weights)


_HOLDING: Final = ("pytorch", "vllm-openai", "sglang", "tritonserver", "ray-ml")  # bases that have such wheels already


def _is_a_store(last: Last) -> bool:
    """Whether the image holds a model for others to mount, on purpose: nothing in it runs."""
    name = last.named[0].rpartition("/")[2]
    return name in _ENOUGH or (last.stage.start is None and last.stage.arguments is None and name.startswith("ubi"))


def _base(last: Last) -> list[Part]:
    at = last.stage.at if last.lineage[-1] is not last.stage else last.image.at
    row = next((row for row in data.load("images")["base"] if fits(row, last)), None)
    if row is None:
        return []
    return [Part(at, ":".join(last.named), row["mb"], f"{row['measured']} ({row['source']})")]


def _wheels(last: Last) -> list[Part]:
    """The packages with CUDA: of several the largest with all that it needs, since they need the same."""
    found = [
        Part(line.at, f"the wheels of {line.name} {line.version}".rstrip(), _weigh(row, line.version), row["source"])
        for row in data.load("images")["wheels"]
        for line in last.lines(row["package"])
    ]
    return sorted(found, key=lambda part: part.mb or 0, reverse=True)[:1]


def _weigh(row: Mapping[str, Any], version: str) -> int | None:
    """What a release weighs at least; of one between two that were measured the lesser, of no release the least."""
    rows: list[tuple[Version, Version, int]] = [(Version(a), Version(b), mb) for a, b, mb in row["releases"]]
    if not version:
        return min(mb for *_, mb in rows)
    try:
        asked = Version(version)
    except InvalidVersion:
        return None
    asked = Version(asked.public)
    before = [mb for first, _, mb in rows if first <= asked]
    behind = [mb for _, last, mb in rows if last >= asked]
    return min(before[-1], behind[0]) if before and behind else None


def _faults(last: Last, wheels: list[Part]) -> Iterator[Part]:
    at = last.image.at
    if last.is_devel:
        yield Part(at, "its last stage stands on an image with CUDA's compiler and static libraries (devel)", None)
    if last.has_libraries and (wheels or last.lines("tensorflow", "jax")) and not last.is_devel:
        yield Part(wheels[0].at if wheels else at, "CUDA is in it twice: in the image below, and in the wheels", None)
    elif last.has_libraries and wheels:
        yield Part(wheels[0].at, "the wheels bring CUDA a second time", None)
    if not last.is_devel:
        yield from _toolkits(last)


def _toolkits(last: Last) -> Iterator[Part]:
    """CUDA's toolkit with compiler, profilers and static libraries, installed in the last stage and left there."""
    for stage in last.lineage:
        for script in stage.runs:
            if not _WORTH.search(script.text):
                continue
            for command in commands(script):
                words = [word.text for word in command.words]
                if (
                    words
                    and words[0].rpartition("/")[2] in {"apt-get", "apt", "dnf", "yum", "microdnf"}
                    and "install" in words
                ):
                    named = next(
                        (word for word in command.words if _TOOLKIT.fullmatch(word.text.partition("=")[0])), None
                    )
                    if named is not None:
                        yield Part(
                            named.at, f"CUDA's whole toolkit is installed in its last stage ({named.text})", None
                        )
                        return


def pulls(facts: Facts, last: Last) -> int:
    """How many replicas of this repository's surfaces pull the image, as far as names tell; 0 for none."""
    by_compose = sum(1 for launch in facts.of(Launch) if launch.joins.get("dockerfile") == last.path)
    names = {part for part in _names(last.path) if part}
    found = by_compose
    base = images.parts(last.image.text)[0]
    for surface in cluster(facts).surfaces:
        if facts.classify(surface.at.path) not in (PathClass.SERVING, PathClass.TRAINING):
            continue
        for pod in surface.pods:
            held = {images.parts(one.node.get("image").text)[0] for one in pod.containers} - {base}
            if names & {name.rpartition("/")[2] for name in held}:
                found += pod.replicas or 1
    return found


def _names(path: str) -> Iterator[str]:
    """What an image is called that is made by a Dockerfile, where it is called after it or after its folder."""
    folder, _, file = path.rpartition("/")
    stem = file.lower().removesuffix(".dockerfile").removeprefix("dockerfile").lstrip(".-")
    yield stem if stem != "dockerfile" else ""
    if not stem or stem == "dockerfile":
        yield folder.rpartition("/")[2]
