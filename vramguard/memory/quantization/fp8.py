"""8-bit floats: transformers' FP8 (one scale, or one for each block), MXFP8, and FBGEMM's (a scale for each row).

Read from transformers 5.23.0: integrations/finegrained_fp8.py (FP8Linear, FP8Experts, FP8Embedding,
replace_with_fp8_linear, Fp8Quantize) and integrations/fbgemm_fp8.py (FbgemmFp8Linear).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.quantization.scheme import MATRIX, Matrix, Network, Part, Parts, Scheme, modules
from vramguard.memory.quantization.selection import LINEAR, AllBut, pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vramguard.memory.quantization.config import Options
    from vramguard.memory.quantization.scheme import Chooser, Packing

SOURCE: Final = "transformers 5.23.0, integrations/finegrained_fp8.py (FP8Linear, FP8Experts)"
FBGEMM_SOURCE: Final = "transformers 5.23.0, integrations/fbgemm_fp8.py (FbgemmFp8Linear)"

_LEAST_BLOCK: Final = 32  # elements of a scale, for which loading.py counts

# transformers applies its renaming of checkpoints to the list of modules (_normalize_modules_to_not_convert). These are
# the renamings of conversion_mapping.py that move a whole network; a test asks transformers for each model_type.
_TOWERS: Final = (
    (r"^language_model\.lm_head", "lm_head"),
    (r"^language_model\.model", "model.language_model"),
    (r"^language_model", "model.language_model"),
    (r"^vision_tower", "model.vision_tower"),
    (r"^multi_modal_projector", "model.multi_modal_projector"),
)
_VISUAL: Final = (
    (r"^visual", "model.visual"),
    (r"^model(?!\.(language_model|visual))", "model.language_model"),
)
_RENAMES: Final = {
    **dict.fromkeys(("llava", "llava_next", "mistral3", "gemma3", "internvl", "paligemma", "got_ocr2"), _TOWERS),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl"), _VISUAL),
    **dict.fromkeys(
        ("qwen3_vl", "qwen3_vl_moe", "glm4v", "glm4v_moe", "idefics3", "smolvlm", "llama4", "qwen3_5", "qwen3_5_moe"),
        (),
    ),
}


@dataclass(frozen=True, slots=True)
class Fp8:
    """A byte an element, and scales of `scale_bytes`: one, or one for each block of `block`.

    Stacked experts have the same for each expert; `half` packs two 4-bit floats into a byte there, with a scale for
    each 32 input features. `whole` are those quantized while they are loaded: a matrix that the block does not divide
    keeps its dtype, though it has scales.
    """

    block: tuple[int, int] | None
    scale_bytes: int = 4
    static: bool = False  # a float32 scale of the activations beside each weight
    half: bool = False
    whole: bool = False
    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors weight, weight_scale_inv and activation_scale."""
        sizes = {"rows": matrix.rows, "columns": matrix.columns}
        parts = (self._weight(matrix, sizes, element_bytes), self._scales(matrix, sizes))
        return (*parts, Part("activation_scale", "bytes", {"bytes": 4})) if self.static else parts

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: the kernels read 8-bit floats."""

    def _weight(self, matrix: Matrix, sizes: dict[str, int], element_bytes: int) -> Part:
        if self._halves(matrix):
            return Part("packed", "rows * (columns // 2)", sizes)
        divided = self.block is None or not (matrix.rows % self.block[0] or matrix.columns % self.block[1])
        if self.whole and not divided:
            return Part("packed", "rows * columns * bytes", {**sizes, "bytes": element_bytes})
        return Part("packed", "rows * columns", sizes)

    def _scales(self, matrix: Matrix, sizes: dict[str, int]) -> Part:
        # The fused gate and up projections keep room for a scale of each, be it one block.
        least = MATRIX if matrix.name.startswith("gate_up_proj") else 1
        block = (1, 32) if self._halves(matrix) else self.block
        if block is None:
            # The one scale of a Linear is float32, whatever scale_fmt.
            size = 4 if matrix.name == "weight" else self.scale_bytes
            return Part("scales", "least * bytes", {"least": least, "bytes": size})
        inputs = {**sizes, "block_rows": block[0], "block_columns": block[1], "bytes": self.scale_bytes}
        across = "ceil_div(columns, block_columns) * bytes"
        if least == 1:
            return Part("scales", f"ceil_div(rows, block_rows) * {across}", inputs)
        return Part("scales", f"max(ceil_div(rows, block_rows), least) * {across}", {**inputs, "least": least})

    def _halves(self, matrix: Matrix) -> bool:
        return self.half and matrix.name != "weight"


@dataclass(frozen=True, slots=True)
class Fp8Rows:
    """A byte an element, a float32 scale for each row, and the bound of the activations' scales."""

    bias_bytes: int | None = 4  # FbgemmFp8Linear keeps its bias in float32

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors weight, weight_scale and input_scale_ub."""
        del element_bytes
        sizes = {"rows": matrix.rows, "columns": matrix.columns}
        return (
            Part("packed", "rows * columns", sizes),
            Part("scales", "4 * rows + input_scale", {"rows": matrix.rows, "input_scale": 4}),
        )

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: the kernels read 8-bit floats."""


