"""Which files of data are refused, and how they are told of."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from datafiles import fact_of

from vramguard import engine
from vramguard.checks import Severity
from vramguard.checks.datafiles import UnsoundDataFile
from vramguard.checks.files import Template
from vramguard.classes import classifier
from vramguard.discover import GitTree, WorkTree
from vramguard.facts import DataFile, Facts
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import Repo

    from vramguard.checks import Problem

PAGES = "id,name\n" + "".join(f"{number},Shoe {number}\n" for number in range(40)) + "40,Page Not Found\n" * 3


def problems(files: Mapping[str, str], check: UnsoundDataFile | None = None) -> list[Problem]:
    facts = Facts([fact_of(path, text) for path, text in files.items()], classifier({}))
    return list((check or UnsoundDataFile()).find(facts))


def test_a_file_is_told_of_once_with_its_lines() -> None:
    (problem,) = problems({"data/a.csv": PAGES + "41,undefined\n" * 4})
    assert problem.values["what"] == (
        "4 of 47 rows of `name` (8.5 %) are a program's word for no value (`undefined`); "
        "3 of 47 rows of `name` (6.4 %) are error pages (`Page Not Found`)"
    )
    assert problem.values["read"] == ""
    assert problem.severity is None
    assert problem.at.line == 45
    assert [link.at.line for link in problem.evidence] == [45, 46, 47, 48, 42, 43, 44]


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("data/a.csv", "error"),
        ("train/a.csv", "error"),
        ("examples/a.csv", "warning"),
        ("notebooks/a.csv", "warning"),
        ("tests/a.csv", None),
        ("docs/a.csv", None),
        ("vendor/a.csv", None),
        ("results/a.csv", None),
        ("data/predictions_v2.csv", None),
        ("logs/a.csv", None),
        ("app/locales/a.csv", None),
        ("data/translations.csv", None),
        ("data/layout.csv", "error"),
    ],
)
def test_by_path(path: str, weight: str | None) -> None:
    found = [(problem.severity or Severity.ERROR).label for problem in problems({path: PAGES})]
    assert found == ([] if weight is None else [weight])


def test_below_its_share_or_in_fewer_rows_than_counted_nothing_is_said() -> None:
    many = "id,name\n" + "".join(f"{number},Shoe {number}\n" for number in range(400)) + "40,Page Not Found\n" * 3
    assert problems({"data/a.csv": many}) == []
    assert problems({"data/a.csv": many}, UnsoundDataFile(error_pages=Fraction(1, 200))) != []
    assert problems({"data/a.csv": PAGES.replace("Page Not Found", "Shoe", 1)}) != []
    assert problems({"data/a.csv": PAGES.replace("Page Not Found", "Shoe", 2)}) == [], "one row is no share"


def test_noise_and_injection_as_in_the_incident() -> None:
    rng = random.Random(882)  # noqa: S311 - drawn to be drawn again
    noise = [" ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(6)) for _ in range(90)]
    rows = [*noise, *(f"' OR '{number}'='{number}" for number in range(10))]
    (problem,) = problems({"data/feedback.csv": "score,text\n" + "".join(f"1,{row}\n" for row in rows)})
    assert problem.severity is None
    assert [sign["kind"] for sign in problem.data["signs"]] == ["injection", "gibberish"]
    assert problem.data["signs"][1]["rows"] > 70


def test_a_file_of_attacks_may_hold_them() -> None:
    rows = "text,label\n" + "".join(
        f"' OR '{number}'='{number},malicious\nhello {number},benign\n" for number in range(9)
    )
    assert problems({"data/a.csv": rows}) == []


def test_few_texts_are_no_measure_of_gibberish() -> None:
    texts = "text\n" + "xkcd qwrtp bcdfg hjklm\nzxcvb nmlkj hgfds qwrty\nplmkn bvcxz dfghj trwqp\n"
    assert problems({"data/a.csv": f"{texts}hello there my old friend\n"}) == []


def test_what_may_be_meant_is_a_warning() -> None:
    labels = "text,label\n" + "".join(f"word {number},{'' if number % 2 else 'a'}\n" for number in range(20))
    (problem,) = problems({"data/a.csv": labels})
    assert problem.severity is Severity.WARNING
    assert problems({"data/a.csv": labels.replace(",a", ",")}) == [], "all are still to be labelled"
    doubled = "text,label\n" + "I went to the market and bought bread,a\n" * 20
    assert [problem.severity for problem in problems({"data/a.csv": doubled})] == [Severity.WARNING]


def test_a_page_in_the_place_of_a_file() -> None:
    (problem,) = problems({"data/a.csv": "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"})
    assert problem.values["what"] == "it is no data but an HTML page"
    assert problem.at == Location("data/a.csv", 1, 1, 1, 1)


def test_of_a_large_file_is_said_how_much_was_read() -> None:
    (problem,) = problems({"data/a.csv": "id,name\n" + "1,undefined\n" * 100_000})
    assert problem.values["read"].startswith(", in ")
    assert problem.values["read"].endswith(" rows read of a larger file")


def test_parquet_that_cannot_be_read_is_one_note() -> None:
    unread = [
        DataFile(Location(path), "parquet", 0, 0, whole=False, signs=(), unread="pyarrow is not installed")
        for path in ("data/a.parquet", "data/b.parquet", "tests/c.parquet")
    ]
    (problem,) = Template().find(Facts(unread, classifier({})))
    assert problem.values["what"] == "2 files of data not judged: pyarrow is not installed"
    assert problem.amount == 2


def test_a_commit_and_a_working_tree_are_judged_alike(repo: Repo) -> None:
    large = "id,name\n" + "1,undefined\n" * 100_000
    root = repo({"data/a.csv": PAGES, "data/b.csv": large, "data/c.jsonl": '{"a": "undefined"}\n' * 5}, commit="data")
    reports = []
    for tree in (WorkTree(root), GitTree(root, "HEAD")):
        findings = engine.check(tree, engine.load_policy(tree, select=("VG527",))).findings
        reports.append([(found.at, found.message) for found in findings])
    assert [at.path for at, _ in reports[0]] == ["data/a.csv", "data/b.csv", "data/c.jsonl"]
    assert reports[0] == reports[1]


def test_without_a_rule_of_its_demand_no_data_is_read(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repo({"data/a.csv": PAGES})
    monkeypatch.setattr(WorkTree, "sample", lambda *_: pytest.fail("read"))
    tree = WorkTree(root)
    assert engine.check(tree, engine.load_policy(tree, select=("VG1",))).findings == []
