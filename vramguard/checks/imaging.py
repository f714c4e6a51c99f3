"""Images and how they are started: what was left on, how large they are, whether a server hears that it shall end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED, SHOWN, weight
from vramguard.facts import PathClass
from vramguard.link.imaging.debugging import left_on
from vramguard.link.imaging.devices import blind, unpinned
from vramguard.link.imaging.ledger import ledgers, pulls
from vramguard.link.imaging.signals import deaf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.imaging.ledger import Ledger
    from vramguard.source import Location


@check("debug-left-on")
@dataclass(frozen=True)
class DebugLeftOn:
    """A service runs with a setting that is for finding mistakes: what only writes more is a warning."""

    classes: tuple[PathClass, ...] = (PathClass.SERVING,)
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        seen: set[Location] = set()
        for one in left_on(facts):
            judged, severity = weight(self, facts, one.at.path)
            if judged and one.at not in seen:
                seen.add(one.at)
                severity = severity if one.slows else Severity.WARNING
                values = {"setting": one.written, "what": one.what, "whose": one.whose or one.at.path}
                yield Problem(one.at, values, (), severity, subject=f"{one.whose} {one.written}")


@check("image-size")
@dataclass(frozen=True)
class ImageSize:
    """The image that a Dockerfile makes is larger than `most`, in MB, by what was measured of its parts; or, as a
    warning, it has parts that nothing in it needs when it runs: CUDA's compiler, CUDA twice, weights of `worth` MB.
    """

    most: int = 10_000
    worth: int = 1_000
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for ledger in ledgers(facts):
            judged, severity = weight(self, facts, ledger.last.path)
            if judged and not ledger.last.for_people:
                problem = self._judged(facts, ledger, severity)
                if problem is not None:
                    yield problem

    def _judged(self, facts: Facts, ledger: Ledger, severity: Severity | None) -> Problem | None:
        large = ledger.least > self.most
        weights = [one for one in ledger.weights if one.bytes is None or one.bytes >= self.worth * 10**6]
        if not large and not ledger.faults and not weights:
            return None
        faults = [fault.what for fault in ledger.faults] + [f"the weights {one.what} are part of it" for one in weights]
        said = [f"it has at least {ledger.least:,} MB, and {self.most:,} MB are allowed"] if large else []
        pulled = pulls(facts, ledger.last) if ledger.least else 0
        if pulled > 1:
            said.append(f"{pulled} replicas pull {pulled * ledger.least:,} MB of it at once")
        stage = ledger.last.stage
        at = weights[0].at if weights and not large and not ledger.faults else self._from(ledger)
        shown = [Evidence(part.at, self._row(part.what, part.mb, part.source)) for part in ledger.parts]
        shown += [Evidence(fault.at, fault.what) for fault in ledger.faults]
        values = {"image": ledger.last.path, "faults": "; ".join([*said, *faults]), "ledger": ledger.words}
        own = bool(ledger.faults or weights) or len([part for part in ledger.parts if part.mb]) > 1
        level = severity if large and own else Severity.WARNING  # a base that is too large by itself is somebody else's
        return Problem(at, values, tuple(shown), level, subject=stage.name, amount=max(1, ledger.least))

    @staticmethod
    def _from(ledger: Ledger) -> Location:
        stage = ledger.last.stage
        return stage.image.at if stage.base is None else stage.at

    @staticmethod
    def _row(what: str, mb: int | None, source: str) -> str:
        size = f"{mb:,} MB" if mb else "not counted: nobody has measured it"
        return f"{what}: {size}" + (f" ({source})" if source else "")


@check("unheard-signal")
@dataclass(frozen=True)
class UnheardSignal:
    """A shell that stays stands between a GPU server and the signal that ends it, in a manifest, a service of compose,
    or an image: the server is killed with its card full.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in deaf(facts):
            judged, _ = weight(self, facts, one.at.path)
            if judged:
                shown = (Evidence(one.card, "the card that it asks for"),) if one.card else ()
                values = {"name": one.name, "program": one.found.program[:60], "why": one.found.why}
                yield Problem(one.at, values, shown, Severity.WARNING, subject=one.name, data={"surface": one.name})


@check("blind-device-plugin")
@dataclass(frozen=True)
class BlindDevicePlugin:
    """The device plugin is told not to look for sick cards: pods are sent to a card that has fallen off its bus."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in blind(facts):
            judged, severity = weight(self, facts, one.at.path)
            if judged:
                yield Problem(one.at, {"value": one.value}, (), severity, subject="health")


@check("unpinned-device")
@dataclass(frozen=True)
class UnpinnedDevice:
    """The device plugin, the driver or their operator is whatever stands there on the day it is installed."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in unpinned(facts):
            judged, _ = weight(self, facts, one.at.path)
            if judged:
                yield Problem(one.at, {"name": one.name, "why": one.why}, (), Severity.WARNING, subject=one.name)
