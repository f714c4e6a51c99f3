"""What an optimizer keeps for each weight, and what its step takes beside that: a row for each name of transformers.

Read from PyTorch 2.13 (torch/optim: adam.py, sgd.py, rmsprop.py, adagrad.py), transformers 5.23.0 (optimization.py,
trainer_optimizer.py, trainer.py: create_optimizer) and bitsandbytes 0.50.2 (optim/optimizer.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.ledger import Kind, Term, bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEFAULT: Final = "adamw_torch_fused"  # of transformers 5 with PyTorch 2.8 or newer
_TORCH: Final = "PyTorch 2.13, torch/optim/{}.py"
_ADAFACTOR: Final = "transformers 5.23.0, optimization.py (Adafactor.step), without a first moment"
_BITSANDBYTES: Final = "bitsandbytes 0.50.2, optim/optimizer.py (init_state, get_state_buffer)"
_FLOAT32: Final = 4
_BLOCK: Final = 256  # elements of an 8-bit state that share a scale
_SMALLEST: Final = 4096  # min_8bit_size: below it a state is float32
_CODES: Final = 2 * 256 * 4  # tables of the values that 8 bits stand for, signed and unsigned


@dataclass(frozen=True, slots=True)
class Optimizer:
    """`states` of each element: each of the weight's own size (`own`), in float32, in 8 bits, or factored.

    A step of PyTorch's goes over whole lists of weights (foreach): `lists` of them exist beside it. Others go weight by
    weight: `each` counts float32 copies of the largest. `certain` says how many states there are for sure.
    """

    states: int
    source: str
    kind: str = "own"  # own, float32, bits8, factored
    lists: int = 0
    each: int = 0
    certain: int | None = None  # None: all
    paged: bool = False


_ADAMW: Final = Optimizer(2, _TORCH.format("adam"), lists=1)
_ROWS: Final[dict[str, Optimizer]] = {
    "adamw_torch": _ADAMW,
    "adamw_torch_fused": Optimizer(2, _TORCH.format("adam")),
    # weight decay makes a list of its own; momentum is asked for by optim_args
    "sgd": Optimizer(0, _TORCH.format("sgd"), lists=1),
    "rmsprop": Optimizer(1, _TORCH.format("rmsprop"), lists=2),
    "adagrad": Optimizer(1, _TORCH.format("adagrad"), lists=2),
    "adafactor": Optimizer(1, _ADAFACTOR, "factored", each=5),
    "adamw_bnb_8bit": Optimizer(2, _BITSANDBYTES, "bits8"),
    "adamw_8bit": Optimizer(2, _BITSANDBYTES, "bits8"),
    "lion_8bit": Optimizer(1, _BITSANDBYTES, "bits8"),
    "lion_32bit": Optimizer(1, _BITSANDBYTES, "float32"),
    "rmsprop_bnb": Optimizer(1, _BITSANDBYTES, "float32"),
    "rmsprop_bnb_32bit": Optimizer(1, _BITSANDBYTES, "float32"),
    "rmsprop_bnb_8bit": Optimizer(1, _BITSANDBYTES, "bits8"),
    "paged_adamw": Optimizer(2, _BITSANDBYTES, "float32", paged=True),
    "paged_adamw_32bit": Optimizer(2, _BITSANDBYTES, "float32", paged=True),
    "paged_adamw_8bit": Optimizer(2, _BITSANDBYTES, "bits8", paged=True),
    "paged_lion_32bit": Optimizer(1, _BITSANDBYTES, "float32", paged=True),
    "paged_lion_8bit": Optimizer(1, _BITSANDBYTES, "bits8", paged=True),
    # A momentum that optim_args ask for.
    "sgd momentum": Optimizer(1, _TORCH.format("sgd"), lists=2),  # and Nesterov's is one more list
}


NAMES: Final = tuple(name for name in _ROWS if " " not in name)


def named(name: str | None) -> Optimizer:
    """The row of a name; UnprovenError for one whose states were not read."""
    found = _ROWS.get(name or DEFAULT)
    if found is None:
        raise UnprovenError(f"optim {name}: what it keeps is not known, of {', '.join(sorted(_ROWS))} it is")
    return found


def states(optimizer: Optimizer, trained: Iterable[Tensor], widths: Iterable[int]) -> Iterator[Term]:
    """Rows of the states of weights; `widths`: bytes of an element of each."""
    if optimizer.states == 0:
        return
    for tensor, width in zip(trained, widths, strict=True):
        formula, inputs = _state(optimizer, tensor, width)
        kind, lower = (Kind.BOUND, "0") if optimizer.paged else (Kind.EXACT, None)
        yield Term(f"optimizer/{tensor.name}", formula, inputs, kind, optimizer.source, lower)
    if optimizer.kind == "bits8":
        yield bound("optimizer/codes", "codes", {"codes": _CODES}, source=optimizer.source)


def _state(optimizer: Optimizer, tensor: Tensor, width: int) -> tuple[str, dict[str, int]]:
    """Formula and inputs of a row; a state is as its weight, or in another dtype, or a sum over rows and columns."""
    elements = tensor.elements // tensor.copies
    inputs = {"copies": tensor.copies, "states": optimizer.states, "elements": elements}
    if optimizer.kind == "factored":
        return _factored(tensor, inputs)
    embedding = tensor.kind == "embedding"  # which the Trainer keeps in 32 bits (GlobalOptimManager)
    if optimizer.kind == "bits8" and elements >= _SMALLEST and not embedding:
        return "copies * states * (elements + 4 * ceil_div(elements, block))", {**inputs, "block": _BLOCK}
    inputs["bytes"] = width if optimizer.kind == "own" else _FLOAT32
    return "copies * states * elements * bytes", inputs


def _factored(tensor: Tensor, inputs: dict[str, int]) -> tuple[str, dict[str, int]]:
    """Adafactor: a number for each row and each column of a matrix, one for each element of anything else."""
    if len(tensor.shape) < 2:  # noqa: PLR2004 - a matrix has two sides
        return "copies * states * elements * bytes", {**inputs, "bytes": _FLOAT32}
    inputs.pop("elements")
    *others, rows, columns = tensor.shape
    for size in others:
        inputs["copies"] *= size
    return "copies * states * (rows + columns) * bytes", {**inputs, "rows": rows, "columns": columns, "bytes": _FLOAT32}


def step(optimizer: Optimizer, trained_bytes: int, largest_elements: int) -> Term:
    """What a step takes beside weights, gradients and states: copies of all that is trained, or of the largest."""
    inputs = {"lists": optimizer.lists, "trained": trained_bytes, "each": optimizer.each, "largest": largest_elements}
    formula = "lists * trained + each * largest * 4"
    return bound("activations/optimizer_step", formula, inputs, source=optimizer.source)
