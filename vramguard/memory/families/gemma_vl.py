"""Gemma 3 and 4 with what they see and hear: a text model, towers, and projections of what these give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    convolution,
    gated,
    head_norms,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import headed, sandwiched
from vramguard.memory.families.gemma import NORMS
from vramguard.memory.families.gemma import gemma4 as gemma4_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields

    Projection = Callable[[str, int, int], Tensors]


def gemma3(c: Fields) -> Body:
    """Gemma 3: a SigLIP tower, whose patches are averaged and projected by a weight that is no Linear's."""
    text, vision = body_of(c.part("text_config")), c.part("vision_config")
    seen = vision.size("hidden_size")
    projector = within(
        "multi_modal_projector",
        parameter("mm_input_projection_weight", seen, text.hidden),
        norm("mm_soft_emb_norm", seen),
    )
    return text.within("language_model").beside(body_of(vision).within("vision_tower"), projector)


# 4


def gemma4(c: Fields) -> Body:
    """Gemma 4: towers for images and for sound, where the config has them."""
    text = body_of(c.part("text_config"))
    whole = text.within("language_model")
    for key, sense in (("vision_config", "vision"), ("audio_config", "audio")):
        if c.has_part(key):
            tower = body_of(c.part(key))
            whole = whole.beside(tower.within(f"{sense}_tower"), _projection(f"embed_{sense}", tower.hidden, text))
    return whole


def gemma4_unified(c: Fields) -> Body:
    """Gemma 4 without towers: patches and frames of sound are projected as they are."""
    text = body_of(c.part("text_config"))
    whole = text.within("language_model")
    if c.has_part("vision_config"):
        whole = whole.beside(_patches(c.part("vision_config"), text))
    if c.has_part("audio_config"):
        whole = whole.beside(_projection("embed_audio", _frame(c.part("audio_config")), text))
    return whole


def diffusion_text(c: Fields) -> Body:
    """DiffusionGemma's text model: Gemma 4 with experts, without what its class leaves out as a choice."""
    choices = {"enable_moe_block": True, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0}
    choices |= {"attention_k_eq_v": True, "use_double_wide_mlp": False}
    if given := sorted(key for key in choices if c.given(key)):
        raise UnprovenError(f"config: {c.path}{given[0]} is not known for {c.kind}")
    return gemma4_text(replace(c, config={**c.config, **choices}))


def diffusion(c: Fields) -> Network:
    """DiffusionGemma: its decoder shares the encoder's weights but for biases, has one block more, caches nothing."""
    tied, text = c.flag("tie_word_embeddings"), c.part("text_config")
    body, tower = body_of(text), body_of(c.part("vision_config"))
    encoder = body.within("language_model").beside(tower.within("vision_tower"))
    encoder = encoder.beside(_projection("embed_vision", tower.hidden, body)).within("encoder")
    again = within(
        "self_conditioning", norm("pre_norm", body.hidden), gated(body.hidden, text.size("intermediate_size"))
    )
    decoder = _own_weights(body, tied=tied).beside(again).within("decoder")
    return headed(c, encoder.beside(decoder).within("model"))


def _own_weights(body: Body, *, tied: bool) -> Body:
    """What a body does not share with one of the same shape: all of it, or where they are tied its biases."""

    def own(tensors: Tensors) -> Tensors:
        return tuple(tensor for tensor in tensors if not tied or tensor.name.endswith(".bias"))

    stacks = tuple(
        Stack(stack.path, [tuple(Block(own(block.tensors)) for block in layer) for layer in stack.layers])
        for stack in body.stacks
    )
    return Body(body.hidden, stacks, own(body.outside))


def _projection(name: str, seen: int, text: Body) -> Tensors:
    return within(name, linear("embedding_projection", seen, text.hidden))


def _patches(c: Fields, text: Body) -> Tensors:
    wide, middle = 3 * (c.size("patch_size") * c.size("pooling_kernel_size")) ** 2, c.size("mm_embed_dim")
    return within(
        "embed_vision",
        norm("patch_ln1", wide, bias=True),
        linear("patch_dense", wide, middle, bias=True),
        norm("patch_ln2", middle, bias=True),
        parameter("pos_embedding", c.size("mm_posemb_size"), 2, middle),
        norm("pos_norm", middle, bias=True),
        _projection("multimodal_embedder", c.size("output_proj_dims"), text),
    )


def _frame(c: Fields) -> int:
    """Width of a frame of sound, which has several names that the class sets in the order of the config."""
    width = c.size("audio_embed_dim")
    for key in ("hidden_size", "output_proj_dims", "audio_samples_per_token"):
        if c.given(key) and c.raw(key) != width:
            raise UnprovenError(f"config: {c.path}{key} contradicts {c.path}audio_embed_dim {width}")
    return width


