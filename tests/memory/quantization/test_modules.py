"""Witness: the modules that transformers' own quantizers take, on the meta device, are those that our rules take."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from memory.quantization.networks import read

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.quantization import FLAGS, Network, quantize, scheme_of
from vramguard.memory.quantization.scheme import matrix_of, modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DECODER = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 128, "max_position_embeddings": 64,
}  # fmt: skip
EXPERTS = {**DECODER, "num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
}

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {**DECODER, "tie_word_embeddings": False}),
    "qwen2, tied": ("Qwen2ForCausalLM", {**DECODER, "tie_word_embeddings": True}),
    "gemma2": ("Gemma2ForCausalLM", {**DECODER, "head_dim": 16}),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 128, "n_positions": 64}),
    "gpt2, untied": (
        "GPT2LMHeadModel",
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 128, "tie_word_embeddings": False},
    ),
    "gpt_neox": ("GPTNeoXForCausalLM", {**DECODER, "tie_word_embeddings": False}),
    "opt": ("OPTForCausalLM", {**DECODER, "ffn_dim": 96, "word_embed_proj_dim": 64}),
    "phi": ("PhiForCausalLM", DECODER),
    "t5": ("T5ForConditionalGeneration", {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}),
    "mixtral": ("MixtralForCausalLM", EXPERTS),
    "qwen3_moe": ("Qwen3MoeForCausalLM", EXPERTS),
    "deepseek_v3": (
        "DeepseekV3ForCausalLM",
        {**EXPERTS, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "q_lora_rank": 16,
         "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
         "first_k_dense_replace": 1},
    ),
    "gpt_oss": ("GptOssForCausalLM", {**EXPERTS, "head_dim": 16}),
    "llava": ("LlavaForConditionalGeneration", {"text_config": {"model_type": "llama", **DECODER}, "vision_config":
        {"model_type": "clip_vision_model", "patch_size": 14, **VISION}, "tie_word_embeddings": False}),
    "gemma3": ("Gemma3ForConditionalGeneration", {"text_config": {**DECODER, "head_dim": 16}, "vision_config":
        {"model_type": "siglip_vision_model", "patch_size": 14, **VISION}, "mm_tokens_per_image": 4}),
    "qwen2_vl": ("Qwen2VLForConditionalGeneration", {"text_config": DECODER, "vision_config":
        {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 64, "mlp_ratio": 2},
        "tie_word_embeddings": False}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Other libraries warn of what is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build(name: str) -> Any:  # noqa: ANN401 - a model of transformers
    class_name, settings = NETWORKS[name]
    cls = getattr(transformers, class_name)
    with torch.device("meta"):
        return cls(cls.config_class(**settings))


def packed(network: Network, config: dict[str, Any]) -> set[str]:
    """Modules that our rule packs."""
    scheme = scheme_of(config, None)
    assert scheme is not None
    choose = scheme.rule.chooser(network)
    found = set()
    for tensor in network.tensors:
        matrix = matrix_of(tensor)
        for name in modules(tensor) if matrix is not None else ():
            packing = choose(name, tensor)
            if packing is not None and packing.parts(matrix or (), 2) is not None:  # type: ignore[arg-type]
                found.add(name)
    return found


def same(name: str, config: dict[str, Any], replaced: Callable[[Any], set[str]]) -> None:
    model = build(name)
    network = read(model)
    tied = {key.removesuffix(".weight") for key in model.all_tied_weights_keys}  # these have no weight of their own
    assert packed(network, config) == replaced(model) - tied


def _quantizer(config: dict[str, Any]) -> Any:  # noqa: ANN401 - see above
    from transformers.quantizers.auto import AutoHfQuantizer

    return AutoHfQuantizer.from_config(dict(config), pre_quantized=True)


def _replaced(quantizer: Any, model: Any, *classes: str) -> set[str]:  # noqa: ANN401 - see above
    quantizer._process_model_before_weight_loading(model, device_map=None)
    return {name for name, module in model.named_modules() if {c.__name__ for c in type(module).__mro__} & {*classes}}


SKIPS: list[dict[str, Any]] = [
    {},
    {"skip": ["lm_head"]},
    {"skip": []},
    {"skip": ["o_proj", "model.layers.1.", "layers.0.mlp"]},
    {"skip": ["model.layers.[02].self_attn", "gate", "vision_tower"]},
    {"skip": ["model.layers.1.mlp", "model.language_model.layers.2", "mlp.down_proj", "lm_head"]},
]


def listed(key: str, skips: dict[str, Any]) -> dict[str, Any]:
    return {key: skips["skip"]} if skips else {}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("skips", SKIPS, ids=str)
@pytest.mark.parametrize("flag", ["bnb-nf4", "bnb-int8"])
def test_bitsandbytes(name: str, skips: dict[str, Any], flag: str) -> None:
    pytest.importorskip("bitsandbytes")
    config = {**FLAGS[flag], **listed("llm_int8_skip_modules", skips)}
    same(name, config, lambda model: _replaced(_quantizer(config), model, "Linear4bit", "Linear8bitLt"))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "gpt_oss"])
@pytest.mark.parametrize("skips", SKIPS, ids=str)
def test_fp8(name: str, skips: dict[str, Any]) -> None:
    config = {"quant_method": "fp8", **listed("modules_to_not_convert", skips)}
    same(name, config, lambda model: _replaced(_quantizer(config), model, "FP8Linear", "FP8Experts"))


def test_fp8_knows_no_experts_with_a_bias() -> None:
    scheme = scheme_of({"quant_method": "fp8"}, None)
    assert scheme is not None
    network = read(build("gpt_oss"))
    with pytest.raises(UnprovenError, match="bias"):
        quantize(network, scheme, 2)


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if name not in ("mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss")]
)
@pytest.mark.parametrize("skips", SKIPS, ids=str)
def test_fbgemm(name: str, skips: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.integrations import fbgemm_fp8

    monkeypatch.setattr(fbgemm_fp8, "get_quantize_fp8_per_row", lambda: None)
    config = {"quant_method": "fbgemm_fp8", **listed("modules_to_not_convert", skips)}
    same(name, config, lambda model: _replaced(_quantizer(config), model, "FbgemmFp8Linear"))


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if name not in ("mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss")]
)
@pytest.mark.parametrize("skips", SKIPS, ids=str)
def test_awq(name: str, skips: dict[str, Any]) -> None:
    """Gptqmodel is not there: the quantizer's own list of names, and its own test of a name."""
    from transformers.quantizers.base import HfQuantizer
    from transformers.quantizers.quantizers_utils import should_convert_module

    config = {"quant_method": "awq", "bits": 4, "group_size": 16, **listed("modules_to_not_convert", skips)}

    def replaced(model: Any) -> set[str]:  # noqa: ANN401 - see above
        names = HfQuantizer.get_modules_to_not_convert(
            model, config.get("modules_to_not_convert"), model._keep_in_fp32_modules, add_default_skips=True
        )
        found = model.named_modules()
        return {name for name, m in found if isinstance(m, torch.nn.Linear) and should_convert_module(name, names)}

    if name in ("gpt_neox", "gpt2", "gpt2, untied"):
        with pytest.raises(UnprovenError, match="activation"):
            same(name, config, replaced)
    else:
        same(name, config, replaced)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("skips", SKIPS, ids=str)
