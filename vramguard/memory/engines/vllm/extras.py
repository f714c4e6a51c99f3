"""What a vLLM deployment may add to a model: adapters, a draft of the next tokens, weights on the host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.shards import TOWER, shares
from vramguard.memory.engines.vllm.layout import Kind
from vramguard.memory.engines.vllm.profiles import drafting
from vramguard.memory.engines.vllm.specs import language
from vramguard.memory.ledger import Term, bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.memory.architecture import Architecture, Tensor
    from vramguard.memory.engines.shards import Rank
    from vramguard.memory.engines.vllm.layout import Layers
    from vramguard.memory.engines.vllm.variants import Variant
    from vramguard.memory.verdict import Workload
    from vramguard.memory.weights import Loaded

_NO_WEIGHTS: Final = ("ngram", "suffix")
_OWN_LAYERS: Final = ("mtp", "deepseek_mtp", "qwen3_next_mtp", "glm4_moe_mtp", "ernie_mtp", "mimo_mtp")
# It moves blocks from where they are (distributed/kv_transfer/kv_connector/v1/nixl, or nixl_connector.py).
_CONNECTORS: Final = ("NixlConnector",)
_LORA_RANK: Final = 16  # vLLM, config/lora.py: LoRAConfig.max_lora_rank
_LAYERS: Final = ("num_nextn_predict_layers", "num_mtp_layers")


def refuse(workload: Workload) -> None:
    """Raise UnprovenError for a draft whose weights are not known, and for a connector whose buffers are not."""
    if workload.attn_implementation not in (None, "flash_attention_2", "flashinfer"):
        raise UnprovenError(f"attn_implementation {workload.attn_implementation} is not modelled for vllm")
    if workload.kv_connector not in (None, *_CONNECTORS):
        raise UnprovenError(f"kv_connector {workload.kv_connector}: what it keeps on the card is not modelled")
    method = workload.speculative_method
    if method is None:
        if workload.num_speculative_tokens:
            raise UnprovenError("num_speculative_tokens without speculative_method: what drafts them is not known")
        return
    known = drafting(workload.engine_version)
    if known and method not in known:
        raise UnprovenError(f"vllm {workload.engine_version or ''} has no speculative_method {method}")
    if method not in (*_NO_WEIGHTS, *_OWN_LAYERS):
        raise UnprovenError(f"speculative_method {method}: the draft model's own config is not modelled yet")
    if workload.num_speculative_tokens is None:
        raise UnprovenError(f"speculative_method {method} without num_speculative_tokens")


def absorbed(loaded: Loaded, rank: Rank, variants: Sequence[Variant]) -> Iterator[Term]:
    """Copies of the projection of latents, turned for the attention over them.

    Views of kv_b_proj in the sources where that is not quantized; the one log of such a model (DeepSeek-V2-Lite) shows
    as many bytes more, so both are possible.
    """
    network = loaded.network
    latent = network.sizes.get("kv_lora_rank")
    if not latent or not any(language(network) in variant.manager.latent_types for variant in variants):
        return
    heads = -(-max(group.heads for group in network.attention) // rank.tensor_parallel)
    inputs = {
        "layers": rank.layers[1] - rank.layers[0],
        "heads": heads,
        "latent": latent,
        "out": network.sizes.get("qk_nope_head_dim", 0) + network.sizes.get("v_head_dim", 0),
        "bytes": loaded.element_bytes,
    }
    source = "vLLM, model_executor/layers/attention/mla_attention.py (process_weights_after_loading: W_UK_T, W_UV)"
    yield bound("weights/absorbed_projections", "layers * heads * latent * out * bytes", inputs, source=source)


def adapters(
    workload: Workload, network: Architecture, rank: Rank, element_bytes: int, variants: Sequence[Variant]
) -> Iterator[Term]:
    """Slots of LoRA adapters: a pair of matrices for each Linear of a layer, in the model's dtype, filled or not.

    Releases before 0.12 add rows to the vocabulary, which both of its matrices have, and each slot once more.
    """
    if workload.max_loras is None and workload.max_lora_rank is None:
        return
    profiles = [variant.profile for variant in variants]
    inputs = {
        "slots": workload.max_loras or 1,
        "rank": workload.max_lora_rank or _LORA_RANK,
        "sides": sum(_sides(network, share.most) for share in shares(network, rank)),
        "bytes": element_bytes,
        "added": max(p.lora_extra_vocab and p.lora_extra_vocab + p.lora_vocab_padding for p in profiles),
        "hidden": network.hidden,
    }
    source = "vLLM, lora/layers/base_linear.py (create_lora_weights), lora/layers/logits_processor.py, config/lora.py"
    formula = "(slots * rank * sides + (2 + slots) * added * hidden) * bytes"
    yield bound("weights/adapter_slots", formula, inputs, source=source)


def _sides(network: Architecture, tensor: Tensor) -> int:
    """Rows of both matrices of one adapter of rank 1 on a card, for all copies of a weight as the card has it.

    A weight that was fused has a first matrix for each of its parts; one of the vocabulary a second one of all words,
    on every card, and is wrapped twice where embedding and head are tied.
    """
    if tensor.kind not in ("linear", "conv1d", "experts", "embedding") or len(tensor.shape) < 2:  # noqa: PLR2004
        return 0
    *count, out, into = tensor.shape[-3:]
    if tensor.kind == "experts":
        return (out + into) * (2 if "up_proj" in tensor.name else 1) * tensor.copies * (count[0] if count else 1)
    if into == network.hidden and out * 64 > network.vocab and "*" not in tensor.name:
        return 2 * (max(out, network.vocab) + 64 + into)
    leaf = tensor.name.rpartition(".")[0].rpartition(".")[2]
    return (out + into * _PARTS.get(leaf, 1)) * tensor.copies


_PARTS: Final = {
    **dict.fromkeys(("qkv_proj", "query_key_value", "Wqkv", "W_pack", "c_attn", "qkv"), 3),
    **dict.fromkeys(("gate_up_proj", "input_linear", "in_proj_ba"), 2),
    **dict.fromkeys(("in_proj", "in_proj_qkv", "in_proj_qkvz"), 5),
}


def float32(network: Architecture) -> tuple[str, ...]:
    """Patterns of weights that vLLM's classes make in float32, whatever the model's dtype.

    Routers (params_dtype of GateLinear or ReplicatedLinear, nn.Linear before: model_executor/models/glm4_moe.py,
    afmoe.py, ernie45_moe.py, minimax_m2.py, minimax_text_01.py, hy_v3.py, step3p5.py, mimo_v2.py, longcat_flash.py,
    nemotron_h.py), the corrections of their scores, A of Mamba (layers/mamba/mamba_mixer.py) and the convolution of
    KDA (layers/kda.py).
    """
    routers = (r"\.gate\.", r"\.router\.") if language(network).startswith(_FLOAT32_ROUTERS) else ()
    convolutions = (r"self_attn\.conv1d", "dt_bias") if language(network).startswith("kimi") else ()
    return (*routers, *convolutions, "A_log", "e_score_correction_bias", "expert_bias")


_FLOAT32_ROUTERS: Final = (
    *("glm4_moe", "glm4v_moe", "afmoe", "ernie4_5_moe", "ernie4_5_vl_moe", "minimax", "hy_v3", "step3", "mimo_v2"),
    *("longcat", "nemotron_h"),
)


def as_vllm(network: Architecture) -> Architecture:
    """The network as vLLM's class builds it, where that differs from transformers'."""
    if language(network).startswith("gemma4"):
        return _with_values(network)
    return _with_own_keys(network) if language(network) == "falcon" else network


def _with_own_keys(network: Architecture) -> Architecture:
    """Falcon's key heads, which transformers repeats before it caches them (falcon.py, FalconAttention)."""
    heads = network.sizes.get("num_kv_heads", 0)
    group = network.attention[0]
    rows = {tensor.shape[0] for tensor in network.tensors if tensor.name.endswith(".query_key_value.weight")}
    if rows != {(group.heads + 2 * heads) * group.head_dim}:
        return network
    keys = heads * group.head_dim
    caches = tuple(replace(cache, keys=keys, values=keys) for cache in network.caches)
    attention = tuple(replace(group, kv_heads=heads) for group in network.attention)
    return replace(network, attention=attention, caches=caches)


