"""An encoder of one family with a decoder of another: of text, of pictures, of speech."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from vramguard.memory.architecture import Cache, UnprovenError
from vramguard.memory.families import bart, bert, gpt, opt, roberta, wav2vec2
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    conv1d,
    convolution,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.encoder import pooler
from vramguard.memory.families.fields import shown
from vramguard.memory.families.seq2seq import Projections, even_heads, joined, projected, refuse_one_sided

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vramguard.memory.architecture import Attention
    from vramguard.memory.families.blocks import Layer
    from vramguard.memory.families.fields import Fields

    Encoders = Mapping[str, Callable[[Fields], "Encoded"]]
    Crosses = Callable[[int], Layer]  # from the hidden size to the weights of cross attention


Part = TypeVar("Part")


class Encoded(NamedTuple):
    """An encoder: its body, the width that its config declares for its output, and how many vectors it gives."""

    body: Body
    width: int
    tokens: int | None = None  # None: as many as the prompt has


def composed(encoders: Encoders) -> Callable[[Fields], Network]:
    """A model of two models, with a projection between them where their widths differ."""

    def build(c: Fields) -> Network:
        refuse_one_sided(c)
        first, second = c.part("encoder"), c.part("decoder")
        encoder, decoder = _known(encoders, first), _known(DECODERS, second)
        body = _reads(decoder.body, encoder.tokens)
        asked = second.optional("cross_attention_hidden_size")
        if asked not in (None, encoder.body.hidden):
            raise UnprovenError(f"config: {second.path}cross_attention_hidden_size is not that of the encoder")
        between = encoder.width != body.hidden and asked is None
        bridge = linear("enc_to_dec_proj", encoder.body.hidden, body.hidden, bias=True) if between else ()
        return Network(joined(encoder.body, body, bridge), within("decoder", decoder.head), decoder.tied)

    return build


def _known(table: Mapping[str, Callable[[Fields], Part]], c: Fields) -> Part:
    if c.kind not in table:
        raise UnprovenError(f"config: {c.path}model_type {shown(c.kind)} is not supported as a part of two models")
    return table[c.kind](c)


def _reads(body: Body, tokens: int | None) -> Body:
    """A decoder whose layers keep what they read of the encoder."""

    def reading(layer: Layer) -> Layer:
        own = next(block.attention for block in layer if block.attention)
        return tuple(_kept(block, own, tokens) for block in layer)

    stacks = tuple(Stack(stack.path, [reading(layer) for layer in stack.layers]) for stack in body.stacks)
    return replace(body, stacks=stacks)


def _kept(block: Block, own: Attention, tokens: int | None) -> Block:
    name = block.tensors[0].name if block.tensors else ""
    if not name.startswith(("crossattention.", "encoder_attn.")):
        return block
    width = own.kv_heads * own.head_dim
    return block._replace(attention=own, cache=Cache(width, width, encoder=True, tokens=tokens))


def _crossed(network: Callable[[Fields], Network], cross: Crosses) -> Callable[[Fields], Network]:
    """A decoder that has cross attention only where the config asks for it."""

    def build(c: Fields) -> Network:
        if not c.flag("add_cross_attention") or (c.kind != "gpt2" and not c.flag("is_decoder")):
            raise UnprovenError(
                f"config: {c.path}add_cross_attention is not true, or {c.path}is_decoder: it cannot run"
            )
        built = network(c)
        extra = cross(built.body.hidden)
        # It stands after a layer's attention and the norm around it, before the MLP.
        (stack,) = built.body.stacks
        layers = [(*layer[:2], *extra, *layer[2:]) for layer in stack.layers]
        return built._replace(body=replace(built.body, stacks=(stack._replace(layers=layers),)))

    return build


def _crossing(network: Callable[[Fields], Network]) -> Callable[[Fields], Network]:
    """A decoder that has cross attention whatever the config says."""

    def build(c: Fields) -> Network:
        c.flag("add_cross_attention")
        return network(c)

    return build


def _bert_cross(hidden: int) -> Layer:
    inner = (linear(name, hidden, hidden, bias=True) for name in ("query", "key", "value"))
    output = (*linear("dense", hidden, hidden, bias=True), *norm("LayerNorm", hidden, bias=True))
    return (Block(within("crossattention", within("self", *inner), within("output", output))),)


def _gpt2_cross(hidden: int) -> Layer:
    tensors = (
        *conv1d("c_attn", hidden, 2 * hidden),
        *conv1d("q_attn", hidden, hidden),
        *conv1d("c_proj", hidden, hidden),
    )
    return (Block(within("crossattention", tensors)), layer_norm("ln_cross_attn", hidden))


def _pooled(body: Callable[[Fields], Body]) -> Callable[[Fields], Encoded]:
    """A BERT that reads: with the pooler that nothing here asks."""

    def build(c: Fields) -> Encoded:
        if c.flag("is_decoder") or c.flag("add_cross_attention"):
            raise UnprovenError(f"config: {c.path}is_decoder or {c.path}add_cross_attention is true in an encoder")
        whole = body(c).beside(pooler(c))
        return Encoded(whole, whole.hidden)

    return build


def _wav2vec2(c: Fields) -> Encoded:
    body = wav2vec2.wav2vec2(c)
    return Encoded(body, c.optional("output_hidden_size") or body.hidden)


def _vit(c: Fields) -> Encoded:
    """ViT: a picture in patches, one vector each and one for the whole."""
    heads, channels = even_heads(c, "hidden_size", "num_attention_heads"), c.size("num_channels")
    (height, width), patch = _sides(c, "image_size"), _sides(c, "patch_size")
    tokens = (height // patch[0]) * (width // patch[1]) + 1
    inner, bias = c.size("intermediate_size"), c.flag("qkv_bias")
    attention = projected(heads, Projections(output="o_proj"), bias=bias, output_bias=True)
    mlp = (*linear("fc1", heads.hidden, inner, bias=True), *linear("fc2", inner, heads.hidden, bias=True))
    layer = (
        Block(within("attention", attention)),
        layer_norm("layernorm_before", heads.hidden),
        layer_norm("layernorm_after", heads.hidden),
        Block(within("mlp", mlp)),
    )
    outside = (
        *parameter("embeddings.cls_token", 1, 1, heads.hidden),
        *parameter("embeddings.position_embeddings", 1, tokens, heads.hidden),
        *convolution("embeddings.patch_embeddings.projection", (heads.hidden, channels, *patch), bias=True),
        *norm("layernorm", heads.hidden, bias=True),
        *linear("pooler.dense", heads.hidden, c.optional("pooler_output_size") or heads.hidden, bias=True),
    )
    return Encoded(Body(heads.hidden, (Stack("layers", [layer] * c.layers),), outside), heads.hidden, tokens)


def _sides(c: Fields, key: str) -> tuple[int, int]:
    """Height and width, of which a config may give one for both."""
    sides = (c.size(key),) * 2 if type(c.raw(key)) is int else c.integers(key)
    if len(sides) != 2 or min(sides) < 1:  # noqa: PLR2004 - a picture has two
        raise UnprovenError(f"config: {c.path}{key} is {shown(c.raw(key))}, not a height and a width")
    return sides[0], sides[1]


_READERS: Final = {"bert": _pooled(bert.bert), "roberta": _pooled(roberta.roberta)}
DECODERS: Final = {
    "bert": _crossed(bert.CLASSES["BertLMHeadModel"], _bert_cross),
    "roberta": _crossed(roberta.CLASSES["RobertaForCausalLM"], _bert_cross),
    "gpt2": _crossed(gpt.CLASSES["GPT2LMHeadModel"], _gpt2_cross),
    "bart": _crossing(bart.CLASSES["BartForCausalLM"]),
    "mbart": _crossing(bart.CLASSES["MBartForCausalLM"]),
    "trocr": _crossing(opt.CLASSES["TrOCRForCausalLM"]),
}
CLASSES: Final = {
    "EncoderDecoderModel": composed(_READERS),
    "VisionEncoderDecoderModel": composed({"vit": _vit}),
    "SpeechEncoderDecoderModel": composed({"wav2vec2": _wav2vec2}),
}
