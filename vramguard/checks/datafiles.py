"""Demand 5: files of data that nobody wants a model to learn from."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED, weight
from vramguard.facts import DataFile, PathClass
from vramguard.source import Location
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.facts.datafiles import Sign

# Folders and files that programs write for people (answers, measurements), and texts of a user interface.
_NOT_LEARNT = re.compile(
    r"(?:^|[/._-])(?:results?|outputs?|out|predictions?|preds?|submissions?|logs?|reports?|metrics|leaderboards?"
    r"|profil(?:e|es|ing)|i18n|l10n|locales?|translations?|lang|http[_-]?status(?:es)?)(?=[/._-])",
    re.IGNORECASE,
)
_WORDS = {
    "no-data": "no data",
    "error-page": "error pages",
    "sentinel": "a program's word for no value",
    "injection": "attack payloads",
    "gibberish": "in no language",
    "missing": "no value, though a model learns to give one",
    "duplicate": "rows that repeat another",
}
# What may be meant: a cipher, labels still to be given, classes that are balanced.
_WARNINGS = frozenset({"gibberish", "missing", "duplicate"})
_OF_ATTACKS = frozenset({"injection", "gibberish"})  # what a file that collects attacks is made of
_PER_CENT = 100


@check("unsound-data-file")
@dataclass(frozen=True)
class UnsoundDataFile:
    """A file of data (CSV, TSV, JSON Lines, lists of records in JSON, Parquet) whose rows are not what they should be.

    Each share is of the rows that were read, from which on a file is refused: `error_pages` (the title or the text of
    a page that was not there), `sentinels` (`undefined`, `[object Object]`; among sentences `null`, `[deleted]`,
    `[Removed]`, `Not Available`), `injections` (SQL, script, shell and prompt injection), `gibberish` (of the texts
    in Latin letters), `missing` (no value in a column that is learnt; not in all of it) and `duplicates` (of a file
    with texts). `least`: so many rows it has to be; `texts`: of so many texts at least a share of gibberish is told.
    The last three are warnings, as is all in the path classes `warnings`. A file that says that it collects attacks
    may hold payloads and gibberish. What programs write (results, logs, predictions) is not judged.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE,)
    error_pages: Fraction = Fraction(1, 100)
    sentinels: Fraction = Fraction(1, 100)
    injections: Fraction = Fraction(1, 100)
    gibberish: Fraction = Fraction(1, 5)
    missing: Fraction = Fraction(1, 5)
    duplicates: Fraction = Fraction(3, 10)
    least: int = 2
    texts: int = 10

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each file, at the first line that shows it."""
        for file in facts.of(DataFile):
            judged, severity = weight(self, facts, file.at.path)
            found = [sign for sign in file.signs if self._is_too_much(sign, file)] if judged else []
            if found and not _NOT_LEARNT.search(file.at.path):
                yield _problem(file, found, severity)

    def _is_too_much(self, sign: Sign, file: DataFile) -> bool:
        if sign.kind == "no-data":
            return True
        if sign.kind in _OF_ATTACKS and file.attacks:
            return False
        if sign.kind == "missing" and sign.rows == sign.of:  # a set to be labelled
            return False
        if sign.kind == "gibberish" and sign.of < self.texts:
            return False
        return sign.rows >= self.least and sign.rows >= self._shares[sign.kind] * sign.of

    @property
    def _shares(self) -> Mapping[str, Fraction]:
        return {
            "error-page": self.error_pages,
            "sentinel": self.sentinels,
            "injection": self.injections,
            "gibberish": self.gibberish,
            "missing": self.missing,
            "duplicate": self.duplicates,
        }


def _problem(file: DataFile, found: list[Sign], severity: Severity | None) -> Problem:
    found.sort(key=lambda sign: (sign.kind in _WARNINGS, -sign.rows / sign.of))
    own = Severity.WARNING if all(sign.kind in _WARNINGS for sign in found) else None
    line = next((sign.lines[0] for sign in found if sign.lines), 1)
    return Problem(
        at=_at(file, line),
        values={"what": "; ".join(map(_said, found)), "read": _read(file)},
        evidence=tuple(Evidence(_at(file, line), _shown(sign)) for sign in found for line in sign.lines),
        severity=severity or own,
        amount=sum(sign.rows for sign in found),
        subject=",".join(sorted({sign.kind for sign in found})),
        data={"signs": [asdict(sign) for sign in found], "rows": file.rows, "whole": file.whole},
    )


def _at(file: DataFile, line: int) -> Location:
    return Location(file.at.path, line, 1, line, 1)


def _said(sign: Sign) -> str:
    if sign.kind == "no-data":
        return f"it is no data but {sign.example}"
    where = f" of `{sign.column}`" if sign.column else ""
    share = f"{sign.rows} of {sign.of} {'texts' if sign.kind == 'gibberish' else 'rows'}"
    return f"{share}{where} ({_percent(sign)}) are {_WORDS[sign.kind]}{f' (`{sign.example}`)' if sign.example else ''}"


def _percent(sign: Sign) -> str:
    return f"{_PER_CENT * sign.rows / sign.of:.2g} %" if sign.rows < sign.of else "all"


def _shown(sign: Sign) -> str:
    return _WORDS[sign.kind] + (f" in `{sign.column}`" if sign.column else "")


def _read(file: DataFile) -> str:
    return "" if file.whole else f", in {plural(file.rows, 'row')} read of a larger file"
