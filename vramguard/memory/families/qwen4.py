"""The text model of Qwen 4 (experimental): Qwen 3.5's delta nets, an indexer, several residual streams, n-grams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Cache, Series, State, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    convolution,
    embedding,
    linear,
    norm,
    within,
)
from vramguard.memory.families.decoder import FULL, Stem, causal, decoder
from vramguard.memory.families.delta import delta_geometry, delta_net, delta_projections, gated_attention, sparse
from vramguard.memory.families.kinds import LINEAR, every, layer_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields

_INDEXED: Final = ("indexed_attention", "qwen_sparse_attention")  # the second is an older name
_MOST_PRIMES: Final = 4096  # of the n-gram tables: no real network comes near


def qwen4(c: Fields) -> Body:
    """Qwen 4: no norms of its own, but connections that norm, mix and write to hc_count residual streams."""
    step = c.size("full_attention_interval") if c.given("full_attention_interval") else 4
    kinds = layer_kinds(c, every(step), (LINEAR, FULL, *_INDEXED))
    g = delta_geometry(c)
    net, experts = delta_net(g, delta_projections(g)), sparse(c)
    attends = _indexed(c) if {*kinds} - {LINEAR} else net
    before, after = (Block(_connection(c, f"{name}_hyper_connection")) for name in ("attn", "mlp"))
    tables = dict(_tables(c, kinds))
    layers: list[Layer] = [
        (*((tables[i],) if i in tables else ()), before, net if kind == LINEAR else attends, after, experts)
        for i, kind in enumerate(kinds)
    ]
    stem = Stem(norm="hyper_connection_mixer")
    return decoder(c, layers, stem=stem, norm=lambda name, _: Block(_connection(c, name, writes=False)))


def _connection(c: Fields, name: str, *, writes: bool = True) -> Tensors:
    """What mixes the residual streams into one input, and writes an output back to them."""
    streams, rank = c.size("hc_count"), c.size("hc_lowrank")
    wide = streams * c.size("hidden_size")
    return within(
        name,
        norm("hc_norm", wide),
        linear("input_mix_weight_down", wide, rank),
        linear("input_mix_weight_up", rank, wide),
        linear("block_inject_weight", wide, streams) if writes else (),
    )


def _indexed(c: Fields) -> Block:
    """Attention narrowed by an indexer, whose keys are cached as they come, once for all its heads."""
    block, width = gated_attention(c), c.size("indexer_head_dim")
    if c.size("indexer_kv_heads") != 1:
        raise UnprovenError("config: indexer_kv_heads is not 1, which is all that transformers supports")
    outputs = (c.size("indexer_n_heads") + 1) * width
    indexer = within(
        "self_attn.indexer",
        linear("index_qk_proj", c.size("hidden_size"), outputs),
        norm("q_layernorm", width),
        norm("k_layernorm", width),
    )
    kept = block.cache or Cache()
    return Block((*block.tensors, *indexer), block.attention, Cache(kept.keys, kept.values, series=(Series(width),)))


def _tables(c: Fields, kinds: list[str]) -> Iterator[tuple[int, Block]]:
    """Layers (counted from 0) that look up n-grams of the prompt in a table of their own, and what that takes."""
    ids = sorted({*c.integers("ple_layer_ids")})
    if not ids:
        return
    grams, per_gram = c.size("ngram_size"), c.size("heads_per_ngram")
    heads, width = (grams - 1) * per_gram, c.optional("ple_embed_dim") or c.size("hidden_size")
    if not heads or width % heads or heads * len(ids) > _MOST_PRIMES:
        raise UnprovenError(f"config: ple_embed_dim {width} is not made up of {heads} heads of n-grams")
    rows = _primes(c.size("ngram_vocab_size_base"), heads * len(ids))
    multiple = c.size("make_ngram_vocab_size_divisible_by")
    for number, layer in enumerate(ids):
        if not 0 < layer <= len(kinds) or kinds[layer - 1] != LINEAR:
            raise UnprovenError(f"config: ple_layer_ids has {layer}, which is not a linear_attention layer")
        total = sum(rows[number * heads : (number + 1) * heads])
        yield layer - 1, _lookup(c, -(-total // multiple) * multiple, width // heads, width)


def _lookup(c: Fields, rows: int, columns: int, width: int) -> Block:
    """A table of n-grams and the short convolution behind it.

    The ids of the last tokens, a handful of integers, are cached too; they are not counted.
    """
    hidden, kernel = c.size("hidden_size"), c.size("ple_conv_kernel_size")
    wide, tail = c.size("hc_count") * hidden, (kernel - 1) * c.size("ngram_size")
    tensors = (
        *embedding("ple_embedding.ngram_embedding", rows, columns),
        *linear("key_proj", width, wide),
        *linear("value_proj", width, hidden),
        *(t for name in ("norm_key", "norm_query", "norm_conv") for t in norm(name, wide)),
        *convolution("conv1d", (wide, 1, kernel)),
    )
    return Block(within("ple", tensors), cache=Cache(states=(State(wide * tail),)))


def _primes(start: int, number: int) -> list[int]:
    """Smallest primes from `start` on."""
    found: list[int] = []
    candidate = max(start, 2)
    while len(found) < number:
        if _is_prime(candidate):
            found.append(candidate)
        candidate += 1
    return found


def _is_prime(number: int) -> bool:
    """Miller-Rabin, which these bases make exact below 3.2 billion."""
    bases = (2, 3, 5, 7)
    if number in bases or any(number % base == 0 for base in bases):
        return number in bases
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, pow(base, odd, number), twos) for base in bases)


def _passes(number: int, power: int, twos: int) -> bool:
    if power in (1, number - 1):
        return True
    return any((power := power * power % number) == number - 1 for _ in range(twos - 1))


BODIES: Final = {"qwen4_exp_text": qwen4}
CLASSES: Final = {"Qwen4ExpForCausalLM": causal(qwen4)}
