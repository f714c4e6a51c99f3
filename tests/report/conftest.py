"""Reports made by hand, so that a renderer is tested without the pipeline before it."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import pytest
from llama import LLAMA_8B
from rich.console import Console

from vramguard.checks import Evidence, Severity
from vramguard.engine import Proven, Report
from vramguard.facts import Facts
from vramguard.memory import Device, Workload, prove
from vramguard.policy import Finding, load_rules
from vramguard.source import Location, Unreadable
from vramguard.suppression import Suppressed

CARD = Device("h100-sxm5-80gb", 84_927_609_569, "a log", 0, 960_998_933, "another log")
RULES = {rule.id: rule for rule in load_rules()}


def make_finding(rule: str = "VG101", path: str = "requirements.txt", line: int = 3, **changes: object) -> Finding:
    values: dict[str, Any] = {
        "id": rule,
        "name": RULES[rule].name if rule in RULES else "own-rule",
        "demand": int(rule[2]),
        "severity": Severity.ERROR,
        "message": "`torch>=2` is not exact: a range: >=2",
        "at": Location(path, line, 1, line, 9),
        "help": "Write `torch==VERSION`.",
        "fingerprint": "f" * 32,
        "data": {"path_class": "serving"},
    }
    values.update(changes)
    return Finding(**values)


def make_proven(config: dict[str, object] | None = None, **workload: object) -> Proven:
    values: dict[str, Any] = dict(workload)
    proof = prove(LLAMA_8B if config is None else config, Workload(**values), CARD, Fraction(4, 5))
    return Proven(proof, Location("models/llama/config.json"), "a" * 64)


def make_report(*findings: Finding, files: int = 12, **changes: object) -> Report:
    values: dict[str, Any] = {
        "findings": list(findings),
        "suppressed": [],
        "facts": Facts(()),
        "files": files,
        "proofs": [],
        "rules": RULES,
    }
    values.update(changes)
    return Report(**values)


def make_full_report() -> Report:
    """A report that has some of everything."""
    chain = (Evidence(Location("deploy.yaml", 40, 7, 40, 20), "this Deployment holds the GPU"),)
    suppressed = make_finding(line=9, message="`numpy>1` is not exact: a range: >1")
    waived = make_finding("VG102", line=1, path="legacy/requirements.txt")
    return make_report(
        make_finding(),
        make_finding(line=4, message="`transformers` is not exact: it names no version"),
        make_finding("VG201", "vramguard.toml", 7, message="`m` needs too much", help="Shorten it.", evidence=chain),
        make_finding("VG005", "deploy.yaml", 2, severity=Severity.WARNING, message="a key twice", help="Keep one."),
        suppressed=[
            Suppressed(suppressed, "the base image ships it", Location("requirements.txt", 9, 12, 9, 60), written=True),
            Suppressed(waived, "retired in March", Location("vramguard.toml", 3, 1, 3, 2), written=False),
        ],
        facts=Facts([Unreadable(Location("chart/a.yaml"), "a template", template=True)]),
        proofs=[
            make_proven(),
            make_proven({**LLAMA_8B, "num_hidden_layers": 160}, max_model_len=8192),
            make_proven({}),
        ],
        notes=["the base has no policy"],
        baselined=2,
    )


def make_console(width: int = 80, *, tty: bool = False, encoding: str = "utf-8", no_color: bool = False) -> Console:
    """A console that keeps what is written; `written` gives it back."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    environment = {"TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_color else {})}
    return Console(
        file=file,
        width=width,
        force_terminal=tty,
        color_system="truecolor" if tty else None,
        highlight=False,
        emoji=False,
        markup=False,
        _environ=environment,
    )


def written(console: Console) -> str:
    """What was written to a console of `make_console`."""
    file = console.file
    assert isinstance(file, io.TextIOWrapper)
    file.flush()
    assert isinstance(file.buffer, io.BytesIO)
    return file.buffer.getvalue().decode(file.encoding)


class Make:
    """The builders under one name, for tests that cannot import this file."""

    finding = staticmethod(make_finding)
    proven = staticmethod(make_proven)
    report = staticmethod(make_report)
    full_report = staticmethod(make_full_report)
    console = staticmethod(make_console)
    written = staticmethod(written)
    config = LLAMA_8B
    rules = RULES


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


@pytest.fixture(scope="session")
def hostile() -> str:
    """What a file name or a message could hold to deceive a reader, a terminal or a runner."""
    return "a\x1b[31mred\x1b[0m\r\n::error::pwn %0A [bold]x[/bold] \u202eevil\u2066 \u200b \udcff \ud800 \x07,:é"
