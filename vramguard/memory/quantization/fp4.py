"""4-bit floats with small groups: MXFP4 (gpt-oss's experts) and NVFP4 (transformers' own, and ModelOpt's checkpoints).

Read from transformers 5.23.0 (integrations/mxfp4.py, integrations/nvfp4.py), triton_kernels at triton-lang/triton
(tensor_details/layout_details/hopper_value.py) and nvidia-modelopt 0.47.0 (torch/export/quant_utils.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.quantization.scheme import Matrix, Packing, Part, Parts, Scheme, modules
from vramguard.memory.quantization.selection import LINEAR, AllBut, compiled, left_alone, pattern, safe

if TYPE_CHECKING:
    from vramguard.memory.quantization.config import Options
    from vramguard.memory.quantization.scheme import Chooser, Network

MXFP4_SOURCE: Final = "transformers 5.23.0, integrations/mxfp4.py (Mxfp4GptOssExperts, swizzle_mxfp4)"
NVFP4_SOURCE: Final = "transformers 5.23.0, integrations/nvfp4.py (NVFP4Linear)"
MODELOPT_SOURCE: Final = "nvidia-modelopt 0.47.0, torch/export/quant_utils.py; convert_hf_config.py"
MX_GROUP: Final = 32  # values with one E8M0 scale
NV_GROUP: Final = 16  # values with one E4M3 scale
_PAD_INPUTS: Final = 64  # bytes, along the input features
_PAD_OUTPUTS: Final = 256
_NO_KERNEL: Final = (
    "mxfp4: triton >= 3.4 and the package kernels are installed, and use_kernels is not set: without them transformers "
    "unpacks the experts to the network's dtype while it loads them"
)


@dataclass(frozen=True, slots=True)
class Mxfp4Experts:
    """gpt-oss's experts, whose parameters are (experts, in, out): two values a byte, a scale for 32 of them.

    The kernel lays values out as the card wants them, padded to 64 bytes of inputs by 256 outputs at most; it does not
    pad scales. Not `swizzled`: an engine that pads the shapes itself.
    """

    swizzled: bool = True

    bias_bytes: int | None = 4  # Mxfp4GptOssExperts keeps its biases in float32

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors of blocks and scales; here rows are the inputs."""
        del element_bytes
        if matrix.rows % MX_GROUP:
            raise UnprovenError(f"mxfp4: groups of {MX_GROUP} do not divide {matrix.rows}")
        sizes = {"inputs": matrix.rows, "outputs": matrix.columns}
        if not self.swizzled:
            return (
                Part("packed", "inputs // 2 * outputs", sizes),
                Part("scales", "inputs // group * outputs", {**sizes, "group": MX_GROUP}),
            )
        pads = {"pad_inputs": _PAD_INPUTS, "pad_outputs": _PAD_OUTPUTS}
        padded = "ceil_div(inputs // 2, pad_inputs) * pad_inputs * (ceil_div(outputs, pad_outputs) * pad_outputs)"
        return (
            Part("packed", padded, {**sizes, **pads}, lower="inputs // 2 * outputs"),
            Part("scales", "inputs // group * outputs", {**sizes, "group": MX_GROUP}),
        )

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: the kernel reads packed values."""


@dataclass(frozen=True, slots=True)
class Nvfp4:
    """Two values a byte, a one-byte scale for 16 of them, and a float32 scale of the whole matrix.

    `swizzled` keeps the scales twice: by rows, and as the kernel wants them, in tiles of 128 rows by 4 scales. `inputs`
    is a float32 scale of the activations.
    """

    swizzled: bool
    inputs: bool = False
    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts | None:
        """Tensors in the weight's place; None where 16 does not divide both sides, which transformers leaves alone."""
        del element_bytes
        if matrix.columns % NV_GROUP or (self.swizzled and matrix.rows % NV_GROUP):
            if self.swizzled:
                return None
            raise UnprovenError(f"nvfp4: groups of {NV_GROUP} do not divide {matrix.columns}")
        sizes = {"rows": matrix.rows, "columns": matrix.columns}
        grouped = {**sizes, "group": NV_GROUP}
        parts = (
            Part("packed", "rows * columns // 2", sizes),
            Part("scales", "rows * (columns // group)", grouped),
            Part("global_scale", "bytes", {"bytes": 8 if self.inputs else 4}),
        )
        if not self.swizzled:
            return parts
        tiles = "ceil_div(rows, tile) * tile * (ceil_div(columns // group, 4) * 4)"
        swizzled = Part("swizzled", tiles, {**grouped, "tile": 128}, lower="rows * (columns // group)")
        return (*parts, swizzled)

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: the kernel reads packed values."""


@dataclass(frozen=True, slots=True)
class GptOssExperts:
    """Rule of the experts of gpt-oss, and of no other network's."""

    skipped: tuple[str, ...] | None
    swizzled: bool = True

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network."""
        if not any(tensor.name.endswith(".mlp.experts.gate_up_proj_bias") for tensor in network.tensors):
            raise UnprovenError("mxfp4: transformers packs the experts of gpt-oss only")
        names = [*(self.skipped or ()), *network.fp32_modules]
        patterns = tuple(map(pattern, names))

        def choose(module: str, tensor: Tensor) -> Packing | None:
            if not tensor.name.rpartition(".")[0].endswith(".mlp.experts"):
                return None
            return None if left_alone(module, names, patterns) else Mxfp4Experts(self.swizzled)

        return choose


@dataclass(frozen=True, slots=True)
class Excluded:
    """ModelOpt's rule: every Linear but those that a shell pattern excludes."""

    packing: Packing
    excluded: tuple[str, ...]

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network."""
        if any(tensor.kind == "experts" for tensor in network.tensors):
            raise UnprovenError("modelopt: how an engine stacks packed experts is not modelled")
        texts = [safe(text).replace(".", r"\.").replace("*", ".*") for text in self.excluded]
        patterns = [compiled(rf"(?:{text})\Z") for text in texts]
        names = {name for tensor in network.tensors for name in modules(tensor)}
        for text, found in zip(self.excluded, patterns, strict=True):
            if "*" not in text and not any(map(found.match, names)) and any(name.endswith(text) for name in names):
                raise UnprovenError(f"modelopt: {text!r} excludes a module that has another name here")

        def choose(module: str, tensor: Tensor) -> Packing | None:
            if tensor.kind not in LINEAR or any(found.match(module) for found in patterns):
                return None
            return self.packing

        return choose


def unswizzled(scheme: Scheme) -> Scheme:
    """The scheme for an engine that rounds sizes by itself before it packs."""
    if not isinstance(scheme.rule, GptOssExperts):
        return scheme
    return replace(scheme, rule=replace(scheme.rule, swizzled=False), assumptions=())


def mxfp4(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read an Mxfp4Config; raises UnprovenError."""
    options.forbid("dequantize")
    options.ignore("quant_method")
    rule = GptOssExperts(options.texts("modules_to_not_convert"))
    options.close()
    return Scheme(
        "mxfp4", rule, MXFP4_SOURCE, on_the_fly=on_the_fly, capability=(7, 5), below="dense", assumptions=(_NO_KERNEL,)
    )  # fmt: skip


