"""BART and the encoder-decoders that follow it: they differ in positions, in where norms stand and in the encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    buffer,
    embedding,
    layer_norm,
    linear,
    norm,
    within,
)
from vramguard.memory.families.decoder import headed
from vramguard.memory.families.fields import shown
from vramguard.memory.families.seq2seq import (
    crosses,
    decodes,
    depth,
    embeddings,
    encodes,
    even_heads,
    generator,
    joined,
    projected,
    without_encoder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.families.blocks import Heads, Layer, Tensors
    from vramguard.memory.families.decoder import Bodies
    from vramguard.memory.families.fields import Fields

    Attends = Callable[[Fields, Heads], Block]

LEARNED, BUFFER, COMPUTED = "learned", "buffer", "computed"  # positions: a weight, a buffer, made on the way


class Traits(NamedTuple):
    """What tells one family that follows BART from another."""

    positions: str = LEARNED
    offset: int = 0  # rows of the table of positions before the first
    first_norm: bool = False  # after the embedding
    last_norm: bool = False  # after the layers
    biased: Callable[[Fields], bool] = lambda _: True  # projections of the decoder's attention
    key_bias: bool | None = None  # of the keys, where it is not that of the others
    encoder: Attends | None = None  # attention of the encoder, where it is another than the decoder's
    source: Callable[[Fields], int | None] = lambda _: None  # length of the encoder's output, where it is fixed
    contexts: tuple[str, str] = ("max_position_embeddings", "max_position_embeddings")


def base(traits: Traits) -> Bodies:
    """Base model of a family."""

    def build(c: Fields) -> Body:
        encoder, decoder = encoder_side(c, traits), decoder_side(c, traits)
        return joined(encoder, decoder, embeddings(decoder.hidden, decoder.vocab, tied=c.flag("tie_word_embeddings")))

    return build


def encoder_side(c: Fields, traits: Traits) -> Body:
    """The encoder, its embedding left out."""
    heads = even_heads(c, "d_model", "encoder_attention_heads")
    attention = encodes("self_attn", projected(heads), heads) if traits.encoder is None else traits.encoder(c, heads)
    layer = (attention, layer_norm("self_attn_layer_norm", heads.hidden), *feed_forward(c, "encoder_ffn_dim"))
    return side(c, [layer] * depth(c, "encoder_layers"), traits, traits.contexts[0])


def decoder_side(c: Fields, traits: Traits) -> Body:
    """The decoder, its embedding left out."""
    heads = even_heads(c, "d_model", "decoder_attention_heads")
    tensors = projected(heads, bias=traits.biased(c), key_bias=traits.key_bias)
    layer = (
        decodes("self_attn", tensors, heads),
        layer_norm("self_attn_layer_norm", heads.hidden),
        crosses("encoder_attn", tensors, heads, traits.source(c)),
        layer_norm("encoder_attn_layer_norm", heads.hidden),
        *feed_forward(c, "decoder_ffn_dim"),
    )
    return side(c, [layer] * depth(c, "decoder_layers"), traits, traits.contexts[1])


def feed_forward(c: Fields, width: str) -> Layer:
    """An MLP beside the attention, and the norm after it."""
    hidden, inner = c.size("d_model"), c.size(width)
    mlp = Block((*linear("fc1", hidden, inner, bias=True), *linear("fc2", inner, hidden, bias=True)))
    return (mlp, layer_norm("final_layer_norm", hidden))


def side(c: Fields, layers: Sequence[Layer], traits: Traits, context: str) -> Body:
    """Layers with their positions and norms: an encoder or a decoder without its embedding."""
    hidden, positions = c.size("d_model"), c.size(context)
    outside: Tensors = norm("layernorm_embedding", hidden, bias=True) if traits.first_norm else ()
    if traits.last_norm:
        outside = (*outside, *norm("layer_norm", hidden, bias=True))
    table = positions + traits.offset
    learned = traits.positions == LEARNED
    return Body(
        hidden=hidden,
        stacks=(Stack("layers", layers),),
        outside=(*outside, *(embedding("embed_positions", table, hidden) if learned else ())),
        buffers=sinusoids("embed_positions", table, hidden) if traits.positions == BUFFER else (),
        vocab=c.size("vocab_size"),
        context=positions,
        learned_positions=learned,
    )


def sinusoids(name: str, rows: int, hidden: int) -> Tensors:
    """A table of positions that are computed once; it grows where a prompt is longer."""
    return buffer(f"{name}.weights", rows, hidden)


def only_decoder(traits: Traits, *, tied: bool = True) -> Callable[[Fields], Network]:
    """A ...ForCausalLM: the decoder alone, in which cross attention has weights and no work.

    `tied` says whether the class can tie its head at all.
    """

    def build(c: Fields) -> Network:
        return alone(c, decoder_side(c, traits), tied=tied)

    return build


def alone(c: Fields, decoder: Body, head: str = "lm_head", *, tied: bool = True) -> Network:
    """A decoder that serves as a language model without its encoder."""
    layers = tuple(Stack(s.path, [_encoderless(layer) for layer in s.layers]) for s in decoder.stacks)
    tokens = embedding("embed_tokens", decoder.vocab, decoder.hidden)
    body = replace(decoder, stacks=layers).beside(tokens).within("model.decoder")
    if not tied:
        return Network(body, linear(head, body.hidden, body.vocab))
    return headed(c, body, head)


def _encoderless(layer: Layer) -> Layer:
    return tuple(without_encoder(block) if block.cache and block.cache.encoder else block for block in layer)


def _mvp(c: Fields) -> Body:
    """MVP: BART whose decoder may see a prompt that is learned, for each of its attentions.

    The encoder was meant to have one too; its constructor takes the switch for an embedding and ignores it.
    """
    body = base(BART)(c)
    if not c.flag("use_prompt"):
        return body
    inner, layers = c.size("prompt_mid_dim"), depth(c, "decoder_layers")
    prompt = (
        *embedding("prompt_embedding", c.size("prompt_length"), body.hidden),
        *linear("prompt_trans.*", body.hidden, inner, bias=True),
        *linear("prompt_trans.*", inner, 2 * layers * body.hidden, bias=True),
    )
    return body.beside(within("decoder.self_attn_prompt", prompt), within("decoder.cross_attn_prompt", prompt))


def _mvp_alone(c: Fields) -> Network:
    """MVP's decoder alone has no prompts, whatever the config says."""
    c.flag("use_prompt")
    return only_decoder(BART)(c)


