"""What each layer of a mixed network is: full attention, or something that keeps a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.decoder import FULL
from vramguard.memory.families.experts import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from vramguard.memory.families.blocks import Block
    from vramguard.memory.families.fields import Fields

LINEAR: Final = "linear_attention"
HYBRID: Final = "hybrid"
_OLDER_NAMES: Final = {"mamba": LINEAR, "attention": FULL}


def layer_kinds(c: Fields, rule: Callable[[int], str], known: Collection[str] = (LINEAR, FULL)) -> list[str]:
    """Kind of each layer: as the config lists it, by older names or present ones, else by the class's own rule."""
    older = (old for old, present in _OLDER_NAMES.items() if present in known)
    return present_names(kinds(c, "layer_types", rule, (*known, *older)))


def present_names(listed: Iterable[str]) -> list[str]:
    """Kinds by their present names."""
    return [_OLDER_NAMES.get(kind, kind) for kind in listed]


def every(step: int) -> Callable[[int], str]:
    """Each step-th layer attends, the others keep a state."""
    return lambda i: LINEAR if (i + 1) % step else FULL


def mixed(layers: Sequence[str], linear: Block, full: Block) -> list[Block]:
    """Mixer of each layer by its kind."""
    return [linear if kind == LINEAR else full for kind in layers]


def absent(c: Fields, *keys: str) -> None:
    """Refuse keys that transformers' class derives and does not let a config set."""
    for key in keys:
        if c.given(key):
            raise UnprovenError(f"config: {c.path}{key} is derived by {c.kind}, and cannot be given")