def nvfp4(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read an NVFP4Config: bfloat16 weights packed while they are loaded; raises UnprovenError."""
    if not on_the_fly:
        raise UnprovenError("nvfp4: transformers 5.23 does not load checkpoints that are packed already")
    options.ignore("quant_method")
    rule = _Unbiased(AllBut(Nvfp4(swizzled=True), options.texts("modules_to_not_convert"), LINEAR))
    options.close()
    return Scheme("nvfp4", rule, NVFP4_SOURCE, on_the_fly=True, capability=(10, 0))


@dataclass(frozen=True, slots=True)
class _Unbiased:
    """Rule of the Linear modules that have no bias."""

    rule: AllBut

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network."""
        choose = self.rule.chooser(network)
        biased = {name for tensor in network.tensors if tensor.name.endswith(".bias") for name in modules(tensor)}
        return lambda module, tensor: None if module in biased else choose(module, tensor)


def modelopt(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read what ModelOpt writes into quantization_config: FP8 and NVFP4; raises UnprovenError."""
    if on_the_fly:
        raise UnprovenError("modelopt: the checkpoint must be quantized, and its quantization_config is not there")
    from vramguard.memory.quantization.fp8 import Fp8

    algorithm = options.choice("quant_algo", ("FP8", "NVFP4"))
    packing: Packing = Fp8(None, static=True) if algorithm == "FP8" else Nvfp4(swizzled=False, inputs=True)
    excluded = options.texts("exclude_modules")
    excluded = options.texts("ignore") if excluded is None else excluded
    # The groups repeat what quant_algo says; those of mixed checkpoints have an algorithm of their own.
    options.ignore("quant_method", "producer", "config_groups", "exclude_modules", "ignore")
    if options.raw("group_size") not in (None, NV_GROUP):
        raise options.unknown("group_size")
    options.forbid("has_zero_point", "pre_quant_scale")
    bits = _cache_bits(options)
    options.close()
    refused = "transformers 5.23 knows no quant_method modelopt and would load the checkpoint as if it were dense"
    rule = Excluded(packing, excluded or ())
    return Scheme("modelopt", rule, MODELOPT_SOURCE, refused=refused, cache_bits=bits)


def _cache_bits(options: Options) -> int | None:
    """Bits of an element of the cache that a checkpoint asks for, in either spelling; its scales are a few numbers."""
    for key in ("kv_cache_scheme", "kv_cache_quant_algo"):
        said = options.raw(key)
        eight = isinstance(said, Mapping) and (said.get("type"), said.get("num_bits")) == ("float", 8)
        if said and said != "FP8" and not eight:
            raise options.unknown(key)
        if said:
            options.ignore("kv_cache_scheme", "kv_cache_quant_algo")
            return 8
    return None
