"""Models that also write pictures: a VQGAN turns one into words of a codebook. Janus, Chameleon, Emu3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.families.blocks import Heads, attention, convolution, embedding, norm, within
from vramguard.memory.families.decoder import decoder, dense, divide, headed, pre_norm
from vramguard.memory.families.fields import MAX_LAYERS
from vramguard.memory.families.sight import Names, answers, seeing
from vramguard.memory.families.towers import dense as biased

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.memory.families.blocks import Network, Tensors
    from vramguard.memory.families.fields import Fields


class Pieces(NamedTuple):
    """What a VQGAN is made of, and at which of its levels it attends."""

    resnet: Callable[[int, int], Tensors]
    attends: Callable[[int], Tensors]  # of the channels; names relative to a level
    attended: Callable[[int], bool]


def conv(name: str, inputs: int, outputs: int, *kernel: int) -> Tensors:
    """A convolution with a bias."""
    return convolution(name, (outputs, inputs, *kernel), bias=True)


def resnet(inputs: int, outputs: int) -> Tensors:
    """Two convolutions with group norms, and a shortcut where the channels change."""
    return (
        *norm("norm1", inputs, bias=True),
        *conv("conv1", inputs, outputs, 3, 3),
        *norm("norm2", outputs, bias=True),
        *conv("conv2", outputs, outputs, 3, 3),
        *shortcut(inputs, outputs, 1, 1),
    )


def shortcut(inputs: int, outputs: int, *kernel: int) -> Tensors:
    """A convolution beside two others where the channels change."""
    return conv("nin_shortcut", inputs, outputs, *kernel) if inputs != outputs else ()


def convolved_attention(channels: int) -> Tensors:
    """Attention whose projections are convolutions of one pixel."""
    projections = (conv(name, channels, channels, 1, 1) for name in ("q", "k", "v", "proj_out"))
    return (*norm("norm", channels, bias=True), *(tensor for part in projections for tensor in part))


def multipliers(c: Fields) -> tuple[int, ...]:
    """Channels of each level, in multiples of the first's."""
    found = c.integers("channel_multiplier")
    if not found or min(found) < 1 or len(found) > MAX_LAYERS:
        raise UnprovenError(f"config: {c.path}channel_multiplier names no level, or one without channels")
    return found


def _down(c: Fields, pieces: Pieces) -> Iterator[Tensors]:
    """Levels of the encoder, each of which halves both sides but the last."""
    base, found = c.size("base_channels"), multipliers(c)
    inputs = base
    for level, times in enumerate(found):
        for _ in range(c.size("num_res_blocks", MAX_LAYERS)):
            yield within("block.*", pieces.resnet(inputs, base * times))
            inputs = base * times
            yield pieces.attends(inputs) if pieces.attended(level) else ()
        yield conv("downsample.conv", inputs, inputs, 3, 3) if level != len(found) - 1 else ()


def _up(c: Fields, pieces: Pieces) -> Iterator[Tensors]:
    """Levels of the decoder, each of which doubles both sides but the last."""
    base, found = c.size("base_channels"), multipliers(c)
    inputs = base * found[-1]
    for level, times in reversed([*enumerate(found)]):
        for _ in range(c.size("num_res_blocks", MAX_LAYERS) + 1):
            yield within("block.*", pieces.resnet(inputs, base * times))
            inputs = base * times
            yield pieces.attends(inputs) if pieces.attended(level) else ()
        yield conv("upsample.conv", inputs, inputs, 3, 3) if level else ()


def down(c: Fields, pieces: Pieces) -> Tensors:
    """All levels of the encoder."""
    return within("down.*", *_down(c, pieces))


def up(c: Fields, pieces: Pieces) -> Tensors:
    """All levels of the decoder."""
    return within("up.*", *_up(c, pieces))


def middle(channels: int, *, attention: bool = True) -> Tensors:
    """Between the levels and the codebook."""
    between = within("mid.attn_1", convolved_attention(channels)) if attention else ()
    return (
        *within("mid.block_1", resnet(channels, channels)),
        *between,
        *within("mid.block_2", resnet(channels, channels)),
    )


def written(c: Fields) -> int:
    """Channels that the encoder gives: twice as many where it gives a distribution."""
    return c.size("latent_channels") * (2 if c.flag("double_latent") else 1)


def encoder(c: Fields, pieces: Pieces, *, attention: bool = True) -> Tensors:
    """From a picture to vectors."""
    last = c.size("base_channels") * multipliers(c)[-1]
    return within(
        "encoder",
        conv("conv_in", c.size("in_channels"), c.size("base_channels"), 3, 3),
        down(c, pieces),
        middle(last, attention=attention),
        norm("norm_out", last, bias=True),
        conv("conv_out", last, written(c), 3, 3),
    )


