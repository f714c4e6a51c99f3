"""Predicted beside measured: every bound is held against what was printed, and only as far as it was printed."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path

import pytest
from rich.console import Console

from vramguard.memory import Answer, Device, Kind, Ledger, Pool, Proof, Term, Totals, Workload
from vramguard.receipts import Receipt, Row, compare, parse, workload
from vramguard.report.receipts import as_json, print_receipt, render

LOGS = Path(__file__).parent / "logs"
GIB = 1 << 30
CARD = Device("a-card", 79 * GIB, "a log", 0, GIB, "another log")


def gib(number: str) -> int:
    return int(Fraction(number) * GIB)


def term(name: str, lower: str, upper: str) -> Term:
    return Term(name, "upper", {"lower": gib(lower), "upper": gib(upper)}, Kind.BOUND, "a source", "lower")


def make_proof(**changes: tuple[str, str]) -> Proof:
    """What a proof would say of vllm-0.19-pp2.log; `changes` are other bounds of a term, in GiB."""
    bounds = {
        "weights/all": ("7.51", "7.51"),
        "activations/profile": ("1.50", "2.20"),
        "runtime/cuda_graphs": ("0", "1.00"),
        "runtime/before": ("1.00", "2.00"),
    }
    bounds |= {name.replace("_of_", "/"): values for name, values in changes.items()}
    ledger = Ledger(tuple(term(name, *values) for name, values in bounds.items()))
    return Proof(
        answer=Answer.FITS,
        reason=None,
        workload=Workload(engine="vllm"),
        device=CARD,
        budget_fraction="0.8",
        budget_bytes=63 * GIB,
        ledger=ledger,
        totals=Totals(0, 0, 0, 0, 0, 0),
        pool=Pool(gib("78"), gib("65.00"), 1_064_960, "130.00", within_budget=False),
    )


def receipt() -> Receipt:
    return parse((LOGS / "vllm-0.19-pp2.log").read_text("utf-8"))


def rows(proof: Proof) -> dict[tuple[str, str], Row]:
    return {(row.term, row.unit): row for row in compare(receipt(), proof)}


def test_every_bound_holds() -> None:
    found = rows(make_proof())
    assert [row.term for row in found.values() if row.holds is not True] == []
    assert found["weights", "bytes"].slack == pytest.approx(0, abs=GIB // 100)
    assert found["activations", "bytes"].measured == pytest.approx(gib("2.01"), abs=1)
    assert found["graphs", "bytes"].predicted_upper == GIB
    # 1.43 before, 0.07 beside, 0.65 graphs
    assert found["runtime", "bytes"].measured == pytest.approx(gib("2.15"), abs=3)
    # weights 7.51, activations 2.01, cache 65.63, and the 2.15
    assert found["reserved", "bytes"].measured == pytest.approx(gib("77.30"), abs=6)
    assert found["full-length requests", "requests"].slack == Fraction("1.26")
    assert found["cache", "tokens"].slack == 1_075_312 - 1_064_960


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({"weights_of_all": ("7.40", "7.50")}, "weights"),
        ({"weights_of_all": ("7.52", "7.60")}, "weights"),
        ({"activations_of_profile": ("0", "2.00")}, "activations"),
        ({"runtime_of_cuda_graphs": ("0.66", "3")}, "graphs"),
    ],
)
def test_a_bound_that_fails_is_seen(change: dict[str, tuple[str, str]], fails: str) -> None:
    assert [row.term for row in rows(make_proof(**change)).values() if row.holds is False] == [fails]


def test_a_value_holds_as_far_as_it_was_printed() -> None:
    """7.51 GiB may be anything that rounds to it: 7.5149 is no contradiction, 7.5151 is one."""
    assert rows(make_proof(weights_of_all=("7.5149", "7.6")))["weights", "bytes"].holds
    assert not rows(make_proof(weights_of_all=("7.5151", "7.6")))["weights", "bytes"].holds


def test_the_cache_is_bounded_from_below() -> None:
    proof = make_proof()
    assert proof.pool
    above = Pool(gib("78"), gib("65.64"), 1_075_313, "131.27", within_budget=False)
    beyond = Proof(**{name: getattr(proof, name) for name in Proof.__slots__} | {"pool": above})
    failing = [(row.term, row.unit) for row in compare(receipt(), beyond) if row.holds is False]
    assert failing == [("cache", "bytes"), ("cache", "tokens"), ("full-length requests", "requests")]


def test_what_is_consumed_holds_what_is_beside_the_weights() -> None:
    """Since 0.24 vLLM prints weights and what is outside of PyTorch as one number."""
    newest = parse(
        "worker init memory snapshot: free_memory=78.68GiB, total_memory=79.19GiB, cuda_memory=0.51GiB\n"
        "total consumed (from mem_get_info): 15.24GiB; weights memory: 14.99GiB.\n"
        "Graph capturing finished in 3 secs, took 0.91 GiB\n"
    )
    found = {row.term: row for row in compare(newest, make_proof())}
    assert found["runtime"].measured == pytest.approx(gib("1.67"), abs=4)  # 0.51 before, 0.25 beside, 0.91 graphs
    assert found["runtime"].holds
    assert "reserved" in found
    assert found["reserved"].holds is found["reserved"].measured is None, "no cache was printed"


def test_without_a_proof_nothing_is_predicted() -> None:
    unknown = Proof(Answer.UNKNOWN, "a reason", Workload(), CARD, "0.8", 63 * GIB)
    found = compare(receipt(), unknown)
    assert {row.term: row.holds for row in found if row.holds is not None} == {"card": True}
    assert {row.term for row in found} >= {"weights", "activations", "runtime", "graphs", "cache"}


def test_the_workload_is_what_the_log_says() -> None:
    asked = workload(receipt())
    assert asked == Workload(
        engine="vllm",
        engine_version="0.19.0",
        gpus=2,
        tensor_parallel_size=1,
        pipeline_parallel_size=2,
        data_parallel_size=1,
        dtype="bfloat16",
        kv_cache_dtype="auto",
        max_model_len=8192,
        max_num_batched_tokens=8192,
        gpu_memory_utilization="0.95",
        enforce_eager=False,
    )


def test_a_quantization_that_the_checkpoint_brings_is_not_asked_for() -> None:
    new = parse((LOGS / "vllm-0.24.log").read_text("utf-8"))
    assert workload(new).quantization == "modelopt"
    assert workload(new).num_speculative_tokens == 3
    resolved = "Initializing a V1 LLM engine (v0.19.0) with config: model='m', quantization=compressed-tensors"
    assert workload(parse(resolved)).quantization is None


def test_adapters_that_are_not_enabled_are_not_loaded() -> None:
    old = parse((LOGS / "vllm-0.6.6-tp2.log").read_text("utf-8"))
    assert (old.settings.max_loras, workload(old).max_loras, workload(old).max_lora_rank) == (1, None, None)


def test_json_has_its_schema_and_every_term() -> None:
    found = compare(receipt(), make_proof())
    shown = json.loads(render("json", receipt(), found))
    assert shown["schema"] == "vramguard.receipts/1"
    assert shown == json.loads(json.dumps(as_json(receipt(), found)))
    assert shown["holds"] is True
    assert shown["version"] == "0.19.0"
    assert shown["settings"]["pipeline_parallel_size"] == 2
    assert (
        shown["ranks"]["PP1"]["kv_cache"]["low_bytes"] < gib("65.63") < shown["ranks"]["PP1"]["kv_cache"]["high_bytes"]
    )
    requests = next(row for row in shown["terms"] if row["unit"] == "requests")
    assert requests["measured"] == {"low": "131.255", "high": "131.265"}
    assert requests["predicted"] == {"lower": "130", "upper": None}
    assert [row["term"] for row in shown["terms"]] == [row.term for row in found]


def test_the_table_says_what_fails() -> None:
    text = render("text", receipt(), compare(receipt(), make_proof(weights_of_all=("7.6", "7.7"))))
    weights = next(line for line in text.splitlines() if "weights" in line)
    assert weights.split() == ["weights,", "GiB", "7.51", "7.60", "7.70", "0.19", "fails"]
    assert "vllm 0.19.0, tp 1, pp 2, bfloat16" in text
    assert sum("holds" in line for line in text.splitlines()) == 8


def test_a_log_alone_shows_what_it_measured() -> None:
    text = render("text", receipt(), ())
    assert "graphs estimated, GiB" in text
    assert "2.01" in text
    assert "No line of this log" in render("text", parse("hello"), ())


def test_a_line_that_is_cut_is_told() -> None:
    text = render("text", parse("Model loading took 1.00 GiB " + " " * 100_000), ())
    assert "1 line too long to be read to the end" in text


def test_lines_that_are_not_known_are_shown_harmless() -> None:
    hostile = parse("\x1b[2J\x07[red]Sharding\u202e freed 3.21 GiB\n" * 30)
    text = render("text", hostile, ())
    assert "30 lines about memory in words that no known version uses" in text
    assert "... and 10 more" in text
    assert "[red]Sharding\\u202e freed 3.21 GiB" in text
    assert not {char for char in text if not char.isprintable() and char != "\n"}
    assert len(json.loads(render("json", hostile, ()))["unknown_lines"]) == 30


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_console_shows_every_term(width: int) -> None:
    shown = io.StringIO()
    print_receipt(receipt(), compare(receipt(), make_proof()), Console(file=shown, width=width, no_color=True))
    text = shown.getvalue()
    terms = {row.term for row in compare(receipt(), make_proof())}
    assert {name for name in terms if all(word in text for word in name.split())} == terms
    assert text.count("holds") == len(compare(receipt(), make_proof())) == 9
