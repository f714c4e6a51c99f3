"""Dense decoders whose norms are layer norms: Phi, StarCoder2, StableLM, Nemotron, Persimmon, ModernBERT's decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    attention,
    fused_attention,
    gated_mlp,
    layer_norm,
    linear,
    norm,
    plain_mlp,
)
from vramguard.memory.families.decoder import (
    Stem,
    attend,
    by_layer,
    causal,
    decoder,
    even_heads,
    everywhere,
    grouped_heads,
    headed,
    pre_norm,
    window,
)

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Heads, Layer, Network, Tensors
    from vramguard.memory.families.fields import Fields

FINAL: Final = Stem(norm="final_layernorm")


def phi(c: Fields) -> Body:
    """Phi 1 and 2: attention and MLP side by side after one norm, biases everywhere."""
    heads, width = grouped_heads(c), c.size("intermediate_size")
    norms = _head_norms(heads.hidden // heads.heads) if c.flag("qk_layernorm") else ()
    projections = attention(heads, bias=True, output_bias=True, norms=norms)
    layer = (
        layer_norm("input_layernorm", heads.hidden),
        _renamed(projections, "o_proj", "dense"),
        _ungated("fc1", "fc2", heads.hidden, width),
    )
    return decoder(c, [layer] * c.layers, stem=FINAL, norm=layer_norm)


def starcoder2(c: Fields) -> Body:
    """StarCoder2: one switch for all biases, all layers slide or none."""
    bias, hidden, width = c.flag("use_bias"), c.size("hidden_size"), c.size("intermediate_size")
    mlp = _ungated("c_fc", "c_proj", hidden, width, bias=bias)
    attends = attend(c, everywhere(c, window(c)), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attends, [mlp] * c.layers, norm=layer_norm), norm=layer_norm)


def stablelm(c: Fields) -> Body:
    """StableLM: each head may have a norm module of its own; side by side, attention and MLP share one norm."""
    heads = even_heads(c, c.size("num_key_value_heads"))
    norms = _norm_each_head(heads) if c.flag("qk_layernorm") else ()
    attends = attention(heads, bias=c.flag("use_qkv_bias"), norms=norms)
    feeds = gated_mlp(heads.hidden, c.size("intermediate_size"))
    parallel = c.flag("use_parallel_residual")
    inner = () if parallel else (layer_norm("post_attention_layernorm", heads.hidden),)
    layer = (layer_norm("input_layernorm", heads.hidden), attends, *inner, feeds)
    body = decoder(c, [layer] * c.layers, norm=layer_norm)
    return replace(body, variant="parallel" if parallel else "")


def _norm_each_head(heads: Heads) -> Tensors:
    """Norms of StableLM: a list of modules without biases, one for each head."""
    counts = {"q_layernorm": heads.heads, "k_layernorm": heads.kv_heads}
    return tuple(
        tensor._replace(copies=number)
        for name, number in counts.items()
        for tensor in norm(f"{name}.norms.*", heads.head_dim)
    )


def nemotron(c: Fields) -> Body:
    """Nemotron 3 and 4, Minitron: an MLP without gate."""
    bias, hidden, width = c.flag("attention_bias"), c.size("hidden_size"), c.size("intermediate_size")
    mlp = _ungated("up_proj", "down_proj", hidden, width, bias=c.flag("mlp_bias"))
    attends = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attends, [mlp] * c.layers, norm=layer_norm), norm=layer_norm)


def persimmon(c: Fields) -> Body:
    """Persimmon: queries, keys and values are one projection, with norms for each head and biases everywhere."""
    heads = even_heads(c)
    hidden = heads.hidden
    norms = _head_norms(heads.head_dim) if c.flag("qk_layernorm") else ()
    qkv = linear("query_key_value", hidden, 3 * hidden, bias=True)
    attends = fused_attention("self_attn", (*qkv, *norms), linear("dense", hidden, hidden, bias=True), heads)
    mlp = _ungated("dense_h_to_4h", "dense_4h_to_h", hidden, c.size("intermediate_size"))
    layers = pre_norm(c, [attends] * c.layers, [mlp] * c.layers, norm=layer_norm)
    return decoder(c, layers, stem=FINAL, norm=layer_norm)


def modernbert_decoder(c: Fields) -> Body:
    """ModernBERT's decoder: the first layer has no norm before attention; two of three layers slide."""
    heads, bias, step = even_heads(c), c.flag("attention_bias"), _global_step(c)
    mlp = _modernbert_mlp(c, heads.hidden)
    layers: list[Layer] = []
    for number, size in enumerate(by_layer(c, _local_window(c), lambda i: i % step != 0)):
        projections = attention(heads, size, bias=bias, output_bias=bias, name="attn")
        before = (_norm(c, "attn_norm", heads.hidden),) if number else ()
        layers.append((*before, _renamed(projections, "o_proj", "Wo"), _norm(c, "mlp_norm", heads.hidden), mlp))
    stem = Stem(embedding="embeddings.tok_embeddings", norm="final_norm")
    body = decoder(c, layers, stem=stem, norm=lambda name, width: _norm(c, name, width))
    return body.beside(_norm(c, "embeddings.norm", heads.hidden).tensors)


