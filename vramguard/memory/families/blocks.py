"""The blocks that networks are composed of: each gives its weights by name and shape, and what its layer does.

A builder lists the blocks of every layer in the order of the forward pass; equal ones are counted here.
Names are relative to the layer, shapes are PyTorch's: a Linear's weight is (out_features, in_features).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from vramguard.memory.architecture import Attention, FeedForward, Tensor

Tensors = tuple[Tensor, ...]
Role = TypeVar("Role", Attention, FeedForward)


class Block(NamedTuple):
    """Part of one layer: its weights, and its role where it is more than weights."""

    tensors: Tensors
    role: Attention | FeedForward | None = None


Layer = tuple[Block, ...]


class Heads(NamedTuple):
    """Geometry of one attention block."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int

    @property
    def query(self) -> int:
        """Width of all queries together."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of all keys together, and of all values."""
        return self.kv_heads * self.head_dim

    def role(self, window: int | None = None, *, broadcast: bool = False) -> Attention:
        """What one layer of this geometry does."""
        return Attention(1, self.heads, self.kv_heads, self.head_dim, window, broadcast)


@dataclass(frozen=True, slots=True)
class Network:
    """A causal decoder in terms of its blocks; what every builder returns."""

    hidden: int
    vocab: int
    context: int
    embedding: Tensors
    path: str  # where the layers are kept, as model.layers
    layers: Sequence[Layer]
    norm: Block
    head: Tensors  # empty where the embedding serves as the head
    logit_softcap: bool = False
    parallel: bool = False

    @property
    def tensors(self) -> Tensors:
        """Every weight; equal weights of several layers are one Tensor with that many copies."""
        counts = Counter(tensor for layer in self.layers for block in layer for tensor in block.tensors)
        stacked = (Tensor(f"{self.path}.*.{name}", shape, copies * n) for (name, shape, copies), n in counts.items())
        return (*self.embedding, *stacked, *self.norm.tensors, *self.head)

    def groups(self, kind: type[Role]) -> tuple[Role, ...]:
        """Roles of one kind, each with the number of layers that have it."""
        counts = Counter(block.role for layer in self.layers for block in layer if isinstance(block.role, kind))
        return tuple(replace(role, layers=n) for role, n in counts.items())


def linear(name: str, inputs: int, outputs: int, *, bias: bool = False) -> Tensors:
    """A Linear."""
    weight = Tensor(f"{name}.weight", (outputs, inputs))
    return (weight, Tensor(f"{name}.bias", (outputs,))) if bias else (weight,)


def conv1d(name: str, inputs: int, outputs: int) -> Tensors:
    """GPT-2's Conv1D: a Linear with a bias whose weight is stored the other way round."""
    return (Tensor(f"{name}.weight", (inputs, outputs)), Tensor(f"{name}.bias", (outputs,)))


def embedding(name: str, rows: int, hidden: int) -> Tensors:
    """An Embedding: a table of `rows` vectors."""
    return (Tensor(f"{name}.weight", (rows, hidden)),)


def rms_norm(name: str, width: int) -> Block:
    """A norm with a scale."""
    return Block((Tensor(f"{name}.weight", (width,)),))


def layer_norm(name: str, width: int) -> Block:
    """A norm with a scale and a bias."""
    return Block((Tensor(f"{name}.weight", (width,)), Tensor(f"{name}.bias", (width,))))


def within(name: str, *parts: Tensors) -> Tensors:
    """Weights of a module called `name` that consists of `parts`."""
    return tuple(tensor._replace(name=f"{name}.{tensor.name}") for part in parts for tensor in part)


def attention(heads: Heads, role: Attention, *, bias: bool, output_bias: bool, head_norms: bool = False) -> Block:
    """Attention with separate projections; `head_norms` are norms over each head's queries and keys (Qwen3)."""
    return Block(
        within(
            "self_attn",
            linear("q_proj", heads.hidden, heads.query, bias=bias),
            linear("k_proj", heads.hidden, heads.key, bias=bias),
            linear("v_proj", heads.hidden, heads.key, bias=bias),
            linear("o_proj", heads.query, heads.hidden, bias=output_bias),
            rms_norm("q_norm", heads.head_dim).tensors if head_norms else (),
            rms_norm("k_norm", heads.head_dim).tensors if head_norms else (),
        ),
        role,
    )


def fused_attention(name: str, qkv: Tensors, output: Tensors, role: Attention) -> Block:
    """Attention whose queries, keys and values are one projection."""
    return Block(within(name, qkv, output), role)


def gated_mlp(hidden: int, width: int, *, bias: bool = False) -> Block:
    """An MLP whose up projection is gated (SwiGLU, GeGLU)."""
    return Block(within("mlp", _gated(hidden, width, bias=bias)), FeedForward(1, width, gated=True))


def fused_gated_mlp(hidden: int, width: int) -> Block:
    """A gated MLP whose gate and up projections are one (Phi-3)."""
    projections = linear("gate_up_proj", hidden, 2 * width), linear("down_proj", width, hidden)
    return Block(within("mlp", *projections), FeedForward(1, width, gated=True))


def plain_mlp(width: int, up: Tensors, down: Tensors) -> Block:
    """An MLP of two projections."""
    return Block(within("mlp", up, down), FeedForward(1, width, gated=False))


def routed_mlp(hidden: int, role: FeedForward) -> Block:
    """A router and its gated experts, which transformers 5 stores as one weight; perhaps one that sees every token."""
    shared = (
        *within("shared_expert", _gated(hidden, role.shared_width, bias=False)),
        *linear("shared_expert_gate", hidden, 1),
    )
    tensors = (
        *linear("gate", hidden, role.experts),
        Tensor("experts.gate_up_proj", (role.experts, 2 * role.width, hidden)),
        Tensor("experts.down_proj", (role.experts, hidden, role.width)),
        *(shared if role.shared_width else ()),
    )
    return Block(within("mlp", tensors), role)


def _gated(hidden: int, width: int, *, bias: bool) -> Tensors:
    return (
        *linear("gate_proj", hidden, width, bias=bias),
        *linear("up_proj", hidden, width, bias=bias),
        *linear("down_proj", width, hidden, bias=bias),
    )
