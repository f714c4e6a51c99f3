"""Small whole repositories, each with the findings expected of it in `expected.txt`, one to a line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vramguard import engine
from vramguard.discover import WorkTree

CASES = sorted(path for path in Path(__file__).with_name("corpus").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_findings_are_those_expected(case: Path, tmp_path: Path) -> None:
    root = shutil.copytree(case, tmp_path / case.name, ignore=shutil.ignore_patterns("expected.txt"))
    tree = WorkTree(root)
    report = engine.check(tree, engine.load_policy(tree))
    found = [f"{item.at.path}:{item.at.line} {item.severity.label} {item.id}" for item in report.findings]
    found += [
        f"{item.finding.at.path}:{item.finding.at.line} suppressed {item.finding.id}" for item in report.suppressed
    ]
    found += [f"{proven.at.path} {proven.proof.device.name} {proven.proof.answer}" for proven in report.proofs]
    assert found == (case / "expected.txt").read_text("utf-8").splitlines()


def test_there_is_one_that_passes() -> None:
    texts = [(case / "expected.txt").read_text("utf-8") for case in CASES]
    assert any("error" not in text and "FITS" in text for text in texts)
