"""What vramguard reads of real files against labels that were written by eye before it ran on them.

usage: python benchmarks/pinning/compare.py CHECKOUTS [--vramguard COMMAND] [--half dev|held] [--verbose]

CHECKOUTS holds one folder for each repository, OWNER+NAME, at the commit that the labels name.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shlex
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FORMS = {"labels-a.csv": "requirement", "labels-b.csv": None}  # the kind of a row that names none
COUNTED = ("right", "wrong", "missed", "false", "quiet", "spoke")
Row = dict[str, str]
Fact = dict[str, Any]


def canonical(name: str) -> str:
    """A package's name as an index has it; an image's or a URL's as it is."""
    return re.sub(r"[-_.]+", "-", name).lower() if re.fullmatch(r"[\w.-]+", name) else name.strip()


def word(value: object) -> str:
    """A field of a fact in the words of the labels."""
    if isinstance(value, dict) and "unknown" in value:
        return "unknown"
    return {True: "true", False: "false", None: "none"}.get(value, str(value)) if not isinstance(value, str) else value


def labels(half: str | None) -> dict[str, list[Row]]:
    """The rows by repository; those of the other half are kept aside, so that what they name is not taken for false."""
    found: dict[str, list[Row]] = defaultdict(list)
    for name, kind in FORMS.items():
        with (HERE / name).open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                given = row.get("kind") or kind or ""
                row["kind"] = "absent" if row["form"] == "absent" else given
                left_out = row["form"].startswith("lock:") or row["form"] == "other" or "[ambiguous]" in row["note"]
                row["kind"] = "aside" if left_out or half not in (None, row["half"]) else row["kind"]
                found[row["repository"]].append(row)
    return found


def facts(command: list[str], root: Path) -> list[Fact]:
    """What the tool reads in a checkout."""
    done = subprocess.run(  # noqa: S603 - the command that the user gave
        [*command, "inspect", ".", "--output-format", "json"], cwd=root, capture_output=True, check=True
    )
    found: list[Fact] = json.loads(done.stdout)["facts"]
    return found


def differences(row: Row, fact: Fact) -> list[str]:
    """The fields in which a fact is not what its label says."""
    found = []
    if row["form"] != fact.get("form"):
        found.append(f"form {fact.get('form')} for {row['form']}")
    either = re.findall(r"\[either-(\w+)\]", row["note"])
    if row["pinned"] and word(fact.get("pinned")) not in (row["pinned"], *either):
        found.append(f"pinned {word(fact.get('pinned'))} for {row['pinned']}")
    if row["kind"] == "requirement":
        if row["hashed"] and row["hashed"] != word(fact.get("hashed")):
            found.append(f"hashed {word(fact.get('hashed'))} for {row['hashed']}")
        if plain(row["specifier"]) != plain(fact.get("specifier", "")) and row["pinned"] != "none":
            found.append(f"specifier {fact.get('specifier')!r} for {row['specifier']!r}")
    return found


def plain(specifier: str) -> str:
    """A specifier without what does not change it: blanks, quotes, brackets around it."""
    return re.sub(r"[\s()\"']", "", specifier)


def named(row: Row, fact: Fact) -> bool:
    """Whether a fact is of what the label names."""
    kind = row["kind"]
    if fact["kind"] != kind:
        return False
    if kind == "requirement":
        wanted = canonical(row["name"])
        unnamed = not re.fullmatch(r"[\w.-]+", wanted) and fact["name"] in (wanted or row["specifier"])
        return canonical(fact["name"]) == wanted or unnamed
    return kind not in ("image", "action") or fact["name"] == row["name"] or "$" in row["name"] or not row["name"]


def compare(  # noqa: C901 - one branch for each verdict
    rows: list[Row], found: list[Fact], counts: dict[str, Counter[str]], *, verbose: bool
) -> None:
    """Count one repository."""
    by_line: dict[tuple[str, int], list[Fact]] = defaultdict(list)
    for fact in found:
        if fact["kind"] in ("requirement", "image", "action", "fetch", "install"):
            by_line[fact["path"], fact["line"]].append(fact)
    used: set[int] = set()
    where = rows[0]["repository"]

    def say(verdict: str, row_or_fact: Any, what: str) -> None:  # noqa: ANN401
        if verbose:
            print(f"{verdict:7} {where} {row_or_fact['path']}:{row_or_fact['line']} {what}")

    last: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        last[row["path"], row["kind"]] = max(last[row["path"], row["kind"]], int(row["line"]))
    aside = {(row["path"], int(row["line"])) for row in rows if row["kind"] == "aside"}
    for row in (row for row in rows if row["kind"] not in ("absent", "aside")):
        key = f"{row['kind']}: {row['form']}"
        at = by_line.get((row["path"], int(row["line"])), [])
        fact = next((one for one in at if named(row, one) and id(one) not in used), None)
        if fact is None:
            counts[key]["missed"] += 1
            say("missed", row, f"{key} {row['name']}{row['specifier']} ({row['note']})")
            continue
        used.add(id(fact))
        wrong = differences(row, fact)
        counts[key]["wrong" if wrong else "right"] += 1
        if wrong:
            say("wrong", row, f"{key} {row['name']}: {'; '.join(wrong)} ({row['note']})")
    for row in (row for row in rows if row["kind"] == "absent"):
        at = [one for one in by_line.get((row["path"], int(row["line"])), []) if id(one) not in used]
        spoke = [one for one in at if one["kind"] != "install"]
        counts["absent"]["spoke" if spoke else "quiet"] += 1
        used.update(map(id, at))
        for one in spoke:
            say("spoke", one, f"{one['kind']} {one.get('name', one.get('url'))} where {row['note'] or row['name']}")
    for (path, line), at in by_line.items():
        for one in at:
            if (path, line) in aside:
                continue
            if id(one) not in used and one["kind"] != "install" and line <= last.get((path, one["kind"]), 0):
                counts[f"{one['kind']}: {one['form']}"]["false"] += 1
                say("false", one, f"{one['kind']}: {one['form']} {one.get('name', one.get('url'))}")


def main() -> None:
    """Print the counts for each kind and form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", type=Path)
    parser.add_argument("--vramguard", default="vramguard")
    parser.add_argument("--half", choices=["dev", "held"])
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for repository, rows in sorted(labels(options.half).items()):
        root = options.checkouts / repository.replace("/", "+")
        compare(rows, facts(shlex.split(options.vramguard), root), counts, verbose=options.verbose)
    print(f"| {'what':34} | " + " | ".join(COUNTED) + " |")
    print("|---" * (len(COUNTED) + 1) + "|")
    counts["all"] = sum((Counter(value) for value in counts.values()), Counter())
    for key in [*sorted(counts.keys() - {"all"}), "all"]:
        print(f"| {key:34} | " + " | ".join(str(counts[key][name]) for name in COUNTED) + " |")


if __name__ == "__main__":
    main()
