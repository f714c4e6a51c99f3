"""The report for people, word for word; on terminals, in pipes, narrow, without colour, without Unicode."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from vramguard.checks import Severity
from vramguard.report import Context, render
from vramguard.report.page import TIMES
from vramguard.report.text import print_report
from vramguard.source import Location
from vramguard.units import gib

if TYPE_CHECKING:
    from report.conftest import Make

    from vramguard.engine import Report

FULL = f"""\
requirements.txt:3:1: error VG101 unpinned-requirement
    `torch>=2` is not exact: a range: >=2
requirements.txt:4:1: error VG101 unpinned-requirement
    `transformers` is not exact: it names no version
    help: Write `torch==VERSION`.

vramguard.toml:7:1: error VG201 vram-budget-exceeded
    `m` needs too much
    because deploy.yaml:40:7: this Deployment holds the GPU
    help: Shorten it.

deploy.yaml:2:1: warning VG005 duplicate-key
    a key twice
    help: Keep one.

Peak VRAM
  FITS    models/llama/config.json at 131,072 tokens
          at most HIGH GiB against 63.28 GiB (80 % of h100-sxm5-80gb)
  EXCEEDS models/llama/config.json at 8,192 tokens
          at least LOW GiB against 63.28 GiB (80 % of h100-sxm5-80gb)
  UNKNOWN models/llama/config.json
          REASON

suppressed: 2 findings, with a reason each
  1 {TIMES} VG101: the base image ships it
  1 {TIMES} VG102: retired in March
not judged: 1 template, which a renderer has to fill in first
known before: 2 findings of the base or the baseline, not counted here
note: the base has no policy