@dataclass(frozen=True, slots=True)
class Fp8Rule:
    """Rule of Linear modules and stacked experts, and of embeddings whose name ends with one of `embeddings`."""

    rule: AllBut
    embeddings: tuple[str, ...] = ()

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network."""
        _refuse_lists_of_experts(network.tensors)
        choose = replace(self.rule, skipped=_renamed(self.rule.skipped, network)).chooser(network)

        def decide(module: str, tensor: Tensor) -> Packing | None:
            if tensor.kind == "embedding":
                return choose(module, tensor) and (Fp8(None) if any(map(module.endswith, self.embeddings)) else None)
            if tensor.kind == "experts" and not module.endswith(".experts"):
                raise UnprovenError(f"fp8: {tensor.name} is not where transformers looks for experts")
            packing = choose(module, tensor)
            if packing is not None and tensor.kind == "experts" and len(tensor.shape) == MATRIX:
                raise UnprovenError("fp8: transformers knows no experts with a bias")
            return packing

        return decide


def scheme(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read a FineGrainedFP8Config (quant_method fp8 or mxfp8); raises UnprovenError."""
    static = options.choice("activation_scheme", ("dynamic", "static"), "dynamic") == "static"
    scale_bytes = {"float": 4, "ue8m0": 1}[options.choice("scale_fmt", ("float", "ue8m0"), "float")]
    half = options.choice("expert_dtype", ("fp8", "fp4"), "fp8") == "fp4"
    options.choice("fmt", ("e4m3", "float8_e4m3fn"), "e4m3")
    options.forbid("dequantize")
    options.ignore("quant_method")
    skipped = options.texts("modules_to_not_convert")
    skipped = options.texts("ignored_layers") if skipped is None else skipped
    embeddings = options.texts("modules_to_convert") or ()
    block = _block(options)
    options.close()
    if on_the_fly and block is not None and block[0] * block[1] < _LEAST_BLOCK:
        raise UnprovenError("fp8: what packing blocks as small as these takes is not known")
    packing = Fp8(block, scale_bytes, static, half, whole=on_the_fly)
    rule = AllBut(packing, skipped, ("linear", "experts", "embedding"))
    return Scheme(
        "fp8", Fp8Rule(rule, embeddings), SOURCE, on_the_fly=on_the_fly, capability=(8, 9), below="dense"
    )  # fmt: skip


def fbgemm(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read an FbgemmFp8Config; raises UnprovenError."""
    options.ignore("quant_method", "activation_scale_ub")
    rule = AllBut(Fp8Rows(), options.texts("modules_to_not_convert"), LINEAR, guard=_refuse_experts)
    options.close()
    return Scheme(
        "fbgemm_fp8", rule, FBGEMM_SOURCE, dtypes={"*": "bfloat16"}, on_the_fly=on_the_fly, capability=(9, 0)
    )  # fmt: skip


def _block(options: Options) -> tuple[int, int] | None:
    """Block of one scale: 128 x 128 where the config does not say, none where it says null."""
    if not options.has("weight_block_size"):
        return 128, 128
    size = options.raw("weight_block_size")
    if size is None:
        return None
    if not isinstance(size, list | tuple) or len(size) != MATRIX:
        raise options.unknown("weight_block_size")
    rows, columns = size
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in size):
        raise options.unknown("weight_block_size")
    return rows, columns


def _renamed(listed: tuple[str, ...] | None, network: Network) -> tuple[str, ...] | None:
    """Names of a list as the network has them; UnprovenError where it may be that transformers renames them."""
    if listed is None or not any(tensor.name.startswith("model.language_model.") for tensor in network.tensors):
        return listed
    known = _RENAMES.get(network.model_type)
    if known is not None:
        return tuple(_rename(name, known) for name in listed)
    names = {name for tensor in network.tensors for name in modules(tensor)}
    for name in listed:
        for renames in (_TOWERS, _VISUAL):
            other = pattern(_rename(name, renames))
            if other != pattern(name) and any(map(other.match, names)):
                raise UnprovenError(f"fp8: whether {name!r:.80} is renamed for {network.model_type!r} is not known")
    return listed


def _rename(name: str, renames: Iterable[tuple[str, str]]) -> str:
    for old, new in renames:
        changed, count = re.subn(old, new, name)
        if count:
            return changed
    return name


def _refuse_lists_of_experts(tensors: Sequence[Tensor]) -> None:
    """Refuse a module `experts` that is a list of Linear: transformers puts one stack in its place, by the config."""
    experts = pattern(r".*\.experts\.\*")
    for tensor in tensors:
        if tensor.kind == "linear" and experts.match(tensor.name):
            raise UnprovenError(f"fp8: {tensor.name} is one of a list of experts, which transformers stacks")


def _refuse_experts(tensors: Sequence[Tensor]) -> None:
    if any(tensor.kind == "experts" for tensor in tensors):
        raise UnprovenError("fbgemm_fp8: of stacked experts transformers packs Llama 4's only; they are not modelled")
