"""From the keys that most encoders share to blocks: BERT's layer, the tables before it, and heads that predict tokens.

An encoder reads the whole prompt at once and caches nothing. Those that may be decoders too (`is_decoder`) cache then,
and wherever generate() runs them, which gives every class that writes a cache.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import blocks
from vramguard.memory.families.blocks import Block, Body, Layer, Network, Stack, Tensors, within
from vramguard.memory.families.decoder import even_heads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.families.blocks import Heads
    from vramguard.memory.families.decoder import Bodies
    from vramguard.memory.families.fields import Fields

PROJECTIONS: Final = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
NORMS: Final = ("attention.output.LayerNorm", "output.LayerNorm")


class Head(NamedTuple):
    """What predicts tokens: a transform, then a decoder with a bias, which is the weight `bias` where they are tied."""

    transform: Tensors
    decoder: str
    inputs: int  # features that the decoder reads
    bias: str = ""  # empty where the decoder's bias is its own
    first: bool = False  # the class builds it before its body, so that a tied weight goes by the head's name


def dense(name: str, inputs: int, outputs: int) -> Tensors:
    """A Linear with a bias, as nearly all of an encoder's are."""
    return blocks.linear(name, inputs, outputs, bias=True)


def layer_norm(name: str, width: int) -> Tensors:
    """A norm with a scale and a bias, for use inside a module."""
    return blocks.norm(name, width, bias=True)


def attends(c: Fields, heads: Heads, names: tuple[str, str, str, str] = PROJECTIONS, *more: Tensors) -> Block:
    """Attention of one layer; `more` are further weights of it. It caches where the config makes it a decoder."""
    block = blocks.named_attention(heads, names, cached=c.flag("is_decoder"))
    return block._replace(tensors=(*block.tensors, *(tensor for part in more for tensor in part)))


def feeds(c: Fields) -> Block:
    """Two Linears."""
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    return Block((*dense("intermediate.dense", hidden, width), *dense("output.dense", width, hidden)))


def bert_layer(c: Fields, *more: Tensors, norms: tuple[str, str] = NORMS, attention: Block | None = None) -> Layer:
    """Attention and two Linears, each with a norm before or after it; `more` are further weights."""
    hidden = c.size("hidden_size")
    first, second = (blocks.layer_norm(name, hidden) for name in norms)
    attention = attention or attends(c, even_heads(c))
    return (attention, first, feeds(c), second, *(Block(part) for part in more))


def embeddings(
    c: Fields,
    *more: Tensors,
    width: int | None = None,
    positions: int | None = None,
    types: bool = True,
    normed: bool = True,
) -> Tensors:
    """Tables of words, positions and types of token, and the norm of their sum; `more` are further weights.

    `positions` is the number of rows where that is not what the config says, zero for no table.
    """
    width = width or c.size("hidden_size")
    rows = c.size("max_position_embeddings") if positions is None else positions
    tables = [blocks.embedding("word_embeddings", c.size("vocab_size"), width)]
    if rows:
        tables.append(blocks.embedding("position_embeddings", rows, width))
    if types:
        tables.append(blocks.embedding("token_type_embeddings", c.count("type_vocab_size"), width))
    if normed:
        tables.append(layer_norm("LayerNorm", width))
    return within("embeddings", *tables, *more)


def ids(c: Fields, *names: str) -> Tensors:
    """Buffers of one number for each position."""
    positions = c.size("max_position_embeddings")
    return within("embeddings", *(blocks.buffer(name, 1, positions, item=8) for name in names))


def encoder(
    c: Fields,
    layers: Sequence[Layer],
    *outside: Tensors,
    path: str = "encoder.layer",
    offset: int = 0,
    buffers: tuple[str, ...] = ("position_ids", "token_type_ids"),
) -> Body:
    """Layers under tables of learned positions, whose first `offset` rows no token uses."""
    context = c.size("max_position_embeddings") - offset
    if context < 1:
        raise UnprovenError(f"config: max_position_embeddings leaves no position after the first {offset}")
    return Body(
        hidden=c.size("hidden_size"),
        stacks=(Stack(path, layers),),
        outside=tuple(tensor for part in outside for tensor in part),
        buffers=ids(c, *buffers),
        vocab=c.size("vocab_size"),
        context=context,
        learned_positions=True,
    )


def after_padding(c: Fields) -> int:
    """Positions that RoBERTa leaves unused: it counts from the number after its padding's."""
    return c.count("pad_token_id") + 1


def pooler(c: Fields, name: str = "pooler.dense") -> Tensors:
    """A Linear that a sentence's first token passes."""
    return dense(name, c.size("hidden_size"), c.size("hidden_size"))


def bert_head(c: Fields, width: int | None = None, norm: str = "LayerNorm") -> Head:
    """BERT's head: a Linear and a norm, then the embedding with a bias."""
    hidden, path = c.size("hidden_size"), "cls.predictions"
    width = width or hidden
    transform = within(f"{path}.transform", dense("dense", hidden, width), layer_norm(norm, width))
    return Head(transform, f"{path}.decoder", width, f"{path}.bias")


def roberta_head(c: Fields, bias: str = "lm_head.bias") -> Head:
    """RoBERTa's head: BERT's by other names."""
    hidden = c.size("hidden_size")
    transform = within("lm_head", dense("dense", hidden, hidden), layer_norm("layer_norm", hidden))
    return Head(transform, "lm_head.decoder", hidden, bias)


def electra_head(c: Fields) -> Head:
    """ELECTRA's head: down to the width of the embedding, whose bias is its own."""
    hidden, width = c.size("hidden_size"), c.size("embedding_size")
    transform = within("generator_predictions", layer_norm("LayerNorm", width), dense("dense", hidden, width))
    return Head(transform, "generator_lm_head", width)


def uncached(layers: Sequence[Layer]) -> list[Layer]:
    """Layers of a decoder, in an encoder."""
    return [tuple(block._replace(cache=None) for block in layer) for layer in layers]


def predicts(c: Fields, body: Body, head: Head, *, tied: bool | None = None) -> Network:
    """A body with a head that predicts tokens, and shares the embedding's weight where the config ties them."""
    weight, bias = dense(head.decoder, head.inputs, body.vocab)
    own = blocks.parameter(head.bias, body.vocab) if head.bias else ()
    tied = c.flag("tie_word_embeddings") if tied is None else tied
    if tied and head.first:
        body = replace(body, outside=tuple(t for t in body.outside if not t.name.endswith(".word_embeddings.weight")))
    weights = (*(() if tied and not head.first else (weight,)), *(() if tied and own else (bias,)))
    return Network(body, (*head.transform, *own, *weights), tied)


def generates(body: Bodies, prefix: str, head: Callable[[Fields], Head] = bert_head) -> Callable[[Fields], Network]:
    """A ...ForCausalLM of an encoder, which fills the cache that generate() gives it, be it a decoder or not."""

    def build(c: Fields) -> Network:
        return predicts(c, body(replace(c, config={**c.config, "is_decoder": True})).within(prefix), head(c))

    return build


def masked(body: Bodies, prefix: str, head: Callable[[Fields], Head] = bert_head) -> Callable[[Fields], Network]:
    """A ...ForMaskedLM."""

    def build(c: Fields) -> Network:
        refuse_decoder(c)
        return predicts(c, body(c).within(prefix), head(c))

    return build


def refuse_decoder(c: Fields) -> None:
    """Raise UnprovenError where the config makes a decoder of layers that predict masked tokens."""
    if c.flag("is_decoder"):
        raise UnprovenError("config: is_decoder is true, but the class predicts masked tokens of a whole prompt")
