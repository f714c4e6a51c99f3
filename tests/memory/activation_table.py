"""The bound on activations against the traced forward pass, for every recorded class, kernel and three prompt lengths.

    python tests/memory/activation_table.py [MODEL_TYPE ...] [--part 0/1] [--write FILE]

Prints a row a class and the median and worst ratio, without the rows that only CUDA adds; a trace that needs more than
its bound is marked and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import perturb
import torch
import transformers
from scoreboard import pairs

from vramguard.memory.activation import Prefill, activations, default_implementation
from vramguard.memory.architecture import UnprovenError
from vramguard.memory.cache import cache_bytes
from vramguard.memory.families import MODULES, architecture, recorded
from vramguard.trace.forward import trace
from vramguard.trace.record import TraceError

LENGTHS = (512, 2048, 8192)
SCANS = ("mamba", "falcon_mamba", "jamba", "zamba", "rwkv", "recurrent_gemma")  # their code reads a token at a time
DECODED = 512  # tokens before a step that generates one more
LAYERS = 6  # of every config that counts its layers with one number: more than the formulas were recorded with


def runs(config: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Kernel, tokens and sequences: three lengths of one prompt with the default kernel, and the others once."""
    network = architecture(config)
    row = recorded()["classes"][network.name]
    default = default_implementation(network)
    wanted = [n // 16 for n in LENGTHS] if network.model_type in SCANS else LENGTHS
    lengths = [n for n in wanted if not network.learned_positions or n <= network.context] or [network.context]
    others = [k for k in ("eager", "flash_attention_2") if k != default and (k == "eager" or row[k])]
    middle = lengths[len(lengths) // 2]
    return [*((default, n, 1) for n in lengths), (default, min(middle, 1024), 3), *((k, middle, 1) for k in others)]


def bounded(config: dict[str, Any], kernel: str, tokens: int, sequences: int) -> int:
    """Upper bound without CUDA's rows; raises UnprovenError."""
    network = architecture(config)
    run = Prefill(network, tokens, sequences, 2, kernel)
    return sum(term.upper_bytes for term in activations(run) if "/cuda_" not in term.name)


def step(config: dict[str, Any]) -> list[int]:
    """Bytes that a step after DECODED tokens needs at its peak, and what the proof of as many tokens counts."""
    network = architecture(config)
    kernel, tokens = default_implementation(network), DECODED
    if network.learned_positions:
        tokens = min(tokens, network.context)
    seen = trace(config, 1, past=tokens - 1, implementation=kernel).peak_bytes
    cached = sum(group.storage.bytes for group in cache_bytes(network, tokens, 1, 16))
    return [seen, cached + bounded(config, kernel, tokens, 1)]


def judged(model_type: str, name: str) -> dict[str, Any]:
    """One class: (kernel, tokens, sequences, traced, bound) of each run, or why there is none."""
    config = perturb.shallow(perturb.base(model_type, name), LAYERS)
    result: dict[str, Any] = {"model_type": model_type, "class": name, "runs": []}
    try:
        wanted = runs(config)
        for kernel, tokens, sequences in wanted:
            upper = bounded(config, kernel, tokens, sequences)
            seen = trace(config, tokens, sequences, implementation=kernel).activation_bytes
            result["runs"].append([kernel, tokens, sequences, seen, upper])
        result["step"] = step(config)
    except (UnprovenError, TraceError) as error:
        result["unknown"] = f"{type(error).__name__}: {str(error)[:200]}"
    return result


def shown(row: dict[str, Any]) -> str:
    """A row as a line."""
    ratios = [
        f"{k} {s}x{n}: {upper / max(1, seen):.2f}{' BELOW' if upper < seen else ''}"
        for k, n, s, seen, upper in row["runs"]
    ]
    return f"{row['model_type']} {row['class']}: {', '.join(ratios)} {row.get('unknown', '')}"


def main() -> int:
    """Print a row a class, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--recorded", action="store_true", help="only classes that have formulas of their own")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)
    number, parts = map(int, options.part.split("/"))
    rows = []
    for model_type, name in [p for p in pairs() if p[0] in MODULES and (not options.types or p[0] in options.types)][
        number::parts
    ]:
        rows.append(judged(model_type, name))
        print(shown(rows[-1]), flush=True)
        if options.write:
            table = {"transformers": transformers.__version__, "torch": torch.__version__, "rows": rows}
            options.write.write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")
    return summary(rows)


def summary(rows: list[dict[str, Any]]) -> int:
    """Print the counts; 1 where a bound is below its trace."""
    ratios = [upper / max(1, seen) for row in rows for *_, seen, upper in row["runs"]]
    below = sum(ratio < 1 for ratio in ratios)
    if ratios:
        print(f"{len(ratios)} runs: median {median(ratios):.3f}, worst {max(ratios):.2f}, below the trace {below}")
    steps = [row["step"] for row in rows if "step" in row]
    over = [row["class"] for row in rows if "step" in row and row["step"][0] > row["step"][1]]
    print(f"{len(steps)} steps, above what their prefill is bounded by: {len(over)} {over}")
    print(f"{sum('unknown' not in row for row in rows)} of {len(rows)} classes bounded")
    return 1 if below or over else 0


if __name__ == "__main__":
    sys.exit(main())
