"""Bytes of the weights as `from_pretrained` leaves them on the card: in one dtype, quantized, or kept in float32.

Every weight is a row, tied ones once. A class may keep some weights in float32 beside a half-precision dtype, and a
quantizer replaces the weights of the modules that it takes. Tables that are no parameters (buffers) are rows of their
own: those of more than a few numbers exactly, the rest as an allowance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.ledger import Term, bound, dense

if TYPE_CHECKING:
    from vramguard.memory import quantization
    from vramguard.memory.architecture import Architecture, Tensor
    from vramguard.memory.quantization import Scheme

ELEMENT_BYTES: Final = {"float16": 2, "bfloat16": 2, "float32": 4}
SMALL_BUFFER: Final = 4096  # elements: rotary frequencies, a router's corrections
_FLOAT32: Final = 4


class Loaded(NamedTuple):
    """A network as it is on the card: its dtype, and how it is quantized."""

    network: Architecture
    dtype: str
    scheme: Scheme | None = None

    @property
    def element_bytes(self) -> int:
        """Bytes of an element of what is not quantized."""
        return ELEMENT_BYTES[self.dtype]

    @property
    def float32(self) -> tuple[str, ...]:
        """Patterns of weights that stay float32."""
        if self.dtype == "float32":
            return ()
        return self.network.float32 + (self.network.float32_beside_float16 if self.dtype == "float16" else ())

    @property
    def quantized(self) -> quantization.Network:
        """What a quantizer's rule may ask of the network."""
        from vramguard.memory.quantization import Network  # loaded only where something is quantized

        network = self.network
        return Network(network.tensors, self.float32, network.model_type, network.tied)


def load(network: Architecture, dtype: str, scheme: Scheme | None, capability: tuple[int, int]) -> Loaded:
    """A network on a card of that compute capability; raises UnprovenError for what transformers refuses to load."""
    if scheme is None:
        return Loaded(network, dtype)
    if scheme.refused is not None:
        raise UnprovenError(f"quantization {scheme.method}: {scheme.refused}")
    if capability < scheme.capability:
        least = ".".join(map(str, scheme.capability))
        raise UnprovenError(f"quantization {scheme.method} needs a card of compute capability {least}")
    return Loaded(network, scheme.loads_as(dtype), scheme)


def weights(loaded: Loaded, *, packed: bool = False) -> Iterator[Term]:
    """Rows of the ledger, in the order of `named_parameters()`; `packed` where the engine never unpacks a weight."""
    kept = {f"weights/{tensor.name}": tensor for tensor in loaded.network.tensors if _keeps(loaded, tensor)}
    for term in _rows(loaded, packed=packed):
        tensor = kept.get(term.name)
        # What a quantizer took is its own; a row of the plain name was left alone.
        yield term if tensor is None else dense(tensor._replace(copies=term.inputs["copies"]), _FLOAT32)


def buffers(network: Architecture) -> Iterator[Term]:
    """Rows of the tables beside the weights."""
    for tensor in network.buffers:
        if tensor.elements // tensor.copies > SMALL_BUFFER:
            yield dense(tensor, tensor.item, "runtime/buffers")
    yield bound(
        "runtime/small_buffers",
        "layers * buffers * elements * 4 + 1048576",
        {"layers": network.layers, "buffers": 2, "elements": SMALL_BUFFER},
        source="tests/memory/scoreboard.py: the buffers of every architecture's default config",
    )


def loading(loaded: Loaded, serving_bytes: int) -> Term:
    """What loading needs beyond serving, whose cache and activations (`serving_bytes`) do not exist yet then.

    transformers 5 stacks a checkpoint's experts on the card: the parts and one intermediate exist beside the result. A
    weight that is packed while it is loaded exists in both forms. Raises UnprovenError.
    """
    experts = [t.elements // t.copies for t in loaded.network.tensors if ".experts." in t.name]
    inputs = {"largest_experts": max(experts, default=0), "bytes": loaded.element_bytes, "packing": 0}
    if loaded.scheme is not None:
        from vramguard.memory import quantization

        packed = quantization.loading(loaded.quantized, loaded.scheme, loaded.element_bytes)
        inputs["packing"] = max((term.upper_bytes for term in packed), default=0)
    source = "transformers 5.23.0, core_model_loading.py (MergeModulelist, Concatenate); quantization/loading.py"
    formula = "max(0, 2 * largest_experts * bytes - serving, packing - serving)"
    return bound("runtime/loading", formula, {**inputs, "serving": serving_bytes}, source=source)


def quantized_pass(loaded: Loaded, tokens: int) -> tuple[Term, ...]:
    """What a quantizer's forward pass takes beyond a dense one's, for `tokens` tokens at once; raises UnprovenError."""
    if loaded.scheme is None:
        return ()
    from vramguard.memory import quantization

    return quantization.forward(loaded.quantized, loaded.scheme, loaded.element_bytes, tokens)


def quantizer_assumptions(loaded: Loaded) -> tuple[str, ...]:
    """What a proof of quantized weights assumes, in sentences."""
    if loaded.scheme is None:
        return ()
    from vramguard.memory.quantization.bitsandbytes import ANY_KERNEL

    kernels = () if loaded.scheme.method == "bitsandbytes" else (ANY_KERNEL,)
    return (*loaded.scheme.assumptions, *kernels)


def scheme_of(config: Mapping[str, Any], flag: str | None) -> Scheme | None:
    """How a config or a flag says that the network is quantized; raises UnprovenError."""
    given = config.get("quantization_config")
    if given is not None and not isinstance(given, Mapping):
        raise UnprovenError("config: quantization_config is no object")
    flag = None if flag == "none" else flag
    if not given and flag is None:
        return None
    from vramguard.memory import quantization

    return quantization.scheme_of(given, flag)


def _rows(loaded: Loaded, *, packed: bool) -> Iterator[Term]:
    scheme = loaded.scheme
    if scheme is None:
        yield from (dense(tensor, loaded.element_bytes) for tensor in loaded.network.tensors)
        return
    from vramguard.memory import quantization

    # Where the first forward pass unpacks every weight, the peak is what comes after it.
    rows = quantization.unpacked if scheme.unpacks and not packed else quantization.quantize
    yield from rows(loaded.quantized, scheme, loaded.element_bytes)


def _keeps(loaded: Loaded, tensor: Tensor) -> bool:
    """Whether a weight stays float32: transformers searches its patterns anywhere in the name (dtype_plan)."""
    return any(re.search(pattern.replace("*", ".*"), tensor.name) for pattern in loaded.float32)
