"""Demand 5: what models learn from was looked at: pages that came, rows that are meant, data that stays the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import evidence
from vramguard.facts import PathClass
from vramguard.link.code.datachecks import blind_validators
from vramguard.link.code.datasets import data_sources, own_outputs
from vramguard.link.code.latest import latest_data
from vramguard.link.code.scraping import web_data
from vramguard.link.code.swallowing import swallowed_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.facts.datasets import DataSource

_LIGHT = (PathClass.EXAMPLE, PathClass.DOCS)


def _severity(facts: Facts, path: str, classes: tuple[PathClass, ...]) -> Severity | None:
    """A warning where nobody runs it for customers: an example, a page of documentation, a notebook."""
    return Severity.WARNING if facts.classify(path) in classes or path.endswith(".ipynb") else None


@check("unchecked-web-data")
@dataclass(frozen=True)
class UncheckedWebData:
    """What a request gives is kept as data, and nothing on the way reads the status.

    A key of a JSON answer that is asked for by name stops most error pages: a warning, as in paths of `warnings`.
    """

    warnings: tuple[PathClass, ...] = _LIGHT

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in web_data(facts):
            severity = Severity.WARNING if found.strict else _severity(facts, found.at.path, self.warnings)
            checks = " or ".join(
                f"`{one}`"
                for one in found.checks
                if one in ("raise_for_status", "ok", "status_code", "status", "is_success")
            )
            values = {"call": found.call, "sink": found.sink, "kind": found.kind, "checks": checks or "its status"}
            yield Problem(
                found.at,
                values,
                evidence(found.steps),
                severity,
                subject=f"{found.function} {found.call} {found.sink}",
            )


@check("unvalidated-training-data")
@dataclass(frozen=True)
class UnvalidatedTrainingData:
    """Training reads a file or table, and nothing on the way can refuse what stands in it.

    Columns that are asked for, rows that are dropped, an `assert` and a report that nobody reads refuse nothing. Where
    nothing in sight keeps what was trained it is a warning, and so in paths of `warnings`.
    """

    warnings: tuple[PathClass, ...] = _LIGHT

    def find(self, facts: Facts) -> Iterator[Problem]:
        for source in data_sources(facts):
            if source.validated:
                continue
            severity = _severity(facts, source.at.path, self.warnings) if source.saved else Severity.WARNING
            yield Problem(
                source.at,
                self._values(source),
                evidence(source.steps),
                severity,
                subject=f"{source.function} {source.call}",
            )

    @staticmethod
    def _values(source: DataSource) -> dict[str, object]:
        near = "".join(
            f"; `{one.what}` (line {one.at.line}) refuses nothing: {one.flaw}" for one in source.validations[:1]
        )
        told = f" ({source.of})" if source.of.strip("…/. ") and len(source.of) <= 80 else ""  # noqa: PLR2004 - what fits into a line
        more = f" and {source.more} more" if source.more else ""
        more += f" of `{source.function}`" if source.more and source.function else ""
        return {"call": source.call, "of": told, "trains": source.trains, "near": near, "more": more}


@check("blind-validator")
@dataclass(frozen=True)
class BlindValidatorCheck:
    """A validator asks of a column of text whether there is any, and not what it says."""

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in blind_validators(facts):
            values = {"check": found.what, "column": found.column, "function": found.function}
            yield Problem(found.at, values, subject=f"{found.function} {found.column}")


@check("own-outputs-as-training-data")
@dataclass(frozen=True)
class OwnOutputsAsTrainingData:
    """Training reads the file or table that a model of this repository writes its answers to."""

    warnings: tuple[PathClass, ...] = _LIGHT

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in own_outputs(facts):
            values = {"of": found.of, "output": found.output}
            yield Problem(
                found.at,
                values,
                evidence(found.steps),
                _severity(facts, found.at.path, self.warnings),
                subject=found.of,
            )


@check("changing-dataset")
@dataclass(frozen=True)
class ChangingDataset:
    """Training reads data by a name that does not stay the same."""

    def find(self, facts: Facts) -> Iterator[Problem]:
        for source in latest_data(facts):
            values = {"call": source.call, "of": source.latest}
            yield Problem(source.at, values, evidence(source.steps), subject=f"{source.function} {source.latest}")


@check("swallowed-loader-error")
@dataclass(frozen=True)
class SwallowedLoaderError:
    """A loader lets vanish what it cannot read, uncounted, and the rest is learned from or kept as data."""

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in swallowed_errors(facts):
            values = {"how": found.how, "what": found.what, "function": found.function}
            yield Problem(found.at, values, evidence(found.steps), subject=f"{found.function} {found.how}")
