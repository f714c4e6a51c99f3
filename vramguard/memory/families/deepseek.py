"""DeepSeek and those that follow it: latent attention, experts in all layers but the first, an indexer since 3.2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import Block, gated_mlp, linear, norm, rms_norm, within
from vramguard.memory.families.decoder import causal, decoder, dense, pre_norm
from vramguard.memory.families.experts import (
    feed_forward,
    grouped_experts,
    kinds,
    late_layers,
    sparse_layers,
    undeclared,
)
from vramguard.memory.families.latent import (
    compressed_queries,
    indexed_attention,
    indexed_layers,
    latent,
    latent_layers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields


def deepseek_v2(c: Fields) -> Body:
    """DeepSeek V2: every MLP may have biases; MTP layers of a checkpoint are not built (nor are those of V3)."""
    bias = c.flag("mlp_bias")
    mlp = feed_forward(late_layers(c), lambda: grouped_experts(c, bias=bias), lambda: dense(c, bias=bias)[0])
    return decoder(c, pre_norm(c, latent_layers(c), mlp))


def deepseek_v3(c: Fields) -> Body:
    """DeepSeek V3: V2 without biases in the MLP."""
    return decoder(c, pre_norm(c, latent_layers(c), _experts(c, late_layers(c))))


def glm4_moe_lite(c: Fields) -> Body:
    """GLM-4.7 Flash: DeepSeek V3, its dense layers as the config lists them."""
    return decoder(c, pre_norm(c, latent_layers(c), _experts(c, sparse_layers(c, lambda i: i > 0))))


def deepseek_v32(c: Fields) -> Body:
    """DeepSeek V3.2: V3 with an indexer in every layer."""
    c = counted(c)
    return decoder(c, pre_norm(c, _indexed(c, ["full"] * c.layers), _experts(c, _sparse_after_first(c))))


def glm_moe_dsa(c: Fields) -> Body:
    """GLM-5: DeepSeek V3.2, some layers of which take the choice of the indexer before them."""
    c = counted(c)
    return decoder(c, pre_norm(c, _indexed(c, glm_indexers(c)), _experts(c, _sparse_after_first(c))))


def axk1(c: Fields) -> Body:
    """A.X K1: DeepSeek V3 with a norm after the experts."""
    c.size("q_lora_rank")
    more = norm("post_mlp_layernorm", c.size("hidden_size"))
    return decoder(c, pre_norm(c, latent_layers(c), _experts(c, _regular(c), more)))


def axk2(c: Fields) -> Body:
    """A.X K2: DeepSeek V3.2 whose queries carry a gate for the output; norms before attention and experts are gated."""
    indexed_layers(c)
    sizes, rank, sparse = latent(c), c.size("q_lora_rank"), _regular(c)
    width = sizes.heads * (sizes.head_dim + sizes.value)
    first = compressed_queries(sizes, rank, bias=c.flag("attention_bias"))
    attends, _ = indexed_attention(c, query=(*first, *linear("q_gate_proj", 2 * rank, width)))
    plain = rms_norm("post_attention_layernorm", sizes.hidden)
    before, after = (_gated_norm(c, f"{name}_layernorm") for name in ("input", "post_attention"))
    mlp = zip(sparse, _experts(c, sparse), strict=True)
    return decoder(c, [(before, attends, after if has_experts else plain, m) for has_experts, m in mlp])


def glm_indexers(c: Fields) -> list[str]:
    """Which layers have an indexer of their own: as listed, by a pattern of letters, or every so many layers."""
    pattern = None if c.is_null("index_topk_pattern") else c.raw("index_topk_pattern")
    if c.is_null("indexer_types") and pattern is not None:
        if not isinstance(pattern, str) or len(pattern) < c.layers or {*pattern} - {*_INDEXERS}:
            raise UnprovenError("config: index_topk_pattern is not a letter F or S for each layer")
        return [_INDEXERS[letter] for letter in pattern[: c.layers]]
    every, offset = max(undeclared(c, "index_topk_freq", 1), 1), undeclared(c, "index_skip_topk_offset", 2)
    return kinds(
        c, "indexer_types", lambda i: "shared" if max(i - offset + 1, 0) % every else "full", _INDEXERS.values()
    )


_INDEXERS: Final = {"F": "full", "S": "shared"}


def _indexed(c: Fields, indexers: Sequence[str]) -> list[Block]:
    indexed_layers(c)
    if indexers[0] != "full":
        raise UnprovenError("config: the first layer has no indexer whose choice it could take")
    narrows, follows = indexed_attention(c)
    return [narrows if kind == "full" else follows for kind in indexers]


def _experts(c: Fields, sparse: Sequence[bool], more: Tensors = ()) -> list[Block]:
    """Experts where a layer has them, else a dense MLP."""
    hidden = c.size("hidden_size")
    return feed_forward(
        sparse, lambda: grouped_experts(c, more=more), lambda: gated_mlp(hidden, c.size("intermediate_size"))
    )


def counted(c: Fields) -> Fields:
    """The config with its number of experts under the class's own name; these classes take num_experts too."""
    if c.is_null("num_experts"):
        return c
    number = c.size("num_experts")
    if c.given("n_routed_experts") and c.size("n_routed_experts") != number:
        raise UnprovenError("config: num_experts and n_routed_experts differ")
    return replace(c, config={**c.config, "n_routed_experts": number})


def _sparse_after_first(c: Fields) -> list[bool]:
    return sparse_layers(c, lambda i: i >= c.count("first_k_dense_replace"))


def _regular(c: Fields) -> list[bool]:
    """Layers of A.X with experts: every moe_layer_freq-th, but for the first."""
    first, every = undeclared(c, "first_k_dense_replace", 1), undeclared(c, "moe_layer_freq", 1)
    if not every:
        raise UnprovenError("config: moe_layer_freq is 0")
    return sparse_layers(c, lambda i: i >= first and i % every == 0)


def _gated_norm(c: Fields, name: str) -> Block:
    hidden, rank = c.size("hidden_size"), c.size("gated_norm_rank")
    gate = within("mlp", linear("fc1", hidden, rank), linear("fc2", rank, hidden))
    return Block(within(name, norm("norm", hidden), gate))


BODIES: Final = {
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "deepseek_v32": deepseek_v32,
    "glm4_moe_lite": glm4_moe_lite,
    "glm_moe_dsa": glm_moe_dsa,
    "axk1": axk1,
    "axk2": axk2,
}
CLASSES: Final = {
    "DeepseekV2ForCausalLM": causal(deepseek_v2),
    "DeepseekV3ForCausalLM": causal(deepseek_v3),
    "DeepseekV32ForCausalLM": causal(deepseek_v32),
    "Glm4MoeLiteForCausalLM": causal(glm4_moe_lite),
    "GlmMoeDsaForCausalLM": causal(glm_moe_dsa),
    "AXK1ForCausalLM": causal(axk1),
    "AXK2ForCausalLM": causal(axk2),
}
