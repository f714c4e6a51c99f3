"""Nemotron-H Omni: Nemotron-H with a Radio tower, and one for sound where the config has it."""

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
    gated_mlp,
    layer_norm,
    linear,
    norm,
    parameter,
    plain_mlp,
    within,
)
from vramguard.memory.families.decoder import headed

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields

# Older names of keys, which count where the present one is absent or says what the class defaults to.
_OLDER_NAMES: Final = {
    "llm_config": "text_config",
    "sound_config": "audio_config",
    "vit_hidden_size": "vision_hidden_size",
}


def radio(c: Fields) -> Body:
    """Radio: a linear patch embedding (another for pairs of frames), positions for the largest image, layer scales."""
    hidden, patch = c.size("hidden_size"), c.size("num_channels") * c.size("patch_size") ** 2
    frames, rows = c.optional("video_temporal_patch_size"), c.size("max_img_size") // c.size("patch_size")
    outside = within(
        "embeddings",
        linear("patch_projection", patch, hidden),
        linear("video_patch_projection", frames * patch, hidden) if frames else (),
        parameter("position_embedding", 1, rows**2, hidden),
        parameter("cls_register_token", c.size("num_cls_tokens") + c.count("num_registers"), hidden),
    )
    layer = (
        layer_norm("norm1", hidden),
        _radio_attention(c),
        Block(parameter("layer_scale1.lambda1", hidden)),
        layer_norm("norm2", hidden),
        _radio_mlp(c),
        Block(parameter("layer_scale2.lambda1", hidden)),
    )
    return Body(hidden, (Stack("encoder.layer", [layer] * c.layers),), outside)


def nemotron_omni(c: Fields) -> Network:
    """The whole: its language model is a class with a head, not a base model, and its head is never tied."""
    c = _renamed(c)
    text, vision = c.part("text_config"), c.part("vision_config")
    if text.kind != "nemotron_h":
        raise UnprovenError(f"config: text_config.model_type {text.kind} is not supported in {c.kind}")
    if vision.optional("video_temporal_patch_size") != c.size("video_temporal_patch_size"):
        raise UnprovenError("config: video_temporal_patch_size and that of vision_config differ")
    language = headed(text, body_of(text).within("model"), tied=False)
    hidden, width = language.body.hidden, c.size("vision_hidden_size")
    sees = width * int(1 / c.ratio("downsample_ratio")) ** 2
    final = norm("vision_final_layernorm", width, bias=True) if text.count("num_nextn_predict_layers") else ()
    projector = _projector("multi_modal_projector", sees, c.size("projector_hidden_size"), hidden)
    body = language.body.within("language_model").beside(body_of(vision).within("vision_model"), final, projector)
    return Network(body.beside(*_sound(c, hidden)), within("language_model", language.head))


def _renamed(c: Fields) -> Fields:
    """The config by the present names of its keys."""
    own = c.table[c.kind]["fields"]
    older = {
        name: c.raw(old)
        for old, name in _OLDER_NAMES.items()
        if not c.is_null(old) and c.config.get(name, own[name]) == own[name]
    }
    return replace(c, config={**c.config, **older}) if older else c


def _sound(c: Fields, hidden: int) -> tuple[Body | Tensors, ...]:
    """Tower and projector for sound, if any."""
    if not c.has_part("audio_config"):
        return ()
    given = c.part("audio_config")
    defaults = c.table[c.kind]["parts"]["audio_config"]["defaults"]
    audio = c.parts["audio_config"] = replace(given, config={**defaults, **given.config})
    width, bias = audio.size("projection_hidden_size"), audio.flag("projection_bias")
    projector = _projector("embed_audio", audio.size("hidden_size"), width, hidden, bias=bias)
    return body_of(audio).within("audio_tower"), projector


def _projector(name: str, inputs: int, width: int, outputs: int, *, bias: bool = False) -> Tensors:
    first, second = linear("linear_1", inputs, width, bias=bias), linear("linear_2", width, outputs, bias=bias)
    return within(name, norm("layer_norm", inputs), first, second)


def _radio_attention(c: Fields) -> Block:
    hidden, heads, bias = c.size("hidden_size"), c.size("num_attention_heads"), c.flag("qkv_bias")
    wide = heads * (c.optional("head_dim") or hidden // heads)
    queries = (t for name in ("q_proj", "k_proj", "v_proj") for t in linear(name, hidden, wide, bias=bias))
    return Block(within("attention", tuple(queries), linear("o_proj", wide, hidden, bias=True)))


def _radio_mlp(c: Fields) -> Block:
    hidden = c.size("hidden_size")
    width = int(hidden * c.ratio("mlp_ratio"))
    if c.flag("use_swiglu_ffn"):
        return gated_mlp(hidden, (2 * width // 3 + 7) // 8 * 8, bias=True)
    return plain_mlp(linear("fc1", hidden, width, bias=True), linear("fc2", width, hidden, bias=True))


BODIES: Final = {"radio": radio}
CLASSES: Final = {"NemotronH_Omni_Reasoning_V3": nemotron_omni}
