"""Emu3: Llama that sees and writes pictures and films, by the words of a VQGAN with time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import embedding, norm, within
from vramguard.memory.families.decoder import headed
from vramguard.memory.families.fields import MAX_LAYERS
from vramguard.memory.families.llama import llama
from vramguard.memory.families.sight import answers
from vramguard.memory.families.towers import attends, hidden_of
from vramguard.memory.families.vqgan import (
    Pieces,
    conv,
    down,
    multipliers,
    require_vocabulary,
    resnet,
    shortcut,
    up,
    written,
)

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Network, Tensors
    from vramguard.memory.families.fields import Fields


def emu3(c: Fields) -> Body:
    """Emu3: the text model and the VQGAN beside each other."""
    require_vocabulary(c)
    text = body_of(c.part("text_config"))
    return text.within("text_model").beside(within("vqmodel", vqgan(c.part("vq_config"))))


def text_only(c: Fields) -> Network:
    """Emu3ForCausalLM, whose config may be that of the whole, of which it takes the text part."""
    text = c.part("text_config") if c.has_part("text_config") else c
    return headed(text, llama(text).within("model"))


def vqgan(c: Fields) -> Tensors:
    """The VQGAN: its decoder norms by what it decodes; frames are merged before the codebook and split after it."""
    latent, width = c.size("latent_channels"), c.size("embed_dim")
    return (
        *within("encoder", _encoder(c)),
        *within("decoder", _decoder(c)),
        *embedding("quantize.embedding", c.size("codebook_size"), width),
        *conv("quant_conv.conv", latent, width, 3, 1, 1),
        *conv("post_quant_conv.conv", width, latent, 3, 1, 1),
    )


def _encoder(c: Fields) -> Tensors:
    base, outputs = c.size("base_channels"), written(c)
    last = base * multipliers(c)[-1]
    return (
        *conv("conv_in", c.size("in_channels"), base, 3, 3),
        *within("down_block", down(c, _pieces(c, None))),
        *_middle(c, last, None),
        *norm("norm_out", last, bias=True),
        *conv("conv_out", last, outputs, 3, 3),
        *_through_time(c, outputs, (4, 3, 3)),
    )


def _decoder(c: Fields) -> Tensors:
    base, latent, quant = c.size("base_channels"), c.size("latent_channels"), c.size("embed_dim")
    last, first = base * multipliers(c)[-1], base * multipliers(c)[0]
    return (
        *_through_time(c, latent, (3, 3, 3)),
        *conv("conv_in", latent, last, 3, 3),
        *_middle(c, last, quant),
        *within("up_block", up(c, _pieces(c, quant))),
        *_spatial_norm("norm_out", first, quant),
        *conv("conv_out", first, c.size("out_channels"), 3, 3),
    )


def _pieces(c: Fields, quant: int | None) -> Pieces:
    listed = c.integers("attn_resolutions")
    return Pieces(
        lambda inputs, outputs: _resnet(inputs, outputs, quant),
        lambda channels: (*within("attn.*", attends(hidden_of(c))), *_norm("attn_norms.*", channels, quant)),
        lambda level: level in listed,
    )


def _resnet(inputs: int, outputs: int, quant: int | None) -> Tensors:
    if quant is None:
        return resnet(inputs, outputs)
    return (
        *_spatial_norm("norm1", inputs, quant),
        *conv("conv1", inputs, outputs, 3, 3),
        *_spatial_norm("norm2", outputs, quant),
        *conv("conv2", outputs, outputs, 3, 3),
        *shortcut(inputs, outputs, 1, 1),
    )


def _norm(name: str, channels: int, quant: int | None) -> Tensors:
    return norm(name, channels, bias=True) if quant is None else _spatial_norm(name, channels, quant)


def _spatial_norm(name: str, channels: int, quant: int) -> Tensors:
    """A group norm scaled and shifted by what is decoded."""
    scaled = (conv(side, quant, channels, 1, 1) for side in ("conv_y", "conv_b"))
    return within(name, norm("norm_layer", channels, bias=True), *scaled)


def _middle(c: Fields, channels: int, quant: int | None) -> Tensors:
    return within(
        "middle_block",
        within("block_1", _resnet(channels, channels, quant)),
        within("attn_1", attends(hidden_of(c))),
        _norm("attn_norm", channels, quant),
        within("block_2", _resnet(channels, channels, quant)),
    )


def _through_time(c: Fields, channels: int, kernel: tuple[int, int, int]) -> Tensors:
    """Convolutions that halve or double the number of frames, and some that leave it."""
    halvings = c.size("temporal_downsample_factor").bit_length() - 1  # as many whole halvings as the factor holds
    block = (
        *norm("norm1", channels, bias=True),
        *conv("conv1.conv", channels, channels, 3, 3, 3),
        *norm("norm2", channels, bias=True),
        *conv("conv2.conv", channels, channels, 3, 3, 3),
    )
    return (
        *(t for _ in range(halvings) for t in conv("time_conv.*.conv.conv", channels, channels, *kernel)),
        *(t for _ in range(c.size("num_res_blocks", MAX_LAYERS)) for t in within("time_res_stack.*", block)),
    )


BODIES: Final = {"emu3_text_model": llama}
CLASSES: Final = {
    "Emu3ForConditionalGeneration": answers(emu3, "text_model"),
    "Emu3ForCausalLM": text_only,
}
