"""Language models that listen: a tower hears, a projector turns what it heard into tokens of the text model."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import Body, buffer, linear, norm, parameter, within
from vramguard.memory.families.decoder import headed
from vramguard.memory.families.fields import MAX_SIZE, Fields, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.blocks import Network, Tensors


class Listener(NamedTuple):
    """How one family connects what it hears with what it says."""

    projector: Callable[[Fields, Fields, int], Tensors]  # of the config, the tower's config and the text's hidden size
    tied: bool | None = False  # a class without tied weights never ties; None: as the config says
    overlaid: bool = False  # a given text_config is laid over the class's defaults for it, not over its own


def listens(family: Listener) -> Callable[[Fields], Network]:
    """A ...ForConditionalGeneration of a tower, a projector and a text model."""

    def build(c: Fields) -> Network:
        text = body_of(overlaid(c, "text_config") if family.overlaid else c.part("text_config"))
        audio = c.part("audio_config")
        tower = body_of(audio).within("audio_tower")
        projector = within("multi_modal_projector", family.projector(c, audio, text.hidden))
        return headed(c, text.within("language_model").beside(tower, projector).within("model"), tied=family.tied)

    return build


def overlaid(c: Fields, key: str) -> Fields:
    """A part whose given keys are laid over what the outer class defaults to."""
    part = c.part(key)
    defaults = c.table[c.kind]["parts"][key].get("defaults", {})
    c.parts[key] = replace(part, config={**defaults, **part.config})
    return c.parts[key]


def two_linears(inputs: int, middle: int, outputs: int, *, bias: bool) -> Tensors:
    """Two projections with an activation between them."""
    return (*linear("linear_1", inputs, middle, bias=bias), *linear("linear_2", middle, outputs, bias=bias))


def _stacked_frames(_: Fields, audio: Fields, hidden: int) -> Tensors:
    """Voxtral: four frames side by side, which the config calls the tower's intermediate size."""
    return two_linears(audio.size("intermediate_size"), hidden, hidden, bias=False)


def _one_frame(c: Fields, audio: Fields, hidden: int) -> Tensors:
    """Audio Flamingo 3: one vector of the tower is one token."""
    return two_linears(audio.size("hidden_size"), hidden, hidden, bias=c.flag("projector_bias"))


def _widened(_: Fields, audio: Fields, hidden: int) -> Tensors:
    """GLM-ASR: frames side by side, as many as make up the tower's intermediate size, through a wide middle."""
    return two_linears(audio.size("intermediate_size"), 2 * hidden, hidden, bias=True)


def _merged(c: Fields, audio: Fields, hidden: int) -> Tensors:
    """MOSS: a stated number of frames side by side, and a norm after the projector."""
    inputs, bias = audio.size("hidden_size") * c.size("audio_merge_size"), c.flag("projector_bias")
    return (*two_linears(inputs, hidden, hidden, bias=bias), *norm("norm", hidden, bias=True))


def _of_the_tower(_: Fields, audio: Fields, _hidden: int) -> Tensors:
    """Qwen3-ASR: the tower says how wide its output is, which must be the text's width."""
    width, output = audio.size("d_model"), audio.size("output_dim")
    return two_linears(width, width, output, bias=True)


def music_flamingo(c: Fields) -> Network:
    """Music Flamingo: Audio Flamingo with rotary positions of time, for which it keeps a table of angles."""
    given = c.raw("audio_config")
    if isinstance(given, dict) and given.get("model_type") in (None, "musicflamingo_encoder"):
        c.parts["audio_config"] = Fields("audioflamingo3_encoder", given, c.table, f"{c.path}audio_config.")
    network = listens(Listener(_one_frame))(c)
    rows, width = _angles(c, c.part("audio_config").size("hidden_size"))
    return network._replace(
        body=network.body.beside(Body(0, buffers=buffer("model.pos_emb.position_angles", rows, width)))
    )


