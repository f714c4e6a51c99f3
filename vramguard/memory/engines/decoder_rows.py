"""Rows of the ledger that TGI and TensorRT-LLM have alike: a plain decoder on one card of a tensor-parallel group.

Both fuse queries, keys and values, and gate and up; both keep embedding and head apart from the layers, with rows of
their own; neither computes anything that grows with the square of a prompt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.resident import ALLOCATOR, block, resident
from vramguard.memory.engines.shards import ParallelismError
from vramguard.memory.ledger import Term, bound, measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.memory.architecture import Architecture, Tensor
    from vramguard.memory.engines.shards import Rank
    from vramguard.memory.weights import Loaded

HALF: Final = ("float16", "bfloat16")
_VOCABULARY: Final = ("embed_tokens.weight", "lm_head.weight")
# (2.075 + 2.215 - 0.505) GiB: the edges of the printed roundings that make it largest.
_COLLECTIVES: Final = 4_064_112_804
_COLLECTIVES_SOURCE: Final = (
    "vLLM 0.16 to 0.19 start-up logs on H100 80GB with two and four ranks (llm-d-benchmark, empirical memory results): "
    "up to 2.07 GiB before the weights and 2.21 GiB during the forward pass, 0.51 GiB before them with one rank"
)


class Card(NamedTuple):
    """Elements a token of what one card computes in a layer, and the words of the whole model."""

    hidden: int
    queries: int
    keys: int  # of keys alone
    inner: int  # of gate alone, of one expert where there are several
    experts: int  # that a token is sent to, 0 where a layer has a plain MLP
    vocab: int

    def inputs(self, *names: str) -> dict[str, int]:
        """Inputs of a formula."""
        return {name: getattr(self, name) for name in names}


def card(network: Architecture, parallel: int) -> Card:
    """What one of `parallel` cards computes; raises UnprovenError."""
    inner = network.sizes.get("intermediate_size")
    if inner is None or not network.attention:
        raise UnprovenError(f"{network.name}: its config names no intermediate_size")
    if inner % parallel:
        raise ParallelismError(f"intermediate_size {inner} cannot be split across tensor_parallel_size {parallel}")
    stacked = any(tensor.kind == "experts" for tensor in network.tensors)
    group = max(network.attention, key=lambda group: group.heads * group.head_dim)
    return Card(
        hidden=network.hidden,
        queries=group.heads // parallel * group.head_dim,
        keys=max(1, group.kv_heads // parallel) * group.head_dim,
        inner=inner // parallel,
        experts=network.sizes.get("num_experts_per_tok", 0) if stacked else 0,
        vocab=network.vocab,
    )


def layers(config: Mapping[str, Any], loaded: Loaded, rank: Rank) -> tuple[Term, ...]:
    """Weights of a card but embedding, head and rotary tables; raises UnprovenError."""
    inside = tuple(tensor for tensor in loaded.network.tensors if not tensor.name.endswith(_VOCABULARY))
    rows = resident(config, loaded._replace(network=replace(loaded.network, tensors=inside)), rank)
    return tuple(term for term in rows if not term.name.startswith("weights/rotary_table"))


def words(network: Architecture, rows: Mapping[str, int], element_bytes: int) -> Iterator[Term]:
    """Embedding and head with as many rows as the engine gives them: `rows` by the last part of a tensor's name."""
    found = {tensor.name.rpartition(".")[0].rpartition(".")[2]: tensor for tensor in network.tensors}
    if "embed_tokens" not in found:
        raise UnprovenError(f"{network.name}: no embedding of that name")
    for leaf, count in rows.items():
        name = found[leaf].name if leaf in found else f"{leaf}.weight"
        yield _matrix(name, count, found["embed_tokens"], element_bytes)


def _matrix(name: str, rows: int, like: Tensor, element_bytes: int) -> Term:
    size = rows * like.shape[1] * element_bytes
    inputs = {"copies": 1, "rows": rows, "hidden": like.shape[1], "bytes": element_bytes, "unsplit": block(size) - size}
    formula = "copies * rows * hidden * bytes"
    return bound(f"weights/{name}", f"{formula} + unsplit", inputs, lower=formula, source=ALLOCATOR)


def layer_pass(one: Card, kept: int, tokens: int, prompt: int, source: str) -> Term:
    """One layer's tensors alive at once while `tokens` tokens pass: at most; at least what a prompt's tokens are.

    `kept` hidden states stay named in the frames of the model's functions while the widest module runs: an MLP with its
    matrices' result, the activation of one half and their product; attention with queries, keys and values, a copy of
    them and its output; experts with three buffers for every pair of token and expert; or a norm in float32.
    """
    inputs = {"tokens": tokens, "prompt": prompt, "kept": kept, "bytes": 2}
    inputs |= one.inputs("hidden", "queries", "keys", "inner", "experts")
    wide = "max(4 * inner, 4 * queries + 4 * keys, 8 * hidden, experts * (3 * inner + hidden))"
    formula = f"tokens * bytes * (kept * hidden + {wide})"
    return bound("activations/layer", formula, inputs, lower="min(tokens, prompt) * hidden * bytes", source=source)


def collectives(parallel: int) -> Iterator[Term]:
    """What two cards or more take to speak with each other."""
    if parallel > 1:
        yield measured("runtime/collectives", 0, _COLLECTIVES, _COLLECTIVES_SOURCE)
