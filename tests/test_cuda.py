"""The rows of data/advisories.toml and data/cuda.toml: that they say what they may, and with a source."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from vramguard import data
from vramguard.checks import Severity

CAPABILITIES = {card.compute_capability for card in data.gpus().values() if card.vendor == "nvidia"}
TABLES = ("build", "needs", "driver", "card", "image", "compiled", "index")


@pytest.mark.parametrize("advisory", data.advisories(), ids=lambda row: row.id)
def test_an_advisory_is_whole(advisory: data.Advisory) -> None:
    assert advisory.kind in {"memory-leak", "import", "wrong"}
    assert Severity[advisory.severity.upper()] in {Severity.ERROR, Severity.WARNING}
    assert set(advisory.capabilities) <= CAPABILITIES
    assert all(str(SpecifierSet(versions)) for versions in advisory.packages.values())
    assert re.search(r"#\d|\d\.\d|case 882|issues \d", advisory.source)
    assert advisory.move
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", advisory.date)


def test_ids_are_given_once() -> None:
    ids = [advisory.id for advisory in data.advisories()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("table", TABLES)
def test_rows_have_a_source_and_a_day(table: str) -> None:
    for row in data.load("cuda")[table]:
        assert row["source"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])


@pytest.mark.parametrize("row", data.needs(), ids=lambda row: f"{row.package}-{row.on}")
def test_releases_follow_each_other(row: data.Needs) -> None:
    assert all(Version(first) <= Version(last) for first, last, _ in row.releases)
    assert all(Version(one.last) < Version(other.first) for one, other in pairwise(row.releases))
    assert all(str(SpecifierSet(said)) for _, _, said in row.releases)


def test_what_torch_was_built_with_goes_up() -> None:
    releases = data.cuda_builds()["torch"]
    assert all(Version(one.last) < Version(other.first) for one, other in pairwise(releases))
    assert [release.said for release in releases] == sorted((release.said for release in releases), key=Version)
    assert {int(release.said.partition(".")[0]) for release in releases} <= data.drivers().keys()


def test_every_card_of_the_catalogue_has_its_builds_or_needs_none() -> None:
    """Turing alone has code in every build that is listed."""
    told = {capability for row in data.card_builds() for capability in row.capabilities}
    assert CAPABILITIES - told == {"7.5"}


def test_a_companion_names_a_torch_that_is_listed() -> None:
    listed = [(Version(first), Version(last)) for first, last, _ in data.cuda_builds()["torch"]]
    for row in data.needs():
        exact = [said.removeprefix("==") for _, _, said in row.releases if row.on == "torch" and said.startswith("==")]
        for version in (Version(text) for text in exact if Version(text) >= Version("1.13")):
            assert any(first <= version <= last for first, last in listed), (row.package, version)


@pytest.mark.parametrize(
    ("name", "tag", "cuda", "nvcc"),
    [
        ("nvidia/cuda", "12.1.0-cudnn8-devel-ubuntu22.04", "12.1", True),
        ("nvidia/cuda", "11.8.0-base-ubuntu20.04", "11.8", False),
        ("nvidia/cuda", "13.0.1-runtime-ubi9", "13.0", False),
        ("nvidia/cuda", "latest", None, False),
        ("pytorch/pytorch", "2.5.1-cuda12.1-cudnn9-devel", "12.1", True),
        ("pytorch/pytorch", "2.0.1-cuda11.7-cudnn8-runtime", "11.7", False),
        ("pytorch/pytorch", "nightly", None, False),
    ],
)
def test_tags_say_their_cuda(name: str, tag: str, cuda: str | None, *, nvcc: bool) -> None:
    (row,) = [row for row in data.cuda_images() if row.name == name]
    match = re.match(row.tag, tag)
    assert (match[1] if match else None) == cuda
    assert (row.nvcc in tag) is nvcc
