"""What the tests of pull requests share: one way to ask what a change adds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from vramguard.cli import run

if TYPE_CHECKING:
    from pathlib import Path


class Check(Protocol):
    def __call__(self, root: Path, *options: str) -> tuple[int, list[str], list[str]]: ...


@pytest.fixture
def against(capsys: pytest.CaptureFixture[str]) -> Check:
    """The exit code of `check --diff-base`, its finding ids, and their messages."""

    def check(root: Path, *options: str) -> tuple[int, list[str], list[str]]:
        base = () if "--diff-base" in options else ("--diff-base", "HEAD")
        code = run(["check", str(root), *base, *options, "--output-format", "json"])
        out, err = capsys.readouterr()
        report: dict[str, Any] = json.loads(out) if out else {"findings": []}
        found = report["findings"]
        return code, [item["id"] for item in found], [err] if err else [item["message"] for item in found]

    return check
