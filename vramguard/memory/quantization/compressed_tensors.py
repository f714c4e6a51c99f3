"""compressed-tensors: groups of modules by name or class, each with a format of its own.

Read from compressed-tensors 0.20.0: quantization/lifecycle (initialize_qparams, apply_quantization_config),
compressors/*/base.py, compressors/format.py, utils/match.py; and transformers 5.23.0, quantizer_compressed_tensors.py.

Under transformers the packed tensors live until the first forward pass only: it unpacks every weight and keeps the
scales (ModelCompressor.add_decompress_hook). vLLM runs on the packed tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.quantization.scheme import MATRIX, Matrix, Part, Parts, Scheme
from vramguard.memory.quantization.targets import Group, Targets

if TYPE_CHECKING:
    from vramguard.memory.quantization.config import Options

SOURCE: Final = "compressed-tensors 0.20.0, quantization/lifecycle/initialize.py, compressors/*/base.py"
_MX_GROUP: Final = 32
_NV_GROUP: Final = 16
_BYTE: Final = 8  # bits
_FOUR, _SIX = 4, 6  # bits of the smaller floats
_WORD: Final = "4 * ceil_div({0} * bits, 32)"
_BF16: Final = 2  # bytes of what 4-bit and 6-bit floats and their scales are unpacked to, whatever the dtype


@dataclass(frozen=True, slots=True)
class Args:
    """One of a group's QuantizationArgs: how weights, or activations, are quantized."""

    bits: int
    kind: str  # int or float
    strategy: str  # tensor, channel, group, tensor_group, block
    group: int | None
    block: tuple[int, int] | None
    symmetric: bool
    dynamic: str  # no, yes, local
    scale_bytes: int | None  # that the config names; only the formats of small floats heed it


