"""What a network is made of: the shapes that decide its weights, its cache and its activations.

Values only. `families` builds an `Architecture` from a Hugging Face config; `ledger.py` and its neighbours turn one
into bytes. Shapes follow PyTorch: a Linear's weight is (out_features, in_features).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple


class UnprovenError(Exception):
    """Something that the proof needs is not known; the message names it. Becomes the answer UNKNOWN."""


class Tensor(NamedTuple):
    """One weight, or `copies` weights of the same shape whose names differ only where `*` stands.

    `name` is the name that `named_parameters()` gives, with `*` for a layer's (or an expert's) number. `kind` is the
    module that it belongs to, which decides whether a quantizer takes it: linear, conv1d (GPT-2's), embedding, norm,
    conv, experts (stacked), parameter (any other) or buffer (which `named_parameters()` does not list).
    """

    name: str
    shape: tuple[int, ...]
    copies: int = 1
    kind: str = "parameter"
    idle: int = 0  # elements of one copy that a token is not routed to
    layers: tuple[int, ...] = ()  # the numbers that the first * stands for
    item: int = 4  # of a buffer: bytes of an element, whatever the model's dtype

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


class State(NamedTuple):
    """What a recurrent layer keeps of a sequence, however long it is."""

    elements: int
    bytes: int | None = None  # of one element, None for the cache's own dtype


class Series(NamedTuple):
    """What a layer keeps beside keys and values that grows with a sequence: an entry for every `every` tokens.

    Where `rest`, it is the tokens that do not fill an entry yet; after a prefill they are a view of all tokens.
    """

    elements: int  # of one entry; of one token where rest
    every: int = 1
    bytes: int | None = None  # of one element, None for the cache's own dtype
    most: int | None = None  # entries that it keeps
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Cache:
    """What each of `layers` equal layers keeps of one sequence: keys and values of its tokens, or states."""

    keys: int = 0  # elements a token
    values: int = 0
    window: int | None = None  # a sliding or chunked layer: tokens that its mask lets through
    encoder: bool = False  # of the encoder's tokens (cross attention)
    tokens: int | None = None  # a fixed number of tokens, where it does not follow the prompt (Whisper's audio)
    states: tuple[State, ...] = ()
    series: tuple[Series, ...] = ()
    layers: int = 1


@dataclass(frozen=True, slots=True)
class Architecture:
    """The network of one config: every weight (tied ones once) and what its layers do.

    `context` is the largest number of positions that the config declares. `sizes` are the integers of the config, by
    the config's own names, and what follows from them: the names that recorded formulas use.
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
    caches: tuple[Cache, ...] = ()
    buffers: tuple[Tensor, ...] = ()  # beside tables of a few numbers, which every network has
    attn_implementation: str | None = None  # what the config itself asks for, None for the library's default
    tied: bool = False  # one weight is embedding and head; a checkpoint in which the two differ is loaded untied
    learned_positions: bool = False  # there is no position beyond `context`
    sizes: Mapping[str, int] = field(default_factory=dict)
    activation: str | None = None  # name of the MLP's activation function, None where the config names none
    language: str | None = None  # model type of a language model that the class takes as a part, whichever it is
    variant: str = ""  # switches that change what a forward pass allocates, as the recorded formulas name them
    float32: tuple[str, ...] = ()  # patterns of weights that stay float32 beside bfloat16 and float16
    float32_beside_float16: tuple[str, ...] = ()  # likewise, beside float16 only

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones once."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def windows(self) -> tuple[int, ...]:
        """Tokens that its sliding layers see."""
        attended = (group.window for group in self.attention)
        cached = (cache.window for cache in self.caches)
        return tuple(window for window in (*attended, *cached) if window is not None)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through: all but those of the experts that it is not routed to."""
        return self.parameters - sum(tensor.idle * tensor.copies for tensor in self.tensors)
