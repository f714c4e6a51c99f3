"""torchao: int8 and float8 by row, tensor or group, and int4 by group.

Read from torchao 0.18.0 (quantization/quant_api.py, quantization/quantize_/workflows) and transformers 5.23.0
(quantizers/quantizer_torchao.py, integrations/torchao.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.quantization.scheme import MATRIX, Matrix, Part, Parts, Scheme
from vramguard.memory.quantization.selection import LINEAR, AllBut

if TYPE_CHECKING:
    from vramguard.memory.quantization.config import Options
    from vramguard.memory.quantization.scheme import Packing

SOURCE: Final = "torchao 0.18.0, quantization/quant_api.py; transformers 5.23.0, integrations/torchao.py"
_TILE_COLUMNS: Final = 1024  # the tinygemm kernel pads the input features
_ALIGNED: Final = 16  # float8 products of other sizes are left alone
_VERSION: Final = 2  # of a config's layout; the first was removed


@dataclass(frozen=True, slots=True)
class Scaled:
    """A byte an element with float32 scales (one, or one a row, or one a group) and, for integers, int8 zero points."""

    granularity: str  # tensor, row, group
    group: int | None
    zeros: bool
    aligned: bool = False  # leave sizes alone that 16 does not divide
    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts | None:
        """Tensors qdata, scale and zero_point."""
        del element_bytes
        if self.aligned and (matrix.rows % _ALIGNED or matrix.columns % _ALIGNED):
            return None
        if self.group and matrix.columns % self.group:
            raise UnprovenError(f"torchao: groups of {self.group} do not divide {matrix.columns}")
        sizes = {"rows": matrix.rows, "columns": matrix.columns}
        count, inputs = {
            "tensor": ("1", {}),
            "row": ("rows", {"rows": matrix.rows}),
            "group": ("rows * (columns // group)", {**sizes, "group": self.group or 1}),
        }[self.granularity]
        parts = (Part("packed", "rows * columns", sizes), Part("scales", f"4 * ({count})", inputs))
        return (*parts, Part("zeros", count, inputs)) if self.zeros else parts

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: the tensor stays packed."""


@dataclass(frozen=True, slots=True)
class Int4:
    """Half a byte an element, a scale and a zero point in the network's dtype for each group.

    Tiled for the tinygemm kernel, the sides are padded to `tile` rows by 1024 columns; `tile` 0 is the plain layout.
    """

    group: int
    tile: int
    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts | None:
        """Tensors qdata, and scale and zero_point (one tensor where tiled); None where groups do not divide."""
        if matrix.columns % self.group:
            return None
        sizes = {"rows": matrix.rows, "columns": matrix.columns}
        scales = {**sizes, "group": self.group, "bytes": element_bytes}
        if not self.tile:
            return (
                Part("packed", "rows * columns // 2", sizes),
                Part("scales", "2 * rows * (columns // group) * bytes", scales),
            )
        padded = {"tile_rows": self.tile, "tile_columns": _TILE_COLUMNS}
        rows = "(ceil_div(rows, tile_rows) * tile_rows)"
        columns = "(ceil_div(columns, tile_columns) * tile_columns)"
        return (
            Part("packed", f"{rows} * {columns} // 2", {**sizes, **padded}),
            Part("scales", f"2 * {rows} * ({columns} // group) * bytes", {**scales, **padded}),
        )

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: the tensor stays packed."""


def scheme(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read a TorchAoConfig; raises UnprovenError."""
    options.ignore("quant_method")
    options.forbid("include_input_output_embeddings", "untie_embedding_weights", "quant_type_kwargs")
    kinds = options.inner("quant_type")
    default = None if kinds is None else kinds.inner("default")
    if kinds is None or default is None:
        raise options.unknown("quant_type")
    kinds.close()
    rule = AllBut(_packing(default), options.texts("modules_to_not_convert"), LINEAR, by_parameter=True)
    options.close()
    kind = default.raw("_type")
    return Scheme(
        "torchao",
        rule,
        SOURCE,
        on_the_fly=on_the_fly,
        capability=(8, 9) if kind == "Float8DynamicActivationFloat8WeightConfig" else (0, 0),
        detail={"int4": 1} if kind == "Int4WeightOnlyConfig" else {},
    )


def _packing(options: Options) -> Packing:
    kind = options.choice("_type", _READERS)
    if options.integer("_version", 1) != _VERSION:
        raise options.unknown("_version")
    data = options.inner("_data")
    if data is None:
        raise options.unknown("_data")
    options.close()
    packing = _READERS[kind](data)
    data.ignore("set_inductor_config", "kernel_preference", "mm_config", "activation_value_lb", "activation_value_ub")
    data.ignore("act_mapping_type", "reduce_range", "activation_dtype")
    data.close()
    return packing


def _int8(data: Options) -> Packing:
    data.forbid("group_size", "weight_only_decode")
    return Scaled(*_granularity(data, "row"), zeros=True)


def _float8(data: Options) -> Packing:
    _eight_bits(data)
    return Scaled(*_granularity(data, "row"), zeros=False)


def _float8_dynamic(data: Options) -> Packing:
    _eight_bits(data)
    if _member(data, "packing_format", "plain") != "plain":
        raise data.unknown("packing_format")
    data.ignore("alg_id")
    return Scaled(*_granularity(data, "tensor"), zeros=False, aligned=True)


def _int4(data: Options) -> Packing:
    layout = _member(data, "int4_packing_format", "plain")
    if layout not in ("plain", "tile_packed_to_4d"):
        raise data.unknown("int4_packing_format")
    data.ignore("int4_choose_qparams_algorithm")
    tile = data.integer("int4_tile_packed_ntile", 8)
    return Int4(data.integer("group_size", 128), tile if layout != "plain" else 0)


_READERS: Final = {
    "Int8WeightOnlyConfig": _int8,
    "Int8DynamicActivationInt8WeightConfig": _int8,
    "Float8WeightOnlyConfig": _float8,
    "Float8DynamicActivationFloat8WeightConfig": _float8_dynamic,
    "Int4WeightOnlyConfig": _int4,
}


def _eight_bits(data: Options) -> None:
    dtype = data.inner("weight_dtype")
    if dtype is not None and dtype.raw("_data") not in ("float8_e4m3fn", "float8_e5m2"):
        raise data.unknown("weight_dtype")


def _member(data: Options, key: str, default: str) -> str:
    """Name of an enumeration's member, which is written as text or as an object."""
    value: Any = data.raw(key)
    if isinstance(value, dict):
        value = value.get("_data")
    if value is not None and not isinstance(value, str):
        raise data.unknown(key)
    return default if value is None else value.lower()


def _granularity(data: Options, default: str) -> tuple[str, int | None]:
    """How many elements share a scale; of a pair the second is the weight's."""
    value: Any = data.raw("granularity")
    if isinstance(value, list) and len(value) == MATRIX:
        value = value[1]
    if value is None:
        return default, None
    kind = value.get("_type") if isinstance(value, dict) else None
    inner = value.get("_data", {}) if isinstance(value, dict) else {}
    size = inner.get("group_size") if isinstance(inner, dict) else None
    if kind == "PerTensor" and not inner:
        return "tensor", None
    if kind == "PerRow" and inner in ({}, {"dim": -1}):
        return "row", None
    if kind == "PerGroup" and isinstance(size, int) and size > 0:
        return "group", size
    raise data.unknown("granularity")
