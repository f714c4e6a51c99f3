"""Demand 1: versions that are exact, and wrong together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard import data
from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED, WEAKER, some, unknown_gpu, weight
from vramguard.facts import Channels, Install, Lock, PathClass, Project
from vramguard.link import cuda
from vramguard.link.advisories import bad, near, unfit
from vramguard.link.combinations import conflicts, unfixed
from vramguard.link.environments import environments_of
from vramguard.link.images import written
from vramguard.link.meeting import CONDA_TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Deployment, Facts
    from vramguard.link.advisories import Bad, Unfit
    from vramguard.link.combinations import Conflict
    from vramguard.link.meeting import Line, Meeting

DEFAULT_GPU = "h100-sxm5-80gb"
_NVCC = "torch refuses a compiler of another major CUDA"


def _told(line: Line) -> str:
    """A line in words: the package and what it asks for."""
    if "://" in line.specifier:
        return f"{line.name} {line.version}"
    glue = "" if not line.specifier[:1].isalnum() else " "
    return f"{line.name}{glue}{line.specifier}"


def _where(meeting: Meeting) -> str:
    """What is installed into, as a reader knows it: a file, a stage, a job."""
    path, _, part = meeting.place.partition("#")
    if not part:
        return f"`{path}`"
    kind = {"dockerfile": "stage", "workflow": "job"}.get(meeting.form, "part")
    return f"{kind} {part} of `{path}`"


@check("known-bad-combination")
@dataclass(frozen=True)
class KnownBadCombination:
    """Releases that an advisory calls bad together, or of which one was built for another release of the other.

    Where an advisory speaks of cards, those of the deployments near the environment count; `gpu` where none is stated,
    and then it weighs `assumed`. `ranges` weighs what a package's own range rules out, short of an exact release;
    `replaced` a pair of which pip takes away the one that an earlier command installed.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    gpu: str = DEFAULT_GPU
    assumed: Severity = Severity.WARNING
    ranges: Severity = Severity.WARNING
    replaced: Severity = Severity.WARNING

    def __post_init__(self) -> None:
        if data.gpu(self.gpu) is None:
            raise ValueError(unknown_gpu(self.gpu))

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each advisory, or pair, and its lines."""
        seen: set[tuple[object, ...]] = set()
        for found in bad(facts):
            key = (found.advisory.id, *(line.at for line in found.lines))
            if key not in seen:
                seen.add(key)
                yield from self._advised(facts, found)
        for pair in unfit(facts):
            if (pair.line.at, pair.beside.at) not in seen:
                seen.add((pair.line.at, pair.beside.at))
                yield from self._unfit(facts, pair)

    def _advised(self, facts: Facts, found: Bad) -> Iterator[Problem]:
        advisory, lines = found.advisory, found.lines
        judged, weaker = weight(self, facts, lines[0].at.path)
        met = self._met(facts, found) if judged else None
        if met is None:
            return
        own = Severity[advisory.severity.upper()]
        severity = min([own, *([met[1]] if met[1] else []), *([weaker] if weaker else [])])
        values = {
            "lines": " with ".join(_told(line) for line in lines),
            "what": advisory.what,
            "move": advisory.move,
            "source": advisory.source,
            "advisory": advisory.id,
        }
        evidence = (*_beside(lines[1:], found.meeting), *met[0])
        yield Problem(lines[0].at, values, evidence, severity, subject=advisory.id, data={"advisory": advisory.id})

    def _met(self, facts: Facts, found: Bad) -> tuple[tuple[Evidence, ...], Severity | None] | None:
        """The deployment whose card an advisory names, and how much it weighs; None where no card is one of its."""
        advisory = found.advisory
        if not advisory.capabilities:
            return (), None
        stated = [(item, card) for item in near(facts, found.meeting) if (card := _card(item)) is not None]
        for deployment, card in stated:
            if card.compute_capability in advisory.capabilities:
                return (Evidence(deployment.at, f"this runs on {card.name}"),), None
        default = data.gpu(self.gpu)
        if stated or default is None or default.compute_capability not in advisory.capabilities:
            return None
        return (), self.assumed

    def _unfit(self, facts: Facts, found: Unfit) -> Iterator[Problem]:
        judged, weaker = weight(self, facts, found.line.at.path)
        if not judged:
            return
        one, other = found.line, found.beside
        what = f"{one.name} {one.version} needs {other.name}{found.needs}"
        values = {
            "lines": f"{_told(one)} with {_told(other)}",
            "what": f"{what}, and pip replaces what was there" if found.replaced else what,
            "move": f"one of the two: {other.name} to `{found.needs}`, or {one.name} to the release for it",
            "source": found.source,
            "advisory": "",
        }
        severity = weaker or (
            self.replaced if found.replaced else None if found.needs.startswith("==") else self.ranges
        )
        evidence = _beside((other,), found.meeting)
        subject = f"{one.name};{other.name}"
        yield Problem(one.at, values, tuple(evidence), severity, subject=subject)


def _card(deployment: Deployment) -> data.Gpu | None:
    return data.gpu(deployment.gpu) if isinstance(deployment.gpu, str) else None


def _beside(lines: tuple[Line, ...], meeting: Meeting) -> Iterator[Evidence]:
    for line in lines:
        yield Evidence(line.at, f"{_told(line)}, installed with it into {_where(meeting)}")


@check("cuda-mismatch")
@dataclass(frozen=True)
class CudaMismatch:
    """The CUDA of torch, beside that of the image, of the driver and of the card.

    An image of another major weighs `image`, and the rule's own severity where something is compiled in it. `driver` is
    the major version of the oldest driver that the organisation runs, as 535; nothing is said of drivers without it.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    image: Severity = Severity.WARNING
    driver: int = 0

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each line of torch and what it does not fit."""
        yield from _first(self._images(facts))
        yield from _first(self._drivers(facts))
        yield from _first(self._cards(facts))

    def _images(self, facts: Facts) -> Iterator[Problem]:
        for build, base, compiled, certain in cuda.beside(facts):
            judged, weaker = weight(self, facts, build.line.at.path)
            if not judged:
                continue
            evidence = [Evidence(base.image.at, f"the image has CUDA {base.cuda}")]
            if compiled is not None:
                evidence.append(Evidence(compiled.at, f"{compiled.name} is compiled in it"))
            problem = f"the image `{written(base.image)}` has CUDA {base.cuda}"
            yield Problem(
                build.line.at,
                {**_values(build), "problem": problem, "consequence": _consequence(build, base, compiled)},
                tuple(evidence),
                weaker or (None if compiled is not None and certain else self.image),
                subject="image",
            )

    def _drivers(self, facts: Facts) -> Iterator[Problem]:
        for build in cuda.builds(facts) if self.driver else ():
            judged, weaker = weight(self, facts, build.line.at.path)
            least = data.drivers().get(cuda.major(build.cuda), 0)
            if judged and self.driver < least:
                problem = f"the driver is {self.driver}"
                consequence = f"CUDA {cuda.major(build.cuda)}.x needs driver {least} or later: torch sees no card"
                values = {**_values(build), "problem": problem, "consequence": consequence}
                yield Problem(build.line.at, values, severity=weaker, subject="driver")

    def _cards(self, facts: Facts) -> Iterator[Problem]:
        for build, deployment, card, row in cuda.on_cards(facts):
            judged, weaker = weight(self, facts, build.line.at.path)
            if judged:
                bounds = f"CUDA {row.least} or later" + (f" and before {row.end}" if row.end else "")
                values = {
                    **_values(build),
                    "problem": f"it runs on {card.name} ({row.generation}, {card.compute_capability})",
                    "consequence": f"only builds with {bounds} have code for that card: no kernel can start",
                }
                evidence = (Evidence(deployment.at, f"this runs on {card.name}"),)
                yield Problem(build.line.at, values, evidence, weaker, subject=f"card;{card.compute_capability}")


def _values(build: cuda.Build) -> dict[str, object]:
    return {"torch": _told(build.line), "cuda": build.cuda, "why": build.why, "where": _where(build.meeting)}


def _consequence(build: cuda.Build, base: cuda.Base, compiled: Line | None) -> str:
    if compiled is not None:
        return f"{compiled.name} is compiled with the image's nvcc, and {_NVCC}"
    if cuda.major(build.cuda) > cuda.major(base.cuda):
        return f"the image starts on a driver that is too old for CUDA {build.cuda}, and torch then sees no card"
    return f"the image demands a driver for CUDA {base.cuda}, and its CUDA is then not used"


def _first(problems: Iterator[Problem]) -> Iterator[Problem]:
    """The first problem of each line and subject: one list may be installed in several places."""
    seen: set[tuple[object, str]] = set()
    for problem in problems:
        if (problem.at, problem.subject) not in seen:
            seen.add((problem.at, problem.subject))
            yield problem


@check("unfixed-build")
@dataclass(frozen=True)
class UnfixedBuild:
    """An exact version without a label, of which an index that is asked has builds for several CUDA versions."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each list, or command, at the first such line."""
        for found in unfixed(facts):
            line = found.lines[0]
            judged, severity = weight(self, facts, line.at.path)
            if judged:
                named = some((f"`{item.name}=={item.version}`" for item in found.lines), ", ")
                values = {"lines": named, "name": line.name, "version": line.version, "index": found.url}
                values["label"] = _label(found.url)
                yield Problem(line.at, values, severity=severity, amount=len(found.lines), subject="builds")


