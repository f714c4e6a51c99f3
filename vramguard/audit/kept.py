"""Answers of an audit, kept in the user's cache with the time at which they were given."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vramguard.audit.asking import Advisory, Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.audit.asking import Package, Service

HOLDS: Final = timedelta(hours=24)  # advisories are published daily
_FORMAT: Final = "%Y-%m-%d %H:%M UTC"
_MAX_BYTES: Final = 64 << 20


class Kept:
    """The answers of one service that are no older than a day; a file that cannot be read, or written, is none."""

    def __init__(self, service: Service) -> None:
        name = hashlib.sha256(str(service).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._path = _folder() / f"{name}.json"
        self._answers = {answer.package: answer for answer in self._read()}

    def get(self, package: Package) -> Answer | None:
        """The answer that is kept for a package."""
        return self._answers.get(package)

    def put(self, answers: Iterable[Answer]) -> None:
        """Keep more answers."""
        self._answers |= {answer.package: answer for answer in answers}
        rows = [[*answer.package, answer.asked, answer.advisories] for answer in self._answers.values()]
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump({"answers": rows}, stream)
            Path(name).replace(self._path)

    def _read(self) -> list[Answer]:
        try:
            with self._path.open("rb") as stream:
                table: Any = json.loads(stream.read(_MAX_BYTES))
            rows = table["answers"] if isinstance(table, Mapping) else []
            return [answer for answer in (_answer(*row) for row in rows) if _is_fresh(answer)]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return []


def _answer(name: str, version: str, asked: str, advisories: list[list[Any]]) -> Answer:
    rows = tuple(Advisory(tuple(ids), tuple(fixed), str(summary)) for ids, fixed, summary in advisories)
    return Answer((str(name), str(version)), asked, rows)


def _is_fresh(answer: Answer) -> bool:
    age = datetime.now(UTC) - datetime.strptime(answer.asked, _FORMAT).replace(tzinfo=UTC)
    return timedelta(0) <= age + timedelta(minutes=1) and age < HOLDS


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home or Path("~/.cache").expanduser()) / "vramguard" / "audit"
