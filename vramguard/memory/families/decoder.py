"""From the keys that most decoders share to blocks: geometry, sliding windows, layers, and what stands around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import blocks
from vramguard.memory.families.blocks import Block, Body, Heads, Layer, Network, Routing, Stack, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.families.fields import Fields

    Bodies = Callable[[Fields], Body]

FULL: Final = "full_attention"
SLIDING: Final = "sliding_attention"
LAYER_KINDS: Final = {FULL: FULL, SLIDING: SLIDING, "attention": FULL}  # the last is an older name


class Stem(NamedTuple):
    """Where a base model keeps what stands around its layers."""

    embedding: str = "embed_tokens"
    layers: str = "layers"
    norm: str = "norm"


LLAMA: Final = Stem()


def grouped_heads(c: Fields) -> Heads:
    """Geometry of an attention whose key heads may be fewer than its query heads (GQA, MQA).

    Where head_dim is derived, a remainder is dropped: the projections make up for it, as they do in transformers.
    """
    hidden, heads = c.size("hidden_size"), c.size("num_attention_heads")
    kv_heads = c.optional("num_key_value_heads") or heads
    head_dim = c.optional("head_dim") or hidden // heads
    if not head_dim:
        raise UnprovenError(f"config: hidden_size {hidden} is less than num_attention_heads {heads}")
    if heads % kv_heads:
        raise UnprovenError(f"config: num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}")
    return Heads(hidden, heads, kv_heads, head_dim)


def even_heads(c: Fields, kv_heads: int | None = None) -> Heads:
    """Geometry of a class that knows no head_dim but the hidden size over the number of heads."""
    heads, head_dim = c.size("num_attention_heads"), divide(c, "hidden_size", "num_attention_heads")
    if c.optional("head_dim") not in (None, head_dim):
        raise UnprovenError(f"config: head_dim is not hidden_size over num_attention_heads, which is {head_dim}")
    return Heads(c.size("hidden_size"), heads, kv_heads or heads, head_dim)


def divide(c: Fields, whole: str, parts: str) -> int:
    """Quotient of two keys; UnprovenError where it leaves a remainder."""
    quotient, remainder = divmod(c.size(whole), c.size(parts))
    if remainder:
        raise UnprovenError(f"config: {whole} {c.size(whole)} is no multiple of {parts} {c.size(parts)}")
    return quotient


def window(c: Fields) -> int | None:
    """Tokens that a sliding layer attends to, None where nothing slides."""
    size = c.optional("sliding_window")
    if size == 1:  # transformers slices its cache at -size + 1: it would keep everything
        raise UnprovenError("config: sliding_window is 1")
    return size


def everywhere(c: Fields, size: int | None) -> list[int | None]:
    """The same window in every layer."""
    return [size] * c.layers


def by_layer(c: Fields, size: int | None, slides: Callable[[int], bool]) -> list[int | None]:
    """Window of each layer: as layer_types lists it, else by the class's own rule `slides` of the layer's number."""
    listed = c.texts("layer_types")
    kinds = [SLIDING if slides(i) else FULL for i in range(c.layers)] if listed is None else list(listed)
    if len(kinds) != c.layers:
        raise UnprovenError(f"config: layer_types has {len(kinds)} entries for {c.layers} layers")
    if unknown := sorted({*kinds} - {*LAYER_KINDS}):
        raise UnprovenError(f"config: layer_types has {unknown[0][:40]!r}, which is not known for this model_type")
    if size is None and SLIDING in kinds:
        raise UnprovenError("config: a layer slides, but sliding_window is not in force")
    return [size if LAYER_KINDS[kind] == SLIDING else None for kind in kinds]


def attend(
    c: Fields, windows: Sequence[int | None], *, bias: bool = False, output_bias: bool = False, head_norms: bool = False
) -> list[Block]:
    """Attention of each layer, with separate projections; `head_norms` norms each head's queries and keys (Qwen3)."""
    heads = grouped_heads(c)
    norms = blocks.head_norms(heads.head_dim) if head_norms else ()
    return [blocks.attention(heads, size, bias=bias, output_bias=output_bias, norms=norms) for size in windows]


def dense(c: Fields, *, bias: bool = False) -> list[Block]:
    """The same gated MLP in every layer."""
    return [blocks.gated_mlp(c.size("hidden_size"), c.size("intermediate_size"), bias=bias)] * c.layers


def routing(c: Fields, experts: str = "num_experts", chosen: str = "num_experts_per_tok") -> Routing:
    """Number of experts, and of those that a token passes."""
    number, per_token = c.size(experts), c.size(chosen)
    if per_token > number:
        raise UnprovenError(f"config: {chosen} {per_token} exceeds the number of experts {number}")
    return Routing(number, per_token)


def pre_norm(
    c: Fields,
    attention: Sequence[Block],
    mlp: Sequence[Block],
    *,
    norm: Callable[[str, int], Block] = blocks.rms_norm,
    names: tuple[str, str] = ("input_layernorm", "post_attention_layernorm"),
) -> list[Layer]:
    """Layers with a norm before attention and one before the MLP."""
    hidden = c.size("hidden_size")
    first, second = (norm(name, hidden) for name in names)
    return [(first, attends, second, feeds) for attends, feeds in zip(attention, mlp, strict=True)]


def sandwiched(
    c: Fields, attention: Sequence[Block], mlp: Sequence[Block], names: tuple[str, str, str, str]
) -> list[Layer]:
    """Layers with a norm before and after attention, and before and after the MLP."""
    before, after, inner, outer = (blocks.rms_norm(name, c.size("hidden_size")) for name in names)
    return [(before, attends, after, inner, feeds, outer) for attends, feeds in zip(attention, mlp, strict=True)]


def decoder(
    c: Fields,
    layers: Sequence[Layer],
    *,
    stem: Stem = LLAMA,
    norm: Callable[[str, int], Block] = blocks.rms_norm,
    positions: Tensors = (),
) -> Body:
    """Layers between an embedding and a norm; `positions` is a table of learned positions, if there is one."""
    hidden, vocab = c.size("hidden_size"), c.size("vocab_size")
    return Body(
        hidden=hidden,
        stacks=(Stack(stem.layers, layers),),
        outside=(*blocks.embedding(stem.embedding, vocab, hidden), *positions, *norm(stem.norm, hidden).tensors),
        vocab=vocab,
        context=c.size("max_position_embeddings"),
        learned_positions=bool(positions),
        sizes=_head_sizes(layers),
    )


def _head_sizes(layers: Sequence[Layer]) -> dict[str, int]:
    """Geometry of the heads by the usual names, where all layers share one: a config may leave it to be derived."""
    roles = {(a.heads, a.kv_heads, a.head_dim) for layer in layers for _, a, _ in layer if a is not None}
    if len(roles) != 1:
        return {}
    heads, kv_heads, head_dim = roles.pop()
    return {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim}


def causal(
    body: Bodies, prefix: str = "model", head: str = "lm_head", *, bias: bool = False
) -> Callable[[Fields], Network]:
    """A ...ForCausalLM: a body, and a head that may be its embedding."""

    def build(c: Fields) -> Network:
        return headed(c, body(c).within(prefix), head, bias=bias)

    return build


def headed(c: Fields, body: Body, head: str = "lm_head", *, bias: bool = False, tied: bool | None = None) -> Network:
    """A body with its head, which shares the embedding's weight where the config ties them, or the class (`tied`)."""
    weights = blocks.linear(head, body.hidden, body.vocab, bias=bias)
    if tied is None:
        tied = c.flag("tie_word_embeddings")
    return Network(body, weights[1:] if tied else weights, tied)
