"""Each model of the catalogue has as many parameters as were published for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli

from vramguard.memory.families import architecture

if TYPE_CHECKING:
    from vramguard.memory import Architecture

CATALOGUE = Path(__file__).parents[1] / "catalogue"
ROWS: list[dict[str, Any]] = tomli.loads((CATALOGUE / "catalogue.toml").read_text("utf-8"))["model"]
PUBLISHED = [row for row in ROWS if "published" in row]
SCALES = {"B": 10**9, "M": 10**6}


def network(row: dict[str, Any]) -> Architecture:
    return architecture(json.loads((CATALOGUE / row["file"]).read_text("utf-8")))


def beside(kind: str | None, of: Architecture) -> int:
    """What a checkpoint holds beside the network: see the head of catalogue.toml."""
    if kind == "head":
        return of.vocab * of.hidden
    if kind == "rotary":
        return sum(group.layers * (group.head_dim // 2) for group in of.attention)
    if kind == "masks":
        return of.layers * of.context**2
    if kind == "scales":
        linear = (tensor for tensor in of.tensors if tensor.kind == "linear" and "lm_head" not in tensor.name)
        return sum(tensor.shape[0] * tensor.copies for tensor in linear)
    assert kind is None
    return 0


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: str(row["id"]))
def test_parameters_are_those_that_were_published(row: dict[str, Any]) -> None:
    found, published = network(row), row["published"]
    if "parameters" in published:
        assert found.parameters + beside(published.get("beside"), found) == published["parameters"]
    else:
        digits, scale = published["rounded"][:-1], SCALES[published["rounded"][-1]]
        places = len(digits.partition(".")[2])
        assert f"{found.parameters / scale:.{places}f}" == digits


def test_every_row_says_where_it_was_read() -> None:
    files = {path.name for path in CATALOGUE.glob("*.json")}
    assert {row["file"] for row in ROWS} == files
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    aliases = [alias for row in ROWS for alias in row.get("alias", ())]
    for row in [*ROWS, *aliases, *(row["published"] for row in PUBLISHED)]:
        assert len(row["commit"]) == 40
        assert row["repository"].count("/") == 1
        assert row["path"]


def test_enough_is_checked() -> None:
    assert len(PUBLISHED) >= 60
    assert sum("parameters" in row["published"] for row in PUBLISHED) >= 60, "to the last parameter"
    assert len({network(row).model_type for row in PUBLISHED}) >= 15