def picture_decoder(c: Fields, pieces: Pieces) -> Tensors:
    """From vectors to a picture."""
    base, last = c.size("base_channels"), c.size("base_channels") * multipliers(c)[-1]
    narrow = base * multipliers(c)[0]
    return within(
        "decoder",
        conv("conv_in", c.size("latent_channels"), last, 3, 3),
        middle(last),
        up(c, pieces),
        norm("norm_out", narrow, bias=True),
        conv("conv_out", narrow, c.size("out_channels"), 3, 3),
    )


def codebook(c: Fields) -> Tensors:
    """Vectors of all words, and the convolutions to their width and back."""
    latent, width = c.size("latent_channels"), c.size("embed_dim")
    return (
        *embedding("quantize.embedding", c.size("num_embeddings"), width),
        *conv("quant_conv", latent, width, 1, 1),
        *conv("post_quant_conv", width, latent, 1, 1),
    )


def janus_vqgan(c: Fields) -> Tensors:
    """Janus: its VQGAN attends at the innermost level."""
    last = len(multipliers(c)) - 1
    pieces = Pieces(
        resnet, lambda channels: within("attn.*", convolved_attention(channels)), lambda level: level == last
    )
    return (*encoder(c, pieces), *codebook(c), *picture_decoder(c, pieces))


def _deepened(inputs: int, width: int, depth: int) -> Tensors:
    """A Linear to a width, and more of that width."""
    return (
        *biased("fc1", inputs, width),
        *(t for _ in range(1, depth) for t in biased("hidden_layers.*", width, width)),
    )


def _janus(c: Fields, _: int) -> Tensors:
    """Janus: one way in for pictures that it sees, another for those that it writes, and a head for their words."""
    seen, made = c.part("vision_config"), c.part("vq_config")
    words, vector, width = made.size("num_embeddings"), made.size("embed_dim"), made.size("projection_dim")
    head = (*biased("proj_out", made.size("image_token_embed_dim"), width), *biased("vision_head", width, words))
    sees = _deepened(seen.size("hidden_size"), seen.size("projection_dim"), seen.size("depth", MAX_LAYERS))
    return (
        *within("aligner", sees),
        *within("vqmodel", janus_vqgan(made)),
        *embedding("generation_embeddings", words, vector),
        *within("generation_aligner", _deepened(vector, width, made.size("num_hidden_layers", MAX_LAYERS))),
        *within("generation_head", head),
    )


def chameleon_vqgan(c: Fields) -> Tensors:
    """Chameleon: an encoder alone, which attends where a level's picture has a listed size."""
    vanilla, sizes, whole = c.text("attn_type") == "vanilla", c.integers("attn_resolutions"), c.size("resolution")
    pieces = Pieces(
        resnet,
        lambda channels: within("attn.*", convolved_attention(channels)),
        lambda level: vanilla and whole // 2**level in sizes,
    )
    return (*encoder(c, pieces, attention=vanilla), *codebook(c))


def chameleon(c: Fields) -> Network:
    """Chameleon: Llama whose queries and keys are normed for each head by weights of its own."""
    require_vocabulary(c)
    number, head_dim = c.size("num_attention_heads"), divide(c, "hidden_size", "num_attention_heads")
    kv_heads = c.optional("num_key_value_heads")
    if kv_heads is None or number % kv_heads:
        raise UnprovenError("config: num_attention_heads is no multiple of num_key_value_heads")
    heads, bias = Heads(c.size("hidden_size"), number, kv_heads, head_dim), c.flag("attention_bias")
    norms = tuple(
        Tensor(f"{name}.{kind}", (count, head_dim), kind="norm")
        for name, count in (("q_norm", number), ("k_norm", kv_heads))
        for kind in ("weight", "bias")
    )
    attends_ = [attention(heads, bias=bias, output_bias=bias, norms=norms)] * c.layers
    body = decoder(c, pre_norm(c, attends_, dense(c, bias=c.flag("mlp_bias"))))
    return headed(c, body.beside(within("vqmodel", chameleon_vqgan(c.part("vq_config")))).within("model"))


def require_vocabulary(c: Fields) -> None:
    """Refuse a config that does not say which tokens are parts of pictures: the class cannot be built from it."""
    if not isinstance(c.raw("vocabulary_map"), dict):
        raise UnprovenError("config: vocabulary_map is missing")


JANUS: Final = Names(tower="vision_model")
CLASSES: Final = {
    "JanusForConditionalGeneration": answers(seeing(_janus, JANUS)),
    "ChameleonForConditionalGeneration": chameleon,
}
