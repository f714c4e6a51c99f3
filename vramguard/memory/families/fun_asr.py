"""Fun-ASR Nano: an encoder with a convolution beside the values of each attention, an adaptor, and Qwen 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import Block, Body, Stack, buffer, convolution, layer_norm, within
from vramguard.memory.families.sight import answers
from vramguard.memory.families.towers import dense, two_linears

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer
    from vramguard.memory.families.fields import Fields


def encoder(c: Fields) -> Body:
    """The encoder: its first layer takes stacked frames in; a norm ends what transcribes and what times the words."""
    frames = c.size("num_mel_bins") * c.size("num_stacked_frames")
    ends = (c.layers - 1, c.layers - c.count("num_timestamp_prediction_layers") - 1)
    hidden = c.size("hidden_size")
    gate = convolution("self_attn.fsmn.conv", (hidden, 1, c.size("fsmn_kernel_size")))
    last = layer_norm("final_layernorm", hidden)
    layers: list[Layer] = []
    for i in range(c.layers):
        layer = (*_layer(c, frames if i == 0 else hidden), Block(gate))
        layers.append((*layer, last) if i in ends else layer)
    table = buffer("position_embeddings.positional_embedding", c.size("max_position_embeddings"), frames)
    return Body(hidden, (Stack("layers", layers),), buffers=table)


def _layer(c: Fields, inputs: int) -> Layer:
    """A layer whose projections take `inputs` in."""
    hidden = c.size("hidden_size")
    queries = tuple(tensor for name in ("q_proj", "k_proj", "v_proj") for tensor in dense(name, inputs, hidden))
    return (
        layer_norm("input_layernorm", inputs),
        Block(within("self_attn", queries, dense("o_proj", hidden, hidden))),
        layer_norm("post_attention_layernorm", hidden),
        two_linears(hidden, c.size("intermediate_size")),
    )


def fun_asr(c: Fields) -> Body:
    """The whole; between encoder and text stand two projections and layers that see both ways."""
    text, audio, adaptor = body_of(c.part("text_config")), c.part("audio_config"), c.part("adaptor_config")
    hidden, middle = adaptor.size("hidden_size"), adaptor.size("projector_hidden_size")
    if hidden != text.hidden:
        raise UnprovenError("config: adaptor_config.hidden_size differs from text_config.hidden_size")
    outside = (*dense("linear_1", audio.size("hidden_size"), middle), *dense("linear_2", middle, hidden))
    projector = Body(hidden, (Stack("layers", [_layer(adaptor, hidden)] * adaptor.layers),), outside)
    return text.within("language_model").beside(
        body_of(audio).within("audio_tower"), projector.within("multi_modal_projector")
    )


BODIES: Final = {"fun_asr_nano_encoder": encoder}
CLASSES: Final = {"FunAsrNanoForConditionalGeneration": answers(fun_asr)}
