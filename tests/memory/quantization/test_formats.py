"""Every format's bytes against published totals and hand-worked values; what is not known is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory.quantization.networks import LLAMA_8B, LLAMA_70B, SMALL, llama, stored

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.quantization import FLAGS, Network, forward, gguf, loading, quantize, scheme_of, unpacked
from vramguard.memory.quantization.scheme import Matrix, Scheme

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1 << 30
ROPE = 131072 * 128 * 2  # bytes of the rotary table that the totals of vLLM include


def scheme(config: Mapping[str, Any] | None = None, flag: str | None = None) -> Scheme:
    found = scheme_of(config, flag)
    assert found is not None
    return found


def gib(size: int) -> str:
    return f"{size / GIB:.3f}"


def ct(weights: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    group = {"targets": more.pop("targets", ["Linear"]), "weights": weights, **more.pop("group", {})}
    config = {"quant_method": "compressed-tensors", "quantization_status": "compressed", "ignore": ["lm_head"]}
    return {**config, "config_groups": {"group_0": group}, **more}


CHANNEL8 = {"num_bits": 8, "type": "float", "strategy": "channel"}
W4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}
TOKENS = {"input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}}


@pytest.mark.parametrize(
    ("flag", "expected"), [("bnb-nf4", "5.614"), ("bnb-nf4-dq", "5.311"), ("bnb-int8", "8.463"), ("bnb-fp4", "5.614")]
)
def test_totals_of_bitsandbytes(flag: str, expected: str) -> None:
    assert gib(stored(quantize(LLAMA_8B, scheme(flag=flag), 2))) == expected


def test_totals_of_compressed_tensors() -> None:
    fp8 = scheme(ct(CHANNEL8, group=TOKENS))
    assert gib(stored(quantize(LLAMA_8B, fp8, 2)) + ROPE) == "8.491"  # scales in bfloat16; vLLM widens them to float32
    wide = stored(quantize(LLAMA_8B, scheme(flag="bnb-int8"), 2)) + ROPE
    assert gib(wide) == "8.494"
    assert gib(stored(quantize(LLAMA_8B, scheme(ct(W4)), 2)) + ROPE) == "5.340"
    seventy = stored(quantize(LLAMA_70B, scheme(flag="bnb-int8"), 2)) + ROPE
    assert gib(seventy) == "67.723"


def test_rows_name_the_tensor_and_add_up() -> None:
    rows = {term.name: term for term in quantize(SMALL, scheme(flag="bnb-nf4-dq"), 2)}
    name = "weights/model.layers.*.self_attn.q_proj.weight"
    elements, blocks = 256 * 256, 256 * 256 // 64
    assert rows[f"{name}/packed"].upper_bytes == 4 * elements // 2
    assert rows[f"{name}/scales"].upper_bytes == 4 * blocks
    assert rows[f"{name}/nested_scales"].upper_bytes == 4 * 4 * (blocks // 256)
    assert rows[f"{name}/code"].upper_bytes == 4 * 64
    assert rows[f"{name}/nested_code"].upper_bytes == 4 * (1024 + 4)
    assert rows["weights/lm_head.weight"].upper_bytes == 320 * 256 * 2
    assert rows["weights/model.embed_tokens.weight"].upper_bytes == 320 * 256 * 2


LINEAR = Tensor("model.layers.*.a.weight", (96, 320), 1, "linear", 0, (0,))


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, [10 * 4 * 4 * 96, 3 * 12 * 4, 3 * 96 * 2, 4 * 320]),
        ({"quant_method": "gptq", "bits": 3, "group_size": -1}, [4 * 30 * 96, 9 * 4, 96 * 2, 4 * 320]),
        ({"quant_method": "gptq", "bits": 8, "group_size": 32}, [320 * 96, 10 * 24 * 4, 10 * 96 * 2, 4 * 320]),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, [320 * 12 * 4, 5 * 12 * 4, 5 * 96 * 2]),
        ({"quant_method": "fp8"}, [96 * 320, 1 * 3 * 4]),
        ({"quant_method": "fp8", "weight_block_size": None}, [96 * 320, 4]),
        (
            {"quant_method": "fp8", "weight_block_size": [64, 100], "activation_scheme": "static"},
            [96 * 320, 2 * 4 * 4, 4],
        ),
        ({"quant_method": "fp8", "scale_fmt": "ue8m0"}, [96 * 320, 3]),
        ({"quant_method": "mxfp8", "weight_block_size": [1, 32], "scale_fmt": "ue8m0"}, [96 * 320, 96 * 10]),
        ({"quant_method": "fbgemm_fp8"}, [96 * 320, 96 * 4 + 4]),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, [96 * 160, 96 * 20, 8]),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, [96 * 320, 4, 4]),
        (ct(CHANNEL8, group=TOKENS), [96 * 320, 96 * 2]),
        (ct({**CHANNEL8, "strategy": "tensor"}, group=TOKENS), [96 * 320, 2]),
        (ct({**CHANNEL8, "strategy": "block", "block_structure": [64, 128]}, group=TOKENS), [96 * 320, 2 * 3 * 2]),
        (ct({**CHANNEL8, "type": "int"}, group=TOKENS), [96 * 320, 96 * 2]),
        (ct(W4), [96 * 40 * 4, 16, 96 * 3 * 2]),
        (ct({**W4, "symmetric": False}), [96 * 40 * 4, 16, 96 * 3 * 2, 12 * 4 * 3]),
        (ct({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}), [96 * 160, 96 * 20, 4]),
        (ct({"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}), [96 * 160, 96 * 10]),
        (ct({"num_bits": 6, "type": "float", "strategy": "group", "group_size": 32}), [96 * 240, 96 * 10]),
    ],
)
def test_parts_of_one_weight(config: dict[str, Any], parts: list[int]) -> None:
    tensors = (LINEAR._replace(name="model.layers.*.a.weight"), Tensor("model.norm.weight", (320,), kind="norm"))
    rows = [term.upper_bytes for term in quantize(tensors, scheme(config), 2) if "/model.layers" in term.name]
    assert rows == parts


def test_what_a_flag_cannot_say_is_unknown() -> None:
    for flag in ("gptq", "awq", "compressed-tensors", "modelopt", "hqq", "torchao", "bitsandbytes", "q4", "gguf"):
        with pytest.raises(UnprovenError):
            scheme_of(None, flag)


def test_no_quantization_is_no_scheme() -> None:
    assert scheme_of(None, None) is None
    assert scheme_of({}, None) is None


@pytest.mark.parametrize("flag", sorted(FLAGS))
def test_a_flag_agrees_with_the_config_that_it_stands_for(flag: str) -> None:
    if FLAGS[flag]["quant_method"] == "nvfp4":
        return  # transformers loads no packed checkpoint of it
    assert scheme(dict(FLAGS[flag]), flag).on_the_fly is False
    assert scheme(flag=flag).on_the_fly is True


@pytest.mark.parametrize(
    ("config", "flag"),
    [
        ({"quant_method": "gptq", "bits": 4}, "awq"),
        ({"quant_method": "fp8"}, "bnb-nf4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bnb-nf4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "bnb-nf4"),
    ],
)
def test_a_flag_that_contradicts_the_config_is_unknown(config: dict[str, Any], flag: str) -> None:
    with pytest.raises(UnprovenError, match="contradicts"):
        scheme_of(config, flag)


def test_a_flag_that_names_the_configs_method_changes_nothing() -> None:
    config = {"quant_method": "gptq", "bits": 4}
    assert scheme(config, "gptq_marlin") == scheme(config)


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "quip"},
        {"bits": 4},
        {"quant_method": "bitsandbytes"},
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": True},
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "af4"},
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_blocksize": 128},
        {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_has_fp16_weight": True},
        {"quant_method": "gptq", "bits": 5},
        {"quant_method": "gptq", "bits": 4, "group_size": 0},
        {"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*": {}}},
        {"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"},
        {"quant_method": "awq", "bits": 4, "version": "gemv"},
        {"quant_method": "awq", "bits": 8},
        {"quant_method": "fp8", "weight_block_size": [128]},
        {"quant_method": "fp8", "dequantize": True},
        {"quant_method": "fp8", "modules_to_not_convert": ["(a+)+$"]},
        {"quant_method": "fp8", "modules_to_not_convert": ["a("]},
        {"quant_method": "mxfp4"},
        {"quant_method": "nvfp4"},
        {"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"},
        {"quant_method": "torchao", "quant_type": "int4_weight_only"},
        {"quant_method": "torchao", "quant_type": {"default": {"_type": "FqnToConfig", "_version": 2, "_data": {}}}},
        {"quant_method": "hqq", "quant_config": {"self_attn.q_proj": {}}},
        {**ct(W4), "kv_cache_scheme": {"num_bits": 8}},
        {**ct(W4), "quantization_status": "initialized"},
        {**ct(W4), "sparsity_config": {"format": "sparse-24-bitmask"}},
        {**ct(W4), "config_groups": {"W4A16": ["Linear"]}},
        ct({**W4, "actorder": "group"}),
        ct({**W4, "num_bits": 16}),
        ct(W4, targets=["LlamaAttention"]),
        ct(W4, ignore=["language_model.lm_head"]),
    ],
)
def test_what_is_not_known_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(UnprovenError):
        quantize(SMALL, scheme(config), 2)


def test_layers_that_a_pattern_names_stay_as_they_are() -> None:
    config = {
        "quant_method": "fp8",
        "modules_to_not_convert": ["lm_head", "model.layers.1", "model.layers.3.mlp.up_proj"],
    }
    rows = {term.name: term for term in quantize(SMALL, scheme(config), 2)}
    up, down = ("weights/model.layers.*.mlp.up_proj.weight", "weights/model.layers.*.mlp.down_proj.weight")
    assert rows[up].inputs["copies"] == 2
    assert rows[f"{up}/packed"].inputs["copies"] == 2
    assert rows[down].inputs["copies"] == 1
    assert rows[f"{down}/packed"].inputs["copies"] == 3
    assert sum(term.name == up for term in quantize(SMALL, scheme(config), 2)) == 1


def test_two_groups_pack_one_row_each_in_its_way() -> None:
    config = ct(W4)
    config["config_groups"] = {
        "group_0": {"targets": ["re:.*layers\\.[01]\\..*"], "weights": W4},
        "group_1": {"targets": ["Linear"], "weights": CHANNEL8, **TOKENS},
    }
    rows = {term.name: term for term in quantize(SMALL, scheme(config), 2)}
    name = "weights/model.layers.*.mlp.up_proj.weight"
    assert rows[f"{name}/group_0/packed"].upper_bytes == 2 * 512 * 256 // 2
    assert rows[f"{name}/group_1/packed"].upper_bytes == 2 * 512 * 256


def test_layers_that_are_not_listed_are_unknown() -> None:
    lost = Tensor("model.layers.*.a.weight", (64, 64), 2, "linear")
    with pytest.raises(UnprovenError, match="layers"):
        quantize((lost,), scheme(flag="bnb-nf4"), 2)


def test_experts_of_a_list_are_numbered() -> None:
    experts = Tensor("model.layers.*.experts.*.up.weight", (64, 64), 6, "linear", 0, (0, 2))
    config = {
        "quant_method": "bitsandbytes",
        "load_in_8bit": True,
        "llm_int8_skip_modules": ["model.layers.2.experts.1"],
    }
    copies = {term.name: term.inputs["copies"] for term in quantize((experts,), scheme(config), 2)}
    assert copies == {
        "weights/model.layers.*.experts.*.up.weight/packed": 5,
        "weights/model.layers.*.experts.*.up.weight/scales": 5,
        "weights/model.layers.*.experts.*.up.weight": 1,
    }


def experts(scheme: Scheme, *shape: int, network: str = "") -> int:
    tensors = (Tensor("model.layers.*.mlp.experts.gate_up_proj", shape, 1, "experts", 0, (0,)),)
    return stored(quantize(Network(tensors, (), network), scheme, 2))


def test_stacked_experts() -> None:
    assert experts(scheme(flag="bnb-nf4"), 4, 128, 64) == 4 * 128 * 64 * 2
    fp8 = scheme({"quant_method": "fp8"})
    assert experts(fp8, 4, 256, 300) == 4 * (256 * 300 + 2 * 3 * 4)
    assert experts(fp8, 4, 64, 300) == 4 * (64 * 300 + 2 * 3 * 4)  # gate and up have a scale each
    assert experts(scheme({"quant_method": "fp8", "weight_block_size": None}), 4, 64, 300) == 4 * (64 * 300 + 2 * 4)
    half = scheme({"quant_method": "fp8", "expert_dtype": "fp4", "scale_fmt": "ue8m0"})
    assert experts(half, 4, 64, 320) == 4 * (64 * 160 + 64 * 10)
    with pytest.raises(UnprovenError, match="stacks"):
        experts(scheme({"quant_method": "gptq", "bits": 4}), 4, 64, 64)


def test_experts_of_gpt_oss_are_bounded() -> None:
    layers = tuple(range(24))
    tensors = (
        Tensor("model.layers.*.self_attn.q_proj.weight", (4096, 2880), 24, "linear", 0, layers),
        Tensor("model.layers.*.mlp.experts.gate_up_proj", (32, 2880, 5760), 24, "experts", 0, layers),
        Tensor("model.layers.*.mlp.experts.gate_up_proj_bias", (32, 5760), 24, "experts", 0, layers),
        Tensor("model.layers.*.mlp.experts.down_proj", (32, 2880, 2880), 24, "experts", 0, layers),
    )
    rows = {term.name.partition("*.")[2]: term for term in quantize(tensors, scheme({"quant_method": "mxfp4"}), 2)}
    up = rows["mlp.experts.gate_up_proj/packed"]
    assert up.lower_bytes == 24 * 32 * 2880 * 5760 // 2
    assert up.upper_bytes == 24 * 32 * 1472 * 5888
    assert rows["mlp.experts.gate_up_proj/scales"].upper_bytes == 24 * 32 * 90 * 5760
    assert rows["mlp.experts.gate_up_proj_bias"].inputs["bytes"] == 4
    assert rows["self_attn.q_proj.weight"].upper_bytes == 24 * 4096 * 2880 * 2
    assert scheme({"quant_method": "mxfp4"}).below == "dense"


def test_dtypes_that_a_format_forces() -> None:
    assert scheme({"quant_method": "awq", "bits": 4}).loads_as("bfloat16") == "float16"
    assert scheme({"quant_method": "awq", "bits": 4}).loads_as("float32") == "float32"
    assert scheme({"quant_method": "fbgemm_fp8"}).loads_as("float32") == "bfloat16"
    assert scheme(flag="bnb-nf4").loads_as("float16") == "float16"


def test_a_config_that_lists_modules_lists_the_head_too() -> None:
    config = {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": ["model.layers.0"]}
    names = {term.name for term in quantize(SMALL, scheme(config), 2)}
    assert "weights/lm_head.weight/packed" in names


def test_a_networks_float32_modules_stay() -> None:
    network = Network(SMALL, ("o_proj",))
    names = {term.name for term in quantize(network, scheme(flag="bnb-nf4"), 2)}
    assert "weights/model.layers.*.self_attn.o_proj.weight" in names


def test_names_of_another_layout() -> None:
    nested = tuple(t._replace(name=t.name.replace("model.", "model.language_model.", 1)) for t in SMALL)
    config = {
        "quant_method": "fp8",
        "modules_to_not_convert": ["language_model.lm_head", "language_model.model.layers.0"],
    }
    rows = {t.name: t for t in quantize(Network(nested, (), "mistral3"), scheme(config), 2)}
    assert rows["weights/model.language_model.layers.*.mlp.up_proj.weight"].inputs["copies"] == 1
    assert "weights/lm_head.weight" in rows
    other = {t.name for t in quantize(Network(nested, (), "qwen3_vl"), scheme(config), 2)}
    assert "weights/lm_head.weight/packed" in other
    with pytest.raises(UnprovenError, match="renamed"):
        quantize(nested, scheme(config), 2)


def test_forward_pass_of_bitsandbytes() -> None:
    four = FLAGS["bnb-nf4-dq"]
    (row,) = forward(SMALL, scheme({**four, "bnb_4bit_compute_dtype": "bfloat16"}), 2, 10)
    assert row.lower_bytes == 0
    assert row.upper_bytes == 512 * 256 * 2 + 8 * (512 * 256 // 64) + 10 * (512 + 256) * 2
    (wide,) = forward(SMALL, scheme(flag="bnb-nf4"), 2, 10)
    assert wide.upper_bytes == 512 * 256 * 4 + 10 * (512 + 256) * 4
    (eight,) = forward(SMALL, scheme(flag="bnb-int8"), 2, 10)
    assert eight.upper_bytes >= 512 * 256 * 11
    plain = scheme({**FLAGS["bnb-int8"], "llm_int8_threshold": 0.0})
    assert forward(SMALL, plain, 2, 10)[0].upper_bytes < eight.upper_bytes
    (other,) = forward(SMALL, scheme({"quant_method": "fp8"}), 2, 10)
    assert other.upper_bytes >= 8 * 512 * 256 + 10 * 12 * 256


def test_loading() -> None:
    assert loading(SMALL, scheme(dict(FLAGS["bnb-nf4"])), 2) == ()
    (row,) = loading(SMALL, scheme(flag="bnb-nf4"), 2)
    assert row.upper_bytes == 512 * 256 * 5
    (row,) = loading(SMALL, scheme(ct(W4)), 2)
    assert row.name == "runtime/unpacking"
    (row,) = loading(SMALL, scheme(flag="fp8"), 2)
    assert row.upper_bytes == 512 * 256 * (13 + 3 * 2)
    (row,) = loading(SMALL, scheme(flag="torchao-int8"), 2)
    assert row.upper_bytes == 512 * 256 * (17 + 2)
    for flag in ("torchao-int4", "mxfp4"):
        with pytest.raises(UnprovenError, match="not known"):
            loading(SMALL, scheme(flag=flag), 2)


def test_compressed_tensors_are_dense_after_the_first_forward_pass() -> None:
    found = scheme(ct(W4))
    assert found.unpacks
    dense = sum(tensor.elements for tensor in SMALL) * 2
    scales = sum(t.shape[0] * (t.shape[1] // 128) * 2 + 16 for t in SMALL for _ in t.layers if t.kind == "linear")
    assert stored(unpacked(SMALL, found, 2)) == dense + scales
    assert scheme({**ct(W4), "quantization_status": "frozen"}).refused


def test_types_of_gguf() -> None:
    names = {t.name.replace("*", str(i)): "Q4_K" for t in SMALL for i in (t.layers or (0,)) if len(t.shape) == 2}
    types = {**{name.replace("*", str(i)): "F32" for name in (t.name for t in SMALL) for i in range(4)}, **names}
    types["lm_head.weight"] = "Q6_K"
    rows = {t.name: t for t in quantize(SMALL, gguf.scheme(types), 2)}
    assert rows["weights/lm_head.weight/packed"].upper_bytes == 320 * 210
    assert rows["weights/model.layers.*.mlp.up_proj.weight/packed"].upper_bytes == 4 * 512 * 144
    assert rows["weights/model.norm.weight"].upper_bytes == 256 * 2
    with pytest.raises(UnprovenError, match="not known"):
        quantize(SMALL, gguf.scheme({}), 2)
    with pytest.raises(UnprovenError, match="reads no type"):
        gguf.scheme({"a": "Q5_0"})


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 24), st.sampled_from([2, 4]), st.sampled_from([32, 64, 128]), st.booleans())
def test_fewer_bits_are_never_more_bytes(rows: int, columns: int, size: int, group: int, symmetric: bool) -> None:  # noqa: FBT001
    tensors = llama(64 * rows, 64 * columns, 2, (rows, 1, 64), 100)

    def packed(weights: dict[str, Any]) -> int:
        return stored(quantize(tensors, scheme(ct({**weights, "symmetric": symmetric})), size))

    grouped = {"type": "int", "strategy": "group", "group_size": group}
    sizes = [packed({**grouped, "num_bits": bits}) for bits in (2, 3, 4, 5, 8)]
    assert sizes == sorted(sizes)
    gptq = [
        stored(quantize(tensors, scheme({"quant_method": "gptq", "bits": bits, "group_size": group}), 2))
        for bits in (2, 3, 4, 8)
    ]
    assert gptq == sorted(gptq)
    nested, four, eight = (
        stored(quantize(tensors, scheme(flag=f"bnb-{name}"), size)) for name in ("nf4-dq", "nf4", "int8")
    )
    dense = sum(tensor.elements for tensor in tensors) * size
    assert four <= eight <= dense
    if rows >= 8:  # the smallest matrix has so many scales that packing them outweighs their table of 1028 bytes
        assert nested <= four


def test_matrix_counts_its_elements() -> None:
    assert Matrix(3, 5).elements == 15
    assert replace(scheme(flag="bnb-nf4"), refused="x").refused == "x"
