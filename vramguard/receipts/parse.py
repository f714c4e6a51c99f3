"""Read a start-up log of vLLM (0.6 to 0.33) or SGLang (0.4 and 0.5).

A log comes through a terminal, Kubernetes, journald or an issue, with a prefix of each: lines are searched, not matched
from their start. Nothing in a log can make this slow or raise: every line is read once, up to a bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from vramguard.receipts import settings
from vramguard.receipts.lines import BYTES, KNOWN, ROWS, TELLING, Row
from vramguard.receipts.receipt import Line, Measured, Receipt, Settings, Size

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST: Final = 1 << 16  # characters of a line that are read; an engine's own configuration takes a tenth
_SHOWN: Final = 300  # characters of a line that are kept to be shown
_KEPT: Final = 1000  # lines of one kind that are kept to be shown
_CONFIGS: Final = 64  # lines of configuration that are read: one for each engine of a node
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_SETTINGS: Final = frozenset(Settings.__slots__)

# vLLM: (Worker_TP0 pid=1), (Worker_PP0_TP1 pid=1), (VllmWorker rank=0 pid=1), (VllmWorkerProcess pid=1),
# (RayWorkerWrapper pid=1, ip=...); (EngineCore_DP0 pid=1) where no worker is named. SGLang: [2025-11-30 12:50:10 TP0].
_WORKER: Final = re.compile(r"\(Worker_([A-Z]{2,4}\d{1,5}(?:_[A-Z]{2,4}\d{1,5}){0,5}) (pid=\d{1,10})")
_RANKS: Final = tuple(
    re.compile(words)
    for words in (
        r"\(VllmWorker (rank=\d{1,5}) pid=",
        r"\((?:VllmWorkerProcess|RayWorkerWrapper|RayWorkerProc|Worker) (pid=\d{1,10})",
        r"\(EngineCore_(DP\d{1,5}) pid=",
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d((?: [A-Z]{2,4}\d{1,5}){1,6})\]",
    )
)


@dataclass(slots=True)
class _Reading:
    """What has been read of one start so far."""

    engine: str | None = None
    version: str | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    resolved: dict[str, Any] = field(default_factory=dict)
    ranks: dict[str, dict[str, Any]] = field(default_factory=dict)
    unknown: list[Line] = field(default_factory=list)
    contradictions: list[Line] = field(default_factory=list)
    configs: int = 0


def parse(text: str) -> Receipt:
    """Read a log of any length. What it does not say is None; a log of something else gives an empty receipt."""
    reading, cut = _Reading(), 0
    for number, whole in enumerate(text.splitlines(), 1):
        cut += len(whole) > _LONGEST
        line = whole[:_LONGEST]
        if not TELLING.search(line):
            continue
        line = _ESCAPE.sub("", line)
        if _starts(line, reading):
            reading = _Reading()
        _configuration(line, reading)
        _memory(Line(number, line), reading)
    return _receipt(reading, cut)


def _receipt(reading: _Reading, cut: int) -> Receipt:
    return Receipt(
        engine=reading.engine,
        version=reading.version,
        asked=Settings(**reading.asked),
        settings=Settings(**(reading.asked | reading.resolved)),
        ranks=MappingProxyType({name: Measured(**values) for name, values in reading.ranks.items()}),
        unknown=tuple(reading.unknown),
        contradictions=tuple(reading.contradictions),
        cut=cut,
    )


def _starts(line: str, reading: _Reading) -> bool:
    """Whether a server starts here that had taken memory before: its container was started again."""
    return bool(reading.ranks) and bool(
        "vLLM API server version" in line or "server_args=ServerArgs(" in line or settings.VERSION.search(line)
    )


def _configuration(line: str, reading: _Reading) -> None:
    """Take the version and the settings of a line that prints them; what came first stands."""
    if (version := settings.VERSION.search(line)) is not None:
        reading.engine, reading.version = reading.engine or "vllm", reading.version or version[1]
    if (scheduling := settings.SCHEDULING.search(line)) is not None:
        reading.resolved.setdefault("async_scheduling", scheduling[1] == "enabled")
    if reading.configs >= _CONFIGS:
        return
    if (config := settings.CONFIG.search(line)) is not None:
        reading.configs += 1
        reading.engine, reading.version = reading.engine or "vllm", reading.version or config[1]
        reading.resolved = settings.read(line[config.end() :]) | reading.resolved
    elif (arguments := settings.ARGUMENTS.search(line)) is not None:
        reading.configs += 1
        reading.engine = reading.engine or ("sglang" if "ServerArgs" in arguments[0] else "vllm")
        reading.asked = settings.read(line[arguments.end() :]) | reading.asked


def _memory(line: Line, reading: _Reading) -> None:
    """Take every value of memory in a line; name the line where it has bytes that no row knows."""
    rank, known = _rank(line.text, reading), False
    for row in ROWS:
        if (match := row.pattern.search(line.text)) is None:
            continue
        known = True
        reading.engine = reading.engine or row.engine
        for name, printed in match.groupdict().items():
            if name in _SETTINGS:
                _setting(name, printed, reading)
            elif not _take(reading.ranks.setdefault(rank, {}), name.partition("__")[0], printed, row):
                _keep(reading.contradictions, line)
    if not known and BYTES.search(line.text) and not any(words.search(line.text) for words in KNOWN):
        _keep(reading.unknown, line)


def _setting(name: str, printed: str, reading: _Reading) -> None:
    """A setting that a line of memory repeats; what a configuration said stands."""
    if (value := settings.typed(name, printed)) is not None:
        reading.resolved.setdefault(name, value)


def _rank(text: str, reading: _Reading) -> str:
    """The log's own name of the process, "" where there is only one.

    A worker of vLLM is (Worker pid=442) until it knows its rank, and (Worker_PP0 pid=442) from then on.
    """
    if (worker := _WORKER.search(text)) is not None:
        if worker[2] in reading.ranks:
            reading.ranks[worker[1]] = reading.ranks.pop(worker[2])
        return worker[1]
    found = (pattern.search(text) for pattern in _RANKS)
    return next((match[1].strip() for match in found if match is not None), "")


def _take(values: dict[str, Any], name: str, printed: str, row: Row) -> bool:
    """Take one value of one process; False where it contradicts an earlier one."""
    value = _value(name, printed)
    before = values.get(name)
    if before is None:
        values[name] = value
    elif row.adds:  # of two pools the first is the whole model's
        values[name] = before.plus(value) if isinstance(value, Size) else before
    elif isinstance(value, Size) and before.agrees(value):
        values[name] = Size(max(before.low, value.low), min(before.high, value.high))
    else:
        return bool(before == value)
    return True


def _value(name: str, printed: str) -> Size | int | str:
    if name == "concurrency":
        return printed
    number, unit = next(_sized(printed), ("", ""))
    return Size.printed(number, unit) if unit else int(printed.replace(",", ""))


def _sized(printed: str) -> Iterator[tuple[str, str]]:
    """The number and the unit of a size; nothing for a count."""
    match = re.fullmatch(r"(-?[\d.]{1,20}) ?([GM]i?B)", printed)
    if match is not None:
        yield match[1], match[2]


def _keep(kept: list[Line], line: Line) -> None:
    if len(kept) < _KEPT and (not kept or kept[-1].number != line.number):
        kept.append(Line(line.number, line.text.strip()[:_SHOWN]))
