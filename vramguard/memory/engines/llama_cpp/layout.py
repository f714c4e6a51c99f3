"""What tensors a GGUF file has of a network: their names, rows and columns, and which of them are never packed.

convert_hf_to_gguf.py renames a checkpoint's weights, stacks or splits some, and keeps vectors in 32 bits. A weight that
is not in the tables here raises UnprovenError, and so does a model type whose conversion was not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import architecture

if TYPE_CHECKING:
    from vramguard.memory.architecture import Architecture, Tensor

SOURCE: Final = "llama.cpp 0.5.0, conversion/base.py (prepare_tensors), gguf-py/gguf/tensor_mapping.py"


class Entry(NamedTuple):
    """One tensor of a file, or one in each of `layers`; rows of `columns` values, as ggml counts them."""

    name: str  # without blk.N. and .weight
    rows: int
    columns: int
    layers: tuple[int, ...] = ()
    packed: bool = True  # has the file's type; else 32 bits, whatever the file
    experts: int = 0  # matrices that are stacked in it
    spare: int = 0  # of the rows, those that the conversion may drop

    @property
    def values(self) -> int:
        """Values of one tensor."""
        return self.rows * self.columns


class Family(NamedTuple):
    """What llama.cpp makes of a model type."""

    arch: str  # as general.architecture names it
    slides: bool = False  # whether its sliding layers have a cache of their own; else they keep all tokens
    sliding_layers: int | None = None  # the only number of layers with which they have
    own_head: bool = False  # loads no file whose head is its embedding


# Model type -> architecture: conversion/__init__.py and the classes that it names; what slides: src/models/*.cpp, where
# swa_type is set.
FAMILIES: Final[Mapping[str, Family]] = {
    "arcee": Family("arcee"),
    "cohere": Family("command-r"),
    "cohere2": Family("cohere2", slides=True),
    "deepseek_v2": Family("deepseek2"),
    "deepseek_v3": Family("deepseek2"),
    "ernie4_5": Family("ernie4_5"),
    "exaone4": Family("exaone4", slides=True, sliding_layers=64),
    "gemma": Family("gemma"),
    "gemma2": Family("gemma2", slides=True),
    "gemma3_text": Family("gemma3", slides=True),
    "glm": Family("chatglm"),
    "glm4": Family("glm4"),
    "gpt_neox": Family("gptneox", own_head=True),
    "gpt_oss": Family("gpt-oss", slides=True, own_head=True),
    "granite": Family("granite"),
    "granitemoe": Family("granitemoe"),
    "hunyuan_v1_dense": Family("hunyuan-dense"),
    "jais2": Family("jais2"),
    "llama": Family("llama"),
    "ministral3": Family("mistral3"),
    "mistral": Family("llama"),
    "mixtral": Family("llama"),
    "nemotron": Family("nemotron", own_head=True),
    "olmo": Family("olmo"),
    "olmo2": Family("olmo2", own_head=True),
    "olmo3": Family("olmo2", slides=True, own_head=True),
    "olmoe": Family("olmoe", own_head=True),
    "phi": Family("phi2", own_head=True),
    "phi3": Family("phi3"),
    "qwen2": Family("qwen2"),
    "qwen2_moe": Family("qwen2moe", own_head=True),
    "qwen3": Family("qwen3"),
    "qwen3_moe": Family("qwen3moe"),
    "seed_oss": Family("seed_oss"),
    "smollm3": Family("smollm3"),
    "stablelm": Family("stablelm", own_head=True),
    "starcoder2": Family("starcoder2"),
}

# Classes of pictures and text whose file has the language model alone; the rest is a file of its own (--mmproj).
_LANGUAGE: Final[Mapping[str, Mapping[str, str]]] = {
    "gemma3": {"gemma3_text": "Gemma3ForCausalLM"},
    "mistral3": {"mistral": "MistralForCausalLM", "ministral3": "Ministral3ForCausalLM"},
}

EMBEDDING: Final = "token_embd"
OUTPUT: Final = "output"
_TOP: Final = {"embed_tokens": EMBEDDING, "embed_in": EMBEDDING, "lm_head": OUTPUT, "embed_out": OUTPUT}
# A matrix of a layer, by the end of its name.
_MATRICES: Final = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.dense": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
# A router stays in 32 bits; so does the one row of Qwen2-MoE's shared expert, which becomes a vector.
_ROUTERS: Final = ("mlp.gate", "mlp.router", "block_sparse_moe.router", "mlp.shared_expert_gate")
# The last parts of stacked experts' names: what one tensor becomes.
_EXPERTS: Final = {
    "gate_up_proj": ("ffn_gate_exps", "ffn_up_exps"),
    "gate_up_proj_bias": ("ffn_gate_exps", "ffn_up_exps"),
    "down_proj": ("ffn_down_exps",),
    "down_proj_bias": ("ffn_down_exps",),
}
# Rows of Gemma 3's embedding that its tokenizer names: the conversion drops the others (conversion/gemma.py).
_GEMMA3_TOKENS: Final = 262_144
_LAYER: Final = re.compile(r"(?:^|\.)layers\.\*\.(?P<rest>.+)$")


def entries(network: Architecture, config: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Every tensor of the file that the network's checkpoint becomes; raises UnprovenError."""
    family(network)
    return (*(entry for tensor in network.tensors for entry in _convert(network, tensor)), *_made(network, config))


