"""GPTQ and AWQ: integers of a few bits in words of 32, with a float16 scale and a packed zero for each group.

Read from gptqmodel 7.7.0 (nn_modules/qlinear: _register_gptq_buffers, gemm_awq.py), autoawq 0.2.9 (WQLinear_GEMM) and
optimum 2.3.0 (gptq/quantizer.py, gptq/utils.py), which transformers 5.23.0 calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.quantization.scheme import Matrix, Packing, Part, Parts, Scheme, modules
from vramguard.memory.quantization.selection import LINEAR, AllBut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.quantization.config import Options
    from vramguard.memory.quantization.scheme import Chooser, Network

GPTQ_SOURCE: Final = "gptqmodel 7.7.0, nn_modules/qlinear/__init__.py (_register_gptq_buffers); optimum 2.3.0, gptq/"
AWQ_SOURCE: Final = "autoawq 0.2.9, modules/linear/gemm.py; transformers 5.23.0, integrations/awq.py"
_HALF: Final = 2  # bytes of float16, whatever the network's dtype
_WORDS: Final = 8  # 4-bit values in a word of 32 bits

# Where optimum looks for a network's layers, in its order of trying.
_BLOCKS: Final = (
    "transformer.h", "model.decoder.layers", "gpt_neox.layers", "model.layers", "model.language_model.layers", "h",
    "decoder.layers", "layers",
)  # fmt: skip
# Keys of a quantization_config that say how it was made or how it is run, not how it is stored.
_HISTORY: Final = (
    "quant_method", "sym", "desc_act", "damp_percent", "damp_auto_increment", "static_groups", "true_sequential",
    "act_group_aware", "model_name_or_path", "model_file_base_name", "model_seqlen", "tokenizer", "dataset", "meta",
    "batch_size", "pad_token_id", "max_input_length", "cache_block_outputs", "module_name_preceding_first_block",
    "use_cuda_fp16", "use_exllama", "exllama_config", "disable_exllama", "backend", "mse", "quantizer",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grouped:
    """Words of `bits`-bit values; a group is `group` input features, all of them where it is None."""

    bits: int
    group: int | None
    along_inputs: bool  # GPTQ packs words along the input features, AWQ along the output features
    bias_bytes: int | None = _HALF

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Tensors qweight, qzeros and scales, and for GPTQ the group of every input feature (g_idx, int32)."""
        del element_bytes
        group = self.group or matrix.columns
        if not self.along_inputs and (matrix.columns % group or matrix.rows % _WORDS):
            raise UnprovenError(f"awq: {matrix.rows} x {matrix.columns} does not divide into groups of {group}")
        sizes = {"rows": matrix.rows, "columns": matrix.columns}
        packs = {**sizes, "bits": self.bits}
        words = "rows * ceil_div(columns * bits, 32)" if self.along_inputs else "columns * ceil_div(rows * bits, 32)"
        zeros = "4 * ceil_div(columns, group) * ceil_div(rows * bits, 32)"
        parts = (
            Part("packed", f"4 * {words}", packs),
            Part("zeros", zeros, {**packs, "group": group}),
            Part("scales", "2 * ceil_div(columns, group) * rows", {**sizes, "group": group}),
        )
        return (*parts, Part("groups", "4 * columns", {"columns": matrix.columns})) if self.along_inputs else parts

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: the kernels read the packed words."""


@dataclass(frozen=True, slots=True)
class Within:
    """optimum's rule: every Linear and Conv1D of the layers; `named` leaves only those whose name ends with one."""

    packing: Packing
    block: str | None
    named: tuple[str, ...] | None

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network; what it keeps in float32 plays no part here."""
        tensors = network.tensors
        refuse_stacked(tensors)
        if any(tensor.kind == "conv" for tensor in tensors):
            raise UnprovenError("gptq: transformers packs networks of text only, and this one has convolutions")
        block = self.block or self._found(tensors)

        def choose(module: str, tensor: Tensor) -> Packing | None:
            wanted = self.named is None or any(map(module.endswith, self.named))
            return self.packing if tensor.kind in ("linear", "conv1d") and module.startswith(block) and wanted else None

        return choose

    @staticmethod
    def _found(tensors: Sequence[Tensor]) -> str:
        names = {name for tensor in tensors for name in modules(tensor)}
        for block in _BLOCKS:
            if any(name.startswith(block) for name in names):
                return block
        raise UnprovenError("gptq: where the layers are is not known; block_name_to_quantize would tell")


def gptq(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read a GPTQConfig; raises UnprovenError."""
    if on_the_fly:
        raise UnprovenError("gptq: the checkpoint must be quantized, and its quantization_config is not there")
    bits = options.integer("bits")
    if bits not in (2, 3, 4, 8):
        raise options.unknown("bits")
    form = "checkpoint_format" if options.raw("checkpoint_format") is not None else "format"
    options.choice(form, ("gptq", "gptq_v2"), "gptq")
    options.ignore("format", "checkpoint_format", *_HISTORY)
    options.forbid("dynamic", "lm_head", "is_marlin_format", "adapter", "rotation")
    if options.raw("pack_dtype") not in (None, "int32"):
        raise options.unknown("pack_dtype")
    rule = Within(Grouped(bits, _group(options), along_inputs=True), _block(options), _named(options))
    options.close()
    return Scheme("gptq", rule, GPTQ_SOURCE, assumptions=(_kernel("gptq"),))


