"""The smallest changes that pass, as findings name them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from checks.test_serving import LARGE, VLLM
from checks.test_vram import config, deployment, facts

from vramguard.checks.serving import EngineReservation, EngineStarts, Parallelism
from vramguard.checks.vram import VramBudget
from vramguard.memory import Answer

if TYPE_CHECKING:
    from vramguard.checks import Check, Problem

BUDGET = VramBudget(answers=(Answer.EXCEEDS, Answer.UNKNOWN))


def found(check: Check, *others: Any, **values: Any) -> list[Problem]:  # noqa: ANN401 - facts, fields of Deployment
    return list(check.find(facts(*(others or (config(),)), deployment(**{**VLLM, **values}))))


def named(problem: Problem) -> list[tuple[str, Any, Any]]:
    return [(change["field"], change["from"], change["to"]) for change in problem.data["changes"]]


def test_more_cards_for_weights_that_one_cannot_hold() -> None:
    (problem,) = found(BUDGET, LARGE, gpus=1)
    assert named(problem) == [("tensor_parallel_size", 1, 4)]
    assert problem.data["changes"][0]["with"] == [{"field": "gpus", "from": 1, "to": 4}]
    assert "`tensor_parallel_size: 1 -> 4 with gpus: 1 -> 4`" in problem.values["mend"]
    assert not found(BUDGET, LARGE, gpus=4, tensor_parallel_size=4)
    assert found(BUDGET, LARGE, gpus=2, tensor_parallel_size=2)


def test_each_is_an_alternative_and_exact() -> None:
    asked = {"gpu": "a100-sxm4-40gb", "max_model_len": 65536, "concurrency": 4, "gpu_memory_utilization": "0.7"}
    (problem,) = found(BUDGET, **asked)
    changes = {field: (old, new) for field, old, new in named(problem)}
    assert set(changes) == {"max_model_len", "concurrency", "tensor_parallel_size"}
    for field, (old, new) in changes.items():
        step = 1 if new < old else -1
        assert not found(BUDGET, **asked | {field: new})
        assert found(BUDGET, **asked | {field: new + step})


def test_another_card_is_the_last_resort() -> None:
    asked = {"gpu": "a100-sxm4-40gb", "engine": None, "engine_version": None}
    (problem,) = found(BUDGET, LARGE, **asked)
    ((field, old, new),) = named(problem)
    assert (field, old) == ("gpu", "a100-sxm4-40gb")
    assert problem.values["mend"].startswith("No context fits: ")
    assert not found(BUDGET, LARGE, **asked | {"gpu": new})


def test_nothing_is_named_where_another_fact_is_missing() -> None:
    (problem,) = found(BUDGET, gpu="h100-sxm5-80gb", unread=("--some-flag",))
    assert problem.data["changes"] == []
    assert problem.values["change"] == ""


def test_the_share_that_keeps_the_budget_by_the_name_that_the_engine_has_for_it() -> None:
    (problem,) = found(EngineReservation(), engine="sglang", engine_version="0.5.10")
    ((field, _, new),) = named(problem)
    assert field == "gpu_memory_utilization"
    assert f"-> {new}`" in problem.values["mend"]
    assert "`mem_fraction_static: " in problem.values["mend"]
    sglang = {"engine": "sglang", "engine_version": "0.5.10"}
    assert not found(EngineReservation(), **sglang, gpu_memory_utilization=new)
    assert found(EngineReservation(), **sglang, gpu_memory_utilization=f"{float(new) + 0.001:.3f}")


def test_an_engine_that_does_not_start_gets_a_share_a_context_or_cards() -> None:
    asked = {"gpu_memory_utilization": "0.3", "max_model_len": 131072}
    (problem,) = found(EngineStarts(), **asked)
    changes = {field: (old, new) for field, old, new in named(problem)}
    assert set(changes) == {"gpu_memory_utilization", "max_model_len", "tensor_parallel_size"}
    assert not found(EngineStarts(), **asked | {"max_model_len": changes["max_model_len"][1]})
    assert found(EngineStarts(), **asked | {"max_model_len": changes["max_model_len"][1] + 1})
    share = changes["gpu_memory_utilization"][1]
    assert not found(EngineStarts(), **asked | {"gpu_memory_utilization": share})
    assert found(EngineStarts(), **asked | {"gpu_memory_utilization": f"{float(share) - 0.001:.3f}"})


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({"tensor_parallel_size": 3, "gpus": 3}, [("tensor_parallel_size", 3, 2), ("tensor_parallel_size", 3, 4)]),
        ({"tensor_parallel_size": 4, "gpus": 2}, [("gpus", 2, 4), ("tensor_parallel_size", 4, 2)]),
        ({"pipeline_parallel_size": 2, "gpus": 6}, [("gpus", 6, 2)]),
        ({"pipeline_parallel_size": 40, "gpus": 40}, [("pipeline_parallel_size", 40, 32)]),
    ],
)
def test_a_grid_gets_the_nearest_sizes(asked: dict[str, int], changes: list[Any]) -> None:
    (problem, *_) = found(Parallelism(), **asked)
    assert named(problem) == changes
    for (field, _, new), change in zip(named(problem), problem.data["changes"], strict=True):
        beside = {one["field"]: one["to"] for one in change.get("with", ())}
        assert not found(Parallelism(), **asked | {field: new} | beside)


def test_a_shared_card_is_not_planned() -> None:
    one = deployment(**VLLM, card="a")
    problems = list(BUDGET.find(facts(config(), one, replace(one, name="b"), replace(one, name="c"))))
    assert all(problem.data["changes"] == [] for problem in problems)