def gemma4_vision(c: Fields) -> Body:
    """Gemma 4's tower: Gemma's layers, every projection of which may clip, and a table of positions for each axis."""
    hidden = c.size("hidden_size")
    outside = within(
        "patch_embedder",
        linear("input_proj", 3 * c.size("patch_size") ** 2, hidden),
        parameter("position_embedding_table", 2, c.size("position_embedding_size"), hidden),
    )
    layers = sandwiched(c, [_sees(c)] * c.layers, [_feeds(c)] * c.layers, NORMS)
    return Body(hidden, (Stack("encoder.layers", layers),), outside)


def _clipping(name: str, inputs: int, outputs: int) -> Tensors:
    """A Linear inside a module that may clip what it takes and gives."""
    return linear(f"{name}.linear", inputs, outputs)


def _sees(c: Fields) -> Block:
    hidden, head_dim = c.size("hidden_size"), c.size("head_dim")
    query, key = (c.size(name) * head_dim for name in ("num_attention_heads", "num_key_value_heads"))
    projections = (
        *_clipping("q_proj", hidden, query),
        *_clipping("k_proj", hidden, key),
        *_clipping("v_proj", hidden, key),
        *_clipping("o_proj", query, hidden),
    )
    return Block(within("self_attn", projections, head_norms(head_dim)))


def _feeds(c: Fields) -> Block:
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    up = (*_clipping("gate_proj", hidden, width), *_clipping("up_proj", hidden, width))
    return Block(within("mlp", up, _clipping("down_proj", width, hidden)))


def gemma4_audio(c: Fields) -> Body:
    """Gemma 4's ear: a conformer that attends within chunks of the sound, after two convolutions."""
    hidden, output = c.size("hidden_size"), c.size("output_proj_dims")
    c.size("attention_chunk_size")  # changes no weight
    layer: Layer = (
        Block((*half_step("feed_forward1", hidden), *half_step("feed_forward2", hidden))),
        Block(within("self_attn", _hears(c))),
        Block(within("lconv1d", convolves(hidden, c.size("conv_kernel_size")))),
        *(rms_norm(name, hidden) for name in ("norm_pre_attn", "norm_post_attn", "norm_out")),
    )
    outside = (
        *within("subsample_conv_projection", _subsampler(c)),
        *linear("output_proj", hidden, output, bias=True),
    )
    return Body(output, (Stack("layers", [layer] * c.layers),), outside)


def _subsampler(c: Fields) -> Tensors:
    """Two convolutions, each of which halves what it is given: a quarter of the frequencies is left."""
    channels = c.integers("subsampling_conv_channels")
    if len(channels) != 2 or min(channels) < 1:  # noqa: PLR2004 - the class has two convolutions
        raise UnprovenError(f"config: {c.path}subsampling_conv_channels is not two sizes")
    first, second = channels
    return (
        *convolution("layer0.conv", (first, 1, 3, 3)),
        *norm("layer0.norm", first),
        *convolution("layer1.conv", (second, first, 3, 3)),
        *norm("layer1.norm", second),
        *linear("input_proj_linear", first // 4 * second, c.size("hidden_size")),
    )


def half_step(name: str, hidden: int, project: Projection = _clipping) -> Tensors:
    """A conformer's MLP, of which there is one before and one after attention."""
    return within(
        name,
        project("ffw_layer_1", hidden, 4 * hidden),
        project("ffw_layer_2", 4 * hidden, hidden),
        norm("pre_layer_norm", hidden),
        norm("post_layer_norm", hidden),
    )


def _hears(c: Fields) -> Tensors:
    hidden, heads = c.size("hidden_size"), c.size("num_attention_heads")
    wide = hidden // heads * heads
    projections = (tensor for name in ("q_proj", "k_proj", "v_proj") for tensor in _clipping(name, hidden, wide))
    position = (*linear("relative_k_proj", hidden, wide), *parameter("per_dim_scale", hidden // heads))
    return (*projections, *_clipping("post", hidden, hidden), *position)


def convolves(hidden: int, kernel: int, project: Projection = _clipping) -> Tensors:
    """A conformer's convolution over neighbouring frames."""
    return (
        *project("linear_start", hidden, 2 * hidden),
        *project("linear_end", hidden, hidden),
        *convolution("depthwise_conv1d", (hidden, 1, kernel)),
        *norm("pre_layer_norm", hidden),
        *norm("conv_norm", hidden),
    )


def conditional(body: Callable[[Fields], Body]) -> Callable[[Fields], Network]:
    """A ...ForConditionalGeneration, which ties as the config outside its parts says."""
    return lambda c: headed(c, body(c).within("model"))


BODIES: Final = {
    "gemma3": gemma3,
    "gemma4": gemma4,
    "gemma4_unified": gemma4_unified,
    "gemma4_vision": gemma4_vision,
    "gemma4_audio": gemma4_audio,
    "diffusion_gemma_text": diffusion_text,
}
CLASSES: Final = {
    "Gemma3ForConditionalGeneration": conditional(gemma3),
    "Gemma4ForConditionalGeneration": conditional(gemma4),
    "Gemma4UnifiedForConditionalGeneration": conditional(gemma4_unified),
    "DiffusionGemmaForBlockDiffusion": diffusion,
}
