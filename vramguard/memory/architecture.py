"""What a network is made of: the shapes that decide its weights, its cache and its activations.

Values only. `families.py` builds an `Architecture` from a Hugging Face config; `ledger.py` and its neighbours
turn one into bytes. Shapes follow PyTorch: a Linear's weight is (out_features, in_features).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple


class UnprovenError(Exception):
    """Something that the proof needs is not known; the message names it. Becomes the answer UNKNOWN."""


class Tensor(NamedTuple):
    """One weight, or `copies` weights of the same shape whose names differ only where `*` stands.

    `name` is the name that `named_parameters()` gives, with `*` for a layer's (or an expert's) number.
    """

    name: str
    shape: tuple[int, ...]
    copies: int = 1

    @property
    def elements(self) -> int:
        """Elements of all copies together."""
        return prod(self.shape) * self.copies


@dataclass(frozen=True, slots=True)
class Attention:
    """A group of layers that share one attention mechanism; a network has one to a few such groups."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None  # tokens a sliding layer attends to, None for full attention
    broadcast: bool = False  # the cache keeps keys and values once per query head (falcon's new decoder)

    @property
    def cached_heads(self) -> int:
        """Heads whose keys and values transformers' cache keeps."""
        return self.heads if self.broadcast else self.kv_heads


@dataclass(frozen=True, slots=True)
class FeedForward:
    """A group of layers that share one feed-forward mechanism."""

    layers: int
    width: int  # intermediate size (of one expert, where there are experts)
    gated: bool  # gate and up projections, as in SwiGLU
    experts: int = 0  # 0 for a dense MLP
    experts_per_token: int = 0
    shared_width: int = 0  # width of the expert(s) that every token passes through


@dataclass(frozen=True, slots=True)
class Architecture:
    """The network of one config: every weight (tied ones once) and what its layers do.

    `active` counts the parameters that one token passes through: all of them, less the experts it is not routed to.
    `context` is the largest number of positions that the config declares.
    """

    model_type: str
    name: str  # the class, config.architectures[0]
    layers: int
    hidden: int
    vocab: int
    context: int
    dtype: str | None  # the config's own dtype (torch_dtype), None where it names none
    tensors: tuple[Tensor, ...]
    attention: tuple[Attention, ...]
    feed_forward: tuple[FeedForward, ...]
    attn_implementation: str | None = None  # what the config itself asks for, None for the library's default
    logit_softcap: bool = False  # attention scores are soft-capped, which rules fused kernels out (gemma2)
    parallel: bool = False  # attention and MLP read the same norm's output (falcon, gpt_neox)
    tied: bool = False  # one weight is embedding and head; a checkpoint in which the two differ is loaded untied

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones once."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through."""
        idle = sum(
            tensor.elements * (group.experts - group.experts_per_token) // group.experts
            for group in self.feed_forward
            if group.experts
            for tensor in self.tensors
            if ".experts." in tensor.name
        )
        return self.parameters - idle
