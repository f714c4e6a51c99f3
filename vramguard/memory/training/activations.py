"""Bytes alive beside weights, gradients and states in a step of training: recorded moments, and CUDA's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import Architecture, UnprovenError
from vramguard.memory.ledger import Term, bound
from vramguard.memory.training import recorded
from vramguard.memory.training.recorded import Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.moments import Moment
    from vramguard.memory.training.recorded import Moments

_ATTENTION: Final = "PyTorch, native/transformers/{}"
_LOSS: Final = 4  # cross entropy is computed in float32


@dataclass(frozen=True)
class Stepped:
    """A micro-batch of `sequences` of `tokens` tokens, run in a certain way."""

    network: Architecture
    config: Mapping[str, Any]
    way: Way
    tokens: int
    sequences: int
    halved: bool = False  # attention is computed in half precision, whatever the way says
    stated: bool = True  # whether anybody said how long sequences are

    @property
    def sizes(self) -> dict[str, int]:
        """The prompt's sizes."""
        return {"sequences": self.sequences, "tokens": self.tokens}

    @property
    def inputs(self) -> dict[str, int]:
        """Everything that recorded formulas may name."""
        return {**self.network.sizes, **self.sizes, "layers": self.network.layers, "hidden": self.network.hidden}

    @property
    def moments(self) -> Moments:
        """What was recorded; raises UnprovenError."""
        return recorded.of(self.network, self.config, self.way)

    @property
    def alive_layers(self) -> int:
        """Layers whose activations are kept at once."""
        return 1 if self.way.checkpointing else self.network.layers

    @property
    def element_bytes(self) -> int:
        """Bytes of an element of queries, keys and values."""
        return 4 if self.way.dtype == "float32" and not (self.way.autocast or self.halved) else 2


def worst_moment(run: Stepped, gradients: int, arriving: int | None) -> Term:
    """The row of the moment that needs most beyond the `gradients` that the ledger counts in full.

    `arriving` is None where the step begins without gradients: a moment then counts those that are there already. Where
    they are there from an earlier micro-batch, it is the largest of a weight, which is added to them.
    """
    inputs, found = run.inputs, run.moments

    def size(pair: tuple[Moment, Moment]) -> int:
        return pair[0].bytes(inputs) + (pair[1].bytes(inputs) if arriving is None else 0)

    worst = max(found.pairs, key=size)
    needed = {name for moment in worst for name in moment.names}
    given = {name: inputs[name] for name in sorted(needed)} | run.sizes
    if arriving is None:
        there = worst[1].formula if worst[1].terms else "0"
        formula, extra = f"max(0, {worst[0].formula} + {there} - gradients)", {"gradients": gradients}
    else:
        formula, extra = f"{worst[0].formula} + arriving", {"arriving": arriving}
    # After the forward pass the logarithms of all probabilities are there, in float32, and no gradients are.
    lower = "0"
    if run.stated:
        extra |= {"vocab": run.network.vocab, "gradients": gradients}
        lower = f"min({formula}, max(0, sequences * tokens * vocab * {_LOSS} - gradients))"
    name = "activations/" + worst[0].at.replace(" ", "_").replace(":_", "/")
    return bound(name, formula, {**given, **extra}, lower=lower, source=found.source)


def on_cuda(run: Stepped) -> Iterator[Term]:
    """What CUDA's kernels take beside what a trace on the CPU sees; raises UnprovenError where there is no kernel."""
    if run.way.kernel != "sdpa" or not run.network.attention:
        return
    group = max(run.network.attention, key=lambda group: group.heads * group.head_dim)
    if any(one.head_dim % 8 for one in run.network.attention):
        raise UnprovenError(
            f"training with a head_dim of {group.head_dim}, which 8 does not divide: no kernel is fused"
        )
    inputs = {**run.sizes, "heads": group.heads, "head_dim": group.head_dim, "bytes": run.element_bytes}
    source = _ATTENTION.format("attention.cpp: convert_boolean_attn_mask, pad_bias")
    # A mask in the queries' dtype is recorded; its rows are padded to 16 columns, and one is there while it is.
    mask = {**run.sizes, "layers": run.alive_layers, "bytes": run.element_bytes}
    yield bound(
        "activations/cuda_mask", "sequences * tokens * (layers * 16 + tokens + 16) * bytes", mask, source=source
    )
    # Gradients of queries, keys and values in float32 while they are summed, those of keys and values for every query
    # head, and a row's sum for each query; blocks of 128 queries, heads of whole 32 elements.
    yield bound(
        "activations/cuda_attention_backward",
        "sequences * heads * (ceil_div(tokens, 128) * 128) * (ceil_div(head_dim, 32) * 32 * (12 + 2 * bytes) + 8)",
        inputs,
        source=_ATTENTION.format(
            "cuda/flash_attn/flash_api.cpp: mha_bwd; cuda/attention_backward.cu: _efficient_attention_backward"
        ),
    )
    fewer = any(one.kv_heads < one.heads for one in run.network.attention)
    if fewer and run.element_bytes == 4:  # noqa: PLR2004 - bytes of a float32
        # An unpadded batch passes fewer keys on as they are, which no kernel takes in float32: scores, their softmax
        # and a mask are kept for each layer, and as many gradients are there in one.
        yield bound(
            "activations/cuda_math_attention",
            "sequences * heads * tokens * tokens * (9 * layers + 24)",
            {**run.sizes, "heads": group.heads, "layers": run.alive_layers},
            source=_ATTENTION.format("attention.cpp: _scaled_dot_product_attention_math"),
        )


def tensors(run: Stepped) -> int:
    """How many tensors are alive at once, gradients left out."""
    inner, outer = run.moments.tensors
    return run.network.layers * inner + outer
