"""The bound of a step of training against the traced step: no bound below its trace, and how far above.

    python benchmarks/training/measure.py [MODEL_TYPE ...] [--write]

Run it where torch and transformers are installed. Each family is trained for two steps in another size than it was
recorded in: forward pass with labels, backward pass, clipping, optimizer. Compared are weights, gradients, states and
activations; what only a GPU has (the context, workspaces, rounding, rows named cuda_) is in the bound alone.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers.optimization import Adafactor

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from recorder.families import FAMILIES, resized  # noqa: E402

from vramguard.memory import Device, Proof, Workload, prove  # noqa: E402
from vramguard.trace.training import Asked, Step, trace_step  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = Device("card", 80 << 30, "a measurement", 0, 1 << 30, "a measurement")
TOKENS, SEQUENCES = 96, 4


class Adapter(torch.nn.Module):
    """peft's Linear: the layer beside its two thin matrices in float32, dropout before them."""

    def __init__(self, base: Any, rank: int) -> None:  # noqa: ANN401 - torch's
        super().__init__()
        rows, columns = base.weight.shape
        inputs, outputs = (rows, columns) if type(base).__name__ == "Conv1D" else (columns, rows)
        self.base, self.dropout = base, torch.nn.Dropout(0.05)
        self.a = torch.nn.Linear(inputs, rank, bias=False, dtype=torch.float32)
        self.b = torch.nn.Linear(rank, outputs, bias=False, dtype=torch.float32)

    def forward(self, x: Any) -> Any:  # noqa: ANN401 - torch's
        result = self.base(x)
        kind = result.dtype
        result = result + self.b(self.a(self.dropout(x.to(self.a.weight.dtype)))) * 0.5
        return result.to(kind)


def adapted(rank: int) -> Any:  # noqa: ANN401 - torch's
    """Put an adapter beside every linear module but the head."""

    def prepare(model: Any) -> None:  # noqa: ANN401 - torch's
        for name, module in list(model.named_modules()):
            if type(module).__name__ in ("Linear", "Conv1D") and not name.startswith(("lm_head", "embed_out")):
                owner, _, last = name.rpartition(".")
                setattr(model.get_submodule(owner), last, Adapter(module, rank))

    return prepare


class Way(NamedTuple):
    """One way to train: for the trace, and for the proof."""

    name: str
    asked: Asked
    workload: dict[str, Any]


def ways() -> Iterator[Way]:
    """Precisions, optimizers, checkpointing and adapters, each several times."""
    plain = Asked(TOKENS, SEQUENCES)
    optimizers = {
        "adamw_torch": lambda weights: torch.optim.AdamW(weights, foreach=True),
        "adamw_torch_fused": lambda weights: torch.optim.AdamW(weights, fused=True),
        "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, foreach=True),
        "adagrad": lambda weights: torch.optim.Adagrad(weights, foreach=True),
        "rmsprop": lambda weights: torch.optim.RMSprop(weights, foreach=True),
        "adafactor": lambda weights: Adafactor(weights, lr=0.1, scale_parameter=False, relative_step=False),
    }
    for dtype, autocast, checkpointing, optim, rank in (
        ("float32", False, False, "adamw_torch", None),
        ("float32", True, False, "adamw_torch", None),
        ("float32", True, True, "adamw_torch_fused", None),
        ("bfloat16", False, True, "adamw_torch_fused", None),
        ("bfloat16", False, False, "adafactor", None),
        ("bfloat16", True, False, "sgd", None),
        ("float32", False, True, "adagrad", None),
        ("float32", False, True, "rmsprop", None),
        ("bfloat16", True, True, "adamw_torch", 8),
        ("bfloat16", False, False, "adamw_torch", 8),
        ("float32", True, False, "adamw_torch", 8),
    ):
        asked = replace(
            plain,
            dtype=dtype,
            autocast=autocast,
            checkpointing=checkpointing,
            optimizer=optimizers[optim],
            frozen=rank is not None,
            prepare=None if rank is None else adapted(rank),
        )
        workload = {
            "mode": "training", "max_model_len": TOKENS, "per_device_train_batch_size": SEQUENCES, "dtype": dtype,
            "bf16": autocast, "gradient_checkpointing": checkpointing, "optim": optim, "lora_rank": rank,
            "lora_target_modules": None if rank is None else "all-linear",
        }  # fmt: skip
        words = [dtype, *(["autocast"] if autocast else []), *(["checkpointing"] if checkpointing else []), optim]
        yield Way(" ".join([*words, *([f"LoRA {rank}"] if rank else [])]), asked, workload)


class Row(NamedTuple):
    """One comparison, in bytes."""

    family: str
    way: str
    traced: int
    upper: int  # of what a trace sees
    lower: int  # of all


def compare(config: dict[str, Any], way: Way) -> Row | str:
    """Trace and prove one step; what the proof says where it is UNKNOWN."""
    proof = prove(config, Workload(**way.workload), DEVICE, Fraction(4, 5))
    if proof.totals is None:
        return f"{config['model_type']}, {way.name}: {proof.reason}"
    return Row(config["model_type"], way.name, traced(trace_step(config, way.asked)), seen(proof), lowest(proof))


def traced(step: Step) -> int:
    """Weights, buffers, states, and the most alive beside them."""
    return sum(step.trace.weights) + step.trace.peak_bytes


def seen(proof: Proof) -> int:
    """Upper bound of what a trace on the CPU sees."""
    hidden = ("runtime/", "activations/cuda_")
    rows = (
        term for term in proof.ledger if not term.name.startswith(hidden) or term.name.startswith("runtime/buffers")
    )
    return sum(term.upper_bytes for term in rows) + 4096  # rotary frequencies


def lowest(proof: Proof) -> int:
    """Lower bound without what a GPU alone has."""
    return sum(term.lower_bytes for term in proof.ledger if not term.name.startswith("runtime/"))


def main() -> None:
    """Print a row for each comparison; with --write, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    for model_type in options.types or sorted(FAMILIES):
        for way in ways():
            found = compare(resized(FAMILIES[model_type]), way)
            print(found if isinstance(found, str) else f"{found} {found.upper / found.traced:.3f}", flush=True)
            rows += [] if isinstance(found, str) else [found]
    text = table(rows)
    print(text)
    if options.write:
        Path(__file__).with_name("table.md").write_text(text, encoding="utf-8")


def table(rows: list[Row]) -> str:
    """The rows of each way together."""
    lines = ["| way | families | upper / traced, median | largest | smallest | lower / traced, median |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for way in [*dict.fromkeys(row.way for row in rows), None]:
        here = [row for row in rows if way in (None, row.way)]
        ratios = [row.upper / row.traced for row in here]
        lower = median(row.lower / row.traced for row in here)
        count = len({row.family for row in here})
        lines.append(
            f"| {way or 'all'} | {count} | {median(ratios):.3f} | {max(ratios):.3f} | {min(ratios):.3f} | {lower:.3f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
