"""dots 3 Note with its towers: pictures through layers with ever more experts, sound behind convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Routing,
    Stack,
    convolution,
    gated_mlp,
    linear,
    norm,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import divide, headed
from vramguard.memory.families.dots3 import by_layer, dots3_note_text
from vramguard.memory.families.experts import mixture, sparse_layers, undeclared
from vramguard.memory.families.fields import Fields, shown

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Network, Tensors

# Experts of the vision tower's layers where the config does not say; -1 is a dense layer.
_PYRAMID: Final = (*([-1] * 25), *range(4, 65, 4), 64)
# Older names in the vision tower's config, and those inside the audio tower's whisper_config.
_OLDER_VISION: Final = {"embed_dim": "hidden_size", "num_heads": "num_attention_heads", "use_bias": "attention_bias"}
_OLDER_AUDIO: Final = {
    "d_model": "hidden_size",
    "encoder_attention_heads": "num_attention_heads",
    "encoder_layers": "num_hidden_layers",
    "encoder_ffn_dim": "intermediate_size",
    "num_mel_bins": "feature_size",
}


def dots3_note(c: Fields) -> Network:
    """Dots 3 Note: text, pictures and sound."""
    text = dots3_note_text(_text(c))
    parts = (dots3_vision(c.part("vision_config")), dots3_audio(c.part("audio_config")))
    towers = [body.within(name) for body, name in zip(parts, ("vision_tower", "audio_tower"), strict=True)]
    if any(part.hidden != text.hidden for part in parts):
        raise UnprovenError("config: the adapter_out_dim of a tower is not the text's hidden_size")
    return headed(c, text.within("language_model").beside(*towers).within("model"))


def text_only(c: Fields) -> Network:
    """The ...ForCausalLM of a whole config, of which transformers' auto classes take the text part."""
    text = _text(c)
    return headed(text, dots3_note_text(text).within("model"))


def _text(c: Fields) -> Fields:
    """The text model's config; where there is none, its keys stand among the others."""
    if c.is_null("text_config"):
        c.parts["text_config"] = Fields("dots3_note_text", c.config, c.table)
    return c.part("text_config")


def dots3_vision(c: Fields) -> Body:
    """Vision tower of dots 3 Note; its `hidden` is the adapter's."""
    newer = {name: c.config[older] for older, name in _OLDER_VISION.items() if older in c.config}
    c = replace(c, config={**c.config, **newer})
    hidden, inside, merge = c.size("hidden_size"), c.size("adapter_in_dim"), c.size("adapter_merge_size")
    if inside != hidden or merge != c.size("spatial_merge_size"):
        raise UnprovenError(f"config: {c.path}adapter_in_dim or adapter_merge_size is not the tower's own")
    patch, joined, out = c.size("patch_size"), inside * merge**2, c.size("adapter_out_dim")
    outside = (
        *convolution("patch_embed.proj", (hidden, c.size("num_channels"), patch, patch), bias=True),
        *norm("patch_embed.norm", hidden),
        *norm("merger.ln_q", inside, bias=True),
        *linear("merger.mlp.*", joined, joined, bias=True),
        *linear("merger.mlp.*", joined, out, bias=True),
        *norm("norm", hidden),
    )
    return Body(out, (Stack("blocks", [_vision_layer(c, routed) for routed in _pyramid(c)]),), outside)


def _vision_layer(c: Fields, routed: Routing | None) -> Layer:
    hidden, bias = c.size("hidden_size"), c.flag("attention_bias")
    head_dim = divide(c, "hidden_size", "num_attention_heads")
    attends = (
        *linear("qkv", hidden, 3 * hidden, bias=bias),
        *linear("proj", hidden, hidden, bias=bias),
        *norm("q_norm", head_dim),
        *norm("k_norm", head_dim),
    )
    mlp = (
        gated_mlp(hidden, c.size("intermediate_size"), bias=c.flag("mlp_bias"))
        if routed is None
        else mixture(hidden, c.size("moe_intermediate_size"), routed)
    )
    return (rms_norm("norm1", hidden), Block(within("attn", attends)), rms_norm("norm2", hidden), mlp)


