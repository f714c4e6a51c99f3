"""Which files of weights are one model's, and whose."""

from __future__ import annotations

from typing import Any

import pytest

from vramguard.facts import Fact, Facts, ModelConfig, WeightFile, WeightIndex
from vramguard.link.weights import Checkpoint, beside, of_index, split_ggufs, weights_of
from vramguard.source import Location
from vramguard.source.heads import StoredTensor

CONFIG = ModelConfig(Location("m/config.json"), {"model_type": "llama"}, "")
ONE, TWO = "m/model-00001-of-00002.safetensors", "m/model-00002-of-00002.safetensors"
INDEX = WeightIndex(Location("m/model.safetensors.index.json"), {"a": TWO, "b": ONE, "c": ONE})


def file(path: str, *names: str) -> WeightFile:
    kind = path.rpartition(".")[2]
    tensors = tuple(StoredTensor(name, "BF16", (2,), 4) for name in names)
    return WeightFile(Location(path), kind, tensors, {"of": path} if kind == "gguf" else {})


def facts(*found: Fact, paths: tuple[str, ...] = ()) -> Facts:
    return Facts(found, paths=[*(fact.at.path for fact in found), *paths])


def test_one_file_beside_its_config() -> None:
    alone = file("m/model.safetensors", "a")
    others = (file("m/adapter_model.safetensors"), file("n/model.safetensors"), file("m/model.gguf"))
    found = facts(CONFIG, alone, *others)
    assert beside(CONFIG, found) == Checkpoint(alone.at, ("m/model.safetensors",), (alone,))
    joined = weights_of(CONFIG, found)
    assert joined is not None
    assert (joined.at, joined.tensors, joined.parts) == (alone.at, alone.tensors, ("m/model.safetensors",))


def test_an_index_joins_its_files() -> None:
    shards = (file(ONE, "b", "c"), file(TWO, "a"))
    joined = weights_of(CONFIG, facts(CONFIG, INDEX, *shards, file("m/other.safetensors", "x")))
    assert joined is not None
    assert [tensor.name for tensor in joined.tensors] == ["b", "c", "a"]
    assert (joined.at, joined.format, joined.parts) == (INDEX.at, "safetensors", (ONE, TWO))
    assert (joined.parameters, joined.bytes) == (6, 12)


def test_one_file_comes_before_an_index() -> None:
    alone = file("m/model.safetensors", "a")
    found = beside(CONFIG, facts(CONFIG, INDEX, alone))
    assert found is not None
    assert found.files == (alone,)


@pytest.mark.parametrize(
    ("found", "paths", "missing", "read"),
    [
        ((file(ONE, "b"),), (), (TWO,), 1),
        ((), (), (), 0),  # kept elsewhere, all of them
        ((file(ONE, "b"),), (TWO,), (), 1),  # a pointer, an unreadable or an excluded file
        ((), (ONE,), (TWO,), 0),
        ((), (ONE, TWO), (), 0),
    ],
)
def test_a_file_is_missing_where_others_are_there(
    found: tuple[WeightFile, ...], paths: tuple[str, ...], missing: tuple[str, ...], read: int
) -> None:
    all_facts = facts(CONFIG, INDEX, *found, paths=paths)
    checkpoint = of_index(INDEX, all_facts)
    assert (checkpoint.missing, len(checkpoint.files), checkpoint.joined) == (missing, read, None)
    assert beside(CONFIG, all_facts) == checkpoint
    assert weights_of(CONFIG, all_facts) is None


def test_an_index_of_nothing_is_no_weights() -> None:
    assert of_index(WeightIndex(INDEX.at, {}), facts()).joined is None


def test_an_unread_file_in_the_first_place_is_what_would_be_loaded() -> None:
    assert beside(CONFIG, facts(CONFIG, INDEX, file(ONE), file(TWO), paths=("m/model.safetensors",))) is None


@pytest.mark.parametrize(
    ("path", "config", "expected"),
    [
        ("m/config.json", {}, "m/model.safetensors"),
        ("m/config.json", {"transformers_weights": "x.safetensors"}, "m/x.safetensors"),
        ("m/config.json", {"transformers_weights": "none.safetensors"}, None),
        ("m/config.json", {"transformers_weights": 1}, "m/model.safetensors"),
        ("m/other.json", {}, None),
        ("config.json", {}, None),
    ],
)
def test_whose_weights(path: str, config: dict[str, Any], expected: str | None) -> None:
    asked = ModelConfig(Location(path), config, "")
    found = beside(asked, facts(asked, file("m/model.safetensors"), file("m/x.safetensors")))
    assert (found.paths if found else None) == (None if expected is None else (expected,))


def test_at_the_root() -> None:
    config = ModelConfig(Location("config.json"), {}, "")
    assert weights_of(config, facts(config, file("model.safetensors", "a"))) is not None


def test_ggufs_are_alone_or_split() -> None:
    parts = [file(f"m/x-0000{number}-of-00002.gguf", f"t{number}") for number in (1, 2)]
    lost = file("n/x-00002-of-00003.gguf", "t")
    found = list(split_ggufs(facts(file("m/y.gguf"), *parts, lost, file("z.safetensors"))))
    assert [(item.at.path, len(item.files), item.missing) for item in found] == [
        ("m/y.gguf", 1, ()),
        ("m/x-00001-of-00002.gguf", 2, ()),
        ("n/x-00002-of-00003.gguf", 1, ("n/x-00001-of-00003.gguf", "n/x-00003-of-00003.gguf")),
    ]
    joined = found[1].joined
    assert joined is not None
    assert joined.values == {"of": "m/x-00001-of-00002.gguf"}


def test_a_name_that_counts_to_nothing() -> None:
    (found,) = split_ggufs(facts(file("x-00001-of-00000.gguf")))
    assert (found.files, found.missing, found.joined) == ((), (), None)
