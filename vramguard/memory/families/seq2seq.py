"""Encoders and decoders that belong together: what each layer attends to, what it keeps, and which weights both share.

An encoder's layer keeps nothing. A decoder's layer keeps the keys and values of its own tokens and, in cross attention,
those of the encoder's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import Cache, UnprovenError
from vramguard.memory.families import blocks
from vramguard.memory.families.blocks import Block, Body, Heads, Network, Tensors
from vramguard.memory.families.decoder import divide, headed
from vramguard.memory.families.fields import MAX_LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.decoder import Bodies
    from vramguard.memory.families.fields import Fields


class Projections(NamedTuple):
    """Names of an attention's four projections."""

    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    output: str = "out_proj"


BART: Final = Projections()


def even_heads(c: Fields, hidden: str, heads: str) -> Heads:
    """Geometry of an attention whose heads share the hidden size evenly; arguments are the keys."""
    number = c.size(heads)
    return Heads(c.size(hidden), number, number, divide(c, hidden, heads))


def depth(c: Fields, key: str) -> int:
    """Number of layers that a key counts."""
    return c.size(key, MAX_LAYERS)


def projected(
    heads: Heads,
    names: Projections = BART,
    *,
    bias: bool = True,
    key_bias: bool | None = None,
    output_bias: bool | None = None,
    source: int | None = None,
) -> Tensors:
    """Four projections; keys and values are those of vectors of the width `source`, where it is not the hidden size."""
    width = heads.hidden if source is None else source
    return (
        *blocks.linear(names.query, heads.hidden, heads.query, bias=bias),
        *blocks.linear(names.key, width, heads.key, bias=bias if key_bias is None else key_bias),
        *blocks.linear(names.value, width, heads.key, bias=bias),
        *blocks.linear(names.output, heads.query, heads.hidden, bias=bias if output_bias is None else output_bias),
    )


def encodes(name: str, tensors: Tensors, heads: Heads) -> Block:
    """Attention of an encoder's layer: it sees the whole prompt and keeps nothing."""
    return Block(blocks.within(name, tensors), heads.role())


def decodes(name: str, tensors: Tensors, heads: Heads, window: int | None = None) -> Block:
    """Attention of a decoder's layer to its own tokens, which it keeps."""
    return Block(blocks.within(name, tensors), heads.role(window), heads.cache(window))


def crosses(name: str, tensors: Tensors, heads: Heads, tokens: int | None = None) -> Block:
    """Attention to what the encoder gave, which is kept; `tokens` is its length where no prompt decides it."""
    return Block(blocks.within(name, tensors), heads.role(), Cache(heads.key, heads.key, encoder=True, tokens=tokens))


def without_encoder(block: Block) -> Block:
    """Cross attention where there is no encoder: its weights are there, and nothing passes them."""
    return block._replace(attention=None, cache=None)


def joined(encoder: Body, decoder: Body, shared: Tensors = ()) -> Body:
    """Base model of an encoder, a decoder and what they share.

    Its context is the longest prompt that either side takes, of which a tower takes none; a position beyond it fails
    where all that take one have learned theirs.
    """
    return replace(
        encoder.within("encoder").beside(decoder.within("decoder"), shared),
        hidden=decoder.hidden,
        vocab=decoder.vocab,
        context=max(encoder.context, decoder.context),
        learned_positions=decoder.learned_positions and (encoder.learned_positions or not encoder.context),
        sizes={**encoder.sizes, **decoder.sizes},
    )


def embeddings(hidden: int, vocab: int, *, tied: bool, name: str = "embed_tokens", shared: str = "shared") -> Tensors:
    """Embeddings of a base model: one for both sides, or three where they are not tied, of which one is idle."""
    table = blocks.embedding(shared, vocab, hidden)
    if tied:
        return table
    own = (blocks.embedding(f"{side}.{name}", vocab, hidden) for side in ("encoder", "decoder"))
    return (*table, *(tensor for tensors in own for tensor in tensors))


def numbered_experts(number: int, chosen: int, expert: Tensors) -> Tensors:
    """Experts that are modules of their own, called expert_0 and so on; a token passes the `chosen` first."""
    return tuple(
        tensor._replace(name=f"experts.expert_{i}.{tensor.name}", idle=tensor.elements if i >= chosen else 0)
        for i in range(number)
        for tensor in expert
    )


def refuse_one_sided(c: Fields) -> None:
    """Raise where the config says that it has no encoder: its decoder would keep one cache for both attentions."""
    if not c.flag("is_encoder_decoder"):
        raise UnprovenError(f"config: {c.path}is_encoder_decoder is false, which is not supported for {c.kind}")


def logits_bias(body: Body) -> Body:
    """Add the bias of the logits, which is no weight but a buffer."""
    return replace(body, buffers=(*body.buffers, *blocks.buffer("final_logits_bias", 1, body.vocab)))


def generator(
    body: Bodies, prefix: str = "model", head: str = "lm_head", *, biased: bool = False
) -> Callable[[Fields], Network]:
    """A ...ForConditionalGeneration: an encoder, a decoder and a head that may be their embedding."""

    def build(c: Fields) -> Network:
        refuse_one_sided(c)
        whole = body(c).within(prefix) if prefix else body(c)
        return headed(c, logits_bias(whole) if biased else whole, head)

    return build
