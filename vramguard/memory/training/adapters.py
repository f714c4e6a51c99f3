"""Low-rank adapters, as peft puts them beside Linear modules: two thin matrices for each, and what they keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.ledger import Term, bound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Architecture

ALL: Final = "all-linear"
ELEMENT_BYTES: Final = 4  # peft keeps adapters in float32 beside half precision (autocast_adapter_dtype)
_HEADS: Final = ("lm_head", "embed_out", "output_layer")
_SOURCE: Final = "peft 0.18, tuners/lora/layer.py (Linear.forward); docs/memory-model.md, Training"
# Where LoraConfig names no target_modules, by model_type, of families whose training is proved; peft refuses others.
# peft 0.21.2, utils/constants.py: TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING; tuners/tuners_utils.py:
# _prepare_adapter_config. Read on 2026-11-29.
_CHOSEN: Final = {
    "query_key_value": ("bloom", "falcon", "gpt_neox"),
    "q_proj,v_proj": (
        "gemma",
        "gemma2",
        "gemma3_text",
        "gptj",
        "llama",
        "mistral",
        "opt",
        "qwen2",
        "qwen3",
        "stablelm",
    ),
    "c_attn": ("gpt2",),
    "q_proj,v_proj,fc1,fc2": ("phi",),
}
ASSUMPTIONS: Final = (
    "adapters are peft's plain LoRA in float32 (autocast_adapter_dtype): no DoRA, modules_to_save or trained biases",
)


@dataclass(frozen=True, slots=True)
class Adapters:
    """Adapters of one rank at the modules of `targets`."""

    rank: int
    targets: tuple[Tensor, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The weights that are trained: A of the inputs, B of the outputs."""
        return tuple(part for target in self.targets for part in self._pair(target))

    def _pair(self, target: Tensor) -> Iterator[Tensor]:
        outputs, inputs = _sides(target)
        name = target.name.removesuffix(".weight")
        yield Tensor(f"{name}.lora_A.weight", (self.rank, inputs), target.copies, "linear")
        yield Tensor(f"{name}.lora_B.weight", (outputs, self.rank), target.copies, "linear")

    def kept(self, sizes: dict[str, int], layers: int, *, autocast: bool) -> Iterator[Term]:
        """Rows of what the adapters of so many layers keep for the backward pass, and what one takes meanwhile.

        An adapter keeps its input (in float32, or in half precision where autocast casts it), dropout's mask of a byte,
        and what A returns. Autocast's copies of A and B live as long.
        """
        widths = sum(_sides(target)[1] * _of(target.copies, layers) for target in self.targets)
        count = sum(_of(target.copies, layers) for target in self.targets)
        half = 2
        inputs = {
            **sizes,
            "rank": self.rank,
            "widths": widths,
            "adapters": count,
            "input": (half if autocast else ELEMENT_BYTES) + 1,
            "bytes": half if autocast else ELEMENT_BYTES,
            "cast": half * sum(tensor.elements for tensor in self.tensors) if autocast else 0,
        }
        formula = "sequences * tokens * (widths * input + adapters * rank * bytes) + cast"
        yield bound("activations/adapters_kept", formula, inputs, source=_SOURCE)
        widest = {**sizes, "widest": max(sum(_sides(target)) for target in self.targets)}
        # Forward: the input's copy, dropout's, B's output, scaled, and the sum. Backward: their gradients.
        yield bound("activations/adapter_alone", "sequences * tokens * widest * 12", widest, source=_SOURCE)


def _of(copies: int, layers: int) -> int:
    """How many of the copies stand in the layers that keep something; all where layers is 0."""
    return copies if layers == 0 else -(-copies // layers)


def _sides(target: Tensor) -> tuple[int, int]:
    """Outputs and inputs."""
    first, second = target.shape[0], target.shape[1]
    return (second, first) if target.kind == "conv1d" else (first, second)


def default_targets(model_type: str) -> str:
    """The modules that peft chooses for a model's type where none are named; UnprovenError where it refuses."""
    found = next((modules for modules, types in _CHOSEN.items() if model_type in types), None)
    if found is None:
        raise UnprovenError(f"lora_target_modules are not stated, and peft chooses none for {model_type!r:.40}")
    return found


def adapters(network: Architecture, rank: int, targets: str | None) -> Adapters:
    """Adapters as LoraConfig(r=rank, target_modules=targets) makes them, peft's own choice for None; raises
    UnprovenError.
    """
    targets = default_targets(network.model_type) if targets is None else targets
    linear = [t for t in network.tensors if t.kind in ("linear", "conv1d") and t.name.endswith(".weight")]
    linear = [t for t in linear if len(t.shape) == 2]  # noqa: PLR2004 - a matrix has two sides
    if targets.strip() == ALL:
        return Adapters(rank, tuple(t for t in linear if not t.name.startswith(_HEADS)))
    names = [name.strip() for name in targets.split(",") if name.strip()]
    found: list[Tensor] = []
    for name in names:
        ends = re.compile(rf"(?:.*\.)?{re.escape(name)}\.weight\Z")
        here = [tensor for tensor in linear if ends.match(tensor.name)]
        if not here:
            raise UnprovenError(f"lora_target_modules: {network.name} has no linear module {name!r:.40}")
        found += [tensor for tensor in here if tensor not in found]
    if not found:
        raise UnprovenError("lora_target_modules names no module")
    return Adapters(rank, tuple(found))
