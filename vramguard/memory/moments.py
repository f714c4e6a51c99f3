"""Recorded moments: what a forward pass of a class keeps alive, as polynomials in the names of its config.

scripts/record_activations.py traces transformers' own modules in several sizes and writes what is alive at each moment
that can be the worst, one file for each class. A pass is of one regime for each kernel: one prompt shorter than every
window, one that is longer (` window`), or a padded batch (` batch`); a later regime may need all that an earlier one
needs, so that the bound cannot fall as a prompt or a batch grows.
"""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache
from math import lcm, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import Architecture, UnprovenError
from vramguard.memory.expression import evaluate
from vramguard.memory.families import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FOLDER: Final = Path(__file__).with_name("recorded")
# Activation functions of transformers 5.23 by the tensors as large as their input that they hold beyond it at once.
ACTIVATION_RANK: Final = {
    "linear": 0,
    **dict.fromkeys(
        ("silu", "swish", "gelu", "gelu_pytorch_tanh", "relu", "relu6", "tanh", "sigmoid", "leaky_relu", "hardswish"), 1
    ),
    "mish": 1,
    **dict.fromkeys(("gelu_10", "quick_gelu", "relu2", "sqrtsoftplus"), 2),
    **dict.fromkeys(("gelu_new", "gelu_python", "gelu_python_tanh", "gelu_accurate", "laplace"), 3),
    "gelu_fast": 4,
}
WORST_ACTIVATION: Final = "gelu_fast"


class Moment(NamedTuple):
    """Bytes alive beside weights and a complete cache at one moment, and where in the network that is."""

    at: str  # module, with * for a layer's number, and the operation
    terms: tuple[tuple[Fraction, tuple[str, ...]], ...]

    def bytes(self, inputs: Mapping[str, int]) -> int:
        """Value, rounded up; UnprovenError where a name has no value in this config."""
        total = Fraction(0)
        for coefficient, names in self.terms:
            total += coefficient * prod(_value(name, inputs) for name in names)
        return -(-total.numerator // total.denominator)

    @property
    def names(self) -> frozenset[str]:
        """Names of the config that the moment depends on."""
        return frozenset(name for _, names in self.terms for name in names)

    @property
    def formula(self) -> str:
        """The polynomial in the ledger's grammar, larger powers first."""
        whole = lcm(*(c.denominator for c, _ in self.terms))
        ordered = sorted(self.terms, key=lambda term: (-len(term[1]), term[1]))
        text = " + ".join(" * ".join([*_coefficient(c * whole, names), *names]) for c, names in ordered)
        return text if whole == 1 else f"ceil_div({text}, {whole})"


def _coefficient(number: Fraction, names: Sequence[str]) -> list[str]:
    return [] if number == 1 and names else [str(number)]


def _value(name: str, inputs: Mapping[str, int]) -> int:
    if name in inputs:
        return inputs[name]
    if "(" not in name:
        raise UnprovenError(f"activations: config has no value for {name}")
    return evaluate(name, inputs)


class Recorded(NamedTuple):
    """What was recorded of one class."""

    row: Mapping[str, Any]

    def moments(
        self, network: Architecture, kernel: str, *, window: bool, batch: bool, any_activation: bool = False
    ) -> list[Moment]:
        """Moments that a pass may come to (`any_activation`: whatever the MLP's function); UnprovenError if unknown."""
        variant = self._variant(network.variant)
        if not variant:
            raise UnprovenError(
                f"activations of {network.name} are not recorded for: {network.variant or 'its defaults'}"
            )
        if kernel not in variant["regimes"]:
            raise UnprovenError(f"activations of {network.name} with attn_implementation {kernel} are not recorded")
        if batch and f"{kernel} batch" not in variant["regimes"]:
            raise UnprovenError(f"activations of {network.name} are not recorded for a padded batch")
        rows = [row for name in regimes(kernel, window=window, batch=batch) for row in variant["regimes"].get(name, ())]
        if any_activation:
            if "activation" not in variant:
                act = network.activation
                raise UnprovenError(f"activations of {network.name} are not recorded for hidden_act {act}")
            other = "sdpa" if kernel == "flash_attention_2" else kernel  # whose MLP is the same
            names = regimes(other, window=window, batch=batch)
            rows += [row for name in names for row in variant["activation"].get(name, ())]
        return [read(row) for row in rows]

    def activation(self, variant: str) -> str | None:
        """Name of the activation function that was recorded."""
        name: str | None = self._variant(variant).get("act")
        return name

    def _variant(self, name: str) -> Mapping[str, Any]:
        """What was recorded of a variant; empty where nothing was."""
        variants: Mapping[str, Any] = self.row["variants"]
        # Where keys are as many as queries, nothing is repeated: it needs no more than where they are fewer.
        found: Mapping[str, Any] = variants.get(name, variants.get(f"{name} grouped".strip(), {}))
        return found


def regimes(kernel: str, *, window: bool, batch: bool) -> list[str]:
    """Names of the regimes that a pass is of: a later one adds to the earlier ones of its kernel."""
    return [kernel, *([f"{kernel} window"] if window or batch else []), *([f"{kernel} batch"] if batch else [])]


def read(row: Mapping[str, Any]) -> Moment:
    """A moment as the file holds it."""
    terms = ((Fraction(c), tuple(names.split(" * ")) if names else ()) for names, c in row["bytes"].items())
    return Moment(row["at"], tuple(terms))


def path(model_type: str, class_name: str) -> Path:
    """File that holds what was recorded of a class, if anything was."""
    return _FOLDER / f"{model_type}.{class_name}.json"


def of(network: Architecture) -> Recorded:
    """What was recorded of a network's class, or of the language model in it where it needs no more; UnprovenError."""
    own = load(network.model_type, network.name)
    if "language" not in own.row or network.language is None:
        return own
    classes = recorded()["classes"].items()
    named = next(name for name, row in classes if "causal-lm" in row["types"].get(network.language, ()))
    return load(network.language, named)


@cache
def load(model_type: str, class_name: str) -> Recorded:
    """What was recorded of a class; raises UnprovenError where nothing was."""
    try:
        return Recorded(json.loads(path(model_type, class_name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UnprovenError(f"activations of {class_name} ({model_type}) are not recorded") from None


def rank(activation: str | None) -> int:
    """How many tensors an activation function holds at once; the most there are where it is not known."""
    return ACTIVATION_RANK.get(activation or WORST_ACTIVATION, ACTIVATION_RANK[WORST_ACTIVATION])


def everything(row: Mapping[str, Any]) -> Iterator[Moment]:
    """Every moment in a file."""
    for variant in row["variants"].values():
        for table in (value for value in variant.values() if isinstance(value, dict)):
            for rows in table.values():
                yield from map(read, rows)
