"""Findings of VG3xx to VG5xx beside hand-written labels: caught, missed and false for each rule.

usage: compare.py LABELS CHECKOUTS [RULE…]

LABELS is a folder of this one (dev, held): a table for each repository, `owner+name.csv`, and which files were read
whole in `repositories*.csv`. CHECKOUTS holds the repositories at the commits that stand there, by the same names.
A finding within three lines of a label is that label's; one on a label `open` counts for nothing. Labels whose note
says that they are another position of the same finding count for the one that they name.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

NEAR = 3  # lines


class Found(NamedTuple):
    """A finding, or a label, at its place."""

    path: str
    line: int
    rule: str


def covered(labels: Path) -> dict[str, list[str]]:
    """The patterns of files that were read whole, by repository."""
    found: dict[str, list[str]] = {}
    for table in labels.glob("repositories*.csv"):
        for row in csv.reader(table.open(encoding="utf-8")):
            if row and row[0] != "repository":
                found[row[0].replace("/", "+", 1)] = [one.strip() for one in row[2].split(";")]
    return found


def findings(checkout: Path, rules: list[str]) -> list[Found]:
    """What vramguard finds in a checkout."""
    select = [word for rule in rules for word in ("--select", rule)]
    command = [
        sys.executable,
        "-m",
        "vramguard",
        "check",
        str(checkout),
        *select,
        "--output-format",
        "json",
        "--exit-zero",
    ]
    said = json.loads(subprocess.run(command, capture_output=True, check=True, text=True, cwd="/").stdout)  # noqa: S603
    inside = f"{checkout.name}/"
    return [Found(one["path"].split(inside, 1)[-1], one["line"], one["id"]) for one in said["findings"]]


def is_near(one: Found, other: Found) -> bool:
    """Whether two stand at one place."""
    return one.path == other.path and one.rule == other.rule and abs(one.line - other.line) <= NEAR


def judge(table: Path, found: list[Found], read: list[str]) -> Counter[tuple[str, str]]:
    """Caught, missed, false and open of one repository, by rule."""
    rows = [
        (Found(row["path"], int(row["line"]), row["rule"]), row) for row in csv.DictReader(table.open(encoding="utf-8"))
    ]
    counts: Counter[tuple[str, str]] = Counter()
    used: set[Found] = set()
    moved = [
        label
        for label, row in rows
        if row["verdict"] == "open" and ("same finding" in row["note"] or "deeper" in row["note"])
    ]
    elsewhere = {label.rule for label in moved if any(is_near(label, one) for one in found)}
    for label, row in rows:
        if row["verdict"] == "bad":
            near = {one for one in found if is_near(label, one)}
            used |= near
            caught = near or label.rule in elsewhere
            counts[label.rule, "caught" if caught else "missed"] += 1
    for one in set(found) - used:
        if any(fnmatch(one.path, pattern) or one.path.startswith(pattern.removesuffix("**")) for pattern in read):
            open_ = any(is_near(label, one) for label, row in rows if row["verdict"] == "open")
            counts[one.rule, "open" if open_ else "false"] += 1
    return counts


def main() -> None:
    """Print the table."""
    labels, checkouts, *rules = sys.argv[1:]
    wanted = rules or ["VG3", "VG4", "VG5"]
    read = covered(Path(labels))
    counts: Counter[tuple[str, str]] = Counter()
    for table in sorted(Path(labels).glob("*+*.csv")):
        found = findings(Path(checkouts) / table.stem, wanted)
        judged = judge(table, found, read.get(table.stem, []))
        counts += Counter({key: number for key, number in judged.items() if key[0].startswith(tuple(wanted))})
    print("| rule | caught | missed | false | open |\n|---|---|---|---|---|")
    for rule in sorted({rule for rule, _ in counts}):
        print(f"| {rule} |", " | ".join(str(counts[rule, what]) for what in ("caught", "missed", "false", "open")), "|")


if __name__ == "__main__":
    main()
