"""What modules a compressed-tensors config takes: a class's name, a module's own, or a pattern, less what it ignores.

Read from compressed-tensors 0.20.0, utils/match.py (match_named_modules, match_targets, is_match).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.quantization.scheme import Packing, modules
from vramguard.memory.quantization.selection import compiled, safe

if TYPE_CHECKING:
    from vramguard.memory.quantization.scheme import Chooser, Network

_CLASSES: Final = {"linear": "Linear", "linear_subclass": "Linear", "embedding": "Embedding"}


@dataclass(frozen=True, slots=True)
class Group:
    """Modules of one group, and how they are packed."""

    targets: tuple[str, ...]
    packing: Packing


@dataclass(frozen=True, slots=True)
class Targets:
    """A module is of the group whose target is the most exact: its name, else a pattern, else its class."""

    groups: tuple[Group, ...]
    ignore: tuple[str, ...] = ()

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network; what its class keeps in float32 plays no part here."""
        names = {name for tensor in network.tensors for name in modules(tensor)}
        packings = {target: group.packing for group in self.groups for target in group.targets}
        for target in packings:
            if target not in _CLASSES.values() and not target.startswith("re:") and target not in names:
                raise UnprovenError(f"compressed-tensors: the target {target!r:.80} names no module of this network")
        self._check_ignored(names)
        if network.tied and "Linear" in packings and not any(named("lm_head", target) for target in self.ignore):
            raise UnprovenError("compressed-tensors: the head, which is tied, is not ignored")
        exact = sorted(packings, key=lambda target: ("re:" in target, target))

        def choose(module: str, tensor: Tensor) -> Packing | None:
            kind = _CLASSES.get(tensor.kind, "")
            if not kind or kind in self.ignore or any(named(module, target) for target in self.ignore):
                return None
            found = next((target for target in exact if named(module, target)), kind)
            return packings.get(found)

        return choose

    def _check_ignored(self, names: set[str]) -> None:
        """Refuse a name that is not here, where it is the end of one that is, or the reverse.

        transformers compares whole names. A checkpoint of another layout ("language_model.lm_head") then loads
        otherwise than it was meant, or not at all.
        """
        for target in self.ignore:
            if target.startswith("re:") or target in names:
                continue
            tail = "." + target.partition(".")[2] if "." in target else "." + target
            if any(name.endswith(f".{target}") or f".{name}".endswith(tail) for name in names):
                raise UnprovenError(f"compressed-tensors: {target!r:.80} is ignored, but has another name here")


def named(module: str, target: str) -> bool:
    """Whether a target is the module's name, or a pattern that its name begins with."""
    if target.startswith("re:"):
        return compiled(safe(target.removeprefix("re:"))).match(module) is not None
    return target == module
