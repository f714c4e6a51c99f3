"""GPT-J's time: decoders that vary GPT-2's layer (one projection or three, one key head, attention beside the MLP)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Heads,
    Network,
    Stack,
    buffer,
    conv1d,
    embedding,
    fused_attention,
    layer_norm,
    linear,
    named_attention,
    norm,
    parameter,
    plain_mlp,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import Stem, causal, decoder, even_heads
from vramguard.memory.families.fields import shown

if TYPE_CHECKING:
    from vramguard.memory.families.fields import Fields

_STEM: Final = Stem("wte", "h", "ln_f")
_PATTERNS: Final[list[Any]] = [[["global", "local"], 12]]  # the class's own default


def gpt_neo(c: Fields) -> Body:
    """GPT-Neo: each layer masks what it does not attend to with a table of its own; none drops its cache."""
    heads, positions = even_heads(c), c.size("max_position_embeddings")
    hidden, width = heads.hidden, c.optional("intermediate_size") or 4 * heads.hidden
    _check_patterns(c)
    names = ("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj", "attn.attention.out_proj")
    layer = (
        layer_norm("ln_1", hidden),
        named_attention(heads, names, bias=False, output_bias=True),
        layer_norm("ln_2", hidden),
        _mlp(hidden, width, "c_fc", "c_proj"),
    )
    table = embedding("wpe", positions, hidden)
    body = decoder(c, [layer] * c.layers, stem=_STEM, norm=layer_norm, positions=table)
    masks = buffer("h.*.attn.attention.bias", 1, 1, positions, positions, copies=c.layers, item=1)
    return replace(body, buffers=masks, sizes={**body.sizes, "intermediate_size": width})


def gptj(c: Fields) -> Body:
    """GPT-J: attention and MLP share one norm, and each layer keeps a rotary table that ends with n_positions."""
    names = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj")
    return _side_by_side(c, named_attention(even_heads(c), names, bias=False))


def codegen(c: Fields) -> Body:
    """CodeGen: GPT-J with one projection for queries, keys and values, cut for four cores."""
    heads = even_heads(c)
    if heads.heads % 4:
        raise UnprovenError(f"config: num_attention_heads {heads.heads} is no multiple of 4, as CodeGen's must be")
    qkv, output = linear("qkv_proj", heads.hidden, 3 * heads.hidden), linear("out_proj", heads.hidden, heads.hidden)
    return _side_by_side(c, fused_attention("attn", qkv, output, heads))


def gpt_bigcode(c: Fields) -> Body:
    """GPT-BigCode (SantaCoder, StarCoder): GPT-2 with Linears and, as a rule, one key head for all query heads."""
    heads = even_heads(c, 1 if c.flag("multi_query") else None)
    hidden, positions = heads.hidden, c.size("max_position_embeddings")
    width = c.optional("n_inner") or 4 * hidden
    qkv = linear("c_attn", hidden, hidden + 2 * heads.key, bias=True)
    layer = (
        layer_norm("ln_1", hidden),
        fused_attention("attn", qkv, linear("c_proj", hidden, hidden, bias=True), heads),
        layer_norm("ln_2", hidden),
        _mlp(hidden, width, "c_fc", "c_proj"),
    )
    table = embedding("wpe", positions, hidden)
    body = decoder(c, [layer] * c.layers, stem=_STEM, norm=layer_norm, positions=table)
    return replace(body, buffers=buffer("bias", positions, positions, item=1), sizes={**body.sizes, "n_inner": width})


def gpt_neox_japanese(c: Fields) -> Body:
    """GPT-NeoX Japanese: GPT-NeoX without biases, but for one on the attention of the last layer."""
    heads = even_heads(c)
    hidden, width = heads.hidden, heads.hidden * c.size("intermediate_multiple_size")
    qkv, output = linear("query_key_value", hidden, 3 * hidden), linear("dense", hidden, hidden)
    bias = Block(within("attention", parameter("dense_bias", hidden)))
    layer = (
        layer_norm("input_layernorm", hidden),
        fused_attention("attention", qkv, output, heads),
        layer_norm("post_attention_layernorm", hidden),
        plain_mlp(linear("dense_h_to_4h", hidden, width), linear("dense_4h_to_h", width, hidden)),
    )
    layers = [*[layer] * (c.layers - 1), (*layer, bias)]
    return decoder(c, layers, stem=Stem("embed_in", "layers", "final_layer_norm"), norm=layer_norm)


def openai_gpt(c: Fields) -> Body:
    """The first GPT: norms follow what they norm, none stands at the end, and nothing is ever cached."""
    heads, positions = even_heads(c), c.size("max_position_embeddings")
    hidden = heads.hidden
    attention = fused_attention("attn", conv1d("c_attn", hidden, 3 * hidden), conv1d("c_proj", hidden, hidden), heads)
    layer = (
        attention._replace(cache=None),
        layer_norm("ln_1", hidden),
        plain_mlp(conv1d("c_fc", hidden, 4 * hidden), conv1d("c_proj", 4 * hidden, hidden)),
        layer_norm("ln_2", hidden),
    )
    stem, table = Stem("tokens_embed", "h"), embedding("positions_embed", positions, hidden)
    body = decoder(c, [layer] * c.layers, stem=stem, norm=_no_norm, positions=table)
    masks = buffer("h.*.attn.bias", 1, 1, positions, positions, copies=c.layers, item=4)
    return replace(body, buffers=(*masks, *buffer("position_ids", positions, item=8)))


def ctrl(c: Fields) -> Body:
    """CTRL: GPT-2's layer with three projections and a computed table of positions."""
    heads, positions = even_heads(c), c.size("max_position_embeddings")
    hidden, width = heads.hidden, c.size("dff")
    names = ("Wq", "Wk", "Wv", "dense")
    attention = named_attention(heads, names)
    layer = (
        layer_norm("layernorm1", hidden),
        attention._replace(tensors=within("multi_head_attention", attention.tensors)),
        layer_norm("layernorm2", hidden),
        Block((*linear("ffn.*", hidden, width, bias=True), *linear("ffn.*", width, hidden, bias=True))),
    )
    body = decoder(c, [layer] * c.layers, stem=Stem("w", "h", "layernorm"), norm=layer_norm)
    return replace(body, buffers=buffer("pos_encoding", positions, hidden), learned_positions=True)


