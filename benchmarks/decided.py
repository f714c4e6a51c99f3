"""How much of the catalogue is decided: FITS or EXCEEDS, and why the rest is UNKNOWN.

    .venv/bin/python benchmarks/decided.py [--write]

Every config of tests/catalogue on 1, 2, 4 and 8 H100 SXM5 80 GB (tensor_parallel_size) at 4096 tokens, at 32768 and at
the config's own context (which a longer one is cut to), one sequence at a time, within 0.80 of a card. `--write` puts
the table into benchmarks/decided.md.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from vramguard.checks.vram import device
from vramguard.memory import Proof, UnprovenError, Workload, prove
from vramguard.memory.families import architecture

ROOT = Path(__file__).parents[1]
CATALOGUE = sorted((ROOT / "tests" / "catalogue").glob("*.json"))
GPU = "h100-sxm5-80gb"
CARD = device(GPU)
BUDGET = Fraction(4, 5)
CARDS = (1, 2, 4, 8)
CONTEXTS = (4096, 32768, None)  # None: the config's own
ENGINES = (  # engine, version, numbers of cards
    ("transformers", None, (1,)),
    ("vllm", "0.19.0", CARDS),
    ("vllm", "0.33.0", CARDS),
    ("sglang", "0.5.10", CARDS),
    ("sglang", None, CARDS),
    ("tgi", "3.3.7", CARDS),
    ("tensorrt-llm", "1.2.1", CARDS),
    ("llama.cpp", None, (1,)),
)
REASONS = 8  # that are listed for each engine


class Row(NamedTuple):
    """What one engine answered."""

    engine: str
    answers: Counter[str]
    reasons: Counter[str]
    milliseconds: float

    @property
    def decided(self) -> float:
        """Share of FITS and EXCEEDS of all."""
        return (self.answers["FITS"] + self.answers["EXCEEDS"]) / self.answers.total()


def own_context(config: dict[str, Any]) -> int | None:
    """Tokens that the config allows; None where it says nothing or is not known."""
    try:
        return architecture(config).context or None
    except UnprovenError:
        return None


def tried(engine: str, version: str | None, cards: tuple[int, ...]) -> Row:
    """Judge the whole catalogue."""
    answers: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    times = []
    for config in (json.loads(path.read_text("utf-8")) for path in CATALOGUE):
        own = own_context(config)
        for number in cards:
            for context in CONTEXTS:
                tokens = min(filter(None, (context, own)), default=None)
                several = None if cards == (1,) else number
                asked = Workload(
                    engine=engine, engine_version=version, gpu=GPU, gpus=number, tensor_parallel_size=several,
                    max_model_len=tokens, concurrency=1,
                )  # fmt: skip
                start = perf_counter()
                found = prove(config, asked, CARD, BUDGET)
                times.append(perf_counter() - start)
                answers["refused" if found.mismatch else str(found.answer)] += 1
                if found.answer == "UNKNOWN" and not found.mismatch:
                    reasons[reason(found)] += 1
    return Row(f"{engine} {version or '(not stated)'}", answers, reasons, 1000 * median(times))


def reason(found: Proof) -> str:
    """The reason of UNKNOWN without the sizes of one config."""
    text = found.reason or ""
    if found.totals is not None and "dtype" not in text:
        return "the budget lies between the bounds"
    text = re.sub(r"\{.*", "{...}", text)
    return re.sub(r"(?<![\d.])\d{2,}(?![\d.])", "N", text.partition(": LlamaForCausalLM")[0])


def table(rows: list[Row]) -> str:
    """The answers in Markdown, then the reasons."""
    lines = [
        "# How much is decided",
        "",
        f"`benchmarks/decided.py --write`, {datetime.now(UTC).date()}: {len(CATALOGUE)} configs on 1, 2, 4 and 8 {GPU}",
        "(tensor parallel; transformers and llama.cpp on 1), at 4096 tokens, at 32768 and at the config's own context,",
        "one sequence, within 0.80 of a card. *Refused* is a way of splitting a model that the engine does not start",
        "with (VG205). The time is the median of one `prove` in process.",
        "",
        "| engine | proofs | FITS | EXCEEDS | refused | UNKNOWN | decided | ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        total = row.answers.total()
        shares = " | ".join(f"{row.answers[name] / total:.1%}" for name in ("FITS", "EXCEEDS", "refused", "UNKNOWN"))
        lines.append(f"| {row.engine} | {total} | {shares} | {row.decided:.1%} | {row.milliseconds:.1f} |")
    for row in rows:
        lines += ["", f"## {row.engine}: why not", ""]
        lines += [f"- {count}: {text}" for text, count in row.reasons.most_common(REASONS)]
        others = row.reasons.total() - sum(count for _, count in row.reasons.most_common(REASONS))
        lines += [f"- {others}: others"] if others else []
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, and write it where that is asked for."""
    text = table([tried(*engine) for engine in ENGINES])
    print(text)
    if "--write" in sys.argv:
        (ROOT / "benchmarks" / "decided.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
