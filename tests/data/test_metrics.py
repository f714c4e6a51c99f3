"""Every table of metrics says where it was read and when, and its patterns are such."""

from __future__ import annotations

import re
from datetime import date

from vramguard import data


def tables() -> list[dict[str, object]]:
    table = data.load("metrics")
    engines = table["engine"]
    others = [other for engine in engines for other in engine.get("other", ())]
    alone = [table[name] for name in ("default", "dcgm", "host", "nan", "gpu_exporters")]
    return [*engines, *others, *table["signal"], *table["unit"], *alone, table["dcgm"]["known"]]


def test_every_table_has_a_source_and_a_day() -> None:
    for table in tables():
        assert table["source"]
        assert date.fromisoformat(str(table["date"])) >= date(2026, 1, 1)


def test_patterns_compile_and_match_something_known() -> None:
    table = data.load("metrics")
    known = [*table["dcgm"]["known"]["fields"], *table["dcgm"]["own"]]
    known += [name for engine in table["engine"] for span in engine["span"] for name in span["names"]]
    for row in table["unit"]:
        assert any(re.fullmatch(row["pattern"], name) for name in known), row["unit"]
    for row in table["signal"]:
        texts = [*(name.lower() for name in known), "torch_inactive_split_bytes"]
        assert any(re.search(row["pattern"], name) for name in texts), row["name"]


def test_releases_rise() -> None:
    for engine in data.load("metrics")["engine"]:
        numbers = [tuple(map(int, re.findall(r"\d+", version))) for version in engine["versions"]]
        assert numbers == sorted(set(numbers))
