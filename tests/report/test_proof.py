"""The ledger that a person can follow, and the picture of the card."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest

from vramguard.memory import Answer, Device, Kind, Ledger, Pool, Proof, Term, Totals, Workload, evaluate
from vramguard.report import proof as shown
from vramguard.report.ledger import verdict

if TYPE_CHECKING:
    from report.conftest import Make

    from vramguard.engine import Proven

GIB = 1 << 30
SMALL = """\
LlamaForCausalLM  models/llama/config.json
  transformers 5.23.0, 1 \u00d7 a-card (assumed), 4,096 tokens \u00d7 2, bfloat16, method
  analytic

Ledger of the worst GPU                                           bytes      GiB
weights                                                  10,737,418,240    10.00
  all                                                    10,737,418,240    10.00
    exact: rows * 1073741824; rows=10
kv_cache                                                  2,147,483,648     2.00
  sliding_128                                             2,147,483,648     2.00
    bound, at most: tokens * kept; tokens=4,096, kept=524,288 [1]
    at least 1,048,576 = tokens * 256
runtime                                                   1,073,741,824     1.00
  cuda_context                                            1,073,741,824     1.00
    measured, at most: 1,073,741,824 [2]
    at least 268,435,456

  [1] a source
  [2] a log

Totals
  \u2588 weights            10,737,418,240    10.00 GiB   50 %
  \u2593 KV cache            2,147,483,648     2.00 GiB   10 %
  \u2592 activations                     0     0.00 GiB    0 %
  \u2591 runtime             1,073,741,824     1.00 GiB    5 %
    peak, at most      13,958,643,712    13.00 GiB   65 %
    peak, at least     11,006,902,272    10.25 GiB   51 %
    budget             17,179,869,184    16.00 GiB   80 %
    card               21,474,836,480    20.00 GiB  100 %

  \u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2588\u2593\u2593\u2593\u2593\u2593\u2593\u2593\u2591\u2591\u2591\u2591\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7\u00b7
                                                  budget 80 % \u25b2

FITS: the peak is at most 13.00 GiB, 3.00 GiB within the budget of 16.00 GiB
(80 % of the 20.00 GiB of one a-card).
The largest context that fits: 8,192 tokens.

It assumes
  - gpu is not stated; a-card is assumed
  - sole tenant of the card