def _pyramid(c: Fields) -> list[Routing | None]:
    """Experts of each layer, None for a dense one."""
    chosen = undeclared(c, "capacity_factor", 2) if c.is_null("num_experts_per_tok") else c.size("num_experts_per_tok")
    counts = list(_PYRAMID) if c.is_null("mlp_layer_types") else []
    if not c.is_null("pyramid_num_routed"):
        counts = list(c.integers("pyramid_num_routed"))
    if counts:
        if not c.is_null("per_layer_config") or len(counts) != c.layers:
            raise UnprovenError(f"config: {c.path}pyramid_num_routed or its default does not fit the layers")
        return [Routing(count, min(chosen, count)) if count > 0 else None for count in counts]
    own = {} if c.is_null("per_layer_config") else by_layer(c)
    seen = [replace(c, config={**c.config, **own.get(i, {})}) for i in range(c.layers)]
    found = zip(seen, sparse_layers(c, lambda _: False), strict=True)
    return [Routing(layer.size("num_local_experts"), chosen) if is_sparse else None for layer, is_sparse in found]


def dots3_audio(c: Fields) -> Body:
    """Audio tower of dots 3 Note; keys never have a bias. Its `hidden` is the adapter's."""
    c = _newer_audio(c)
    hidden, width, bias = c.size("hidden_size"), c.size("intermediate_size"), c.flag("attention_bias")
    if hidden % c.size("num_attention_heads"):
        raise UnprovenError(f"config: {c.path}hidden_size is no multiple of num_attention_heads")
    attends = (
        *linear("q_proj", hidden, hidden, bias=bias),
        *linear("k_proj", hidden, hidden),
        *linear("v_proj", hidden, hidden, bias=bias),
        *linear("o_proj", hidden, hidden, bias=bias),
    )
    mlp = (*linear("gate_up_proj", hidden, 2 * width, bias=True), *linear("down_proj", width, hidden, bias=True))
    layer = (
        rms_norm("input_layernorm", hidden),
        Block(within("self_attn", attends)),
        rms_norm("post_attention_layernorm", hidden),
        Block(within("mlp", mlp)),
    )
    out = c.size("adapter_out_dim")
    return Body(out, (Stack("layers", [layer] * c.layers),), _audio_ends(c, hidden, out))


def _audio_ends(c: Fields, hidden: int, out: int) -> Tensors:
    channels, inside = c.size("downsample_hidden_size"), c.size("adapter_input_size")
    if inside != hidden:
        raise UnprovenError(f"config: {c.path}adapter_input_size is not hidden_size")
    return (
        *convolution("conv_stem.convs.*", (channels, 1, 3, 3), bias=True),
        *convolution("conv_stem.convs.*", (channels, channels, 3, 3), bias=True),
        *convolution("conv_stem.convs.*", (channels, channels, 3, 3), bias=True),
        *linear("conv_stem.conv_out", channels * ((c.size("feature_size") + 7) // 8), hidden),
        *norm("layer_norm", hidden),
        *norm("adapter.norm", inside, bias=True),
        *linear("adapter.fc1", inside, out, bias=True),
        *linear("adapter.fc2", out, out, bias=True),
    )


def _newer_audio(c: Fields) -> Fields:
    """The config with the values of older names under the class's own."""
    whisper = {} if c.is_null("whisper_config") else c.raw("whisper_config")
    if not isinstance(whisper, Mapping):
        raise UnprovenError(f"config: {c.path}whisper_config is {shown(whisper)}, not an object")
    newer = {name: whisper[older] for older, name in _OLDER_AUDIO.items() if older in whisper}
    for name, older in (
        ("adapter_input_size", "whisper_adapter_in_dim"),
        ("adapter_out_dim", "adapter_output_size"),
        ("adapter_out_dim", "whisper_adapter_out_dim"),
    ):
        if older in c.config:
            newer[name] = c.config[older]
    return replace(c, config={**c.config, **newer})


BODIES: Final = {"dots3_note_vision_encoder": dots3_vision, "dots3_note_audio_encoder": dots3_audio}
CLASSES: Final = {"Dots3NoteForConditionalGeneration": dots3_note, "Dots3NoteForCausalLM": text_only}
