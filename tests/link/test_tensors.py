"""Tensors held and tensors built: what contradicts, and what does not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from weights import TINY, Shapes, shapes_of

from vramguard.facts import WeightIndex
from vramguard.link.tensors import differences, is_packed, totals, wider
from vramguard.memory.families import architecture
from vramguard.source import Location
from vramguard.source.heads import StoredTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TIED = TINY | {"tie_word_embeddings": True}
BIASED = TINY | {"attention_bias": True}
MIXTRAL = TINY | {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 4}
GPT2 = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2}
GPT2 |= {"vocab_size": 32, "n_positions": 16}
NORM = "model.layers.{}.input_layernorm.weight"


def found(held: Mapping[str, tuple[int, ...] | None], config: Mapping[str, Any]) -> list[str]:
    return [difference.what for difference in differences(held, architecture(config))]


def layer(number: int, config: Mapping[str, Any] = TINY) -> Shapes:
    """The tensors of the config's first layer, as those of another one."""
    return {
        name.replace(".0.", f".{number}.", 1): shape
        for name, shape in shapes_of(config).items()
        if ".layers.0." in name
    }


def experts(held: Shapes, width: int = 16, number: int = 4) -> Shapes:
    """Mixtral as it is stored: a tensor for each expert, under other names."""
    kept = {
        name.replace(".mlp.", ".block_sparse_moe."): shape for name, shape in held.items() if ".experts." not in name
    }
    for block in {name.rpartition(".gate.")[0] for name in kept if ".gate." in name}:
        for expert in range(number):
            for name, shape in {"w1": (width, 8), "w2": (8, width), "w3": (width, 8)}.items():
                kept[f"{block}.experts.{expert}.{name}.weight"] = shape
    return kept


def without(held: Shapes, pattern: str) -> Shapes:
    return {name: shape for name, shape in held.items() if not re.search(pattern, name)}


