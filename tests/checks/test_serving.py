"""VG203, VG204, VG205 and VG210 over facts, cards that are shared, and environments that an advisory names."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from checks.test_vram import ALL, config, deployment, facts
from llama import LLAMA_70B

from vramguard.checks import Severity
from vramguard.checks.serving import EngineReservation, EngineStarts, Offload, Parallelism
from vramguard.checks.vram import VramBudget
from vramguard.facts import Lock, LockedPackage, ModelConfig, Requirement, Unknown
from vramguard.memory import Answer
from vramguard.source import Location

if TYPE_CHECKING:
    from vramguard.checks import Check, Problem
    from vramguard.facts import Deployment

VLLM: dict[str, Any] = {
    "config": "config.json",
    "engine": "vllm",
    "engine_version": "0.19.0",
    "gpu": "h100-sxm5-80gb",
    "max_model_len": 8192,
}
LARGE = ModelConfig(Location("config.json"), LLAMA_70B, "")


def found(check: Check, *others: Any, **values: Any) -> list[Problem]:  # noqa: ANN401 - facts, fields of Deployment
    return list(check.find(facts(*(others or (config(),)), deployment(**{**VLLM, **values}))))


class TestReservation:
    def test_the_default_share_is_over_the_budget(self) -> None:
        (problem,) = found(EngineReservation())
        assert problem.values["reserved"] > Fraction(9, 10) * problem.values["capacity"] > problem.values["budget"]
        assert problem.at.line == 4, "the engine's line, as no share is written"

    def test_the_share_that_is_named_passes_and_the_next_does_not(self) -> None:
        (problem,) = found(EngineReservation(), gpu_memory_utilization="0.95")
        assert problem.at.line == 8
        (change,) = problem.data["changes"]
        share = change["to"]
        assert f"gpu_memory_utilization: 0.95 -> {share}" in problem.values["mend"]
        assert not found(EngineReservation(), gpu_memory_utilization=share)
        assert found(EngineReservation(), gpu_memory_utilization=str(float(share) + 0.001))

    def test_bytes_of_cache_replace_the_share(self) -> None:
        assert not found(EngineReservation(), kv_cache_memory_bytes=8 << 30)
        (problem,) = found(EngineReservation(), kv_cache_memory_bytes=60 << 30)
        assert "in bytes or blocks" in problem.values["mend"]

    def test_no_more_is_said_to_be_taken_than_the_card_has(self) -> None:
        (problem,) = found(EngineReservation(), gpu="l4-24gb", gpu_memory_utilization="0.95")
        assert problem.values["reserved"] == problem.values["capacity"]

    def test_a_share_that_no_number_mends_is_named_as_its_engine_calls_it(self) -> None:
        values = {"engine": "tensorrt-llm", "engine_version": "1.2.0", "gpu": "b200-180gb"}
        (problem,) = found(EngineReservation(), **values)
        assert problem.values["mend"].startswith("Lower kv_cache_free_gpu_memory_fraction")

    def test_transformers_reserves_nothing(self) -> None:
        assert not found(EngineReservation(), engine="transformers", engine_version=None)


class TestStarts:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"gpu_memory_utilization": "0.2"}, "cannot hold one sequence of 8,192"),
            ({"max_model_len": 262_144}, "above the 131,072 positions"),
            ({"gpu_memory_utilization": "0.23"}, "cannot be shown to hold"),
        ],
    )
    def test_what_would_not_start_is_said(self, values: dict[str, Any], words: str) -> None:
        (problem,) = found(EngineStarts(), **values)
        assert words in problem.values["reason"]

    @pytest.mark.parametrize(
        ("share", "verdict", "severity"),
        [("0.2", "will not serve", None), ("0.23", "is not shown to serve", Severity.WARNING)],
    )
    def test_what_is_not_shown_is_no_refusal(self, share: str, verdict: str, severity: Severity | None) -> None:
        (problem,) = found(EngineStarts(), gpu_memory_utilization=share)
        assert (problem.values["verdict"], problem.severity) == (verdict, severity)

    def test_a_share_that_is_not_free_at_the_start_is_no_lack_of_cache(self) -> None:
        (problem,) = found(EngineStarts(), gpu_memory_utilization="0.999")
        assert "cache" not in problem.values["reason"]
        assert "asks for 0.999 of the card" in problem.values["reason"]
        assert problem.at.line == 8, "the share's line"

    def test_kaito_takes_the_context_that_fits_where_none_is_written(self) -> None:
        small = {"gpu_memory_utilization": "0.2", "form": "kaito"}
        assert not found(EngineStarts(), **small, max_model_len=None)
        assert found(EngineStarts(), **small)

    def test_room_for_one_sequence_is_enough(self) -> None:
        assert not found(EngineStarts(), gpu_memory_utilization="0.3")


class TestGrid:
    def test_heads_that_do_not_divide(self) -> None:
        values = {"tensor_parallel_size": 3, "gpus": 3}
        (problem,) = found(Parallelism(), **values)
        assert "heads cannot be split across tensor_parallel_size 3" in problem.values["reason"]
        assert not found(VramBudget(answers=(Answer.UNKNOWN,)), **values), "said once, by VG205"

    def test_more_stages_than_layers(self) -> None:
        (problem,) = found(Parallelism(), pipeline_parallel_size=33, gpus=33)
        assert "more than the model's 32 layers" in problem.values["reason"]

    def test_more_ranks_than_cards_is_an_error_and_idle_cards_a_warning(self) -> None:
        (problem,) = found(Parallelism(), gpus=2, tensor_parallel_size=4)
        assert (problem.severity, problem.values["reason"]) == (None, "tensor_parallel_size 4 needs 4 of 2 GPUs")
        (problem,) = found(Parallelism(), gpus=8, tensor_parallel_size=2, pipeline_parallel_size=2)
        said = "tensor_parallel_size 2 x pipeline_parallel_size 2 uses 4 of 8 GPUs"
        assert (problem.severity, problem.values["reason"]) == (Severity.WARNING, said)

    @pytest.mark.parametrize(
        "values",
        [
            {"gpus": 4, "tensor_parallel_size": 2, "data_parallel_size": 2},
            {"gpus": 4, "tensor_parallel_size": Unknown("${TP}")},
            {"gpus": Unknown("${N}"), "tensor_parallel_size": 2},
            {"gpus": 2},
        ],
    )
    def test_a_grid_that_fits_or_is_not_known_is_silent(self, values: dict[str, Any]) -> None:
        assert not found(Parallelism(), **values)

    def test_pods_that_a_ray_cluster_may_grow_to_are_not_idle(self) -> None:
        values = {"gpus": 4, "tensor_parallel_size": 2}
        assert found(Parallelism(), **values)
        assert not found(Parallelism(), **values, form="ray")
        assert found(Parallelism(), gpus=1, tensor_parallel_size=2, form="ray")


class TestOffload:
    def test_a_fit_that_leans_on_the_host(self) -> None:
        (problem,) = found(Offload(), LARGE, cpu_offload_gb="100")
        assert problem.values["offload"] == 100 << 30
        assert problem.at.line == 8

    def test_offload_that_is_not_needed_or_does_not_help(self) -> None:
        assert not found(Offload(), cpu_offload_gb="10")
        assert not found(Offload(), LARGE, cpu_offload_gb="20")
        assert [item.data["answer"] for item in found(ALL, LARGE, cpu_offload_gb="20")] == ["EXCEEDS"]

    def test_weights_that_device_map_spills_from_several_cards(self) -> None:
        values = {"engine": None, "engine_version": None, "gpu": "l4-24gb", "gpus": 2, "device_map": "auto"}
        (problem,) = found(VramBudget(answers=(Answer.EXCEEDS,)), LARGE, **values)
        assert '"auto" would not fail but place' in problem.values["spill"]
        assert not found(Offload(), LARGE, **values)


class TestShared:
    def pair(self, **values: Any) -> tuple[Deployment, Deployment]:  # noqa: ANN401 - fields of Deployment
        one = {"config": "config.json", "gpu": "h100-sxm5-80gb", "max_model_len": 8192, **values}
        return deployment(2, **one), deployment(20, **one)

    def test_deployments_of_one_card_are_summed(self) -> None:
        alone = [item.proof for item in ALL.find(facts(config(), *self.pair()))]
        shared = [item.proof for item in ALL.find(facts(config(), *self.pair(card="a")))]
        assert all(proof and proof.totals for proof in (*alone, *shared))
        single = alone[0].totals.peak_upper_bytes  # type: ignore[union-attr]
        assert [proof.totals.peak_upper_bytes for proof in shared] == [2 * single, 2 * single]  # type: ignore[union-attr]
        assert "other_deployments" in str(shared[0].ledger)  # type: ignore[union-attr]

    def test_a_neighbour_that_is_not_proved_leaves_nothing_proved(self) -> None:
        one, _ = self.pair(card="a")
        other = deployment(20, config="config.json", gpu="h100-sxm5-80gb", card="a", mode="training", optim="lomo")
        problems = list(ALL.find(facts(config(), one, other)))
        assert [item.data["answer"] for item in problems] == ["UNKNOWN", "UNKNOWN"]
        assert "shares its card" in problems[0].values["reason"]

    def test_processes_are_summed_in_demand_and_in_reservation(self) -> None:
        (one,) = found(ALL, processes_per_gpu=1, gpu_memory_utilization="0.3")
        (three,) = found(ALL, processes_per_gpu=3, gpu_memory_utilization="0.3")
        assert one.proof
        assert three.proof
        assert one.proof.totals
        assert three.proof.totals
        assert three.proof.totals.peak_upper_bytes == 3 * one.proof.totals.peak_upper_bytes
        assert three.proof.totals.peak_lower_bytes == 3 * one.proof.totals.peak_lower_bytes
        assert one.proof.pool
        assert three.proof.pool
        assert three.proof.pool.reserved_bytes == 3 * one.proof.pool.reserved_bytes


class TestAdvisories:
    PINS = (("bitsandbytes", "0.41.1"), ("torch", "2.1.0+cu118"))

    def lines(self, *pins: tuple[str, str], path: str = "requirements.txt") -> list[Requirement]:
        return [
            Requirement(Location(path, number), name, f"=={version}", True, hashed=False, form="requirements")
            for number, (name, version) in enumerate(pins, 1)
        ]

    def reason(self, *found_facts: Any, gpu: str = "h100-sxm5-80gb") -> str | None:  # noqa: ANN401 - any fact
        on = deployment(config="config.json", gpu=gpu, max_model_len=8192)
        (problem,) = ALL.find(facts(config(), on, *found_facts))
        return str(problem.values["reason"]) if problem.data["answer"] == "UNKNOWN" else None

    def test_pinned_lines_that_match_leave_the_peak_unproved(self) -> None:
        reason = self.reason(*self.lines(*self.PINS))
        assert reason
        assert "advisory bitsandbytes-0.41.1-torch-2.1.0-hopper (memory-leak): `requirements.txt` has it" in reason

    def test_a_lock_that_matches_does_too(self) -> None:
        packages = tuple(LockedPackage(Location("poetry.lock", 1), *pin, (), 1) for pin in self.PINS)
        assert "`poetry.lock`" in (self.reason(Lock(Location("poetry.lock"), "poetry", packages)) or "")

    @pytest.mark.parametrize("gpu", ["a100-sxm4-80gb", "l40s-48gb"])
    def test_another_card_is_not_meant(self, gpu: str) -> None:
        assert self.reason(*self.lines(*self.PINS), gpu=gpu) is None

    def test_another_version_file_or_folder_is_not_meant(self) -> None:
        assert self.reason(*self.lines(("bitsandbytes", "0.41.2"), self.PINS[1])) is None
        assert self.reason(*self.lines(self.PINS[0]), *self.lines(self.PINS[1], path="other.txt")) is None
        assert self.reason(*self.lines(*self.PINS, path="elsewhere/requirements.txt")) is None