vramguard: do not merge: 3 errors, 1 warning in 12 files
"""


def shown(make: type[Make], report: Report, context: Context | None = None, width: int = 80) -> str:
    console = make.console(width)
    print_report(report, context or Context(), console)
    return make.written(console)


def test_full_report(make: type[Make]) -> None:
    report = make.full_report()
    fits, exceeds, unknown = (proven.proof for proven in report.proofs)
    assert fits.totals
    assert exceeds.totals
    expected = FULL.replace("HIGH", gib(fits.totals.peak_upper_bytes)).replace(
        "LOW", gib(exceeds.totals.peak_lower_bytes)
    )
    assert shown(make, report) == expected.replace("REASON", unknown.reason or "")


def test_verbose_shows_all(make: type[Make]) -> None:
    text = shown(make, make.full_report(), Context(prefix="sub", verbose=True))
    assert text.count("help: Write `torch==VERSION`.") == 2
    assert "  sub/requirements.txt:9:1: VG101 unpinned-requirement\n" in text
    assert "      the base image ships it  (sub/requirements.txt:9:12)\n" in text
    assert text.count("\nIt assumes\n") == 2
    assert "model.embed_tokens.weight" in text


@pytest.mark.parametrize(
    ("severities", "fail_on", "last"),
    [
        ([], Severity.ERROR, "vramguard: clean: 12 files judged"),
        ([Severity.WARNING], Severity.ERROR, "vramguard: merge: 1 warning in 12 files, none at the level that blocks"),
        ([Severity.WARNING], Severity.WARNING, "vramguard: do not merge: 1 warning in 12 files"),
        ([Severity.NOTE] * 2, Severity.NOTE, "vramguard: do not merge: 2 notes in 12 files"),
    ],
)
def test_verdict(make: type[Make], severities: list[Severity], fail_on: Severity, last: str) -> None:
    report = make.report(*(make.finding(severity=severity) for severity in severities))
    assert shown(make, report, Context(fail_on=fail_on)).splitlines()[-1] == last


def test_clean_with_proofs(make: type[Make]) -> None:
    text = shown(make, make.report(proofs=[make.proven()]))
    assert text.splitlines()[-1] == "vramguard: clean: 12 files judged, 1 model proved to fit"


def test_nothing_to_judge_is_one_line(make: type[Make]) -> None:
    assert shown(make, make.report(files=0), Context(root="empty")) == "vramguard: nothing to judge in empty\n"


def test_many_notes_that_say_the_same_are_one(make: type[Make]) -> None:
    notes = [
        make.finding(
            "VG004", severity=Severity.NOTE, message="a template", at=Location(f"chart/{number}.yaml"), help="Render."
        )
        for number in range(34)
    ]
    report = make.report(*notes)
    assert shown(make, report) == (
        "34 times: note VG004 template-not-judged\n"
        "    a template\n"
        "    in chart/0.yaml, chart/1.yaml, chart/2.yaml and 31 more (--verbose lists\n"
        "    them)\n"
        "\n"
        "vramguard: merge: 34 notes in 12 files, none at the level that blocks\n"
    )
    assert shown(make, report, Context(verbose=True)).count("note VG004") == 34
    assert shown(make, make.report(*notes[:3])).count("note VG004") == 3


def test_paths_are_seen_from_here(make: type[Make]) -> None:
    text = shown(make, make.report(make.finding()), Context(prefix="examples/incident-882"))
    assert text.startswith("examples/incident-882/requirements.txt:3:1: error")


@pytest.mark.parametrize("width", [20, 50, 80, 120])
def test_no_word_is_broken_at_any_width(make: type[Make], width: int) -> None:
    path = "services/inference/a-folder-with-a-long-name/requirements-production.txt"
    message = f"`{path}` is not what it seems, and here are some more words to fill several lines of a narrow terminal"
    text = shown(make, make.report(make.finding(path=path, message=message)), width=width)
    assert text.splitlines()[0] == f"{path}:3:1: error VG101 unpinned-requirement"
    assert f"`{path}`" in text
    assert message in " ".join(text.split())
    others = [line for line in text.splitlines() if path not in line]
    assert all(len(line) <= max(width, 31) for line in others)


def test_wide_characters_count_double(make: type[Make]) -> None:
    text = shown(make, make.report(make.finding(message="漢字漢字 " * 10)), width=40)
    assert max(line.count("漢字漢字") for line in text.splitlines()) == 4


def test_hostile_text_is_shown_and_not_obeyed(make: type[Make], hostile: str) -> None:
    finding = make.finding(at=Location(hostile, 1, 1, 1, 2), message=hostile, help=hostile)
    console = make.console(tty=True)
    print_report(make.report(finding, notes=[hostile]), Context(root=hostile), console)
    text = make.written(console)
    ours = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert all(line.isprintable() for line in ours.splitlines())
    assert "\\x1b[31mred\\x1b[0m\\r\\n::error::pwn" in ours
    assert "[bold]x[/bold]" in ours
    assert "\\u202eevil" in ours
    assert not any(line.startswith("::") for line in ours.splitlines())


def test_colours_on_a_terminal_only(make: type[Make]) -> None:
    terminal, pipe = make.console(tty=True), make.console()
    plain_terminal = make.console(tty=True, no_color=True)
    for console in (terminal, pipe, plain_terminal):
        print_report(make.full_report(), Context(), console)
    assert "\x1b[1;31merror" in make.written(terminal)
    assert "\x1b" not in make.written(pipe)
    assert re.findall(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", make.written(plain_terminal)) == []
    assert re.sub(r"\x1b\[[0-9;]*m", "", make.written(terminal)) == make.written(pipe)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_other_encodings(make: type[Make], encoding: str) -> None:
    console = make.console(encoding=encoding)
    print_report(
        make.report(make.finding(message=f"été … 漢 {TIMES} →"), proofs=[make.proven()]), Context(verbose=True), console
    )
    text = make.written(console)
    assert "... \\u6f22 x ->" in text
    assert "weights" in text
    assert ("\\xe9t\\xe9" if encoding == "ascii" else "été") in text


def test_text_in_a_file_has_no_colours(make: type[Make]) -> None:
    text = render("text", make.full_report(), Context())
    assert text.endswith("vramguard: do not merge: 3 errors, 1 warning in 12 files\n")
    assert "\x1b" not in text


@pytest.mark.parametrize("name", ["json", "github", "sarif"])
def test_rich_is_loaded_for_text_only(name: str) -> None:
    program = f"import sys, vramguard.report.{name}; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
