"""Each row of data/ has its source and its day, and none claims what no log showed."""

from __future__ import annotations

from datetime import date

import pytest

from vramguard.data import gpu, gpus, load

GIB = 1 << 30


def test_rows_have_source_and_date() -> None:
    for row in gpus().values():
        assert row.source
        assert row.context_source
        assert date.fromisoformat(row.date) <= date(2030, 1, 1)
    engine = load("engines")["transformers"]
    assert engine["source"]
    assert engine["date"]


def test_h100_is_the_smallest_total_seen() -> None:
    row = gpus()["h100-sxm5-80gb"]
    assert row.capacity_bytes == 79_095 * GIB // 1000 == 84_927_609_569


def test_contexts_are_plausible() -> None:
    for row in gpus().values():
        assert 0 <= row.context_lower_bytes <= row.context_upper_bytes <= GIB


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("H100", "h100-sxm5-80gb"),
        ("NVIDIA-H100-80GB-HBM3", "h100-sxm5-80gb"),
        ("nvidia_a100_sxm4_40gb", "a100-sxm4-40gb"),
        ("Tesla T4", "t4-16gb"),
    ],
)
def test_aliases(name: str, row: str) -> None:
    found = gpu(name)
    assert found is not None
    assert found.name == row
