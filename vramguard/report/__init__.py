"""What people and programs read: one module per format, each with `render(report, context) -> str`.

A report opens no file. Every path in it is relative, and every text that came out of a repository is made visible.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from vramguard import HOME
from vramguard.checks import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.engine import Report


@dataclass(frozen=True, slots=True)
class Context:
    """What a report has to know beside its findings. `prefix` is where the judged folder stands, "" for here."""

    prefix: str = ""
    root: str = "."  # the judged folder as the reader would type it
    fail_on: Severity = Severity.ERROR
    verbose: bool = False  # every help, note, suppression and ledger
    home_url: str = HOME  # the project's page
    rules_url: str = (
        f"{HOME}/blob/main/docs/rules.md"  # the page of all rules, with an anchor for each id in lower case
    )

    def path(self, path: str) -> str:
        """The path as seen from the reader's folder."""
        return posixpath.normpath(posixpath.join(self.prefix, path)) if self.prefix not in ("", ".") else path

    def fails(self, report: Report) -> bool:
        """Whether a finding weighs enough to stop a merge."""
        return any(finding.severity >= self.fail_on for finding in report.findings)


def render(name: str, report: Report, context: Context) -> str:
    """The report in the named format; it ends with a newline unless it is empty."""
    text: str = import_module(f"{__name__}.{name}").render(report, context)
    return text


FORMATS: dict[str, Callable[[Report, Context], str]] = {
    name: partial(render, name) for name in ("text", "json", "github", "sarif")
}
