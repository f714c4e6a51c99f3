"""pip-audit as a program of its own: what it is asked, and what of its answer counts.

Read with pip-audit 2.10.1 (`_cli.py`, `_service/osv.py`, `_dependency_source/requirement.py`, `_format/json.py`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

Package = tuple[str, str]  # a normalised name, and a version as written

TIMEOUT: Final = 600.0  # seconds for one run: the service is asked package by package
SOCKET_TIMEOUT: Final = 15  # seconds for one answer; pip-audit's own default
MAX_ANSWER: Final = 64 << 20  # bytes
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._!+-]{0,200}", re.ASCII)  # a normalised name, or a version
_MAX_REASON: Final = 300  # characters of a failure's words


class AuditError(Exception):
    """The audit could not be made; the message completes "not audited: …"."""


class Service(NamedTuple):
    """Who is asked: OSV, at its own address or at another that speaks its protocol."""

    url: str | None = None

    def __str__(self) -> str:
        return self.url or "osv.dev"


class Advisory(NamedTuple):
    """One advisory: its id and its aliases, the versions that are mended, and what it is about."""

    ids: tuple[str, ...]
    fixed: tuple[str, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one package at one version, and when it was asked; `skipped`: why nothing is known of it."""

    package: Package
    asked: str  # UTC, to the minute
    advisories: tuple[Advisory, ...] = ()
    skipped: str = ""


class Asking:
    """Runs pip-audit. Raises `AuditError` where it is not installed, or does not answer in its own JSON."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._program = _program()

    def answers(self, packages: Iterable[Package]) -> dict[Package, Answer]:
        """An answer for every package. Several versions of one name take as many runs, since a list holds it once."""
        rounds: list[list[Package]] = []
        seen: dict[str, int] = {}
        found: dict[Package, Answer] = {}
        for package in packages:
            if not all(map(_PLAIN.fullmatch, package)):  # a line of its own in the list, such as `-r /etc/passwd`
                found[package] = Answer(package, _now(), skipped="its name or its version is none")
                continue
            number = seen.get(package[0], 0)
            seen[package[0]] = number + 1
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(package)
        for asked in rounds:
            found |= self._round(asked)
        return found

    def _round(self, packages: list[Package]) -> dict[Package, Answer]:
        with tempfile.TemporaryDirectory(prefix="vramguard-audit-") as folder:
            listed, answer = Path(folder, "requirements.txt"), Path(folder, "answer.json")
            listed.write_text("".join(f"{name}=={version}\n" for name, version in packages), encoding="utf-8")
            options = ["-r", str(listed), "--disable-pip", "--no-deps", "-f", "json", "-o", str(answer)]
            options += [
                "--progress-spinner",
                "off",
                "--cache-dir",
                folder,
                "--timeout",
                str(SOCKET_TIMEOUT),
                "-s",
                "osv",
            ]
            options += ["--osv-url", self._service.url] if self._service.url else []
            said = _run([*self._program, *options], folder)
            return _read(answer, packages, said)


def _program() -> list[str]:
    """How pip-audit is started: from our own environment, without what stands in the working folder, or from PATH."""
    if find_spec("pip_audit") is not None:
        return [sys.executable, "-I", "-m", "pip_audit"]
    found = shutil.which("pip-audit")
    if found is None or not Path(found).is_absolute():  # nothing of the folder that is judged is started
        raise AuditError("pip-audit is not installed (pip install 'vramguard[audit]')")
    return [found]


def _run(command: list[str], folder: str) -> str:
    """What the program says on its standard error. Raises `AuditError` for one that does not end."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PIP_AUDIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - our own words, and packages in a file
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise AuditError(f"pip-audit was not done after {TIMEOUT:.0f} seconds") from None
    except OSError as error:
        raise AuditError(f"pip-audit cannot be started: {error.strerror or error}") from error
    return done.stderr.decode("utf-8", "replace")


def _read(path: Path, packages: list[Package], said: str) -> dict[Package, Answer]:
    """The answers of one run, which must name every package that it was asked for."""
    table = _json(path)
    listed = table.get("dependencies") if isinstance(table, Mapping) else None
    if not isinstance(listed, list):
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        raise AuditError(f"pip-audit gave no answer: {(lines or ['it said nothing'])[-1][:_MAX_REASON]}")
    now = _now()
    by_name: dict[str, Mapping[str, Any]] = {
        canonicalize_name(str(row.get("name"))): row for row in listed if isinstance(row, Mapping)
    }
    return {package: _answer(package, by_name.get(package[0]), now) for package in packages}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _json(path: Path) -> Any:  # noqa: ANN401 - untyped text
    try:
        with path.open("rb") as stream:
            return json.loads(stream.read(MAX_ANSWER))
    except (OSError, ValueError, RecursionError):
        return None


def _answer(package: Package, row: Mapping[str, Any] | None, now: str) -> Answer:
    if row is None:
        return Answer(package, now, skipped="pip-audit left it out of its answer")
    if "skip_reason" in row:
        return Answer(package, now, skipped=f"pip-audit skipped it: {row['skip_reason']}"[:_MAX_REASON])
    advisories = row.get("vulns")
    if not isinstance(advisories, list) or not all(isinstance(item, Mapping) for item in advisories):
        return Answer(package, now, skipped="pip-audit's answer for it cannot be read")
    return Answer(package, now, tuple(map(_advisory, advisories)))


def _advisory(row: Mapping[str, Any]) -> Advisory:
    ids = dict.fromkeys([str(row.get("id")), *_texts(row.get("aliases"))])
    return Advisory(tuple(ids), tuple(_texts(row.get("fix_versions"))), str(row.get("description") or "")[:_MAX_REASON])


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