def test_torchao(name: str, skips: dict[str, Any]) -> None:
    pytest.importorskip("torchao")
    config = {**FLAGS["torchao-int8"], **listed("modules_to_not_convert", skips)}

    def replaced(model: Any) -> set[str]:  # noqa: ANN401 - see above
        quantizer = _quantizer(config)
        quantizer._process_model_before_weight_loading(model)
        names = [key for key, _ in model.named_parameters()]
        return {key.rpartition(".")[0] for key in names if quantizer.param_needs_quantization(model, key)}

    same(name, config, replaced)


IGNORES: list[list[str]] = [
    ["lm_head"],
    ["lm_head", "re:.*o_proj", "re:.*layers\\.1\\..*"],
    ["re:.*lm_head", "re:.*vision.*", "re:model\\.layers\\.(0|2)\\.mlp"],
    [],
]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ignore", IGNORES, ids=str)
@pytest.mark.parametrize("targets", [["Linear"], ["re:.*self_attn.*"], ["Embedding", "re:.*mlp.*proj$"]], ids=str)
def test_compressed_tensors(name: str, ignore: list[str], targets: list[str]) -> None:
    quantization = pytest.importorskip("compressed_tensors.quantization")
    weights = {"num_bits": 8, "type": "int", "strategy": "channel"}
    settings = {"config_groups": {"g": {"targets": targets, "weights": weights}}, "ignore": ignore}
    config = {"quant_method": "compressed-tensors", "quantization_status": "compressed", **settings}

    def replaced(model: Any) -> set[str]:  # noqa: ANN401 - see above
        parsed = quantization.QuantizationConfig.model_validate(settings)
        quantization.apply_quantization_config(model, parsed, show_progress=False)
        return {key for key, module in model.named_modules() if hasattr(module, "quantization_scheme")}

    same(name, config, replaced)


def test_mxfp4(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.integrations import hub_kernels

    monkeypatch.setattr(hub_kernels, "get_kernel", lambda *_args, **_kwargs: None)
    from transformers.integrations.mxfp4 import replace_with_mxfp4_linear
    from transformers.utils.quantization_config import Mxfp4Config

    config = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.1.mlp.experts", "lm_head"]}

    def replaced(model: Any) -> set[str]:  # noqa: ANN401 - see above
        names = config["modules_to_not_convert"]
        replace_with_mxfp4_linear(model, Mxfp4Config(), names)
        return {key for key, module in model.named_modules() if type(module).__name__ == "Mxfp4GptOssExperts"}

    same("gpt_oss", config, replaced)


@pytest.mark.parametrize("model_type", ["llava", "gemma3", "qwen2_vl"])
def test_names_of_a_checkpoint_are_renamed_as_transformers_does(model_type: str) -> None:
    from vramguard.memory.quantization.fp8 import _RENAMES, _rename

    model = build(model_type)
    names = [
        "language_model.model.layers.0.mlp", "language_model.lm_head", "vision_tower.encoder", "lm_head",
        "multi_modal_projector.linear_1", "visual.blocks.0", "model.layers.0.mlp", "model.visual.blocks.0",
        "model.language_model.layers.0.mlp",
    ]  # fmt: skip
    quantizer = _quantizer({"quant_method": "fp8", "modules_to_not_convert": list(names)})
    quantizer._normalize_modules_to_not_convert(model)
    known = _RENAMES[model_type]
    assert [_rename(name, known) for name in names] == quantizer.quantization_config.modules_to_not_convert