def awq(options: Options, *, on_the_fly: bool) -> Scheme:
    """Read an AwqConfig; raises UnprovenError."""
    if on_the_fly:
        raise UnprovenError("awq: the checkpoint must be quantized, and its quantization_config is not there")
    if options.integer("bits", options.integer("w_bit", 4)) != 4:  # noqa: PLR2004 - all that its kernels know
        raise options.unknown("bits")
    key = "version" if options.raw("version") is not None else "format"
    form = options.raw(key)
    if form is not None and (not isinstance(form, str) or form.lower() != "gemm"):
        raise options.unknown(key)
    options.ignore("version", "format", "zero_point", *_HISTORY)
    options.forbid("do_fuse", "modules_to_fuse", "fuse_max_seq_len", "exllama_config")
    packing = Grouped(4, _group(options, "q_group_size"), along_inputs=False)
    skipped = options.texts("modules_to_not_convert")
    rule = AllBut(packing, skipped, LINEAR, always=True, guard=_refuse_scaled_activations)
    options.close()
    return Scheme("awq", rule, AWQ_SOURCE, dtypes={"bfloat16": "float16"}, assumptions=(_kernel("awq"),))


def refuse_stacked(tensors: Sequence[Tensor]) -> None:
    """Raise UnprovenError for experts that transformers stacks: it has no place for their packed weights."""
    if any(tensor.kind == "experts" for tensor in tensors):
        raise UnprovenError("transformers 5.23 stacks experts, and this format packs Linear modules only")


def _refuse_scaled_activations(tensors: Sequence[Tensor]) -> None:
    """Refuse networks (falcon, gpt_neox, starcoder2, ...) whose activations AWQ gives a learned scale."""
    refuse_stacked(tensors)
    for tensor in tensors:
        if tensor.name.endswith((".dense_h_to_4h.weight", ".c_fc.weight", ".fc_in.weight", ".ffn.up_proj.weight")):
            raise UnprovenError(f"awq: the scales of the activation after {tensor.name} are not modelled")


def _group(options: Options, alias: str = "group_size") -> int | None:
    key = "group_size" if options.raw("group_size") is not None else alias
    size = options.integer(key, 128, least=-1)
    if size == 0:
        raise options.unknown(key)
    return None if size < 0 else size


def _block(options: Options) -> str | None:
    block = options.raw("block_name_to_quantize")
    if block is not None and not isinstance(block, str):
        raise options.unknown("block_name_to_quantize")
    return block


def _named(options: Options) -> tuple[str, ...] | None:
    listed = options.raw("modules_in_block_to_quantize")
    if listed is None:
        return None
    if not isinstance(listed, list) or not all(isinstance(inner, list) for inner in listed):
        raise options.unknown("modules_in_block_to_quantize")
    names = tuple(name for inner in listed for name in inner)
    if not all(isinstance(name, str) for name in names):
        raise options.unknown("modules_in_block_to_quantize")
    return names


def _kernel(method: str) -> str:
    return f"{method}: the kernel that gptqmodel chooses repacks the words without growing them"
