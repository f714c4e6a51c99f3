"""Recorded moments of training: what one step of a family keeps alive, as polynomials in the names of its config.

scripts/record_training.py traces transformers' own classes and writes one file for each family.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard.memory import moments
from vramguard.memory.architecture import UnprovenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.moments import Moment

_FOLDER = Path(__file__).with_name("recorded")
# Activation functions that keep one tensor, their input, for the backward pass.
_ALIKE = frozenset({"silu", "swish", "gelu", "gelu_pytorch_tanh"})


class Way(NamedTuple):
    """How a step is run, as far as it decides what is kept."""

    kernel: str  # sdpa or eager
    dtype: str  # of the weights
    autocast: bool
    checkpointing: bool
    frozen: bool  # adapters are trained, and the model's own weights are not

    @property
    def name(self) -> str:
        """What the file calls it."""
        return regime(
            self.kernel, self.dtype, autocast=self.autocast, checkpointing=self.checkpointing, frozen=self.frozen
        )


class Moments(NamedTuple):
    """Of a way: moments with their gradients, and how many tensors are alive in a layer and outside of the layers."""

    pairs: tuple[tuple[Moment, Moment], ...]  # what is alive beside gradients; the gradients that are there already
    tensors: tuple[int, int]
    source: str


def regime(kernel: str, dtype: str, *, autocast: bool, checkpointing: bool, frozen: bool) -> str:
    """Name of the way in which a step is run."""
    words = [kernel, dtype]
    words += ["autocast"] if autocast else []
    words += ["checkpointing"] if checkpointing else []
    words += ["frozen"] if frozen else []
    return " ".join(words)


def of(network: Architecture, config: Mapping[str, Any], way: Way) -> Moments:
    """Moments of a step; UnprovenError names what was not recorded."""
    row = _load(network.model_type)
    if row is None or row["class"] != network.name:
        raise UnprovenError(f"training of {network.name} ({network.model_type}) is not recorded: its activations")
    if network.variant not in (row["variant"], row["variant"].removesuffix("grouped").strip()):
        raise UnprovenError(f"training of {network.name} is not recorded for: {network.variant or 'its defaults'}")
    act = network.activation
    if act != row["act"] and not {str(act), str(row["act"])} <= _ALIKE:
        raise UnprovenError(f"training of {network.name} is recorded with {row['act']}, not with {act}")
    _check_dropout(row, config, way)
    found = row["regimes"].get(way.name)
    if found is None:
        raise UnprovenError(f"training of {network.name} with attn_implementation {way.kernel} is not recorded")
    pairs = tuple(
        (moments.read(one), moments.read({"at": one["at"], "bytes": one["gradients"]})) for one in found["moments"]
    )
    source = f"transformers {row['transformers']}, {network.name}, traced by scripts/record_training.py"
    return Moments(pairs, (found["tensors"][0], found["tensors"][1]), source)


def _check_dropout(row: Mapping[str, Any], config: Mapping[str, Any], way: Way) -> None:
    """A rate that the class does not have by default adds a mask that was not seen; fused attention keeps none."""
    for key, value in config.items():
        fused = "att" in key and way.kernel != "eager"
        if "drop" in key and isinstance(value, int | float) and value and key not in row["dropout"] and not fused:
            raise UnprovenError(f"training of {row['class']} is recorded without {key}, which is {value}")


def families() -> tuple[str, ...]:
    """Model types whose training is recorded."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@cache
def _load(model_type: str) -> Mapping[str, Any] | None:
    path = _FOLDER / f"{model_type}.json"
    if not model_type.replace("_", "").replace("-", "").isalnum() or not path.is_file():
        return None
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
