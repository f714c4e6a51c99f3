"""Mistral 4: latent attention and experts; in its large one an indexer, layers that share keys, and a Pixtral tower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Cache, Series, UnprovenError
from vramguard.memory.families.blocks import Block, gated_mlp, linear, norm, parameter, within
from vramguard.memory.families.decoder import causal, decoder, pre_norm
from vramguard.memory.families.deepseek import counted, deepseek_v3, glm_indexers
from vramguard.memory.families.experts import feed_forward, grouped_experts, sparse_layers, undeclared
from vramguard.memory.families.latent import indexed_layers, latent, latent_attention
from vramguard.memory.families.llava import merged
from vramguard.memory.families.sight import answers, seeing

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields


def large4_text(c: Fields) -> Body:
    """Mistral Large 4: no latent of queries, every fourth layer knows no position, scores scale with the position."""
    c = counted(c)
    indexed_layers(c)
    indexers, rotates, sources = glm_indexers(c), _rotates(c), _sources(c)
    if indexers[0] != "full":
        raise UnprovenError(f"config: {c.path}indexer_types gives the first layer no indexer")
    for i, source in enumerate(sources):
        if source != i and rotates[source] != rotates[i]:
            raise UnprovenError(f"config: {c.path}kv_source_layers lets layer {i} share keys of another kind")
    attends = [
        _attention(c, rotates=rotates[i], indexes=indexers[i] == "full", shares=sources[i] != i)
        for i in range(c.layers)
    ]
    first = c.count("first_k_dense_replace")
    mlp = feed_forward(
        sparse_layers(c, lambda i: i >= first),
        lambda: grouped_experts(c),
        lambda: gated_mlp(c.size("hidden_size"), c.size("intermediate_size")),
    )
    return decoder(c, pre_norm(c, attends, mlp))


def _rotates(c: Fields) -> list[bool]:
    listed, step = c.integers("no_rope_layers"), undeclared(c, "no_rope_layer_interval", 4)
    if c.is_null("no_rope_layers") and step:
        return [(i + 1) % step != 0 for i in range(c.layers)]
    if len(listed) != c.layers:
        raise UnprovenError(f"config: {c.path}no_rope_layers has {len(listed)} entries for {c.layers} layers")
    return [value != 0 for value in listed]


def _sources(c: Fields) -> list[int]:
    """Of each layer the one whose keys it attends to: itself, or an earlier one that has its own."""
    found = [*range(c.layers)] if c.is_null("kv_source_layers") else [*c.integers("kv_source_layers")]
    if len(found) != c.layers or any(not 0 <= s <= i or found[s] != s for i, s in enumerate(found)):
        raise UnprovenError(f"config: {c.path}kv_source_layers is not an earlier layer with keys of its own for each")
    return found


def _attention(c: Fields, *, rotates: bool, indexes: bool, shares: bool) -> Block:
    """One layer's attention; without positions what would be rotated belongs to the rest of the keys."""
    sizes = latent(c)._replace(query_rank=None)
    if not rotates:
        sizes = sizes._replace(nope=sizes.nope + sizes.rope, rope=0)
    more = (*within("softmax_scaling", _scaling(sizes.heads)), *(_indexer(c) if indexes else ()))
    series = (Series(c.size("index_head_dim")),) if indexes else ()
    block = latent_attention(sizes, bias=c.flag("attention_bias"), more=more, series=series)
    if not shares:
        return block
    kept = tuple(tensor for tensor in block.tensors if ".kv_a_" not in tensor.name)
    return Block(kept, block.attention, Cache(series=series) if series else None)


def _scaling(heads: int) -> Tensors:
    return (*parameter("scale", heads), *parameter("bias", heads))


def _indexer(c: Fields) -> Tensors:
    """DeepSeek's indexer, its queries made from the hidden state."""
    hidden, heads, width = c.size("hidden_size"), c.size("index_n_heads"), c.size("index_head_dim")
    return within(
        "indexer",
        norm("q_input_norm", hidden, bias=True),
        linear("wq_b", hidden, heads * width),
        within("softmax_scaling", _scaling(heads)),
        linear("wk", hidden, width),
        norm("k_norm", width, bias=True),
        linear("weights_proj", hidden, heads),
    )


BODIES: Final = {"mistral4": deepseek_v3, "mistral_large4_text": large4_text}
CLASSES: Final = {
    "Mistral4ForCausalLM": causal(deepseek_v3),
    "MistralLarge4ForConditionalGeneration": answers(seeing(merged)),
}