@dataclass(frozen=True, slots=True)
class Compressed:
    """Tensors of one module: its weight packed as `form`, scales, zero points, scales of static activations."""

    form: str
    weights: Args
    inputs: Args | None = None
    outputs: Args | None = None
    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors as they are loaded."""
        scales = self._scales(matrix, self._scale_bytes(element_bytes))
        activations = self._activations(matrix, element_bytes)
        return (*self._weight(matrix), *scales, *self._zeros(matrix), *activations)

    def unpacked(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors after the first forward pass: the dense weight in the dtype of its scales, and all the rest."""
        small = self.form in _SMALL
        kept = _BF16 if small else element_bytes
        inputs = {**_sizes(matrix), "bytes": kept}
        weight = Part("unpacked", "rows * columns * bytes", inputs)
        rest = (*self._weight(matrix)[1:], *self._scales(matrix, kept), *self._zeros(matrix, packed=False))
        return (weight, *rest, *self._activations(matrix, element_bytes))

    def _weight(self, matrix: Matrix) -> Parts:
        sizes, bits = _sizes(matrix), {"bits": self.weights.bits}
        if self.form == "pack-quantized":
            packed = Part("packed", f"rows * {_WORD.format('columns')}", {**sizes, **bits})
            return packed, Part("shape", "bytes", {"bytes": 16})
        if self.form in ("nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp6-pack-quantized"):
            if matrix.columns * self.weights.bits % (3 * _BYTE if self.weights.bits == _SIX else _BYTE):
                raise UnprovenError(f"{self.form}: {matrix.columns} values do not fill whole bytes")
            return (Part("packed", "rows * (columns * bits // 8)", {**sizes, **bits}),)
        return (Part("packed", "rows * columns", sizes),)

    def _scale_bytes(self, element_bytes: int) -> int:
        return (self.weights.scale_bytes or 1) if self.form in _SMALL else element_bytes

    def _scales(self, matrix: Matrix, size: int) -> Parts:
        formula, inputs = _grid(self.weights, matrix)
        scales = Part("scales", f"{formula} * bytes", {**inputs, "bytes": size})
        if self.weights.strategy != "tensor_group":
            return (scales,)
        return scales, Part("global_scale", "bytes", {"bytes": 4})

    def _zeros(self, matrix: Matrix, *, packed: bool = True) -> Parts:
        """Zero points: int8 or E4M3, a byte each; packed along the output features where the weight is packed too."""
        if self.weights.symmetric:
            return ()
        if self.form in _SMALL:
            raise UnprovenError(f"compressed-tensors: {self.form} with zero points")
        formula, inputs = _grid(self.weights, matrix)
        if packed and self.form == "pack-quantized" and self.weights.strategy in ("group", "channel"):
            across = "ceil_div(columns, group)" if self.weights.strategy == "group" else "1"
            return (Part("zeros", f"{_WORD.format('rows')} * {across}", {**inputs, "bits": self.weights.bits}),)
        return (Part("zeros", formula, inputs),)

    def _activations(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Scales that static quantization of a module's inputs and outputs keeps beside its weight."""
        found = []
        for name, args, width in (("input", self.inputs, matrix.columns), ("output", self.outputs, matrix.rows)):
            if args is None or args.dynamic == "yes":
                continue
            size = 4 if args.strategy == "tensor_group" else 0
            if args.dynamic == "no":
                count = 1 if args.strategy == "tensor" else -(-width // (args.group or width))
                size += count * (element_bytes if args.symmetric else element_bytes + 1)
            found.append(Part(f"{name}_scale", "bytes", {"bytes": size}))
        return tuple(found)


_SMALL: Final = ("nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp6-pack-quantized", "mxfp8-quantized")


def _sizes(matrix: Matrix) -> dict[str, int]:
    return {"rows": matrix.rows, "columns": matrix.columns}


def _grid(args: Args, matrix: Matrix) -> tuple[str, dict[str, int]]:
    """Formula of the number of scales of one matrix."""
    if args.strategy == "tensor":
        return "1", {}
    if args.strategy == "channel":
        return "rows", {"rows": matrix.rows}
    if args.block is not None:
        blocks = {"block_rows": args.block[0], "block_columns": args.block[1]}
        return "ceil_div(rows, block_rows) * ceil_div(columns, block_columns)", {**_sizes(matrix), **blocks}
    return "rows * ceil_div(columns, group)", {**_sizes(matrix), "group": args.group or 1}


def scheme(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read a compressed-tensors config; raises UnprovenError."""
    if on_the_fly:
        raise UnprovenError("compressed-tensors: the checkpoint must be quantized, and its config is not there")
    inner = options.inner("quantization_config")
    if inner is not None:
        return scheme(inner, on_the_fly=False)
    status = options.choice("quantization_status", ("compressed", "frozen"))
    options.choice("format", _FORMATS, "dense")
    options.forbid("kv_cache_scheme", "transform_config", "moe_sparsity_config")
    options.forbid("dequantize", "use_optimized_inference")
    if options.raw("run_compressed") is False:
        raise options.unknown("run_compressed")
    sparsity = options.inner("sparsity_config")
    if sparsity is not None and sparsity.raw("format") not in (None, "dense"):
        raise options.unknown("sparsity_config")
    options.ignore("quant_method", "version", "global_compression_ratio")
    groups = options.inner("config_groups")
    if groups is None:
        raise options.unknown("config_groups")
    rule = Targets(tuple(_groups(options, groups)), options.texts("ignore") or ())
    options.close()
    return Scheme("compressed-tensors", rule, SOURCE, unpacks=True, refused=None if status == "compressed" else _FROZEN)


_FORMATS: Final = (
    "dense", "int-quantized", "float-quantized", "naive-quantized", "pack-quantized", "mixed-precision", "fakequant",
    *_SMALL,
)  # fmt: skip
_FROZEN: Final = "quantization_status frozen: transformers 5.23 would load packed values into dense weights"


def _groups(options: Options, groups: Options) -> list[Group]:
    names = options.raw("config_groups")
    found = []
    for name in names:
        group = groups.inner(name) if isinstance(names[name], dict) else None
        if group is None:
            raise groups.unknown(name)  # the name of a preset, with its targets
        found.append(_group(group))
    return found


def _group(options: Options) -> Group:
    targets = options.texts("targets")
    if not targets:
        raise options.unknown("targets")
    weights, inputs, outputs = (_args(options, key) for key in ("weights", "input_activations", "output_activations"))
    stated = options.raw("format")
    if stated is not None and stated not in _FORMATS:
        raise options.unknown("format")
    options.close()
    if weights is None:
        raise UnprovenError("compressed-tensors: a group that quantizes activations only")
    return Group(targets, Compressed(stated or _inferred(weights, inputs), weights, inputs, outputs))


def _args(options: Options, key: str) -> Args | None:
    inner = options.inner(key)
    if inner is None:
        return None
    bits, kind = inner.integer("num_bits", 8), inner.choice("type", ("int", "float"), "int")
    group = None if inner.raw("group_size") in (None, -1) else inner.integer("group_size")
    default = "group" if group else "channel" if inner.raw("group_size") == -1 else "tensor"
    strategy = inner.choice("strategy", ("tensor", "channel", "group", "tensor_group", "block", "token"), default)
    dynamic = inner.raw("dynamic")
    if dynamic not in (None, False, True, "local"):
        raise inner.unknown("dynamic")
    if inner.raw("actorder") not in (None, False, "weight", "static"):
        raise inner.unknown("actorder")
    size, symmetric = inner.dtype("scale_dtype"), inner.flag("symmetric", default=True)
    inner.ignore("observer", "observer_kwargs", "zp_dtype")
    block = _block(inner)
    inner.close()
    known = {True: "yes", "local": "local"}.get(dynamic, "no") if dynamic else "no"
    args = Args(bits, kind, strategy, group, block, symmetric, known, size)
    _validate(inner, args)
    return args


def _validate(options: Options, args: Args) -> None:
    """Refuse what the library refuses, or what its formats do not store."""
    if (args.strategy in ("group", "tensor_group")) != (args.group is not None):
        raise options.unknown("group_size")
    if (args.strategy == "block") != (args.block is not None):
        raise options.unknown("block_structure")
    if args.bits > _BYTE or (args.kind == "float" and args.bits not in (_FOUR, _SIX, _BYTE)):
        raise options.unknown("num_bits")
    if args.strategy == "token" and args.dynamic != "yes":
        raise options.unknown("dynamic")


def _block(options: Options) -> tuple[int, int] | None:
    block = options.raw("block_structure")
    if block is None:
        return None
    sides = block.split("x") if isinstance(block, str) else block
    if not isinstance(sides, list) or len(sides) != MATRIX or not all(str(side).isdecimal() for side in sides):
        raise options.unknown("block_structure")
    rows, columns = (int(side) for side in sides)
    if not rows * columns:
        raise options.unknown("block_structure")
    return rows, columns


def _inferred(weights: Args, inputs: Args | None) -> str:
    """Return the first format of compressors/format.py that takes these weights."""
    floats = weights.kind == "float"
    if floats and weights.bits in (_FOUR, _SIX) and weights.group == _MX_GROUP:
        return f"mxfp{weights.bits}-pack-quantized"
    if floats and weights.bits == _BYTE and weights.group == _MX_GROUP and weights.scale_bytes == 1:
        return "mxfp8-quantized"
    if floats and weights.bits == _FOUR and weights.group == _NV_GROUP:
        return "nvfp4-pack-quantized"
    if floats and weights.bits != _BYTE:
        raise UnprovenError(f"compressed-tensors: floats of {weights.bits} bits in groups of {weights.group}")
    if not floats and inputs is None:
        return "pack-quantized"
    return "float-quantized" if floats else "int-quantized"
