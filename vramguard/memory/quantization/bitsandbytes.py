"""bitsandbytes: int8 with a scale for each row, and 4-bit floats (nf4, fp4) with a scale for each 64 elements.

Read from bitsandbytes 0.50.2: functional.py (quantize_4bit, quantize_blockwise, get_4bit_type), nn/modules.py,
autograd/_functions.py, backends/cuda/ops.py; and transformers 5.23.0, integrations/bitsandbytes.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.ledger import Term, bound
from vramguard.memory.quantization.scheme import Matrix, Network, Part, Parts, Scheme, as_network, packed_matrices
from vramguard.memory.quantization.selection import AllBut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.quantization.config import Options

BLOCK: Final = 64  # elements with one scale; transformers has no key for it
NESTED_BLOCK: Final = 256  # scales with one scale of their own (double quantization)
CODE_BYTES: Final = 16 * 4  # table of the 16 values, float32
NESTED_CODE_BYTES: Final = 256 * 4
_ALIGNED: Final = 4  # cuBLASLt multiplies int8 matrices of such widths only; others go through float32

SOURCE: Final = "bitsandbytes 0.50.2, functional.py; transformers 5.23.0, quantizers/quantizer_bnb_4bit.py, _8bit.py"
_FORWARD: Final = "bitsandbytes 0.50.2, backends/cuda/ops.py (_dequant_linear_fallback, int8_vectorwise_quant)"


@dataclass(frozen=True, slots=True)
class FourBit:
    """Half a byte an element; `storage` is the size of the dtype that two to sixteen of them are kept in."""

    nested: bool
    storage: int
    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors of Params4bit and its QuantState; an odd element's half byte is dropped as CUDA's kernel does."""
        del element_bytes
        size = {"elements": matrix.elements}
        packed = Part("packed", "(elements + 1) // (2 * storage) * storage", {**size, "storage": self.storage})
        code = Part("code", "code", {"code": CODE_BYTES})
        blocks = {**size, "block": BLOCK}
        if not self.nested:
            return packed, Part("scales", "4 * ceil_div(elements, block)", blocks), code
        nested = {**blocks, "nested_block": NESTED_BLOCK}
        return (
            packed,
            Part("scales", "ceil_div(elements, block)", blocks),
            Part("nested_scales", "4 * ceil_div(ceil_div(elements, block), nested_block)", nested),
            code,
            Part("nested_code", "code + offset", {"code": NESTED_CODE_BYTES, "offset": 4}),
        )

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: a forward pass unpacks into a buffer of its own."""


@dataclass(frozen=True, slots=True)
class EightBit:
    """One byte an element and a float32 scale for each row (LLM.int8())."""

    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors of Int8Params: CB, which is the weight itself, and SCB."""
        del element_bytes
        sizes = {"rows": matrix.rows, "columns": matrix.columns}
        return Part("packed", "rows * columns", sizes), Part("scales", "4 * rows", {"rows": matrix.rows})

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: outlier columns are unpacked into a buffer of their own."""


def scheme(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read a BitsAndBytesConfig; raises UnprovenError."""
    four, eight = options.flag("load_in_4bit"), options.flag("load_in_8bit")
    if options.has("_load_in_4bit") or options.has("_load_in_8bit"):  # what to_dict() writes beside them
        options.ignore("_load_in_4bit", "_load_in_8bit")
    if four == eight:
        raise UnprovenError("quantization_config: one of load_in_4bit and load_in_8bit must be true")
    options.forbid("llm_int8_has_fp16_weight")
    options.ignore("llm_int8_enable_fp32_cpu_offload", "quant_method")
    packing, detail = (_four_bit if four else _eight_bit)(options)
    rule = AllBut(packing, options.texts("llm_int8_skip_modules"), ("linear", "conv1d"))
    options.close()
    return Scheme("bitsandbytes", rule, SOURCE, on_the_fly=on_the_fly, assumptions=_assumed(four), detail=detail)


def _four_bit(options: Options) -> tuple[FourBit, dict[str, int]]:
    options.ignore("llm_int8_threshold")
    options.choice("bnb_4bit_quant_type", ("nf4", "fp4"), "fp4")
    compute = options.dtype("bnb_4bit_compute_dtype", "float32")
    storage = options.dtype("bnb_4bit_quant_storage", "uint8")
    nested = options.flag("bnb_4bit_use_double_quant")
    return FourBit(nested, storage or 1), {"compute_bytes": compute or 4, "nested": int(nested)}


