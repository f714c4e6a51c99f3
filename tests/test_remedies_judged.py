"""What the page of remedies calls bad is found by the rule that it is about, and what it calls good is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vramguard import engine
from vramguard.discover import WorkTree

PAGE = Path(__file__).parents[1] / "docs" / "remedies.md"
SNIPPETS = re.findall(
    r"^```python (VG\d+) (\w+)([^\n]*)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
)
WHOLE = re.search(r"^```python all good\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def found(folder: Path, text: str, *select: str) -> list[str]:
    (folder / "app.py").write_text(text, "utf-8")
    tree = WorkTree(folder)
    return [finding.id for finding in engine.check(tree, engine.load_policy(tree, select=select)).findings]


@pytest.mark.parametrize(
    ("rule", "kind", "more", "text"), SNIPPETS, ids=[f"{one[0]} {one[1]}{one[2]}" for one in SNIPPETS]
)
def test_a_snippet_is_judged_as_the_page_says(rule: str, kind: str, more: str, text: str, tmp_path: Path) -> None:
    assert kind in ("bad", "good"), more
    assert (rule in found(tmp_path, text, rule)) is (kind == "bad")


def test_the_whole_service_is_silent(tmp_path: Path) -> None:
    assert WHOLE is not None
    assert found(tmp_path, WHOLE[1], "VG3", "VG4", "VG5") == []
