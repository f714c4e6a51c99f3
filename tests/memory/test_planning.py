"""A proof turned round is exact: what is named fits, and one step beyond it does not; and nothing is guessed."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest
from llama import LLAMA_8B, LLAMA_70B

from vramguard import data
from vramguard.checks.vram import device
from vramguard.memory import Answer, Depth, Proof, Prover, Workload, prove
from vramguard.memory.planning import fits, largest, methods, needs_checkpoint, row, spreads

CHECK = Path(__file__).parents[2] / "benchmarks" / "plan" / "check.py"
BUDGET = Fraction(4, 5)
WORKLOADS = 120  # of the 2,000 that benchmarks/plan/README.md records
PARTS = 12
TRAININGS = 48  # of those that benchmarks/plan/training.md records


def _check() -> Any:  # noqa: ANN401 - a script
    spec = importlib.util.spec_from_file_location("plan_check", CHECK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plan_check"] = module
    spec.loader.exec_module(module)
    return module


CHECKER = _check()


@pytest.mark.parametrize("part", range(PARTS))
def test_every_answer_is_right_in_both_directions(part: int) -> None:
    seeds = CHECKER.seeds(WORKLOADS)[part::PARTS]
    said = [CHECKER.checked(seed) for seed in seeds]
    assert [line for one in said for line in one.wrong] == []
    assert sum(one.checked["workloads"] for one in said) == CHECKER.CARDS_EACH * len(seeds)


@pytest.mark.parametrize("part", range(4))
def test_every_answer_on_training_is_right_in_both_directions(part: int) -> None:
    said = [CHECKER.checked(seed) for seed in CHECKER.seeds(TRAININGS, CHECKER.TRAININGS)[part::4]]
    assert [line for one in said for line in one.wrong] == []
    assert sum(one.checked["engine training"] for one in said) == TRAININGS // 4


@pytest.mark.parametrize(
    "workload",
    [
        Workload(max_model_len=4096),
        Workload(device_map="auto", gpus=2, max_model_len=4096),
        Workload(engine="vllm", engine_version="0.19.0", max_model_len=4096, tensor_parallel_size=2, gpus=2),
        Workload(engine="vllm", engine_version="0.8.5", max_model_len=4096),
        Workload(engine="sglang", max_model_len=4096),
        Workload(engine="tgi", engine_version="3.3.7", max_model_len=4096),
        Workload(engine="tensorrt-llm", max_model_len=4096),
        Workload(engine="llama.cpp", max_model_len=4096, quantization="q8_0"),
    ],
    ids=lambda workload: f"{workload.engine} {workload.device_map or ''}",
)
def test_cards_that_stand_alike_have_the_same_ledgers(workload: Workload) -> None:
    shared = Prover(LLAMA_8B, BUDGET)
    for card in map(device, data.gpus()):
        mine, alone = (prover(workload, card) for prover in (shared, Prover(LLAMA_8B, BUDGET)))
        assert mine == alone, card.name


def asked(**values: Any) -> Any:  # noqa: ANN401 - a row
    prover, gpu = Prover(values.pop("config", LLAMA_8B), BUDGET), values.pop("gpu", "h100-sxm5-80gb")
    return row(prover, Workload(**values), device(gpu), prover.context, packed=values.get("packed", False))


class TestRow:
    def test_a_model_that_fits_is_bounded_by_its_config(self) -> None:
        found = asked(engine="vllm", engine_version="0.19.0")
        assert found.max_model_len[:2] == (131072, "config")
        assert found.cards[:3] == (1, 1, 1)
        assert found.concurrency.limit == "budget"
        assert found.asked.pool.largest_utilization == "0.762"

    def test_the_fewest_cards_are_a_grid(self) -> None:
        found = asked(config=LLAMA_70B, engine="vllm", engine_version="0.19.0")
        assert found.max_model_len[0] is None
        assert found.max_model_len.answer is Answer.EXCEEDS
        assert found.cards[:3] == (3, 1, 3)

    def test_a_slice_works_with_no_other(self) -> None:
        found = asked(config=LLAMA_70B, engine="vllm", engine_version="0.19.0", gpu="h100-80gb-mig-7g.80gb")
        assert found.cards[:1] == (None,)
        assert found.cards.answer is Answer.EXCEEDS

    def test_nothing_is_guessed_of_what_is_not_known(self) -> None:
        found = asked(config={"architectures": ["NovelForCausalLM"], "model_type": "novel"})
        assert found.max_model_len.answer is Answer.UNKNOWN
        assert found.max_model_len.reason == found.cards.reason == found.asked.reason
        assert found.quantized == ()

    def test_cards_of_another_vendor_are_unknown(self) -> None:
        found = asked(gpu="mi300x-192gb")
        assert {found.max_model_len.answer, found.concurrency.answer, found.cards.answer} == {Answer.UNKNOWN}
        assert "amd" in (found.cards.reason or "")

    def test_more_sequences_than_the_engine_runs_are_not_asked_for(self) -> None:
        found = asked(engine="vllm", engine_version="0.19.0", max_num_seqs=2, max_model_len=1024)
        assert found.concurrency[:2] == (2, "max_num_seqs")

    def test_quantizations_say_why_not(self) -> None:
        found = {one.method: one for one in asked(gpu="v100-16gb").quantized}
        assert found["fp8"].answer is Answer.UNKNOWN
        assert "compute capability 8.9" in (found["fp8"].reason or "")

    def test_what_is_asked_for_already_is_not_asked_for_again(self) -> None:
        assert "q8_0" not in [name.lower() for name in methods(Workload(engine="llama.cpp", quantization="q8_0"))]
        assert methods(Workload(engine="tgi")) == ()


class TestTraining:
    """What trains has a batch where what serves has sequences at once."""

    STEP: ClassVar[dict[str, Any]] = {
        "mode": "training",
        "bf16": True,
        "max_model_len": 1024,
        "gradient_checkpointing": True,
    }

    def test_the_largest_batch_is_a_micro_batch(self) -> None:
        lora: dict[str, Any] = {"lora_rank": 8, "lora_target_modules": "all-linear", "dtype": "bfloat16"}
        found = asked(**self.STEP, **lora)
        assert found.concurrency.limit == "budget"
        assert 1 < found.concurrency.value < 100
        prover, card = Prover(LLAMA_8B, BUDGET), device("h100-sxm5-80gb")
        step = Workload(**self.STEP, **lora)
        at = [replace(step, per_device_train_batch_size=found.concurrency.value + more) for more in (0, 1)]
        assert [fits(prover(one, card)) for one in at] == [True, False]

    def test_only_what_is_divided_needs_more_cards(self) -> None:
        step: dict[str, Any] = {
            **self.STEP,
            "dtype": "float32",
            "per_device_train_batch_size": 1,
        }
        assert asked(**step).cards.gpus is None
        found = asked(**step, zero_stage=3)
        assert (found.cards.gpus or 0) > 1
        assert [one.gpus for one in spreads(Workload(mode="training"), 8)] == [1]
        assert [one.gpus for one in spreads(Workload(mode="training", fsdp="full_shard"), 8)] == list(range(1, 9))
        assert needs_checkpoint(Workload(mode="training")) == ()


class TestLargest:
    """The search by itself, on peaks that are made up."""

    @staticmethod
    def proofs(peak: Any, budget: int, seen: list[int]) -> Any:  # noqa: ANN401 - functions
        base = prove(LLAMA_8B, Workload(max_model_len=64), device("h100-sxm5-80gb"), BUDGET)
        assert base.totals is not None

        def at(number: int) -> Proof:
            seen.append(number)
            size = peak(number)
            totals = replace(base.totals, peak_upper_bytes=size) if base.totals else None
            answer = Answer.FITS if size <= budget else Answer.EXCEEDS
            return replace(base, answer=answer, totals=totals, budget_bytes=budget)

        return at

    @pytest.mark.parametrize(
        "peak",
        [lambda n: 5 * n, lambda n: n * n, lambda n: 16 * (n // 16), lambda n: 0 if n < 777 else 10**9],
        ids=["line", "square", "stairs", "wall"],
    )
    @pytest.mark.parametrize("budget", [0, 7, 4000, 99_999])
    def test_it_is_the_edge_in_few_steps(self, peak: Any, budget: int) -> None:  # noqa: ANN401
        seen: list[int] = []
        found = largest(self.proofs(peak, budget, seen), 100_000, "config")
        edge = max((n for n in range(100_001) if peak(n) <= budget), default=0)
        assert (found.value or 0) == edge
        assert len(seen) < 55
        assert found.limit == ("config" if edge == 100_000 else "budget")

    def test_it_stops_at_the_limit(self) -> None:
        seen: list[int] = []
        assert largest(self.proofs(lambda n: n, 10**9, seen), 512, "config") == (512, "config", None, None)
        assert seen == [512]


def test_grids_are_asked_for_by_their_cards() -> None:
    found = list(spreads(Workload(engine="vllm", data_parallel_size=2), 8))
    assert [one.gpus for one in found] == sorted(one.gpus or 0 for one in found)
    assert {one.gpus for one in found} == {2, 4, 6, 8}
    assert (found[-1].tensor_parallel_size, found[-1].pipeline_parallel_size) == (1, 4)
    assert [one.gpus for one in spreads(Workload(), 8)] == [1]
    assert len(list(spreads(Workload(device_map="auto"), 8))) == 8


def test_an_answer_alone_is_that_of_the_whole_proof() -> None:
    workload, card = Workload(engine="vllm", engine_version="0.19.0"), device("a100-sxm4-40gb")
    whole, alone = prove(LLAMA_8B, workload, card, BUDGET), Prover(LLAMA_8B, BUDGET)(workload, card)
    pool = Prover(LLAMA_8B, BUDGET)(workload, card, Depth.POOL)
    assert alone.ledger == pool.ledger == whole.ledger
    assert (pool.pool, pool.assumptions) == (whole.pool, whole.assumptions)
    assert fits(alone) is (whole.answer is Answer.FITS)
