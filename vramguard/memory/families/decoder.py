"""From the keys that most decoders share to blocks: geometry, sliding windows, layers, and what stands around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import FeedForward, UnprovenError
from vramguard.memory.families import blocks
from vramguard.memory.families.blocks import Block, Heads, Network, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vramguard.memory.families.fields import Fields, Nullable

FULL: Final = "full_attention"
SLIDING: Final = "sliding_attention"
LAYER_KINDS: Final = {FULL: FULL, SLIDING: SLIDING, "attention": FULL}  # the last is an older name


class Family(NamedTuple):
    """What transformers knows by one model_type: its causal class, how that is built, and its config's defaults."""

    name: str
    build: Callable[[Fields], Network]
    defaults: Mapping[str, int | bool | Nullable]  # of every key that the builder reads
    spellings: Mapping[str, tuple[str, ...]] = {}  # all names of a key, the one that wins first


class Stem(NamedTuple):
    """Where a class keeps what stands around its layers."""

    embedding: str
    layers: str
    norm: str


LLAMA: Final = Stem("model.embed_tokens", "model.layers", "model.norm")


def grouped_heads(c: Fields) -> Heads:
    """Geometry of an attention whose key heads may be fewer than its query heads (GQA, MQA)."""
    hidden, heads = c.size("hidden_size"), c.size("num_attention_heads")
    kv_heads = c.optional("num_key_value_heads") or heads
    head_dim = c.optional("head_dim") or divide(c, "hidden_size", "num_attention_heads")
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
    """Attention of each layer, with separate projections."""
    heads = grouped_heads(c)
    return [
        blocks.attention(heads, heads.role(size), bias=bias, output_bias=output_bias, head_norms=head_norms)
        for size in windows
    ]


def dense(c: Fields, *, bias: bool = False) -> list[Block]:
    """The same gated MLP in every layer."""
    return [blocks.gated_mlp(c.size("hidden_size"), c.size("intermediate_size"), bias=bias)] * c.layers


def experts(c: Fields, width: str, shared_width: int = 0) -> Block:
    """Routed experts, each as wide as the key `width` says."""
    number, per_token = c.size("num_experts"), c.size("num_experts_per_tok")
    if per_token > number:
        raise UnprovenError(f"config: num_experts_per_tok {per_token} exceeds the number of experts {number}")
    role = FeedForward(1, c.size(width), True, number, per_token, shared_width)
    return blocks.routed_mlp(c.size("hidden_size"), role)


def pre_norm(c: Fields, attention: Sequence[Block], mlp: Sequence[Block]) -> list[blocks.Layer]:
    """Layers with an RMS norm before attention and one before the MLP."""
    hidden = c.size("hidden_size")
    first, second = blocks.rms_norm("input_layernorm", hidden), blocks.rms_norm("post_attention_layernorm", hidden)
    return [(first, attends, second, feeds) for attends, feeds in zip(attention, mlp, strict=True)]


def network(
    c: Fields,
    stem: Stem,
    layers: Sequence[blocks.Layer],
    *,
    norm: Callable[[str, int], Block] = blocks.rms_norm,
    positions: Tensors = (),
) -> Network:
    """Layers between an embedding and a head, which are one weight where the config ties them."""
    hidden, vocab = c.size("hidden_size"), c.size("vocab_size")
    return Network(
        hidden=hidden,
        vocab=vocab,
        context=c.size("max_position_embeddings"),
        embedding=(*blocks.embedding(stem.embedding, vocab, hidden), *positions),
        path=stem.layers,
        layers=layers,
        norm=norm(stem.norm, hidden),
        head=() if c.flag("tie_word_embeddings") else blocks.linear("lm_head", hidden, vocab),
    )
