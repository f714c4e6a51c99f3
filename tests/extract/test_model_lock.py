"""vramguard.lock: rows with their places, and what is no row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vramguard.extract import extract
from vramguard.facts import LockedModel, LockedTensor, ModelConfig
from vramguard.source import Unreadable, kind_of, read

ROW: dict[str, Any] = {
    "model": "acme/a",
    "revision": None,
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "source": "hub",
    "config_sha256": "0" * 64,
    "config": {"model_type": "llama", "rope_scaling": None},
    "weights": {"total_size": 16, "sha256": None},
    "tensors": {"model.layers.*.q": [[8, 4], "bfloat16", 3]},
}


def said(rows: Any, schema: str = "vramguard.lock/1", path: str = "vramguard.lock") -> list[Any]:  # noqa: ANN401
    document = read(path, json.dumps({"schema": schema, "models": rows}, indent=1).encode(), kind=kind_of(path))
    assert not isinstance(document, Unreadable)
    return list(extract(document))


def test_a_row_is_a_model_at_its_line() -> None:
    first, second = said([ROW, {**ROW, "revision": "v1", "config": None, "config_sha256": None, "weights": None}])
    assert isinstance(first, LockedModel)
    assert (first.at.line, first.model, first.revision, first.commit) == (5, "acme/a", None, ROW["commit"])
    assert first.config == ROW["config"]
    assert (first.total_size, first.index_sha256) == (16, None)
    assert first.tensors == (LockedTensor("model.layers.*.q", (8, 4), "bfloat16", 3),)
    assert (second.revision, second.config, second.total_size) == ("v1", None, None)


def test_a_lock_is_no_config_of_a_model() -> None:
    assert [type(fact) for fact in said([ROW], path="deploy/vramguard.lock")] == [LockedModel]
    assert not any(isinstance(fact, ModelConfig) for fact in said([]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": None}, "`model` is missing"),
        ({"model": 3}, "`model` is to be text"),
        ({"revision": ""}, "`revision` is to be text"),
        ({"commit": "main"}, "`commit` is to be a full commit hash"),
        ({"commit": "0123456"}, "`commit` is to be a full commit hash"),
        ({"source": "hearsay"}, "`source` is to be one of hub, cache, local"),
        ({"config": []}, "`config` is to be an object or null"),
        ({"config_sha256": None}, "`config_sha256` is to be a sha256"),
        ({"weights": 3}, "`weights` is to be an object or null"),
        ({"weights": {"total_size": -1}}, "`total_size` is to be a number of bytes"),
        ({"weights": {"total_size": True}}, "`total_size` is to be a number of bytes"),
        ({"weights": {"total_size": 10**30}}, "`total_size` is to be a number of bytes"),
        ({"tensors": []}, "`tensors` is to be an object or null"),
        ({"tensors": {"a": [[8, -1], "bfloat16", 1]}}, "the tensor `a` is to be [shape, dtype, copies]"),
        ({"tensors": {"a": [[8], "bfloat16", 0]}}, "the tensor `a` is to be [shape, dtype, copies]"),
        ({"tensors": {"a": 3}}, "the tensor `a` is to be [shape, dtype, copies]"),
    ],
)
def test_a_broken_row_is_unreadable_and_the_others_stay(change: dict[str, Any], words: str) -> None:
    flaw, good = said([{**ROW, **change}, ROW])
    assert isinstance(flaw, Unreadable)
    assert flaw.reason.startswith("row 1 of the lock: ")
    assert words in flaw.reason
    (key,) = change
    lines = json.dumps({"schema": "", "models": [{**ROW, **change}, ROW]}, indent=1).splitlines()
    if change[key] is not None or key in ROW:
        assert f'"{key}"' in "".join(lines[flaw.at.line - 3 : flaw.at.line])
    assert isinstance(good, LockedModel)


def test_a_row_that_is_none() -> None:
    (flaw,) = said(["acme/a"])
    assert "it is to be an object" in flaw.reason


def test_a_lock_of_another_version_or_shape() -> None:
    (newer,) = said([ROW], schema="vramguard.lock/2")
    assert 'no `"schema": "vramguard.lock/1"`' in newer.reason
    (shape,) = said({"acme/a": ROW})
    assert "`models` is to be a list" in shape.reason
    document = read("vramguard.lock", b"[]", kind="json")
    assert not isinstance(document, Unreadable)
    assert [type(fact) for fact in extract(document)] == [Unreadable]
