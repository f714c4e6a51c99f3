"""The blocks that networks are composed of: each gives its weights by name and shape, and what its layer does.

A builder lists the blocks of every layer in the order of the forward pass; equal ones are counted here.
Names are relative to the layer, shapes are PyTorch's: a Linear's weight is (out_features, in_features).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from vramguard.memory.architecture import Attention, Cache, Tensor

Tensors = tuple[Tensor, ...]
Role = TypeVar("Role", Attention, Cache)


class Block(NamedTuple):
    """Part of one layer: its weights, how it attends, and what it caches."""

    tensors: Tensors
    attention: Attention | None = None
    cache: Cache | None = None


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

    def role(self, window: int | None = None) -> Attention:
        """How one layer of this geometry attends."""
        return Attention(1, self.heads, self.kv_heads, self.head_dim, window)

    def cache(self, window: int | None = None) -> Cache:
        """What one layer of this geometry keeps."""
        return Cache(self.key, self.key, window)


class Stack(NamedTuple):
    """Layers that are kept in one list, as `layers`."""

    path: str
    layers: Sequence[Layer]


@dataclass(frozen=True, slots=True)
class Body:
    """A network without its head: what transformers calls the base model of a config. Names are relative to it.

    A vision or audio tower is a Body too; its layers have no `attention` and no `cache`, since a prompt of text passes
    none of them. `sizes` adds to the config's integers what follows from them (a head_dim that is null there), by the
    config's own names.
    """

    hidden: int
    stacks: tuple[Stack, ...] = ()
    outside: Tensors = ()  # weights beside the stacks: embeddings, the last norm, a projector
    buffers: Tensors = ()
    vocab: int = 0
    context: int = 0
    learned_positions: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)
    variant: str = ""

    @property
    def layers(self) -> int:
        """Number of layers that a token of the prompt passes."""
        return sum(any(b.attention or b.cache for b in layer) for stack in self.stacks for layer in stack.layers)

    @property
    def tensors(self) -> Tensors:
        """Every weight; equal weights of several layers are one Tensor with that many copies."""
        return (*self.outside, *(tensor for stack in self.stacks for tensor in _folded(stack)))

    def roles(self, kind: type[Role]) -> tuple[Role, ...]:
        """Attentions or caches, each with the number of layers that have it."""
        found = [role for role in self._roles() if isinstance(role, kind)]
        return tuple(replace(role, layers=n) for role, n in Counter(found).items())

    def within(self, path: str) -> Body:
        """Rename all weights to those of an attribute `path` of another module."""
        stacks = tuple(Stack(f"{path}.{stack.path}", stack.layers) for stack in self.stacks)
        return replace(self, stacks=stacks, outside=within(path, self.outside), buffers=within(path, self.buffers))

    def beside(self, *others: Body | Tensors) -> Body:
        """Add weights or other bodies (towers, an encoder), whose hidden size and vocabulary are not this one's."""
        stacks, outside, buffers = list(self.stacks), list(self.outside), list(self.buffers)
        for other in others:
            if isinstance(other, Body):
                stacks.extend(other.stacks)
                outside.extend(other.outside)
                buffers.extend(other.buffers)
            else:
                outside.extend(other)
        return replace(self, stacks=tuple(stacks), outside=tuple(outside), buffers=tuple(buffers))

    def _roles(self) -> Iterator[Attention | Cache]:
        for stack in self.stacks:
            for layer in stack.layers:
                for block in layer:
                    yield from (role for role in (block.attention, block.cache) if role is not None)


class Network(NamedTuple):
    """A class as transformers builds it: its body, and its head where that is a weight of its own."""

    body: Body
    head: Tensors = ()  # empty where the embedding serves as the head
    tied: bool = False


def _folded(stack: Stack) -> Iterator[Tensor]:
    found: dict[Tensor, list[int]] = {}
    for number, layer in enumerate(stack.layers):
        for block in layer:
            for tensor in block.tensors:
                found.setdefault(tensor, []).append(number)
    for tensor, numbers in found.items():
        copies = tensor.copies * len(numbers)
        yield tensor._replace(name=f"{stack.path}.*.{tensor.name}", copies=copies, layers=tuple(numbers))


def linear(name: str, inputs: int, outputs: int, *, bias: bool = False) -> Tensors:
    """A Linear."""
    weight = Tensor(f"{name}.weight", (outputs, inputs), kind="linear")
    return (weight, Tensor(f"{name}.bias", (outputs,), kind="linear")) if bias else (weight,)


def conv1d(name: str, inputs: int, outputs: int) -> Tensors:
    """GPT-2's Conv1D: a Linear with a bias whose weight is stored the other way round."""
    weight = Tensor(f"{name}.weight", (inputs, outputs), kind="conv1d")
    return (weight, Tensor(f"{name}.bias", (outputs,), kind="conv1d"))


def convolution(name: str, shape: tuple[int, ...], *, bias: bool = False) -> Tensors:
    """A convolution; `shape` is that of its weight, (out_channels, in_channels / groups, *kernel)."""
    weight = Tensor(f"{name}.weight", shape, kind="conv")
    return (weight, Tensor(f"{name}.bias", shape[:1], kind="conv")) if bias else (weight,)