def cpmant(c: Fields) -> Body:
    """CPM-Ant: every sequence begins with a learned prompt, which is cached too; norms have no bias."""
    hidden, heads, prompt = c.size("hidden_size"), c.size("num_attention_heads"), c.size("prompt_length")
    geometry, width = Heads(hidden, heads, heads, c.size("dim_head")), c.size("dim_ff")
    names = ("project_q", "project_k", "project_v", "attention_out")
    attention = named_attention(geometry, names, bias=False)
    gated = (*linear("w_in.w_0", hidden, width), *linear("w_in.w_1", hidden, width), *linear("w_out", width, hidden))
    layer = (
        rms_norm("self_att.layernorm_before_attention", hidden),
        attention._replace(tensors=within("self_att.self_attention", attention.tensors)),
        Block((), cache=replace(geometry.cache(), tokens=prompt)),
        rms_norm("ffn.layernorm_before_ffn", hidden),
        Block(within("ffn.ffn", gated)),
    )
    vocab, segments = c.size("vocab_size"), c.size("segment_types")
    outside = (
        *norm("encoder.output_layernorm", hidden),
        *embedding("segment_embedding", segments, hidden),
        *embedding("input_embedding", vocab + c.size("prompt_types") * prompt, hidden),
        *parameter("position_bias.relative_attention_bias", segments**2 + c.size("position_bias_num_buckets"), heads),
    )
    context = c.size("position_bias_max_distance")
    return Body(hidden, (Stack("encoder.layers", [layer] * c.layers),), outside, vocab=vocab, context=context)


def cpmant_lm(c: Fields) -> Network:
    """CPM-Ant's head, which shares nothing with the embedding, whatever the config says."""
    body = cpmant(c).within("cpmant")
    return Network(body, linear("lm_head", body.hidden, body.vocab))


def _side_by_side(c: Fields, attention: Block) -> Body:
    """Layers whose attention and MLP read the same norm, and a rotary table in each of them."""
    hidden, positions = c.size("hidden_size"), c.size("max_position_embeddings")
    width = c.optional("n_inner") or 4 * hidden
    layer = (layer_norm("ln_1", hidden), attention, _mlp(hidden, width, "fc_in", "fc_out"))
    body = decoder(c, [layer] * c.layers, stem=_STEM, norm=layer_norm)
    rotated = c.count("rotary_dim") or hidden
    tables = buffer("h.*.attn.embed_positions", positions, 2 * ((rotated + 1) // 2), copies=c.layers)
    # The table is no parameter, but nothing extends it.
    return replace(body, buffers=tables, learned_positions=True, sizes={**body.sizes, "n_inner": width})


def _mlp(hidden: int, width: int, up: str, down: str) -> Block:
    return plain_mlp(linear(up, hidden, width, bias=True), linear(down, width, hidden, bias=True))


def _no_norm(_name: str, _width: int) -> Block:
    return Block(())


def _expanded(patterns: Any) -> list[Any]:  # noqa: ANN401 - JSON
    """Kinds of layers from pairs of a pattern and how often it comes."""
    try:
        return [kind for pattern, times in patterns or _PATTERNS for _ in range(times) for kind in pattern]
    except (TypeError, ValueError) as error:
        raise UnprovenError(f"config: attention_types is {shown(patterns)}, not a list of patterns") from error


def _check_patterns(c: Fields) -> None:
    """Raise UnprovenError where the layers' kinds are not as many as the layers."""
    kinds = c.raw("attention_layers") if c.given("attention_layers") else _expanded(c.raw("attention_types"))
    if not isinstance(kinds, list) or len(kinds) != c.layers or any(kind not in ("global", "local") for kind in kinds):
        raise UnprovenError(f"config: attention_types does not give {c.layers} layers that are global or local")


BODIES: Final = {
    "gpt_neo": gpt_neo,
    "gptj": gptj,
    "codegen": codegen,
    "gpt_bigcode": gpt_bigcode,
    "gpt_neox_japanese": gpt_neox_japanese,
    "openai-gpt": openai_gpt,
    "ctrl": ctrl,
    "cpmant": cpmant,
}
CLASSES: Final = {
    "GPTNeoForCausalLM": causal(gpt_neo, "transformer"),
    "GPTJForCausalLM": causal(gptj, "transformer", bias=True),
    "CodeGenForCausalLM": causal(codegen, "transformer", bias=True),
    "GPTBigCodeForCausalLM": causal(gpt_bigcode, "transformer"),
    "GPTNeoXJapaneseForCausalLM": causal(gpt_neox_japanese, "gpt_neox_japanese", "embed_out"),
    "OpenAIGPTLMHeadModel": causal(openai_gpt, "transformer"),
    "CTRLLMHeadModel": causal(ctrl, "transformer", bias=True),
    "CpmAntForCausalLM": cpmant_lm,
}
