"""Graphs of Airflow whose containers train and deploy by what they are called."""

from __future__ import annotations

import pytest
from routed import routed
from timed import within

from vramguard.checks.pipelines import PipelinePromotion, PipelineRetraining

HEAD = """\
from airflow import DAG
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator

with DAG(dag_id="prices", {schedule}) as dag:
"""
POD = '    {name} = KubernetesPodOperator(task_id="{task}", image="registry/prices:1.4.0")\n'
ASK = '    ask = ApprovalOperator(task_id="ask", subject="Is it to serve?")\n'
TRAIN, DEPLOY = POD.format(name="one", task="train_model"), POD.format(name="two", task="deploy_model")
CHECK = POD.format(name="ask", task="score_model")
WEEKLY = 'schedule="@weekly"'


def lines(*parts: str, schedule: str = WEEKLY) -> tuple[list[int], list[int]]:
    """The lines of a graph where training starts by itself, and those of what is promoted by itself."""
    facts = routed({"dags/prices.py": HEAD.format(schedule=schedule) + "".join(parts)})
    found = (PipelineRetraining(kinds=("clock", "event")), PipelinePromotion())
    starts, brings = ([one.at.line for one in check.find(facts)] for check in found)
    return starts, brings


@pytest.mark.parametrize("order", ["one >> ask >> two", "one >> [ask, two]", "two << one", "ask >> one >> two"])
def test_containers_that_train_and_then_deploy(order: str) -> None:
    assert lines(TRAIN, DEPLOY, CHECK, f"    {order}\n") == ([5], [7])


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((TRAIN, ASK, DEPLOY, "    one >> ask >> two\n"), "somebody is asked"),
        ((TRAIN, DEPLOY), "nobody says that one comes after the other"),
        ((TRAIN, DEPLOY, "    two >> one\n"), "it deploys first"),
        ((TRAIN, CHECK, "    one >> ask\n"), "nothing has the result loaded"),
        ((TRAIN, POD.format(name="two", task="deploy_dashboard"), "    one >> two\n"), "a page beside the model"),
        ((TRAIN, POD.format(name="two", task="rollback_deployment"), "    one >> two\n"), "the way back"),
        ((POD.format(name="one", task="prepare_training_data"), DEPLOY, "    one >> two\n"), "data for training"),
    ],
)
def test_what_only_looks_like_it(parts: tuple[str, ...], why: str) -> None:
    assert lines(*parts) == ([], []), why


@pytest.mark.parametrize("schedule", ["schedule=None", 'schedule="@once"', "catchup=False"])
def test_without_a_clock_only_the_promotion_counts(schedule: str) -> None:
    assert lines(TRAIN, DEPLOY, "    one >> two\n", schedule=schedule) == ([], [7])


def test_a_long_order_ends_in_time() -> None:
    order = "".join("    one >> [" + ", ".join(["two"] * 200) + "]\n" for _ in range(300))
    with within(8):
        lines(TRAIN, DEPLOY, order)
