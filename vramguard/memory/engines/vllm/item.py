"""What a class encodes, in numbers: the item that every reader of items.py and pixels.py gives, and what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError

if TYPE_CHECKING:
    from vramguard.memory.architecture import Architecture
    from vramguard.memory.engines.vllm.profiles import Release

NEVER: Final = (1 << 30,)


class Item(NamedTuple):
    """What a class encodes. Sizes of the tower are numbers of one patch (of sound: of one position)."""

    source: str
    tokens: int  # of the largest item, with what stands between its parts (older releases count that too)
    hidden: int
    intermediate: int
    numbers: int  # of the input
    profiled_tokens: int  # the profile run has `profiled_patches` for each so many tokens
    profiled_patches: int
    whole: bool = False  # and no part of them
    least_tokens: int = 1  # any item has at least so many tokens for each `patches_of_least`
    patches_of_least: int = 1
    rows: int = 1  # projected for each `rows_of` patches
    rows_of: int = 1
    plain: bool = False  # one kernel activates the MLP, which has no gate
    rotates: bool = False  # queries and keys, in float32 at worst
    kept: int = 0  # of the hidden states of earlier layers
    more: int = 0  # of a layer, beside its modules
    masked: bool = False  # attention has a mask of all patches by all patches of the batch
    unmasked_from: tuple[int, ...] = NEVER
    embedded: int = 3  # states of a patch that embedding it and its position keeps
    levels: int = 0  # inner layers whose output a token has beside the last one's
    shrinks: bool = False  # the processor may be asked for smaller items, all of the profile run's own included
    tabled: int = 0  # numbers of a patch in tables that are kept of each of the last `_TABLES` sizes (encoders.py)
    assumed: str | None = None


class Facts:
    """A config's numbers, by name."""

    def __init__(self, network: Architecture, config: Mapping[str, Any], context: int, release: Release) -> None:
        self.network = network
        self.config = config
        self.context = context
        self.release = release
        vision = config.get("vision_config")
        self.vision: Mapping[str, Any] = vision if isinstance(vision, Mapping) else {}

    def size(self, *names: str) -> int:
        """The first of the names that the config (or its class's default) has; raises UnprovenError."""
        for name in names:
            value = self.network.sizes.get(name)
            if value:
                return value
        raise UnprovenError(f"the encoder of {self.network.name} in vllm: its config has no {names[0]}")

    def number(self, name: str, default: int) -> int:
        """A number of vision_config, whose class has a default of it."""
        value = self.vision.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UnprovenError(f"the encoder of {self.network.name} in vllm: vision_config.{name} is {value!r}")
        return value

    @property
    def grid(self) -> int:
        """Patches of a side of one square picture (a tile)."""
        return self.size("vision_image_size") // self.size("vision_patch_size")

    def tower(self, default_activation: str) -> dict[str, Any]:
        """The fields that every tower of pictures has."""
        named = self.vision.get("hidden_act") or default_activation
        return {
            "hidden": self.size("vision_hidden_size"),
            "intermediate": self.size("vision_intermediate_size"),
            "numbers": self.network.sizes.get("vision_num_channels", 3) * self.size("vision_patch_size") ** 2,
            "plain": named in ONE_KERNEL,
        }


# Activations that PyTorch computes in one kernel (vLLM, model_executor/layers/activation.py: _ACTIVATION_REGISTRY).
ONE_KERNEL: Final = ("gelu", "gelu_pytorch_tanh", "gelu_tanh", "relu", "silu")