HONEST: dict[str, tuple[Mapping[str, Any], Callable[[Shapes], Shapes]]] = {
    "as built": (TINY, dict),
    "tied": (TIED, dict),
    "tied, and the head stored as well": (TIED, lambda held: held | {"lm_head.weight": (32, 8)}),
    "tied, and only the head stored": (
        TIED,
        lambda held: without(held, "embed_tokens") | {"lm_head.weight": (32, 8)},
    ),
    "an embedding model of a class that generates": (TINY, lambda held: without(held, "lm_head")),
    "the bare model, without its first word": (
        GPT2,
        lambda held: {name.removeprefix("transformer."): shape for name, shape in held.items()},
    ),
    "causal masks": (
        GPT2,
        lambda held: held | {f"h.{n}.attn.{name}": (1, 1, 16, 16) for n in (0, 1) for name in ("bias", "masked_bias")},
    ),
    "rotary tables": (
        TINY,
        lambda held: held | {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": (2,) for n in range(3)},
    ),
    "experts one by one": (MIXTRAL, experts),
    "experts as built": (MIXTRAL, dict),
    "a router's bias among the experts": (
        MIXTRAL,
        lambda held: experts(held) | {"model.layers.0.block_sparse_moe.experts.e_score_correction_bias": (4,)},
    ),
    "projections of an older name": (
        TINY,
        lambda held: {name.replace("o_proj", "dense"): shape for name, shape in held.items()},
    ),
    "projections in one": (
        TINY,
        lambda held: (
            without(held, "up_proj|gate_proj")
            | {f"model.layers.{n}.mlp.gate_up_proj.weight": (32, 8) for n in range(3)}
        ),
    ),
    "stored the other way round": (
        TINY,
        lambda held: {name: shape[::-1] if "proj" in name else shape for name, shape in held.items()},
    ),
    "a layer that predicts the next but one token": (
        TINY,
        lambda held: held | layer(3) | {"model.layers.3.eh_proj.weight": (8, 16)},
    ),
    "a tower beside it": (TINY, lambda held: held | {f"vision.blocks.{n}.weight": (64, 64) for n in range(9)}),
    "more than one layer's tensors in a layer": (TINY, lambda held: held | {"model.layers.0.self_attn.sinks": (2,)}),
    "a bias of the head": (TINY, lambda held: held | {"lm_head.bias": (32,)}),
}


@pytest.mark.parametrize(("config", "stored"), HONEST.values(), ids=HONEST)
def test_honest_checkpoints_differ_in_many_ways(config: Mapping[str, Any], stored: Callable[[Shapes], Shapes]) -> None:
    held = stored(shapes_of(config))
    assert held
    assert found(held, config) == []
    assert found(dict.fromkeys(held), config) == []


WRONG: dict[str, tuple[Mapping[str, Any], Shapes, str, bool]] = {
    "a smaller vocabulary": (
        TINY | {"vocab_size": 31},
        shapes_of(TINY),
        (
            "`model.embed_tokens.weight` is 32 x 8 in the weights, and the config makes it 31 x 8, "
            "and 1 more kind of tensor"
        ),
        False,
    ),
    "one tensor": (
        TINY,
        shapes_of(TINY) | {"model.norm.weight": ()},
        "`model.norm.weight` is a single number in the weights, and the config makes it 8",
        False,
    ),
    "fewer layers built": (
        TINY | {"num_hidden_layers": 2},
        shapes_of(TINY),
        "the weights hold `model.layers.2`, and the config builds 2 layers",
        True,
    ),
    "fewer layers built, experts one by one": (
        MIXTRAL | {"num_hidden_layers": 1},
        experts(shapes_of(MIXTRAL)),
        "the weights hold `model.layers.2`, and the config builds 1 layer",
        True,
    ),
    "fewer layers held": (
        TINY | {"num_hidden_layers": 4},
        shapes_of(TINY),
        "the config builds 4 of `model.layers.*.input_layernorm.weight`, and the weights hold 3",
        True,
    ),
    "fewer experts built": (
        MIXTRAL | {"num_local_experts": 2},
        experts(shapes_of(MIXTRAL)),
        "the weights hold experts of 4,608 parameters, and the config builds 2,304",
        False,
    ),
    "narrower experts": (
        MIXTRAL | {"intermediate_size": 15},
        experts(shapes_of(MIXTRAL)),
        "the weights hold experts of 4,608 parameters, and the config builds 4,320",
        False,
    ),
    "no experts built": (
        TINY,
        experts(shapes_of(MIXTRAL)),
        "the weights hold experts of 4,608 parameters, and the config builds none",
        False,
    ),
    "no experts held": (
        MIXTRAL,
        without(shapes_of(MIXTRAL), "experts"),
        (
            "the config builds `model.layers.*.mlp.experts.gate_up_proj` and 1 more kind of tensor, "
            "and the weights hold nothing for it"
        ),
        True,
    ),
    "biases built": (
        BIASED,
        shapes_of(TINY),
        (
            "the config builds `model.layers.*.self_attn.q_proj.bias` and 3 more kinds of tensor, "
            "and the weights hold nothing for it"
        ),
        True,
    ),
    "biases held": (
        TINY,
        shapes_of(BIASED),
        "the weights hold `model.layers.*.self_attn.q_proj.bias`, which the config does not build",
        True,
    ),
    "names of another model, and too little": (
        TINY,
        {"encoder.weight": (8, 8)},
        (
            "the config builds `model.embed_tokens.weight` and 10 more kinds of tensor, "
            "and the weights hold nothing for it"
        ),
        False,
    ),
}


@pytest.mark.parametrize(("config", "held", "what", "by_name"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_said_once(config: Mapping[str, Any], held: Shapes, what: str, by_name: bool) -> None:  # noqa: FBT001
    assert found(held, config) == [what]
    assert bool(found(dict.fromkeys(held), config)) is by_name


def tensors(*sizes: tuple[str, int], name: str = "a") -> list[StoredTensor]:
    return [StoredTensor(name, dtype, (size,), 0) for dtype, size in sizes]


@pytest.mark.parametrize(
    ("dtype", "sizes", "what"),
    [
        ("bfloat16", [("F32", 4)], "the weights are stored as F32, and the config names bfloat16"),
        (
            "bfloat16",
            [("BF16", 4), ("F32", 3), ("F64", 2)],
            "the weights are stored as F32, and the config names bfloat16",
        ),
        ("float16", [("BF16", 4)], None),
        ("float32", [("F32", 4)], None),
        ("float32", [("BF16", 4)], None),
        ("float32", [("F64", 4)], "the weights are stored as F64, and the config names float32"),
        ("bfloat16", [("BF16", 4), ("F32", 4)], None),
        (None, [("F32", 4)], None),
        ("bfloat16", [], None),
    ],
)
def test_wider_weights(dtype: str | None, sizes: list[tuple[str, int]], what: str | None) -> None:
    network = architecture(TINY | {"dtype": dtype})
    assert [difference.what for difference in wider(tensors(*sizes), network)] == ([what] if what else [])


@pytest.mark.parametrize(
    ("dtype", "name", "packed"),
    [
        ("BF16", "a", False),
        ("F64", "a", False),
        ("F8_E4M3", "a", True),
        ("U8", "model.layers.0.self_attn.q_proj.weight", True),
        ("I32", "model.layers.0.self_attn.q_proj.qweight", True),
        ("BOOL", "transformer.h.0.attn.bias", False),
        ("I64", "embeddings.position_ids", False),
    ],
)
def test_packed_weights(dtype: str, name: str, packed: bool) -> None:  # noqa: FBT001
    assert is_packed(tensors(("F32", 1), (dtype, 1), name=name)) is packed


PARAMETERS = architecture(TINY).parameters


@pytest.mark.parametrize(
    ("config", "size", "parameters", "what"),
    [
        (TINY, 2 * PARAMETERS, PARAMETERS, None),
        (TINY, None, None, None),
        (TINY, None, 1, None),
        (TINY, None, PARAMETERS + 1, f"the index counts {PARAMETERS + 1:,} parameters, and the config builds"),
        (TIED, None, PARAMETERS, None),
        (TIED, None, PARAMETERS + 1, "the index counts"),
        (TINY, 3 * PARAMETERS, None, None),
        (TINY, 4 * PARAMETERS, None, f"the index counts {4 * PARAMETERS:,} bytes, and the config builds"),
        (TINY | {"dtype": None}, 4 * PARAMETERS, None, None),
        (TINY | {"dtype": "float32"}, 4 * PARAMETERS, None, None),
    ],
)
def test_totals_of_an_index(
    config: Mapping[str, Any], size: int | None, parameters: int | None, what: str | None
) -> None:
    said = [found.what for found in totals(WeightIndex(Location("i"), {}, size, parameters), architecture(config))]
    assert len(said) == (what is not None)
    assert all(sentence.startswith(what or "") for sentence in said)