def _big_bird(c: Fields, heads: Heads) -> Block:
    """BigBird's attention: to everything or to blocks, with the same weights."""
    if c.text("attention_type") not in ("original_full", "block_sparse"):
        raise UnprovenError(f"config: attention_type is {shown(c.text('attention_type'))}, which is not known")
    bias, hidden = c.flag("use_bias"), heads.hidden
    inner = (linear(name, hidden, hidden, bias=bias) for name in ("query", "key", "value"))
    return encodes("self_attn", (*within("self", *inner), *linear("output", hidden, hidden, bias=bias)), heads)


def _longformer(c: Fields, heads: Heads) -> Block:
    """Longformer's attention: every projection of the input twice, once for tokens that see everything."""
    _check_windows(c)
    names = [f"{name}{kind}" for kind in ("", "_global") for name in ("query", "key", "value")]
    inner = (linear(name, heads.hidden, heads.hidden, bias=True) for name in names)
    output = linear("output", heads.hidden, heads.hidden, bias=True)
    return encodes("self_attn", (*within("longformer_self_attn", *inner), *output), heads)


def _check_windows(c: Fields) -> None:
    """Raise where transformers would: a window for each layer of the encoder, or one for all, every one even."""
    one, layers = type(c.raw("attention_window")) is int, depth(c, "encoder_layers")
    windows = (c.size("attention_window"),) * layers if one else c.integers("attention_window")
    if len(windows) != layers or any(size < 1 or size % 2 for size in windows):
        raise UnprovenError(f"config: attention_window is not {layers} positive even numbers, or one")


def _pegasus_x(c: Fields) -> Body:
    """PEGASUS-X: its encoder has tokens of its own that see everything, and a norm for them in every layer."""
    body = base(PEGASUS_X)(c)
    return body.beside(embedding("encoder.embed_global", c.size("num_global_tokens"), body.hidden))


def _blocks_and_globals(c: Fields, heads: Heads) -> Block:
    """Attention within blocks and to those tokens, whose norm stands beside it."""
    block = encodes("self_attn", projected(heads, bias=False), heads)
    return block._replace(tensors=(*block.tensors, *norm("global_self_attn_layer_norm", c.size("d_model"), bias=True)))


BART: Final = Traits(offset=2, first_norm=True)
MBART: Final = Traits(offset=2, first_norm=True, last_norm=True)
PEGASUS: Final = Traits(last_norm=True)
BLENDERBOT_SMALL: Final = Traits(first_norm=True)
BIG_BIRD: Final = Traits(first_norm=True, biased=lambda c: c.flag("use_bias"), encoder=_big_bird)
LED: Final = Traits(
    first_norm=True,
    encoder=_longformer,
    contexts=("max_encoder_position_embeddings", "max_decoder_position_embeddings"),
)
PEGASUS_X: Final = Traits(positions=COMPUTED, last_norm=True, biased=lambda _: False, encoder=_blocks_and_globals)

BODIES: Final = {
    "bart": base(BART),
    "mbart": base(MBART),
    "pegasus": base(PEGASUS),
    "blenderbot": base(PEGASUS),  # learned positions, for which weights make no difference
    "blenderbot-small": base(BLENDERBOT_SMALL),
    "mvp": _mvp,
    "plbart": base(BART),
    "bigbird_pegasus": base(BIG_BIRD),
    "led": base(LED),
    "pegasus_x": _pegasus_x,
}
CLASSES: Final = {
    "BartForConditionalGeneration": generator(base(BART), biased=True),
    "BartForCausalLM": only_decoder(BART),
    "MBartForConditionalGeneration": generator(base(MBART), biased=True),
    "MBartForCausalLM": only_decoder(MBART),
    "PegasusForConditionalGeneration": generator(base(PEGASUS), biased=True),
    "PegasusForCausalLM": only_decoder(PEGASUS),
    "BlenderbotForConditionalGeneration": generator(base(PEGASUS), biased=True),
    "BlenderbotForCausalLM": only_decoder(PEGASUS),
    "BlenderbotSmallForConditionalGeneration": generator(base(BLENDERBOT_SMALL), biased=True),
    "BlenderbotSmallForCausalLM": only_decoder(BLENDERBOT_SMALL),
    "MvpForConditionalGeneration": generator(_mvp, biased=True),
    "MvpForCausalLM": _mvp_alone,
    "PLBartForConditionalGeneration": generator(base(BART), biased=True),
    "PLBartForCausalLM": only_decoder(BART),
    "BigBirdPegasusForConditionalGeneration": generator(base(BIG_BIRD), biased=True),
    "BigBirdPegasusForCausalLM": only_decoder(BIG_BIRD, tied=False),
    "LEDForConditionalGeneration": generator(base(LED), "led", biased=True),
    "PegasusXForConditionalGeneration": generator(_pegasus_x),
}