def _with_values(network: Architecture) -> Architecture:
    """Gemma 4's values where they are its keys, which vLLM loads twice (gemma4.py, Gemma4Attention: qkv_proj)."""
    values = _layers_with(network, "v_proj")
    lacking = [
        tensor._replace(name=tensor.name.replace(".k_proj.", ".v_proj."))
        for tensor in network.tensors
        if ".self_attn.k_proj." in tensor.name and not TOWER.search(tensor.name) and values.isdisjoint(tensor.layers)
    ]
    return replace(network, tensors=(*network.tensors, *lacking))


def _layers_with(network: Architecture, leaf: str) -> set[int]:
    """Numbers of the language model's layers whose attention has a matrix of that name."""
    found = (t for t in network.tensors if f".self_attn.{leaf}." in t.name and not TOWER.search(t.name))
    return {layer for tensor in found for layer in tensor.layers}


def unused(network: Architecture, rank: Rank, element_bytes: int) -> Iterator[Term]:
    """Keys and values of layers that take another's: before 0.33 vLLM has matrices for them, which stay empty.

    (0.28.0, model_executor/models/gemma3n.py, Gemma3nAttention: qkv_proj of every layer; gemma4.py likewise.)
    """
    sharing = network.layers - len(_layers_with(network, "k_proj"))
    if not language(network).startswith(("gemma3n", "gemma4")) or not 0 < sharing < network.layers:
        return
    rows = max(max(1, group.kv_heads // rank.tensor_parallel) * group.head_dim for group in network.attention)
    inputs = {"layers": sharing, "rows": rows, "hidden": network.hidden, "bytes": element_bytes}
    source = "vLLM 0.28.0, model_executor/models/gemma3n.py, Gemma3nAttention"
    yield bound("weights/unused_keys", "layers * 2 * rows * hidden * bytes", inputs, source=source)


def with_drafts(workload: Workload, network: Architecture, layers: Sequence[Layers]) -> Sequence[Layers]:
    """The layers with those that guess ahead, which keep every token as the model's own do, on the last stage."""
    if workload.speculative_method not in _OWN_LAYERS:
        return layers
    whole = [layer for layer in layers if layer.spec.kind in (Kind.FULL, Kind.LATENT)]
    if len({layer.spec.role for layer in whole}) != len(whole) or not whole:
        raise UnprovenError(f"speculative_method {workload.speculative_method}: its layer's cache is not known")
    last = (network.layers - 1,) * _own_layers(network)
    return [
        layer._replace(copies=layer.copies + len(last), numbers=layer.numbers and (*layer.numbers, *last))
        if layer in whole
        else layer
        for layer in layers
    ]


def _own_layers(network: Architecture) -> int:
    return next((network.sizes[name] for name in _LAYERS if network.sizes.get(name)), 1)


def draft(workload: Workload, network: Architecture, loaded: Loaded, rank: Rank) -> Iterator[Term]:
    """Weights of the layers that guess ahead: as large as the model's largest, with a projection of two states.

    Their embedding and head may be the model's own, or copies.
    """
    if workload.speculative_method not in _OWN_LAYERS or not rank.last:
        return
    number = _own_layers(network)
    parallel = rank.tensor_parallel
    inputs = {
        "layers": number,
        "layer": -(-_largest_layer(network) // parallel) * loaded.element_bytes,
        "hidden": network.hidden,
        "vocab": -(-network.vocab // parallel) + 64,
        "bytes": loaded.element_bytes,
    }
    formula = "layers * (layer + 4 * hidden * hidden * bytes) + 2 * vocab * hidden * bytes"
    yield bound("weights/draft", formula, inputs, source="vLLM, model_executor/models/deepseek_mtp.py and its kin")


def _largest_layer(network: Architecture) -> int:
    """Elements of the layer that has most."""
    sizes = [0] * network.layers
    for tensor in network.tensors:
        if tensor.layers and max(tensor.layers) < network.layers:
            for layer in tensor.layers:
                sizes[layer] += tensor.elements // len(tensor.layers)
    return max(sizes, default=network.parameters)