def embedding(name: str, rows: int, hidden: int) -> Tensors:
    """An Embedding: a table of `rows` vectors."""
    return (Tensor(f"{name}.weight", (rows, hidden), kind="embedding"),)


def parameter(name: str, *shape: int) -> Tensors:
    """A weight that belongs to no module of its own."""
    return (Tensor(name, shape),)


def buffer(name: str, *shape: int, copies: int = 1, item: int = 4) -> Tensors:
    """A table that a module keeps beside its weights, of elements of `item` bytes."""
    return (Tensor(name, shape, copies, "buffer", item=item),)


def norm(name: str, width: int, *, bias: bool = False) -> Tensors:
    """A norm with a scale, and perhaps a bias: RMSNorm, LayerNorm, GroupNorm."""
    scale = Tensor(f"{name}.weight", (width,), kind="norm")
    return (scale, Tensor(f"{name}.bias", (width,), kind="norm")) if bias else (scale,)


def rms_norm(name: str, width: int) -> Block:
    """A norm with a scale."""
    return Block(norm(name, width))


def layer_norm(name: str, width: int) -> Block:
    """A norm with a scale and a bias."""
    return Block(norm(name, width, bias=True))


def unscaled_norm(name: str, width: int) -> Block:  # noqa: ARG001 - stands where a norm with weights may
    """A norm without weights."""
    return Block(())


def within(name: str, *parts: Tensors) -> Tensors:
    """Weights of a module called `name` that consists of `parts`."""
    return tuple(tensor._replace(name=f"{name}.{tensor.name}") for part in parts for tensor in part)


def attention(
    heads: Heads,
    window: int | None = None,
    *,
    bias: bool = False,
    output_bias: bool = False,
    norms: Tensors = (),
    name: str = "self_attn",
) -> Block:
    """Attention with separate projections q_proj, k_proj, v_proj and o_proj; `norms` are further weights of it."""
    projections = (
        linear("q_proj", heads.hidden, heads.query, bias=bias),
        linear("k_proj", heads.hidden, heads.key, bias=bias),
        linear("v_proj", heads.hidden, heads.key, bias=bias),
        linear("o_proj", heads.query, heads.hidden, bias=output_bias),
    )
    return Block(within(name, *projections, norms), heads.role(window), heads.cache(window))


def named_attention(
    heads: Heads,
    names: tuple[str, str, str, str],
    *,
    bias: bool = True,
    output_bias: bool | None = None,
    cached: bool = True,
) -> Block:
    """Attention whose projections (queries, keys, values, output) are named; an encoder's is not cached."""
    query, key, value, output = names
    tensors = (
        *linear(query, heads.hidden, heads.query, bias=bias),
        *linear(key, heads.hidden, heads.key, bias=bias),
        *linear(value, heads.hidden, heads.key, bias=bias),
        *linear(output, heads.query, heads.hidden, bias=bias if output_bias is None else output_bias),
    )
    return Block(tensors, heads.role(), heads.cache() if cached else None)


def head_norms(width: int) -> Tensors:
    """Norms of queries and keys: `width` is head_dim where each head is normed by itself (Qwen3)."""
    return (*norm("q_norm", width), *norm("k_norm", width))


def fused_attention(name: str, qkv: Tensors, output: Tensors, heads: Heads, window: int | None = None) -> Block:
    """Attention whose queries, keys and values are one projection."""
    return Block(within(name, qkv, output), heads.role(window), heads.cache(window))


def gated(hidden: int, width: int, *, bias: bool = False) -> Tensors:
    """Projections of a gated MLP (SwiGLU, GeGLU), for use inside a module."""
    return (
        *linear("gate_proj", hidden, width, bias=bias),
        *linear("up_proj", hidden, width, bias=bias),
        *linear("down_proj", width, hidden, bias=bias),
    )


def gated_mlp(hidden: int, width: int, *, bias: bool = False, name: str = "mlp") -> Block:
    """An MLP whose up projection is gated."""
    return Block(within(name, gated(hidden, width, bias=bias)))


def fused_gated_mlp(hidden: int, width: int, *, name: str = "mlp") -> Block:
    """A gated MLP whose gate and up projections are one (Phi-3)."""
    return Block(within(name, linear("gate_up_proj", hidden, 2 * width), linear("down_proj", width, hidden)))


def plain_mlp(up: Tensors, down: Tensors, *, name: str = "mlp") -> Block:
    """An MLP of two projections."""
    return Block(within(name, up, down))


class Routing(NamedTuple):
    """How many experts there are, and how many of them a token passes."""

    experts: int
    chosen: int


def stacked(name: str, routing: Routing, *shape: int) -> Tensors:
    """A weight of all experts, the first dimension theirs, as transformers 5 stores them."""
    tensor = Tensor(name, (routing.experts, *shape), kind="experts")
    return (tensor._replace(idle=tensor.elements * (routing.experts - routing.chosen) // routing.experts),)


def stacked_experts(hidden: int, width: int, routing: Routing) -> Tensors:
    """Gated experts as transformers 5 stacks them: experts.gate_up_proj and experts.down_proj."""
    return (
        *stacked("experts.gate_up_proj", routing, 2 * width, hidden),
        *stacked("experts.down_proj", routing, hidden, width),
    )
