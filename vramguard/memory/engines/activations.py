"""Bytes alive beside weights and cache while a serving engine runs its largest batch: by layers, then by the sampler.

Serving engines run tokens in one flat row, so nothing grows with the square of a context, and a layer's tensors are
freed before the next one's. What is alive at once is what one module of a layer computes, beside the hidden states and
the residual; then the logits of each sequence. docs/memory-model.md gives the argument.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.engines.shards import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vramguard.memory.architecture import Architecture, Tensor

_KEYS: Final = frozenset(
    ("k_proj", "v_proj", "kv_b_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv", "key", "qkv")
)
_MIXERS: Final = ("mamba", "mixer", "linear_attn", "temporal_block", "short_conv", "conv")


class Width(NamedTuple):
    """Elements that a module of one layer keeps alive for a token, and which module that is."""

    elements: int
    module: str


def widest(tensors: Sequence[Tensor]) -> Width:
    """The module of one layer that keeps most alive for a token, of those whose `tensors` stand on a card.

    What its first matrices give, and what stands before its last one, the activation function's result: 3 x
    intermediate_size / tensor_parallel_size for a gated MLP. Attention rotates, and may copy, queries and keys once.
    """
    modules: dict[str, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        if tensor.kind in ("linear", "conv1d") and len(tensor.shape) == 2 and "*" in tensor.name:  # noqa: PLR2004
            path, _, _ = tensor.name.rpartition(".")[0].rpartition(".")
            modules[path].append(tensor)
    widths = [Width(_alive(found, path.rpartition(".")[2] in _MIXERS), path) for path, found in modules.items()]
    return max(widths, default=Width(0, ""))


def _alive(matrices: Sequence[Tensor], mixer: bool) -> int:  # noqa: FBT001 - one of two kinds of module
    first, before_last, keys = 0, 0, False
    for tensor in matrices:
        leaf = tensor.name.rpartition(".")[0].rpartition(".")[2]
        out, into = tensor.shape[:2] if tensor.kind != "conv1d" else tensor.shape[1::-1]
        keys = keys or leaf in _KEYS
        if leaf in ROWS:
            before_last = max(before_last, into)
        else:
            first += out
    # A recurrent mixer takes its projections apart, and puts them together again for its convolution.
    return (3 if mixer else 2 if keys else 1) * first + (before_last or first)


class Experts(NamedTuple):
    """A layer of experts on one card."""

    per_token: int  # experts that a token is sent to
    number: int
    intermediate: int  # rows of one expert's first matrix, gate and up together
    shared: int  # elements of a token that experts which every token passes keep alive


def experts(network: Architecture, tensors: Sequence[Tensor]) -> Experts | None:
    """The largest layer of stacked experts on a card; None where a network has none."""
    stacked = [tensor for tensor in tensors if tensor.kind == "experts" and len(tensor.shape) == 3]  # noqa: PLR2004
    if not stacked:
        return _below_another(network, tensors)
    rows = max(max(size for size in tensor.shape[1:] if size != network.hidden or tensor.shape[1] == tensor.shape[2])
               for tensor in stacked if "up_proj" in tensor.name or "gate_up" in tensor.name)  # fmt: skip
    sizes: Mapping[str, int] = network.sizes
    per_token = next((sizes[name] for name in _PER_TOKEN if name in sizes), max(t.shape[0] for t in stacked))
    shared = widest([tensor for tensor in tensors if "shared_expert" in tensor.name or "shared_mlp" in tensor.name])
    return Experts(per_token, max(tensor.shape[0] for tensor in stacked), rows, shared.elements)


def _below_another(network: Architecture, tensors: Sequence[Tensor]) -> Experts | None:
    """DBRX's experts, one below another in a matrix, gate and up apart."""
    rows = [tensor.shape[0] for tensor in tensors if tensor.kind == "experts" and not tensor.name.endswith("bias")]
    number = network.sizes.get("ffn_moe_num_experts")
    if not rows or not number:
        return None
    return Experts(network.sizes.get("ffn_moe_top_k", number), number, 2 * -(-max(rows) // number), 0)


_PER_TOKEN: Final = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k",
    "num_selected_experts",
    "top_k_experts",  # Gemma 4
)
