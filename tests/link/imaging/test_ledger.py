"""The ledger of an image: numbers that were measured, and what is not counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, LockedModel
from vramguard.link.imaging.ledger import ledgers
from vramguard.source import Location, kind_of, read

if TYPE_CHECKING:
    from vramguard.link.imaging.ledger import Ledger


def ledger(text: str, *more: LockedModel) -> Ledger:
    document = read("Dockerfile", text.encode(), kind=kind_of("Dockerfile") or "")
    (found,) = ledgers(Facts([*extract(document), *more], paths=("Dockerfile",)))  # type: ignore[arg-type]
    return found


def locked(model: str, size: int) -> LockedModel:
    return LockedModel(Location("vramguard.lock", 1), model, None, None, "hub", None, None, size)


@pytest.mark.parametrize(
    ("pin", "mb"),
    [("==2.9.1", 4067), ("==2.5.0", 2844), ("==2.11.0+cu130", 2719), ("", 2307), ("==1.13.1", None), ("==99.0", None)],
)
def test_wheels_weigh_what_was_measured(pin: str, mb: int | None) -> None:
    found = ledger(f"FROM python:3.12-slim\nRUN pip install 'torch{pin}'\n")
    assert [part.mb for part in found.parts] == [mb]
    assert found.least == (mb or 0)


def test_of_packages_that_need_the_same_the_largest_counts() -> None:
    found = ledger("FROM python:3.12-slim\nRUN pip install torch==2.8.0 vllm==0.10.2\n")
    assert [part.mb for part in found.parts] == [4954]


def test_a_base_that_has_them_already_brings_them() -> None:
    found = ledger("FROM pytorch/pytorch:2.5.1-cuda12.4-cudnn9-runtime\nRUN pip install torch==2.5.1\n")
    assert found.least == 4000


def test_weights_are_counted_by_the_lock_and_by_the_catalogue() -> None:
    text = "FROM python:3.12-slim\nRUN hf download {}\nCMD python a.py\n"
    assert ledger(text.format("acme/llama"), locked("acme/llama", 12_500_000_000)).least == 12_500
    assert ledger(text.format("acme/llama")).least == 0
    known = ledger(text.format("meta-llama/Llama-3.1-8B-Instruct"))
    assert known.least == 16_060  # 8,030,261,248 parameters of two bytes


def test_what_nobody_measured_is_named() -> None:
    assert "not counted" in ledger("FROM python:3.12-slim\nRUN hf download acme/llama\nCMD python a.py\n").words
