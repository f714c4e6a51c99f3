"""HQQ: integers of one to eight bits in bytes (three bits: ten to a word), a scale and a zero for each group.

Read from hqq 0.2.8.post1 (core/quantize.py, core/bitpack.py) and transformers 5.23.0 (integrations/hqq.py), whose
quantizer has lost the operation that quantizes: `get_quantize_ops` raises NotImplementedError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.quantization.scheme import Matrix, Packing, Part, Parts, Scheme
from vramguard.memory.quantization.selection import LINEAR

if TYPE_CHECKING:
    from vramguard.memory.quantization.config import Options
    from vramguard.memory.quantization.scheme import Chooser, Network

SOURCE: Final = "hqq 0.2.8.post1, core/quantize.py (Quantizer.quantize), core/bitpack.py"
_VALUES: Final = {8: 1, 6: 1, 5: 1, 4: 2, 2: 4, 1: 8}  # values in a byte
_THREE: Final = 3
_WORD_VALUES: Final = 10  # three-bit values in a word of 32 bits


@dataclass(frozen=True, slots=True)
class Hqq:
    """Groups of `group` elements along `axis` of the reshaped weight, of all of a row (or column) where it is None."""

    bits: int
    group: int | None
    axis: int
    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors W_q, and scale and zero in the dtype of the computation, which is the network's."""
        group = self.group or (matrix.columns if self.axis else matrix.rows)
        groups, rest = divmod(matrix.elements, group)
        lines, width = (groups, group) if self.axis else (group, groups)  # the packed dimension, and the other
        if rest or (self.bits != _THREE and lines % _VALUES[self.bits]):
            raise UnprovenError(f"hqq: {matrix.rows} x {matrix.columns} does not divide into groups of {group}")
        sizes = {"lines": lines, "width": width}
        if self.bits == _THREE:
            packed = Part("packed", "4 * ceil_div(lines, values) * width", {**sizes, "values": _WORD_VALUES})
        else:
            packed = Part("packed", "lines // values * width", {**sizes, "values": _VALUES[self.bits]})
        return packed, Part("scales", "2 * groups * bytes", {"groups": groups, "bytes": element_bytes})

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: a forward pass unpacks into a buffer of its own."""


@dataclass(frozen=True, slots=True)
class Tags:
    """Rule of every Linear but those whose name, less "model", "layers" and numbers, is skipped."""

    packing: Packing
    skipped: tuple[str, ...]

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network."""
        del network

        def choose(module: str, tensor: Tensor) -> Packing | None:
            parts = [part for part in module.split(".") if part not in ("model", "layers") and not part.isnumeric()]
            return self.packing if tensor.kind in LINEAR and ".".join(parts) not in self.skipped else None

        return choose


def scheme(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read an HqqConfig; raises UnprovenError."""
    options.ignore("quant_method")
    config = options.inner("quant_config")
    weights = None if config is None else config.inner("weight_quant_params")
    if config is None or weights is None:
        raise options.unknown("quant_config")  # one for each tag, or none
    config.forbid("offload_meta")
    # hqq quantizes zeros and scales no longer, whatever a config says.
    config.ignore("scale_quant_params", "zero_quant_params")
    config.close()
    packing = _packing(weights)
    skipped = options.texts("skip_modules")
    options.close()
    refused = "transformers 5.23 has no operation that quantizes to HQQ or loads what is quantized"
    rule = Tags(packing, ("lm_head",) if skipped is None else skipped)
    return Scheme("hqq", rule, SOURCE, on_the_fly=on_the_fly, refused=refused)


def _packing(weights: Options) -> Hqq:
    bits, axis = weights.integer("nbits", 4), weights.integer("axis", 1, least=0)
    if bits not in (*_VALUES, _THREE):
        raise weights.unknown("nbits")
    if axis > 1:
        raise weights.unknown("axis")
    if not weights.flag("channel_wise", default=True):
        raise weights.unknown("channel_wise")
    group = weights.integer("group_size") if weights.raw("group_size") is not None else None
    weights.forbid("view_as_float")
    weights.ignore("optimize", "round_zero", "bitpack")
    weights.close()
    return Hqq(bits, group, axis)