def _eight_bit(options: Options) -> tuple[EightBit, dict[str, int]]:
    threshold = options.raw("llm_int8_threshold")
    if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
        raise options.unknown("llm_int8_threshold")
    options.ignore("bnb_4bit_quant_type", "bnb_4bit_compute_dtype", "bnb_4bit_quant_storage")
    options.ignore("bnb_4bit_use_double_quant")
    return EightBit(), {"outliers": int(threshold is None or threshold > 0)}


def _assumed(four: bool) -> tuple[str, ...]:  # noqa: FBT001 - private
    return (f"bitsandbytes: {BLOCK} elements share a scale, which no config states",) if four else ()


def forward(network: Network | Sequence[Tensor], scheme: Scheme, element_bytes: int, tokens: int) -> tuple[Term, ...]:
    """Bytes that one packed layer's forward pass takes beyond a dense layer's output, for `tokens` tokens at once.

    An upper bound: which kernel bitsandbytes takes, and how many columns hold outliers, depends on card and data.
    """
    shapes = sorted({(matrix.rows, matrix.columns) for matrix in packed_matrices(as_network(network), scheme)})
    if not shapes:
        return ()
    if scheme.method != "bitsandbytes":
        return (_any_kernel(shapes, tokens),)
    four = "compute_bytes" in scheme.detail
    if not four and any(columns % _ALIGNED for _, columns in shapes):
        raise UnprovenError("bitsandbytes: int8 layers whose width 4 does not divide run through float32")
    formula, inputs = (_forward_four if four else _forward_eight)(scheme, element_bytes)
    for number, (rows, columns) in enumerate(shapes):
        inputs |= {f"rows_{number}": rows, f"columns_{number}": columns}
    each = [formula.format(rows=f"rows_{number}", columns=f"columns_{number}") for number in range(len(shapes))]
    most = f"max(0, {', '.join(each)})"
    return (bound("activations/bitsandbytes", most, {"tokens": tokens, **inputs}, source=_FORWARD),)


def _any_kernel(shapes: Sequence[tuple[int, int]], tokens: int) -> Term:
    """What every kernel of the other formats is assumed to stay below: the proof says so (see `ANY_KERNEL`)."""
    inputs = {
        f"{side}_{number}": size
        for number, shape in enumerate(shapes)
        for side, size in zip(("rows", "columns"), shape, strict=True)
    }
    each = (
        f"8 * rows_{n} * columns_{n} + 8 * tokens * columns_{n} + 4 * tokens * rows_{n}" for n in range(len(shapes))
    )
    source = "an assumption: kernels unpack a weight and pack its input in float32 at most"
    return bound(
        "activations/quantized_layer", f"max(0, {', '.join(each)})", {"tokens": tokens, **inputs}, source=source
    )


ANY_KERNEL: Final = (
    "a quantized layer holds at most two float32 copies of its weight and its input, and one of its output, at once"
)


def _forward_four(scheme: Scheme, element_bytes: int) -> tuple[str, dict[str, int]]:
    """Formula of the whole weight in the dtype of the computation, its float32 scales, and both activations in it.

    Input and output are copied only where the computation's dtype is another: the default is float32.
    """
    compute = scheme.detail["compute_bytes"]
    inputs = {"compute": compute, "block": BLOCK, "cast": compute if compute != element_bytes else 0}
    scales = " + 8 * ceil_div({rows} * {columns}, block)" if scheme.detail["nested"] else ""
    if compute == element_bytes:  # 16 bits each, but perhaps bfloat16 for float16: a copy all the same
        inputs["cast"] = compute if compute == 2 else 0  # noqa: PLR2004 - bytes of a 16-bit float
    return "{rows} * {columns} * compute" + scales + " + tokens * ({rows} + {columns}) * cast", inputs


def _forward_eight(scheme: Scheme, element_bytes: int) -> tuple[str, dict[str, int]]:
    """Formula of the int8 activations while and after they are made, the int32 product, and outlier columns.

    While: the float16 copy, its absolute values, the mask, the int8 copy and the rows' scales. After: the int8 copy,
    the product in int32, float16 and the network's dtype; every column may hold an outlier: then the columns of
    activations and weight are copied, the weight's through float32, and their product is added.
    """
    quantizing = "tokens * (6 * {columns} + 4)"
    product = "tokens * ({columns} + 4 + {rows} * (6 + bytes))"
    if scheme.detail["outliers"]:
        product += " + tokens * ({columns} + {rows}) * bytes + {rows} * {columns} * (9 + bytes)"
    return f"max({quantizing}, {product})", {"bytes": element_bytes}
