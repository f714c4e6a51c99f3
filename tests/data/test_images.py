"""`data/images.toml` and `data/debugging.toml`: every number has a source, every pattern finds what it is for."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise

import pytest
from packaging.version import Version

from vramguard.data import load


def test_every_row_has_its_source() -> None:
    for table in (load("images"), load("debugging")):
        assert date.fromisoformat(table["default"]["date"]) >= date(2026, 1, 1)
        for name, rows in table.items():
            assert name == "default" or all(row["source"].strip() for row in rows)


def test_sizes_are_whole_and_say_of_what() -> None:
    for row in load("images")["base"]:
        assert isinstance(row["mb"], int)
        assert 100 <= row["mb"] <= 60_000
        assert row["measured"]
        re.compile(row["tag"])


def test_releases_rise_and_are_apart() -> None:
    for row in load("images")["wheels"]:
        spans = [(Version(first), Version(last)) for first, last, _ in row["releases"]]
        assert all(first <= last for first, last in spans)
        assert all(one[1] < other[0] for one, other in pairwise(spans))
        assert all(isinstance(mb, int) and mb > 1000 for *_, mb in row["releases"])


@pytest.mark.parametrize(
    ("name", "tag", "mb"),
    [
        ("nvidia/cuda", "12.9.1-devel-ubuntu22.04", 4170),
        ("nvidia/cuda", "12.4.1-cudnn-devel-ubuntu22.04", 2990),
        ("nvidia/cuda", "12.4.1-cudnn-runtime-ubuntu22.04", 1300),
        ("nvidia/cuda", "12.4.1-base-ubuntu22.04", 115),
        ("vllm/vllm-openai", "v0.19.0", 12_000),
        ("vllm/vllm-openai", "latest", 12_000),
        ("vllm/vllm-openai", "v0.6.6.post1", 9000),
        ("vllm/vllm-openai", "v0.19.0-cpu", None),
        ("vllm/vllm-openai", "v0.2.0", None),
        ("lmsysorg/sglang", "v0.5.10-cu126", 11_000),
        ("rayproject/ray-ml", "2.10.0-py310-gpu", 10_737),
        ("rayproject/ray-ml", "2.10.0-py310-cpu", None),
        ("nvcr.io/nvidia/tritonserver", "24.06-py3", 14_000),
        ("nvcr.io/nvidia/tritonserver", "24.04-trtllm-python-py3", 18_460),
        ("nvcr.io/nvidia/tritonserver", "24.06-py3-sdk", None),
        ("nvcr.io/nvidia/pytorch", "23.01-py3", None),
        ("nvcr.io/nvidia/pytorch", "23.10-py3", 20_000),
        ("pytorch/pytorch", "2.5.1-cuda12.4-cudnn9-runtime", 4000),
    ],
)
def test_the_row_of_an_image(name: str, tag: str, mb: int | None) -> None:
    rows = (row for row in load("images")["base"] if row["name"] == name and re.search(row["tag"], tag))
    assert next((row["mb"] for row in rows), None) == mb


def test_a_value_switches_its_variable_on() -> None:
    rows = {row["name"]: row for row in load("debugging")["variable"]}
    assert len(rows) == len(load("debugging")["variable"])
    assert re.fullmatch(rows["NCCL_DEBUG"]["values"], "INFO")
    assert not re.fullmatch(rows["NCCL_DEBUG"]["values"], "WARN")