def language(network: Architecture, config: Mapping[str, Any]) -> tuple[Architecture, Mapping[str, Any]]:
    """The network that a file has, and its config: itself, or the language model inside; raises UnprovenError."""
    inner = config.get("text_config")
    if network.model_type not in _LANGUAGE or not isinstance(inner, Mapping):
        return network, config
    name = _LANGUAGE[network.model_type].get(str(network.language), "")
    given = {**inner, "model_type": network.language, "architectures": [name], "tie_word_embeddings": network.tied}
    return architecture(given), given


def family(network: Architecture) -> Family:
    """What llama.cpp makes of this network; raises UnprovenError for what it does not know, or was not followed."""
    inside = _LANGUAGE.get(network.model_type, {})
    found = FAMILIES.get(str(network.language) if network.language in inside else network.model_type)
    if found is None:
        raise UnprovenError(f"llama.cpp: the conversion of a {network.model_type} is not followed yet")
    if not network.name.endswith("ForCausalLM") and not inside:
        raise UnprovenError(f"llama.cpp: {network.name} is not converted, a ...ForCausalLM is")
    if network.tied and found.own_head:
        raise UnprovenError(f"llama.cpp: {found.arch} has no head that is its embedding, which this config has")
    return found


def _convert(network: Architecture, tensor: Tensor) -> Iterator[Entry]:
    """What becomes of one weight."""
    layer = _LAYER.search(tensor.name)
    rest = layer["rest"].removesuffix(".weight") if layer else tensor.name
    if len(tensor.shape) == 1:
        yield Entry(rest, 1, tensor.shape[0], tensor.layers, packed=False)
    elif tensor.kind == "experts":
        yield from _experts(network, tensor, rest)
    elif rest == "self_attn.kv_b_proj":
        yield from _latent(network, tensor)
    else:
        yield _matrix(network, tensor, rest, in_layer=layer is not None)


def _matrix(network: Architecture, tensor: Tensor, rest: str, *, in_layer: bool) -> Entry:
    rows, columns, *deeper = tensor.shape
    router = rest in _ROUTERS
    name = "ffn_gate_inp" if router else _MATRICES.get(rest) if in_layer else _TOP.get(rest.split(".")[-2])
    if name is None or deeper:
        raise UnprovenError(f"llama.cpp: {tensor.name} is not in the table of conversions")
    spare = max(0, rows - _GEMMA3_TOKENS) if name == EMBEDDING and network.model_type == "gemma3_text" else 0
    return Entry(name, rows, columns, tensor.layers, packed=not router, spare=spare)


def _experts(network: Architecture, tensor: Tensor, rest: str) -> Iterator[Entry]:
    """The experts of a layer, stacked; gate and up are two tensors."""
    experts, *shape = tensor.shape
    names = _EXPERTS.get(rest.rpartition(".")[2])
    if names is None:
        raise UnprovenError(f"llama.cpp: {tensor.name} is not in the table of conversions")
    if network.model_type == "gpt_oss":  # whose matrices transformers keeps transposed
        shape.reverse()
    each = shape[0] // len(names)
    for name in names:
        if len(shape) == 1:
            yield Entry(f"{name}.bias", experts, each, tensor.layers, packed=False)
        else:
            yield Entry(name, experts * each, shape[1], tensor.layers, experts=experts)


def _latent(network: Architecture, tensor: Tensor) -> Iterator[Entry]:
    """DeepSeek's kv_b_proj, which becomes the keys' part (transposed) and the values' (conversion/deepseek.py)."""
    rank, heads = tensor.shape[1], network.sizes["num_attention_heads"]
    keys, values = network.sizes["qk_nope_head_dim"], network.sizes["v_head_dim"]
    yield Entry("attn_k_b", rank * heads, keys, tensor.layers)
    yield Entry("attn_v_b", values * heads, rank, tensor.layers)


def _made(network: Architecture, config: Mapping[str, Any]) -> Iterator[Entry]:
    """Vectors that the file has beside the checkpoint's: factors of the rotary angles, a router's corrections."""
    kind = _scaling(config)
    rotated = max((group.head_dim for group in network.attention), default=0) // 2
    if kind == "llama3" and FAMILIES[network.model_type].arch == "llama":
        yield Entry("rope_freqs", 1, rotated, packed=False)
    if kind == "longrope":
        yield Entry("rope_factors_long", 1, rotated, packed=False)
        yield Entry("rope_factors_short", 1, rotated, packed=False)
    for tensor in network.buffers:
        if tensor.name.endswith("e_score_correction_bias"):
            yield Entry("exp_probs_b", 1, prod(tensor.shape), tensor.layers, packed=False)


def _scaling(config: Mapping[str, Any]) -> object:
    """How the rotary angles are scaled, by the config's own name."""
    for key in ("rope_scaling", "rope_parameters"):
        found = config.get(key)
        if isinstance(found, Mapping):
            return found.get("rope_type", found.get("type"))
    return None
