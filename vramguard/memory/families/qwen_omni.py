"""Qwen 2.5 and 3 Omni: the thinker, a Qwen text model with a tower for images and one for sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families import body_of
from vramguard.memory.families.audio import qwen3_asr_encoder
from vramguard.memory.families.blocks import Body, buffer, embedding, linear, norm
from vramguard.memory.families.decoder import attend, decoder, everywhere, pre_norm, window
from vramguard.memory.families.qwen import qwen2, sparse
from vramguard.memory.families.qwen_vl import repeated, sequential_merger, windowed_tower
from vramguard.memory.families.sight import Names, answers, seeing
from vramguard.memory.families.towers_qwen import qwen_vision
from vramguard.memory.families.whisper import whisper_encoder

if TYPE_CHECKING:
    from vramguard.memory.families.fields import Fields


def qwen3_omni_text(c: Fields) -> Body:
    """Qwen3-Omni's text model: Qwen3-MoE whose layers all slide where a window is given."""
    bias = c.flag("attention_bias")
    attends = attend(c, everywhere(c, window(c)), bias=bias, output_bias=bias, head_norms=True)
    return decoder(c, pre_norm(c, attends, sparse(c)))


def qwen2_5_vision(c: Fields) -> Body:
    """Qwen2.5-Omni's tower: Qwen2.5-VL's with queries, keys and values by themselves."""
    width = c.size("hidden_size")
    return windowed_tower(c, tuple(t for name in "qkv" for t in linear(f"attn.{name}", width, width, bias=True)))


def qwen3_vision(c: Fields) -> Body:
    """Qwen3-Omni's tower: Qwen3-VL's with other names in its mergers."""
    width = c.size("hidden_size")
    wide = width * c.size("spatial_merge_size") ** 2
    last = sequential_merger(c, norm("merger.ln_q", width, bias=True), width)
    deep = sequential_merger(c, norm("merger_list.*.ln_q", wide, bias=True), width, name="merger_list.*")
    return qwen_vision(c, last).beside(repeated(deep, len(c.integers("deepstack_visual_indexes"))))


def qwen2_5_audio(c: Fields) -> Body:
    """Qwen2.5-Omni's ear: Whisper's encoder, its positions computed, and a projection into the text's width."""
    encoder, output = whisper_encoder(c), c.size("output_dim")
    layers = Body(encoder.hidden, encoder.stacks, tuple(t for t in encoder.outside if t.name.startswith("conv")))
    table = buffer("positional_embedding.positional_embedding", c.size("max_source_positions"), encoder.hidden)
    outside = (
        *embedding("audio_bos_eos_token", 2, output),
        *norm("ln_post", encoder.hidden, bias=True),
        *linear("proj", encoder.hidden, output, bias=True),
    )
    return layers.beside(outside, Body(0, buffers=table))


def qwen3_audio(c: Fields) -> Body:
    """Qwen3-Omni's ear: Qwen3-ASR's encoder and a projection into the text's width."""
    encoder = qwen3_asr_encoder(c, "max_source_positions")
    hidden = encoder.hidden
    return encoder.beside(
        (*linear("proj1", hidden, hidden, bias=True), *linear("proj2", hidden, c.size("output_dim"), bias=True))
    )


def thinker(c: Fields) -> Body:
    """A text model, a tower that sees and one that hears."""
    whole = seeing(lambda _c, _hidden: (), Names(tower="visual"))(c)
    return whole.beside(body_of(c.part("audio_config")).within("audio_tower"))


BODIES: Final = {
    "qwen2_5_omni_text": qwen2,
    "qwen3_omni_moe_text": qwen3_omni_text,
    "qwen2_5_omni_vision_encoder": qwen2_5_vision,
    "qwen3_omni_moe_vision_encoder": qwen3_vision,
    "qwen2_5_omni_audio_encoder": qwen2_5_audio,
    "qwen3_omni_moe_audio_encoder": qwen3_audio,
}
CLASSES: Final = {
    **dict.fromkeys(
        ("Qwen2_5OmniThinkerForConditionalGeneration", "Qwen3OmniMoeThinkerForConditionalGeneration"), answers(thinker)
    ),
}
