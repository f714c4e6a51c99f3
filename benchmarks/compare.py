"""Findings beside hand-written labels: caught, missed and false for each rule.

usage: compare.py LABELS CHECKOUTS [RULE…] [--show]

LABELS is a folder of `code` or `manifests` (dev, held, fresh) with a table for each repository, `owner+name.csv`, and
which files were read whole in `repositories*.csv`. CHECKOUTS holds the repositories at the commits that stand there,
by the same names; those that are not there are left out, and named. RULE is an id, or what ids begin with (all of VG3
to VG7 if none is given). A finding within three lines of a label is that label's; one on a label `open` counts for
nothing. A label whose note says that it is another position of the same finding counts for the one of its rule.
`trap` counts findings on places that were labelled as such: they are among the false ones. `--show` prints every
missed and false place.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

NEAR = 3  # lines
_MOVED = re.compile(r"same finding|deeper")
WHAT = ("caught", "missed", "false", "trap", "open")


class Found(NamedTuple):
    """A finding, or a label, at its place."""

    path: str
    line: int
    rule: str


class Label(NamedTuple):
    """What a person said of a place."""

    at: Found
    verdict: str
    note: str


def covered(labels: Path) -> dict[str, list[str]]:
    """The patterns of files that were read whole, by repository."""
    found: dict[str, list[str]] = {}
    for table in labels.glob("repositories*.csv"):
        for row in csv.reader(table.open(encoding="utf-8")):
            if row and row[0] != "repository":
                patterns = [one.strip() for one in row[2].split(";")]
                found.setdefault(row[0].replace("/", "+", 1), []).extend(patterns)
    return found


def findings(checkout: Path, rules: list[str]) -> dict[Found, str]:
    """What vramguard finds in a checkout, with what it says."""
    select = [word for rule in rules for word in ("--select", rule)]
    command = [sys.executable, "-m", "vramguard", "check", str(checkout), *select, "--output-format", "json"]
    ran = subprocess.run([*command, "--exit-zero"], capture_output=True, check=True, text=True, cwd="/")  # noqa: S603
    inside = f"{checkout.name}/"
    return {
        Found(one["path"].split(inside, 1)[-1], one["line"], one["id"]): one["message"]
        for one in json.loads(ran.stdout)["findings"]
    }


def labelled(table: Path) -> list[Label]:
    """The labels of one repository."""
    return [
        Label(Found(row["path"], int(row["line"]), row["rule"]), row["verdict"], row["note"])
        for row in csv.DictReader(table.open(encoding="utf-8"))
    ]


def is_near(one: Found, other: Found) -> bool:
    """Whether two stand at one place."""
    return one.path == other.path and one.rule == other.rule and abs(one.line - other.line) <= NEAR


def matches(path: str, pattern: str) -> bool:
    """Whether a path is one of a pattern's: `*` stays within a folder, `**` does not."""
    parts = re.split(r"(\*\*/?|\*)", pattern)
    meant = {"*": "[^/]*", "**": ".*", "**/": "(?:.*/)?"}
    return re.fullmatch("".join(meant.get(part, re.escape(part)) for part in parts), path) is not None


def judge(labels: list[Label], found: dict[Found, str], read: list[str], show: str) -> Counter[tuple[str, str]]:
    """Caught, missed, false and open of one repository, by rule. `show`: its name, where places are printed."""
    counts: Counter[tuple[str, str]] = Counter()
    used: set[Found] = set()
    moved = [label.at for label in labels if label.verdict == "open" and _MOVED.search(label.note)]
    elsewhere = {place.rule for place in moved if any(is_near(place, one) for one in found)}
    for label in labels:
        if label.verdict == "bad":
            near = {one for one in found if is_near(label.at, one)}
            used |= near
            caught = bool(near) or label.at.rule in elsewhere
            counts[label.at.rule, "caught" if caught else "missed"] += 1
            if show and not caught:
                print(f"missed {show} {label.at.path}:{label.at.line} {label.at.rule} {label.note}")
    for one in sorted(found.keys() - used):
        near_by = [label for label in labels if is_near(label.at, one)]
        if any(label.verdict == "open" for label in near_by):
            counts[one.rule, "open"] += 1
        elif near_by or any(matches(one.path, pattern) for pattern in read):
            counts[one.rule, "false"] += 1
            counts[one.rule, "trap"] += bool(near_by)
            if show:
                notes = "; ".join(label.note for label in near_by)
                print(
                    f"false {show} {one.path}:{one.line} {one.rule} {found[one]}{f' [trap: {notes}]' if notes else ''}"
                )
    return counts


def main() -> None:
    """Print the table."""
    words = [word for word in sys.argv[1:] if word != "--show"]
    labels, checkouts, wanted = Path(words[0]), Path(words[1]), tuple(words[2:]) or ("VG3", "VG4", "VG5", "VG6", "VG7")
    read = covered(labels)
    counts: Counter[tuple[str, str]] = Counter()
    for table in sorted(labels.glob("*+*.csv")):
        checkout = checkouts / table.stem
        if not checkout.is_dir():
            print(f"not there: {checkout.name}")
            continue
        asked = [label for label in labelled(table) if label.at.rule.startswith(wanted)]
        if not asked and table.stem not in read:
            continue
        show = table.stem if "--show" in sys.argv else ""
        counts += judge(asked, findings(checkout, list(wanted)), read.get(table.stem, []), show)
    print(f"| rule | {' | '.join(WHAT)} |\n|---|{'---|' * len(WHAT)}")
    for rule in sorted({rule for rule, _ in counts}):
        print(f"| {rule} |", " | ".join(str(counts[rule, what]) for what in WHAT), "|")


if __name__ == "__main__":
    main()
