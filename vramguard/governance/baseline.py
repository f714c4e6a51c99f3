"""The file of accepted findings: how a finding is known again, and when it counts as more than was accepted."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from vramguard.schema import ConfigError
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vramguard.discover import Tree
    from vramguard.engine import Report

BASELINE_SCHEMA = "vramguard.baseline/1"
BASELINE_NAME = "vramguard-baseline.json"


def amounts(report: Report) -> dict[str, int]:
    """How much of each finding a report holds, accepted ones included, by fingerprint."""
    findings = (*report.findings, *(item.finding for item in report.suppressed))
    return {finding.fingerprint: finding.amount for finding in findings}


def less(report: Report, known: Mapping[str, int]) -> Report:
    """The report without the findings that `known` holds in at least the same amount."""
    kept = [found for found in report.findings if found.amount > known.get(found.fingerprint, 0)]
    dropped = len(report.findings) - len(kept)
    return dataclasses.replace(report, findings=kept, baselined=report.baselined + dropped)


def write_baseline(report: Report) -> str:
    """The text of a baseline file that accepts every finding of the report, one to a line, so that it merges well."""
    entries = sorted(
        json.dumps({"fingerprint": found.fingerprint, "id": found.id, "path": found.at.path, "amount": found.amount})
        for found in report.findings
    )
    lines = ",".join(f"\n  {entry}" for entry in entries)
    return f'{{"schema": "{BASELINE_SCHEMA}", "findings": [{lines}\n]}}\n'


def content(tree: Tree, root: Path, path: str) -> bytes | None:
    """The bytes of a baseline file; one that the command line names outside of the repository is nobody's change."""
    file = root / path
    try:
        return tree.read(file.relative_to(root).as_posix()) if file.is_relative_to(root) else file.read_bytes()
    except (OSError, ValueError):
        return None


def accepted(path: str, data: bytes) -> dict[str, int]:
    """How much of each finding a baseline file accepts, by fingerprint. Raises `ConfigError`."""
    try:
        table = json.loads(data)
        if table["schema"] != BASELINE_SCHEMA:
            raise ValueError(f"its schema is {table['schema']}, not {BASELINE_SCHEMA}")
        return {str(entry["fingerprint"]): int(entry["amount"]) for entry in table["findings"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"not a baseline file: {error!s}", Location(path)) from error