def _label(url: str) -> str:
    """The label of all builds in one folder of an index, as `whl/cu128`; a word to fill in where the URL says none."""
    folders = (part for part in reversed(url.rstrip("/").split("/")) if re.fullmatch(r"cpu|xpu|cu\d+|rocm[\d.]+", part))
    return next(folders, "LABEL")


@check("conflicting-pins")
@dataclass(frozen=True)
class ConflictingPins:
    """One package at two exact versions in what is installed into one place, or against a constraint there."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each pair of lines, at the second."""
        for found in conflicts(facts):
            judged, severity = weight(self, facts, found.second.at.path)
            if judged:
                yield _conflict(found, severity)


def _conflict(found: Conflict, severity: Severity | None) -> Problem:
    first, second = found.first, found.second
    what = f"{first.name}{first.specifier} limits it" if found.excludes else f"{_told(first)} is installed there too"
    values = {
        "name": second.name,
        "second": _told(second),
        "first": _told(first),
        "first_path": first.at.path,
        "first_line": first.at.line,
        "where": _where(found.meeting),
    }
    return Problem(second.at, values, (Evidence(first.at, what),), severity, subject=second.name)


@check("conda-channel-priority")
@dataclass(frozen=True)
class CondaChannelPriority:
    """Several channels, of which nothing says that the first that has a package gives it; or `defaults` among others.

    A conda lock settles what each package was taken from: then nothing is said. `defaults`: the names of Anaconda's.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    defaults: tuple[str, ...] = ("defaults", "anaconda", "main", "r", "msys2")

    def find(self, facts: Facts) -> Iterator[Problem]:
        """At most one problem for each file."""
        strict = any(item.priority == "strict" for item in facts.of(Channels)) or _set_strict(facts)
        environments = environments_of(facts)
        locked = {project.at.path for project in facts.of(Project) if project.form == "conda"} if facts.of(Lock) else ()
        told: set[str] = set()
        for item in facts.of(Channels):
            path = item.at.path
            judged, severity = weight(self, facts, path)
            if not judged or path in told or (path in locked and environments.left_to_lock(path)):
                continue
            problem = self._problem(item.channels, strict=strict, priority=item.priority)
            if problem:
                told.add(path)
                values = {"channels": ", ".join(item.channels), "problem": problem}
                yield Problem(item.at, values, severity=severity, subject="channels")

    def _problem(self, channels: tuple[str, ...], *, strict: bool, priority: str | None) -> str:
        """What is wrong with a list of channels, in words; empty for nothing."""
        names = [name for name in dict.fromkeys(channels) if name != "nodefaults"]
        own = [name for name in names if name in self.defaults]
        if own and any("conda-forge" in name for name in names):
            return f"`{own[0]}` and conda-forge build the same packages, and not for each other"
        if priority not in (None, "strict"):
            return f"`channel_priority` is {priority}" if len(names) > 1 else ""
        return "" if strict or len(names) < 2 else "nothing says that the priority is strict"  # noqa: PLR2004


def _set_strict(facts: Facts) -> bool:
    """Whether a command sets it: `--strict-channel-priority`, `conda config --set channel_priority strict`."""
    options = (option for install in facts.of(Install) if install.tool in CONDA_TOOLS for option in install.options)
    return any(name == "strict-channel-priority" or _sets_priority(name, value) for name, value in options)


def _sets_priority(name: str, value: str) -> bool:
    return name == "set" and value.split()[:1] == ["channel_priority"]
