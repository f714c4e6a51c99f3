"""What loading takes beside the weights as they end up.

Read from transformers 5.23.0, core_model_loading.py: weights that are quantized while they are loaded are put on the
card one after the other (no threads), each in full precision beside its packed form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.ledger import Term, bound
from vramguard.memory.quantization.scheme import Network, Scheme, as_network, packed_matrices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.architecture import Tensor

# Bytes that one weight takes while it changes form, beside the form that it ends in.
#
# bitsandbytes: the weight as it is loaded, and a second copy: transposed (Conv1D), or float16 for int8, whose dtype is
# no wider. The scales of 64 elements in float32, twice, are less than a byte an element.
#
# compressed-tensors, on the first forward pass: the unpacked integers, their indices in int64 and values in float32. A
# test counts the live bytes of every format's decompress().
#
# fp8: the weight, its parts and one intermediate where experts are stacked, and three copies in float32 (the weight,
# scaled, clamped); scales of at least 32 elements with what they are made of take less than a byte an element. torchao:
# four copies in float32 and one of the weight. Tests count the live bytes of both.
_PACKING: Final = {
    "bitsandbytes": (
        "runtime/packing",
        "elements * (2 * max(bytes, 2) + 1)",
        "transformers 5.23.0, integrations/bitsandbytes.py (Bnb4bitQuantize, Bnb8bitQuantize)",
    ),
    "fp8": (
        "runtime/packing",
        "elements * (13 + 3 * bytes)",
        "transformers 5.23.0, integrations/finegrained_fp8.py (Fp8Quantize)",
    ),
    "torchao": (
        "runtime/packing",
        "elements * (17 + bytes)",
        "torchao 0.18.0, quantization/quant_api.py (quantize_); transformers 5.23.0, integrations/torchao.py",
    ),
    "compressed-tensors": (
        "runtime/unpacking",
        "elements * (24 + 2 * bytes)",
        "compressed-tensors 0.20.0, compressors/*/base.py (decompress)",
    ),
}


def loading(network: Network | Sequence[Tensor], scheme: Scheme, element_bytes: int) -> tuple[Term, ...]:
    """Bytes beside the rows of `quantize` while the largest weight changes form; none for most packed checkpoints.

    An upper bound. Raises UnprovenError for a format whose packing was not followed step by step.
    """
    if not scheme.on_the_fly and not scheme.unpacks:
        return ()
    if scheme.method not in _PACKING or "int4" in scheme.detail:
        raise UnprovenError(f"{scheme.method}: what packing a weight takes while it is loaded is not known")
    name, formula, source = _PACKING[scheme.method]
    largest = max((matrix.elements for matrix in packed_matrices(as_network(network), scheme)), default=0)
    return (bound(name, formula, {"elements": largest, "bytes": element_bytes}, source=source),)
