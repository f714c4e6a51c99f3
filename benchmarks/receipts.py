"""Real start-ups of vLLM beside the proof: the table, and how far each bound is from what was measured.

    .venv/bin/python benchmarks/receipts.py [--write]

Receipts are those of tests/memory/receipts: the ones that the proof was developed against, and the ones that were held
out. `--write` puts the tables into benchmarks/receipts.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from memory.start_ups import proved, receipts

ROOT = Path(__file__).parents[1]
GIB = 1 << 30
HEAD = "| model | tp/pp | weights | activations | cache | requests |\n|---|---|---|---|---|---|"


def table(name: str) -> str:
    """The receipts of one file, and the medians of what each bound is too large or too small by."""
    rows, slack = [], {"weights": [], "activations": [], "cache": []}
    for receipt in receipts(name):
        if "config" not in receipt:
            rows.append(f"| {receipt['model']} | | no config was read | | | |")
            continue
        proof = proved(receipt)
        if proof.totals is None or proof.pool is None:
            rows.append(f"| {receipt['model']} | | UNKNOWN: {proof.reason} | | | |")
            continue
        held, alive = proof.totals.weights_bytes / GIB, proof.totals.activation_bytes / GIB
        cache, pool = proof.pool.kv_cache_bytes / GIB, proof.pool
        slack["weights"].append(held - receipt["weights"])
        slack["activations"].append(alive - receipt["activation"])
        slack["cache"].append((receipt["kv_cache"] - cache) / receipt["kv_cache"])
        said = [receipt["dtype"] if receipt["dtype"] != "bfloat16" else "", receipt.get("asked_quantization") or ""]
        said += [f"cache {receipt['kv_cache_dtype']}" if receipt.get("kv_cache_dtype") not in (None, "auto") else ""]
        what = ", ".join(word for word in (receipt["model"], *said, f"{receipt['max_model_len']:,}") if word)
        grid = f"{receipt['tensor_parallel_size']}/{receipt['pipeline_parallel_size']}"
        rows.append(
            f"| {what} | {grid} | {held:.3f} / {receipt['weights']} | {alive:.2f} / {receipt['activation']} "
            f"| {cache:.2f} / {receipt['kv_cache']} | {pool.max_concurrency} / {receipt['concurrency']} |"
        )
    cache = spread([100 * each for each in slack["cache"]], "%")
    weights, activations = (spread(slack[group], "GiB") for group in ("weights", "activations"))
    figures = f"Of {len(slack['weights'])}: weights {weights}; activations {activations}; cache too small by {cache}."
    return "\n".join((HEAD, *rows, "", figures))


def spread(values: list[float], unit: str) -> str:
    """Median, least and most."""
    return f"{median(values):+.3f} {unit} in the median, {min(values):+.3f} to {max(values):+.3f}"


def main() -> None:
    """Print the tables, or write them."""
    said = (
        "`benchmarks/receipts.py --write`: start-ups of vLLM 0.19.0 on H100 80GB, proved / measured, in GiB.\n"
        "Weights and activations are upper bounds, the cache and the full-length requests lower ones."
    )
    tables = f"## Developed against\n\n{table('receipts')}\n\n## Held out\n\n{table('held_out')}\n"
    text = f"# Receipts\n\n{said}\n\n{tables}"
    if "--write" in sys.argv:
        (ROOT / "benchmarks" / "receipts.md").write_text(text, "utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