def _modernbert_causal(c: Fields) -> Network:
    """A dense layer and a norm before the head, which has a bias of its own."""
    body = modernbert_decoder(c).within("model")
    dense = linear("lm_head.dense", body.hidden, body.hidden, bias=c.flag("classifier_bias"))
    network = headed(c, body, "decoder", bias=c.flag("decoder_bias"))
    return network._replace(head=(*dense, *_norm(c, "lm_head.norm", body.hidden).tensors, *network.head))


def _global_step(c: Fields) -> int:
    return c.size("global_attn_every_n_layers") if c.given("global_attn_every_n_layers") else 3


def _local_window(c: Fields) -> int | None:
    """Half of local_attention, on one side of a token; a saved config has the half as well, and it wins."""
    if c.given("sliding_window"):
        return window(c)
    size = (c.optional("local_attention") or 0) // 2
    if size < 2:  # noqa: PLR2004 - transformers slices its cache at -size + 1: it would keep everything
        raise UnprovenError("config: local_attention is too small for a window")
    return size


def _modernbert_mlp(c: Fields, hidden: int) -> Block:
    width, bias = c.size("intermediate_size"), c.flag("mlp_bias")
    return plain_mlp(linear("Wi", hidden, 2 * width, bias=bias), linear("Wo", width, hidden, bias=bias))


def _norm(c: Fields, name: str, width: int) -> Block:
    return Block(norm(name, width, bias=c.flag("norm_bias")))


def _head_norms(width: int) -> Tensors:
    """Layer norms of each head's queries and keys."""
    return (*norm("q_layernorm", width, bias=True), *norm("k_layernorm", width, bias=True))


def _ungated(up: str, down: str, hidden: int, width: int, *, bias: bool = True) -> Block:
    """An MLP without gate."""
    return plain_mlp(linear(up, hidden, width, bias=bias), linear(down, width, hidden, bias=bias))


def _renamed(block: Block, old: str, new: str) -> Block:
    """Call one projection of a block by another name."""
    tensors = tuple(tensor._replace(name=tensor.name.replace(f".{old}.", f".{new}.")) for tensor in block.tensors)
    return block._replace(tensors=tensors)


BODIES: Final = {
    "modernbert-decoder": modernbert_decoder,
    "nemotron": nemotron,
    "persimmon": persimmon,
    "phi": phi,
    "stablelm": stablelm,
    "starcoder2": starcoder2,
}
CLASSES: Final = {
    "ModernBertDecoderForCausalLM": _modernbert_causal,
    "NemotronForCausalLM": causal(nemotron),
    "PersimmonForCausalLM": causal(persimmon),
    "PhiForCausalLM": causal(phi, bias=True),
    "StableLmForCausalLM": causal(stablelm),
    "Starcoder2ForCausalLM": causal(starcoder2),
}
