"""Nemotron's transcriber: a hybrid text model, one encoder for what is said, one for who speaks, one for when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    buffer,
    convolution,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.decoder import divide, headed

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Network, Tensors
    from vramguard.memory.families.fields import Fields


def transcriber(c: Fields) -> Network:
    """Nemotron 3.5 Transcribe: the text model's cache is all that is kept; words get their times from a head beside."""
    text, times = body_of(c.part("text_config")), c.part("word_timestamp_config")
    audio, width = _audio(c.part("audio_config")), times.size("hidden_size")
    projector = linear("multi_modal_projector", audio.hidden, text.hidden, bias=True)
    inner = text.within("language_model").beside(
        audio.within("audio_tower"), projector, _timestamps(times).within("word_timestamp_encoder")
    )
    network = headed(c, inner.within("model"), tied=False)
    head = convolution("word_timestamp_head", (times.size("vocab_size"), width, 1), bias=True)
    return network._replace(body=network.body.beside(head))


def _audio(c: Fields) -> Body:
    """What is said and who speaks, added."""
    said, diarization = c.part("asr_config"), c.part("diarization_config")
    speech = _encoder(said, normed=True)
    speakers = diarization.part("head_config").size("num_speakers")
    around = (*norm("asr_norm", speech.hidden, bias=True), *norm("speaker_norm", speakers, bias=True))
    table = Body(0, buffers=buffer("speaker_embedding.weight", speakers, speech.hidden))
    return speech.within("asr_encoder").beside(_diarization(diarization).within("diarization_model"), around, table)


def _encoder(c: Fields, *, normed: bool) -> Body:
    """Frames side by side, projected, then layers with rotary positions."""
    frames = c.size("subsampling_factor") * c.size("num_mel_bins")
    body = _layers(c, normed=normed)
    return body.beside(linear("embedder.projection", frames, body.hidden))


def _layers(c: Fields, *, normed: bool) -> Body:
    hidden = c.size("hidden_size")
    outside = (*norm("input_layer_norm", hidden, bias=True), *norm("layer_norm", hidden, bias=True))
    return Body(hidden, (Stack("layers", [_layer(c, hidden, normed=normed)] * c.layers),), outside)


def _layer(c: Fields, hidden: int, *, normed: bool) -> Layer:
    """A layer whose values have a head for each query, whatever the keys have."""
    divide(c, "hidden_size", "num_attention_heads")
    heads, width = c.size("num_attention_heads"), c.size("intermediate_size")
    head_dim = c.size("head_dim") if c.given("head_dim") else hidden // heads
    keys = (c.optional("num_key_value_heads") or heads) * head_dim
    norms = (*norm("q_norm", head_dim, bias=True), *norm("k_norm", head_dim, bias=True))
    attention = (
        *linear("q_proj", hidden, heads * head_dim),
        *linear("k_proj", hidden, keys),
        *linear("v_proj", hidden, heads * head_dim),
        *linear("o_proj", heads * head_dim, hidden, bias=True),
        *(norms if normed else ()),
    )
    mlp = (*linear("fc1", hidden, width, bias=True), *linear("fc2", width, hidden, bias=True))
    return (
        Block(within("self_attn", attention)),
        layer_norm("layer_norm1", hidden),
        Block(within("mlp", mlp)),
        layer_norm("layer_norm2", hidden),
    )


def _timestamps(c: Fields) -> Body:
    """When each word was said, at a higher rate than what was said."""
    body, factor = _layers(c, normed=True), c.size("upsampling_factor")
    return body.beside(convolution("upsampler", (body.hidden, body.hidden, factor), bias=True))


def _diarization(c: Fields) -> Body:
    """Who speaks in each frame."""
    head, tower = c.part("head_config"), _encoder(c.part("audio_config"), normed=False)
    if head.size("audio_hidden_size") != tower.hidden:
        raise UnprovenError(f"config: {head.path}audio_hidden_size is not the hidden size of {c.path}audio_config")
    return tower.within("model.audio_tower").beside(_diarization_head(head, tower.hidden))


def _diarization_head(c: Fields, heard: int) -> Tensors:
    hidden, factor = c.size("hidden_size"), c.size("subsampling_factor")
    return (
        *linear("model.proj", heard, hidden, bias=True),
        *convolution("model.upsampler.conv", (hidden * factor, hidden, 3), bias=True),
        *linear("classifier.dense", hidden, hidden, bias=True),
        *linear("classifier.out_proj", hidden, c.size("num_speakers"), bias=True),
        *parameter("silence_embeds", heard),
    )


CLASSES: Final = {"Nemotron3_5TranscribeForConditionalGeneration": transcriber}