"""


def small_proof() -> Proof:
    terms = (
        Term("weights/all", "rows * 1073741824", {"rows": 10}, Kind.EXACT),
        Term(
            "kv_cache/sliding_128",
            "tokens * kept",
            {"tokens": 4096, "kept": 524288},
            Kind.BOUND,
            "a source",
            "tokens * 256",
        ),
        Term("runtime/cuda_context", "upper", {"lower": GIB // 4, "upper": GIB}, Kind.MEASURED, "a log", "lower"),
    )
    ledger = Ledger(terms)
    return Proof(
        answer=Answer.FITS,
        reason=None,
        workload=Workload(
            engine="transformers", engine_version="5.23.0", dtype="bfloat16", max_model_len=4096, concurrency=2
        ),
        device=Device("a-card", 20 * GIB, "", 0, GIB, ""),
        budget_fraction="0.80",
        budget_bytes=16 * GIB,
        architecture="LlamaForCausalLM",
        ledger=ledger,
        totals=Totals(10 * GIB, 2 * GIB, 0, GIB, ledger.lower_bytes(), ledger.upper_bytes()),
        max_fitting_model_len=8192,
        gpu_assumed=True,
        assumptions=("gpu is not stated; a-card is assumed", "sole tenant of the card"),
    )


def text_of(make: type[Make], proven: Proven, width: int = 80) -> str:
    console = make.console(width)
    shown.print_proof(proven, console)
    return make.written(console)


def changed(make: type[Make], **changes: object) -> Proven:
    return make.proven()._replace(proof=dataclasses.replace(small_proof(), **changes))  # type: ignore[arg-type]  # fields by name


def test_ledger_line_by_line(make: type[Make]) -> None:
    assert text_of(make, changed(make)) == SMALL


def test_every_formula_can_be_recomputed_from_what_is_printed(make: type[Make]) -> None:
    text = " ".join(text_of(make, make.proven(), width=500).split())
    rows = re.findall(
        r"([\d,]+) [\d,.]+ (?:exact|bound, at most): ([^;\[]+); ([\w =,]+?)(?= \[| at least| [a-z_.*]+ \d)", text
    )
    assert len(rows) >= 15
    for size, formula, inputs in rows:
        values = {name: int(value.replace(",", "")) for name, value in re.findall(r"(\w+)=([\d,]*\d)", inputs)}
        assert evaluate(formula, values) == int(size.replace(",", ""))


@pytest.mark.parametrize("width", [30, 50, 80, 120, 200])
def test_bar_fills_its_width_and_marks_the_budget(make: type[Make], width: int) -> None:
    lines = text_of(make, make.proven(), width).splitlines()
    at, bar = next((number, line) for number, line in enumerate(lines) if re.fullmatch(r"  [█▓▒░·]+", line))
    cells = min(width - 4, 100)
    assert len(bar) == cells + 2
    assert lines[at + 1].index("▲") - 2 == 67_942_087_655 * cells // 84_927_609_569
    assert width < 50 or all(len(line) <= width or len(line.split()) == 1 for line in lines)


def test_a_peak_beyond_the_card_shows_where_it_ends(make: type[Make]) -> None:
    text = text_of(make, make.proven({**make.config, "num_hidden_layers": 320}))
    assert "the card ends: 79.09 GiB ▲" in text or "▲ the card ends: 79.09 GiB" in text
    assert "\nEXCEEDS: the peak is at least " in text
    assert "\nNo context fits: " in text


def test_unknown_says_why(make: type[Make]) -> None:
    proven = make.proven({**make.config, "architectures": ["MambaForCausalLM"], "model_type": "mamba"})
    text = " ".join(text_of(make, proven).split())
    assert proven.proof.reason
    assert f"UNKNOWN: {proven.proof.reason}. No proof, no merge." in text
    assert "Ledger" not in text


def test_between_the_bounds_is_unknown(make: type[Make]) -> None:
    proof = changed(make, answer=Answer.UNKNOWN, reason="x", budget_bytes=12 * GIB, budget_fraction="0.60").proof
    assert verdict(proof) == (
        "the peak lies between 10.25 and 13.00 GiB, and the budget of 12.00 GiB (60 % of the 20.00 GiB of one a-card) "
        "between them. No proof, no merge."
    )


def test_a_margin_too_small_for_gib_is_in_bytes(make: type[Make]) -> None:
    assert "13.00 GiB, 7 bytes within" in verdict(changed(make, budget_bytes=13 * GIB + 7).proof)


def test_what_else_there_is_to_say(make: type[Make]) -> None:
    pool = Pool(18 * GIB, 5 * GIB, 40960, "10.00", within_budget=False)
    work = dataclasses.replace(small_proof().workload, device_map="auto")
    proven = changed(make, pool=pool, workload=work, spill_bytes=3 * GIB, min_fitting_gpus=4)
    text = " ".join(text_of(make, proven).split())
    assert (
        "The engine reserves 18.00 GiB (90 % of the card), over the budget: a cache of 40,960 tokens, 10.00 full"
        in text
    )
    assert 'device_map="auto" would place 3.00 GiB of weights on the CPU or on disk, without failing.' in text
    assert "The fewest GPUs that fit it: 4, by tensor parallelism." in text


def test_render(make: type[Make]) -> None:
    assert shown.render("text", changed(make)).startswith("LlamaForCausalLM  models/llama/config.json\n")
    assert shown.render("json", changed(make)).startswith('{\n  "schema": "vramguard.proof/1"')


def test_ascii(make: type[Make]) -> None:
    console = make.console(encoding="ascii")
    shown.print_proof(changed(make), console)
    text = make.written(console)
    assert re.search(r"^  #+=+-+\.+$", text, re.MULTILINE)
    assert "budget 80 % ^" in text
    assert "4,096 tokens x 2" in text
