"""Llama 3.2 Vision: Llama with layers of cross attention to images, and a tower that sees an image in tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    attention,
    convolution,
    embedding,
    gated_mlp,
    head_norms,
    layer_norm,
    linear,
    norm,
    parameter,
    plain_mlp,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import even_heads, headed
from vramguard.memory.families.fields import shown

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields

_EXTRA: Final = 8  # rows of the embedding beside the vocabulary: the image's own token is among them


def mllama_text(c: Fields) -> Body:
    """The text model; a prompt of text skips its layers of cross attention, which then cache nothing."""
    heads = even_heads(c, c.size("num_key_value_heads"))
    crossing = c.integers("cross_attention_layers") if not c.is_null("cross_attention_layers") else range(3, 39, 5)
    crosses = Block(attention(heads, norms=head_norms(heads.head_dim), name="cross_attn").tensors)
    gates = Block((*parameter("cross_attn_attn_gate", 1), *parameter("cross_attn_mlp_gate", 1)))
    common = (
        rms_norm("input_layernorm", heads.hidden),
        rms_norm("post_attention_layernorm", heads.hidden),
        gated_mlp(heads.hidden, c.size("intermediate_size")),
    )
    layers = [(crosses, gates, *common) if i in crossing else (attention(heads), *common) for i in range(c.layers)]
    vocab = c.size("vocab_size")
    outside = (*embedding("embed_tokens", vocab + _EXTRA, heads.hidden), *norm("norm", heads.hidden))
    return Body(
        heads.hidden, (Stack("layers", layers),), outside, vocab=vocab, context=c.size("max_position_embeddings")
    )


def mllama_vision(c: Fields) -> Body:
    """The tower: positions within a tile and of tiles within an image, then layers whose outputs have gates."""
    hidden, rows = c.size("hidden_size"), (c.size("image_size") // c.size("patch_size")) ** 2 + 1
    outside = (
        *parameter("class_embedding", hidden),
        *convolution("patch_embedding", (hidden, c.size("num_channels"), c.size("patch_size"), c.size("patch_size"))),
        *norm("layernorm_pre", hidden, bias=True),
        *norm("layernorm_post", hidden, bias=True),
        *_tile_positions(c, hidden, rows),
    )
    layer = _vision_layer(c, hidden)
    gated = (*layer, Block((*parameter("gate_attn", 1), *parameter("gate_ffn", 1))))
    stacks = (
        Stack("transformer.layers", [layer] * c.layers),
        Stack("global_transformer.layers", [gated] * c.count("num_global_layers")),
    )
    return Body(hidden, stacks, outside)


def _tile_positions(c: Fields, hidden: int, rows: int) -> Tensors:
    """Tables with a row for each way to lay out tiles, and one for none."""
    ways = _aspect_ratios(c) + 1
    tiles = c.size("max_num_tiles")
    around = within(
        "gated_positional_embedding",
        parameter("gate", 1),
        parameter("embedding", rows, hidden),
        embedding("tile_embedding", ways, tiles * rows * hidden),
    )
    for side in ("pre", "post"):
        tables = (*embedding("embedding", ways, tiles * hidden), *parameter("gate", 1))
        around += within(f"{side}_tile_positional_embedding", tables)
    return around


def _aspect_ratios(c: Fields) -> int:
    given = c.raw("supported_aspect_ratios")
    if given is None:
        return 8
    if not isinstance(given, list):
        raise UnprovenError(f"config: {c.path}supported_aspect_ratios is {shown(given)}, not a list")
    return len(given)


def _vision_layer(c: Fields, hidden: int) -> Layer:
    heads, width = c.size("attention_heads"), c.size("intermediate_size")
    wide = hidden // heads * heads
    projections = (tensor for name in ("q_proj", "k_proj", "v_proj") for tensor in linear(name, hidden, wide))
    return (
        layer_norm("input_layernorm", hidden),
        Block(within("self_attn", tuple(projections), linear("o_proj", wide, hidden))),
        layer_norm("post_attention_layernorm", hidden),
        plain_mlp(linear("fc1", hidden, width, bias=True), linear("fc2", width, hidden, bias=True)),
    )


def conditional(c: Fields) -> Network:
    """The whole; its head is never tied, whatever the config says."""
    text, vision = body_of(c.part("text_config")), c.part("vision_config")
    projector = linear("multi_modal_projector", vision.size("vision_output_dim"), text.hidden, bias=True)
    whole = text.within("language_model").beside(body_of(vision).within("vision_model"), projector)
    return headed(c, whole.within("model"), tied=False)


def text_only(c: Fields) -> Network:
    """The text model with a head; of a whole config it takes the text part."""
    text = c.part("text_config") if c.has_part("text_config") else c
    return headed(text, body_of(text).within("model"), tied=False)


BODIES: Final = {"mllama_text_model": mllama_text, "mllama_vision_model": mllama_vision}
CLASSES: Final = {"MllamaForConditionalGeneration": conditional, "MllamaForCausalLM": text_only}
