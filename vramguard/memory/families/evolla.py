"""Evolla talks about proteins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import Block, Body, Network, Stack, embedding, linear, norm, parameter, within
from vramguard.memory.families.decoder import headed
from vramguard.memory.families.encoder import bert_layer
from vramguard.memory.families.fields import MAX_LAYERS
from vramguard.memory.families.llama import llama
from vramguard.memory.families.sight import silent
from vramguard.memory.families.towers import dense as biased

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields


def evolla(c: Fields) -> Network:
    """Evolla: Llama that talks about a protein, which some of its layers read; its head is never its embedding."""
    text, protein = llama(c), c.part("protein_encoder_config")
    added = c.size("aligner_num_add_layers", MAX_LAYERS)
    step = max(c.layers // added, 1)
    adapter, (stack,) = _adapter(c, text.hidden), text.stacks
    layers = [(*layer, adapter) if (i + 1) % step == 0 else layer for i, layer in enumerate(stack.layers)]
    encoder = _saprot(protein).within("model").beside(_compressor(c, protein.size("hidden_size"), text.hidden))
    body = replace(text, stacks=(Stack(stack.path, layers),)).beside(encoder.within("protein_encoder"))
    return headed(c, body.within("model"), tied=False)


def _adapter(c: Fields, hidden: int) -> Block:
    feeds = _feed_forward(hidden, c.size("aligner_ffn_mult"))
    tensors = (
        *parameter("gate_attention", 1),
        *parameter("gate_ffw", 1),
        *(t for name in ("query", "key_protein", "value_protein") for t in biased(name, hidden, hidden)),
        *norm("attention_norm", hidden),
        *linear("out_proj", hidden, hidden, bias=c.flag("aligner_enable_bias")),
        *within("ff", feeds),
    )
    return Block(within("adapter", tensors))


def _feed_forward(width: int, times: int) -> Tensors:
    return (*norm("norm", width, bias=True), *linear("fc1", width, width * times), *linear("fc2", width * times, width))


def _compressor(c: Fields, seen: int, hidden: int) -> Tensors:
    """Latents that ask about the protein."""
    inner = c.size("resampler_dim_head") * c.size("resampler_heads")
    layer = (
        *norm("norm_media", seen, bias=True),
        *norm("norm_latents", seen, bias=True),
        *linear("to_q", seen, inner),
        *linear("to_kv", seen, 2 * inner),
        *linear("to_out", inner, seen),
        *_feed_forward(seen, c.size("resampler_ff_mult")),
    )
    depth = c.size("resampler_depth", MAX_LAYERS)
    return within(
        "sequence_compressor_resampler",
        parameter("latents", c.size("resampler_num_latents"), seen),
        tuple(t._replace(copies=depth) for t in within("layers.*.*", layer)),
        norm("norm", hidden, bias=True),
        biased("protein_projector", seen, hidden),
    )


def _saprot(c: Fields) -> Body:
    """SaProt: ESM with rotary positions, or learned ones."""
    hidden = c.size("hidden_size")
    kind = c.text("position_embedding_type")
    tables = (
        *embedding("word_embeddings", c.size("vocab_size"), hidden),
        *(norm("layer_norm", hidden, bias=True) if c.flag("emb_layer_norm_before") else ()),
        *(embedding("position_embeddings", c.size("max_position_embeddings"), hidden) if kind == "absolute" else ()),
    )
    layers = silent([bert_layer(c, norms=("attention.LayerNorm", "LayerNorm"))] * c.layers)
    last = norm("encoder.emb_layer_norm_after", hidden, bias=True)
    return Body(hidden, (Stack("encoder.layer", layers),), (*within("embeddings", tables), *last))


CLASSES: Final = {"EvollaForProteinText2Text": evolla}
