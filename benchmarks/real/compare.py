"""What vramguard says of public repositories against labels that a person wrote before it ran.

Usage: python compare.py CHECKOUTS [--vramguard COMMAND] [--labels FILE]

CHECKOUTS holds one folder per repository, OWNER+NAME, at the commit that the labels name; a repository that is not
there is left out, and said so. Exit code 0 when every label is met, 1 when one is not, 2 when none could be compared.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

RULES = ("VG004", "VG101", "VG102", "VG103", "VG104", "VG105")
BY_LINE = "VG101"  # the other rules speak of a file as a whole


class Place(NamedTuple):
    """Where a rule is judged: `line` is empty for the rules that speak of a whole file."""

    repository: str
    path: str
    rule: str
    line: str


class Outcome(NamedTuple):
    """One label beside what the tool said of its place; `said` is a severity, or empty for silence."""

    place: Place
    expected: str
    said: str
    why: str

    @property
    def kind(self) -> str:
        """One of `tp`, `tn`, `fp`, `miss` and `severity` (reported, but at another severity)."""
        if not self.expected:
            return "fp" if self.said else "tn"
        if not self.said:
            return "miss"
        return "tp" if self.said == self.expected else "severity"


def folder_of(checkouts: Path, repository: str) -> Path:
    """The folder of `OWNER/NAME` among the checkouts."""
    return checkouts / repository.replace("/", "+")


def findings(command: list[str], repository: str, folder: Path) -> dict[Place, str]:
    """Severity by place, as vramguard reports them; the first finding on a line stands for the others."""
    run = subprocess.run(  # noqa: S603 - the command is the caller's own
        [*command, "check", "--output-format", "json"], cwd=folder, capture_output=True, text=True, check=False
    )
    if run.returncode not in (0, 1):
        sys.exit(f"{repository}: vramguard exited with {run.returncode}: {run.stderr.strip()}")
    found: dict[Place, str] = {}
    for finding in json.loads(run.stdout)["findings"]:
        line = str(finding["line"]) if finding["id"] == BY_LINE else ""
        found.setdefault(Place(repository, finding["path"], finding["id"], line), finding["severity"])
    return found


def compare(rows: list[dict[str, str]], found: dict[Place, str]) -> tuple[list[Outcome], list[tuple[Place, str]]]:
    """Each label's outcome, and the findings in labelled files that no label speaks of."""
    outcomes = []
    for row in rows:
        place = Place(row["repository"], row["path"], row["rule"], row["line"] if row["rule"] == BY_LINE else "")
        expected = row["severity"] if row["verdict"] == "expected" else ""
        outcomes.append(Outcome(place, expected, found.get(place, ""), row["why"]))
    labelled = {outcome.place for outcome in outcomes}
    files = {(place.repository, place.path) for place in labelled}
    extra = [
        (place, severity)
        for place, severity in sorted(found.items())
        if place.rule in RULES and (place.repository, place.path) in files and place not in labelled
    ]
    return outcomes, extra


def table(outcomes: list[Outcome]) -> str:
    """Counts per rule, with the denominators."""
    lines = ["rule    expected  true pos.  missed  other severity | clean  silent  false pos."]
    for rule in RULES:
        kinds = Counter(outcome.kind for outcome in outcomes if outcome.place.rule == rule)
        positive = kinds["tp"] + kinds["miss"] + kinds["severity"]
        lines.append(
            f"{rule}  {positive:8}  {kinds['tp']:9}  {kinds['miss']:6}  {kinds['severity']:14} | "
            f"{kinds['tn'] + kinds['fp']:5}  {kinds['tn']:6}  {kinds['fp']:10}"
        )
    return "\n".join(lines)


def main() -> int:
    """Read the labels, run vramguard in each checkout, print the table and every disagreement."""
    parser = argparse.ArgumentParser(description="Compare vramguard with labels written by hand.")
    parser.add_argument("checkouts", type=Path, help="a folder with one checkout per repository, OWNER+NAME")
    parser.add_argument("--vramguard", default="vramguard", help="the command that starts it")
    parser.add_argument("--labels", type=Path, default=Path(__file__).with_name("labels.csv"))
    options = parser.parse_args()
    with options.labels.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    names = sorted({row["repository"] for row in rows})
    here = [name for name in names if folder_of(options.checkouts, name).is_dir()]
    for name in sorted(set(names) - set(here)):
        print(f"left out, no checkout: {name}")
    command = shlex.split(options.vramguard)
    found: dict[Place, str] = {}
    for name in here:
        found |= findings(command, name, folder_of(options.checkouts, name))
    outcomes, extra = compare([row for row in rows if row["repository"] in here], found)
    print(f"{len(outcomes)} labels in {len(here)} repositories\n{table(outcomes)}")
    wrong = [outcome for outcome in outcomes if outcome.kind not in ("tp", "tn")]
    for outcome in wrong:
        print(f"{outcome.kind}: {':'.join(outcome.place)}: said {outcome.said or 'nothing'}; label: {outcome.why}")
    for place, severity in extra:
        print(f"no label: {':'.join(place)}: {severity}")
    if not outcomes:
        return 2
    return 1 if wrong or extra else 0


if __name__ == "__main__":
    sys.exit(main())
