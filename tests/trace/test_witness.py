"""A proof by trace: the traced numbers in its ledger, and what it does without the extra."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING, Any

import pytest
from llama import LLAMA_8B

from vramguard.memory import Answer, Device, Kind, Proof, UnprovenError, Workload, evaluate, prove
from vramguard.memory.traced import Pass, Traced
from vramguard.trace import witness

if TYPE_CHECKING:
    from collections.abc import Mapping

DEVICE = Device("card", 80 << 30, "a test", 0, 1 << 30, "a test")
BUDGET = Fraction(4, 5)
SEEN = Traced(
    peak_bytes=3_000_000_000,
    cache_bytes=1_073_741_824,
    allocated_bytes=20_000_000_000,
    reserved_bytes=20_500_000_000,
    mask_heads=0,
    source="a test",
    assumed=("model: a value of bool is False",),
)


class Told:
    """Answers every question with the same numbers, and remembers the questions."""

    def __init__(self, answer: Traced = SEEN) -> None:
        self.answer = answer
        self.asked: list[Pass] = []

    def __call__(self, _config: Mapping[str, object], run: Pass) -> Traced:
        self.asked.append(run)
        return self.answer


def proof(told: Told, config: dict[str, Any] = LLAMA_8B, **workload: Any) -> Proof:  # noqa: ANN401 - fields of Workload
    return prove(config, Workload(**{"max_model_len": 8192} | workload), DEVICE, BUDGET, told)


def test_the_traced_peak_stands_for_the_moments() -> None:
    told = Told()
    found = proof(told)
    assert (found.method, found.answer) == ("trace", Answer.FITS)
    rows = {term.name: term for term in found.ledger}
    assert [name for name in rows if name.startswith("activations/")] == [
        "activations/inputs",
        "activations/traced",
        "activations/cuda_split_keys",
    ]
    assert rows["activations/traced"].upper_bytes == 3_000_000_000 - 1_073_741_824
    assert rows["runtime/fragmentation"].upper_bytes == 500_000_000
    for name in ("activations/traced", "runtime/fragmentation"):
        term = rows[name]
        assert (term.kind, evaluate(term.formula, term.inputs)) == (Kind.BOUND, term.upper_bytes)
        assert str(term.source).startswith("a test")
    assert told.asked == [Pass("LlamaForCausalLM", 8192, 1, "bfloat16", None)], "the same pass is asked for once"
    assert found.max_fitting_model_len is None


def test_what_was_assumed_is_said() -> None:
    words = "\n".join(proof(Told()).assumptions)
    assert "trace: model: a value of bool is False" in words
    assert "not counted" not in words, "fragmentation is a row now"


def test_sampling_is_no_part_of_the_pass() -> None:
    small = replace(SEEN, peak_bytes=SEEN.cache_bytes)
    row = next(term for term in proof(Told(small)).ledger if term.name == "activations/traced")
    assert row.upper_bytes == 8192 * 4096 * 2 * 2 + 128256 * 64


@pytest.mark.parametrize(("heads", "masks"), [(0, None), (1, 1), (32, 32)])
def test_masks_are_those_that_the_trace_saw(heads: int, masks: int | None) -> None:
    found = proof(Told(replace(SEEN, mask_heads=heads)))
    row = next((term for term in found.ledger if term.name == "activations/cuda_mask"), None)
    assert (None if row is None else row.inputs["masks"]) == masks


def test_the_questions_follow_the_workload() -> None:
    told = Told(replace(SEEN, cache_bytes=0))
    proof(told, concurrency=3, dtype="float16", attn_implementation="eager", max_model_len=100)
    assert told.asked == [Pass("LlamaForCausalLM", 100, 3, "float16", "eager")]
    told.asked.clear()
    proof(told, {key: value for key, value in LLAMA_8B.items() if key != "torch_dtype"})
    assert [run.dtype for run in told.asked] == ["float16", "bfloat16", "float32"]


def test_a_cache_that_nobody_counted_is_a_contradiction() -> None:
    found = proof(Told(replace(SEEN, cache_bytes=1_073_741_825)))
    assert found.answer is Answer.UNKNOWN
    assert "the traced cache is 1073741825 bytes, the config's 1073741824" in str(found.reason)


def test_a_pass_that_cannot_run_is_unknown() -> None:
    def refuse(_config: Mapping[str, object], _run: Pass) -> Traced:
        raise UnprovenError("the pass cannot be traced: no")

    found = prove(LLAMA_8B, Workload(), DEVICE, BUDGET, refuse)
    assert (found.answer, found.reason, found.method) == (Answer.UNKNOWN, "the pass cannot be traced: no", "trace")


def test_analytic_is_the_method_without_a_witness() -> None:
    found = prove(LLAMA_8B, Workload(), DEVICE, BUDGET)
    assert found.method == "analytic"
    assert "runtime/fragmentation" not in {term.name for term in found.ledger}


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({}, "runs torch, which is not installed: pip install 'vramguard[trace]'"),
        ({"torch": "2.13.0+cu130"}, "runs transformers, which is not installed"),
        ({"torch": "2.12.1"}, "models torch 2.13.0, and 2.12.1 is installed"),
        ({"torch": "2.13.0", "transformers": "5.24.0"}, "models transformers 5.23.0, and 5.24.0 is installed"),
        ({"torch": "2.13.0+cpu", "transformers": "5.23.0"}, None),
    ],
)
def test_what_has_to_be_installed(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], words: str | None
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(witness, "version", version)
    if words is None:
        witness.require()
        return
    with pytest.raises(witness.MissingExtraError) as caught:
        witness.require()
    assert words in str(caught.value)


SMALL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 1400,
    "vocab_size": 3000,
    "max_position_embeddings": 4096,
}


@pytest.mark.filterwarnings("ignore")
def test_a_real_trace_agrees_with_the_formulas() -> None:
    pytest.importorskip("torch")
    workload = Workload(max_model_len=2048, dtype="bfloat16")
    traced = prove(SMALL, workload, DEVICE, BUDGET, witness.witness)
    formulas = prove(SMALL, workload, DEVICE, BUDGET)
    assert traced.answer is formulas.answer is Answer.FITS
    assert traced.totals is not None
    assert formulas.totals is not None
    assert 0.8 < traced.totals.activation_bytes / formulas.totals.activation_bytes < 1.05
    kept = next(term for term in traced.ledger if term.name == "runtime/fragmentation")
    assert 0 < kept.upper_bytes < traced.totals.peak_upper_bytes
    assert "transformers 5.23.0" in str(kept.source)


@pytest.mark.filterwarnings("ignore")
def test_a_real_refusal_names_its_reason() -> None:
    pytest.importorskip("torch")
    with pytest.raises(UnprovenError, match=r"the pass cannot be traced: .*LlamaForNothing"):
        witness.witness(SMALL, Pass("LlamaForNothing", 8, 1, "bfloat16", None))
