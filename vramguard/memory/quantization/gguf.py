"""GGUF: blocks of 32 to 256 values along a row, of a type that each tensor of a file has for itself.

A config does not know the types: a file named Q4_K_M mixes Q4_K and Q6_K by rules of its own. So `scheme` takes them as
the file's header tells them. Read from gguf 0.19.0 (constants.py, GGML_QUANT_SIZES) and transformers 5.23.0
(integrations/gguf: dequant.py, utils.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.quantization.scheme import Matrix, Part, Parts, Scheme

if TYPE_CHECKING:
    from vramguard.memory.quantization.scheme import Chooser, Network, Packing

SOURCE: Final = "gguf 0.19.0, constants.py (GGML_QUANT_SIZES); transformers 5.23.0, integrations/gguf/utils.py"

# Values of a block, and its bytes.
BLOCKS: Final = MappingProxyType({
    "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34), "Q8_1": (32, 40),
    "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210),
    "Q8_K": (256, 292), "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ2_S": (256, 82), "IQ3_XXS": (256, 98),
    "IQ3_S": (256, 110), "IQ1_S": (256, 50), "IQ1_M": (256, 56), "IQ4_NL": (32, 18), "IQ4_XS": (256, 136),
    "TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36), "Q1_0": (128, 18),
})  # fmt: skip
PLAIN: Final = ("F32", "F16", "BF16")  # loaded in the network's dtype

# Types whose blocks transformers keeps; it reads no other.
KEPT: Final = (
    "Q4_0", "Q4_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL",
    "IQ3_S", "IQ2_S", "IQ4_XS", "IQ1_M",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows of whole blocks of one type."""

    type: str
    bias_bytes: int | None = None

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts:
        """Return the one tensor of blocks."""
        del element_bytes
        values, size = BLOCKS[self.type]
        if matrix.columns % values:
            raise UnprovenError(f"gguf: blocks of {values} do not divide a row of {matrix.columns}")
        inputs = {"rows": matrix.rows, "columns": matrix.columns, "values": values, "bytes": size}
        return (Part("packed", "rows * (columns // values * bytes)", inputs),)

    def unpacked(self, matrix: Matrix, element_bytes: int) -> None:
        """Nothing: a forward pass unpacks some rows at a time."""


@dataclass(frozen=True, slots=True)
class Types:
    """Rule of the weights that the file keeps in blocks, by the parameter's name in the network."""

    types: Mapping[str, str]

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network."""
        del network

        def choose(module: str, tensor: Tensor) -> Packing | None:
            name = f"{module}.{tensor.name.rpartition('.')[2]}"
            if name not in self.types:
                raise UnprovenError(f"gguf: the type of {name} is not known")
            kept = tensor.kind in ("linear", "embedding", "experts") and self.types[name] in KEPT
            return Blocks(self.types[name]) if kept else None

        return choose


def scheme(types: Mapping[str, str]) -> Scheme:
    """Scheme of a file whose header gives each parameter's type, by its name in the network; raises UnprovenError."""
    for name, kind in types.items():
        if kind not in KEPT and kind not in PLAIN:
            raise UnprovenError(f"gguf: transformers 5.23 reads no type {kind!r:.20} ({name:.80})")
    assumed = "gguf: the package kernels has a product for the file's types: without, transformers unpacks the network"
    return Scheme("gguf", Types(MappingProxyType(dict(types))), SOURCE, assumptions=(assumed,))