def _angles(c: Fields, head_dim: int) -> tuple[int, int]:
    """Rows and width of the table: as many rows as theta says, a share of the tower's hidden size wide."""
    rope = c.raw("rope_parameters") or {}
    known = {"rope_type", "rope_theta", "partial_rotary_factor"}
    if not isinstance(rope, dict) or {*rope} - known or rope.get("rope_type", "default") != "default":
        raise UnprovenError(f"config: rope_parameters is {shown(rope)}, which is not supported for {c.kind}")
    for key in ("rope_scaling", "rope_theta", "partial_rotary_factor", "max_position_embeddings", "head_dim"):
        if c.raw(key) is not None:
            raise UnprovenError(f"config: {key} is not supported for {c.kind} beside rope_parameters")
    theta, share = rope.get("rope_theta", 1200.0), rope.get("partial_rotary_factor", 0.2)
    if not all(isinstance(value, int | float) and 0 < value <= MAX_SIZE for value in (theta, share)):
        raise UnprovenError(f"config: rope_parameters is {shown(rope)}, not of positive numbers")
    return int(theta), 2 * -(-int(head_dim * share) // 2)


def granite_speech(c: Fields) -> Network:
    """Granite Speech: a Q-Former asks about each window of what was heard.

    Its adapter of low rank is in a file of its own, which no config describes.
    """
    if c.flag("has_lora_adapter"):
        raise UnprovenError("config: has_lora_adapter is true, and the config does not say how large the adapter is")
    audio, former = c.part("encoder_config"), c.part("projector_config")
    _check_joined(audio, former)
    asks, text = body_of(former), body_of(c.part("text_config"))
    queries = c.size("window_size") // c.size("downsample_rate")
    around = (*parameter("query", 1, queries, asks.hidden), *linear("linear", asks.hidden, text.hidden, bias=True))
    projector = asks.within("qformer").beside(around).within("projector")
    whole = text.within("language_model").beside(body_of(audio).within("encoder"), projector)
    return headed(c, whole.within("model"))


def _check_joined(audio: Fields, former: Fields) -> None:
    """Raise where the Q-Former does not expect as many layers' output side by side as the encoder gives."""
    joined = audio.integers("cat_hidden_layers")
    if not joined and audio.raw("cat_hidden_layers") is None:
        return
    layers, width = audio.size("num_layers"), audio.size("hidden_dim") * (len(joined) + 1)
    if any(not 0 <= layer < layers for layer in joined) or former.size("encoder_hidden_size") != width:
        raise UnprovenError(f"config: {audio.path}cat_hidden_layers and {former.path}encoder_hidden_size contradict")


def vibevoice_asr(c: Fields) -> Network:
    """VibeVoice ASR: two tokenizers hear the same wave, what it sounds like and what it means."""
    text, bodies, projector = body_of(c.part("text_config")), [], []
    for sense in ("acoustic", "semantic"):
        tokenizer = body_of(c.part(f"{sense}_tokenizer_encoder_config"))
        bodies.append(tokenizer.within(f"{sense}_tokenizer_encoder"))
        projector += [
            linear(f"{sense}_linear_1", tokenizer.hidden, text.hidden, bias=True),
            norm(f"{sense}_norm", text.hidden),
            linear(f"{sense}_linear_2", text.hidden, text.hidden, bias=True),
        ]
    hop = prod(c.part("acoustic_tokenizer_encoder_config").integers("downsampling_ratios"))
    if c.size("acoustic_tokenizer_chunk_size") % hop:
        raise UnprovenError(f"config: acoustic_tokenizer_chunk_size is no multiple of {hop}, the product of all ratios")
    whole = text.within("language_model").beside(*bodies, within("multi_modal_projector", *projector))
    return headed(c, whole.within("model"), tied=False)


def voxtral_realtime(c: Fields) -> Network:
    """Voxtral Realtime: the tower caches too, several frames for each token, which no Cache can say yet."""
    raise UnprovenError(
        f"config: model_type {c.kind} has an encoder with a cache of its own, which is not supported yet"
    )


QWEN2_AUDIO: Final = Listener(lambda _, audio, hidden: linear("linear", audio.size("d_model"), hidden, bias=True))

CLASSES: Final = {
    "Qwen2AudioForConditionalGeneration": listens(QWEN2_AUDIO),
    "VoxtralForConditionalGeneration": listens(Listener(_stacked_frames, overlaid=True)),
    "VoxtralRealtimeForConditionalGeneration": voxtral_realtime,
    "AudioFlamingo3ForConditionalGeneration": listens(Listener(_one_frame)),
    "MusicFlamingoForConditionalGeneration": music_flamingo,
    "GraniteSpeechForConditionalGeneration": granite_speech,
    "GraniteSpeechPlusForConditionalGeneration": granite_speech,
    "VibeVoiceAsrForConditionalGeneration": vibevoice_asr,
    "GlmAsrForConditionalGeneration": listens(Listener(_widened, tied=None, overlaid=True)),
    "Qwen3ASRForConditionalGeneration": listens(Listener(_of_the_tower, tied=None)),
    "MossTranscribeDiarizeForConditionalGeneration": listens(Listener(_merged, tied=None)),
}
