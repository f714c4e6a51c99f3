"""Clocks and sensors of orchestrators: where they stand, and what they run that trains."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.triggers import triggers

TRAIN = "from sklearn.linear_model import Ridge\n\n\ndef train():\n    return Ridge().fit(rows(), prices())\n"
OP = """\
import dagster as dg
from fit import train

@dg.op
def learn():
    train()

@dg.job
def weekly():
    learn()

"""
ASSET = """\
import dagster as dg
from fit import train

@dg.asset
def model():
    return train()

@dg.asset
def rows():
    return 1

jobs = dg.define_asset_job("a", {})
"""
EAGER = ASSET.format("'*'").replace("asset\ndef model", "asset(automation_condition={})\ndef model")
DAILY = "dg.ScheduleDefinition(\n    job=jobs,\n    cron_schedule='@daily',\n)"
RULE = "import boto3\nboto3.client('events').put_rule(Name='{}', ScheduleExpression='rate(1 day)')"
KFP = (
    "import kfp\nfrom kfp import dsl\nfrom fit import train\n\n@dsl.component\ndef learn():\n    train()\n\n"
    "@dsl.pipeline\ndef weekly():\n    learn()\n\n"
)
FLOW = (
    "from metaflow import FlowSpec, schedule, step\nfrom fit import train\n\n{}class Weekly(FlowSpec):\n    @step\n"
    "    def start(self):\n        train()\n"
)
FLYTE = "from flytekit import *\nfrom fit import train\n\n@workflow\ndef weekly():\n    train()\n\n"
DAG = (
    "from airflow import DAG\nfrom airflow.operators.python import PythonOperator\nfrom fit import train\n\n{}\n"
    "with DAG(\n    'weekly',\n    description='prices',\n    catchup=False,\n    {}) as dag:\n"
    "    PythonOperator(task_id='a', python_callable=train)\n"
)


def found(text: str) -> list[tuple[str, int, bool]]:
    """The triggers of a program that trains by `train`: kind, line, and whether it is no guess."""
    held = triggers(facts({"fit.py": TRAIN, "jobs.py": text}))
    return [(one.kind, one.at.line, one.sure) for one in held]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OP + "dg.ScheduleDefinition(job=weekly, cron_schedule='0 3 * * 1')", [("clock", 12, True)]),
        (OP + "@dg.schedule(job=weekly, cron_schedule='@daily')\ndef late(c):\n    return {}", [("clock", 12, True)]),
        (OP + "@dg.sensor(job=weekly)\ndef seen(c):\n    yield {}", [("event", 12, True)]),
        (OP + "@dg.sensor(job=other)\ndef seen(c):\n    yield {}", []),
        (ASSET.format("'*'") + DAILY, [("clock", 15, True)]),
        (ASSET.format("['model']") + DAILY, [("clock", 15, True)]),
        (ASSET.format("['rows']") + DAILY, []),
        (EAGER.format("dg.AutomationCondition.eager()"), [("event", 4, True)]),
        (EAGER.format("dg.AutomationCondition.on_cron('@daily')"), [("clock", 4, True)]),
        (EAGER.format("None"), []),
        (KFP + "kfp.Client().create_recurring_run(1, cron_expression='0 0 3 * * *')", [("clock", 13, True)]),
        (
            KFP + "kfp.Client().create_recurring_run_from_pipeline_func(weekly, interval_second=9)",
            [("clock", 13, True)],
        ),
        (KFP + "kfp.Client().create_run_from_pipeline_func(weekly)", []),
        (FLOW.format("@schedule(weekly=True)\n"), [("clock", 4, True)]),
        (FLOW.format(""), []),
        (FLYTE + "LaunchPlan.get_or_create(workflow=weekly, schedule=CronSchedule('@daily'))", [("clock", 8, True)]),
        (FLYTE + "LaunchPlan.get_or_create(workflow=weekly)", []),
        (RULE.format("retrain"), [("clock", 2, False)]),
        (RULE.format("report"), []),
    ],
)
def test_what_an_orchestrator_runs_by_itself(text: str, expected: list[tuple[str, int, bool]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("before", "schedule", "line"), [("", "schedule='@weekly'", 10), ("W = '@weekly'", "schedule=W", 6)]
)
def test_a_graph_is_found_where_it_says_when(before: str, schedule: str, line: int) -> None:
    assert found(DAG.format(before, schedule)) == [("clock", line, True)], "or at its call, where a name says it"


SPEC = (
    "from prefect.deployments import DeploymentSpec\nDeploymentSpec(\n    flow_location={!r},\n    name='a',\n    {})\n"
)
PREFECT = TRAIN + "\nfrom prefect import flow\n\n@flow\ndef weekly():\n    train()\n"


@pytest.mark.parametrize(
    ("where", "when", "count"),
    [("./fit.py", "schedule=every(5)", 1), ("fit.py", "tags=[]", 0), ("other.py", "schedule=every(5)", 0)],
)
def test_a_deployment_of_prefect_that_names_a_file(where: str, when: str, count: int) -> None:
    files = {"flows/deploy.py": SPEC.format(where, when), "flows/fit.py": PREFECT}
    assert [one.kind for one in triggers(facts(files))] == ["clock"] * count


TASKS = (
    "from airflow import DAG\nfrom airflow.decorators import task\nfrom fit import train\n\n"
    "with DAG('nightly', schedule={}) as dag:\n    @task\n    def learn():\n        train()\n    learn()\n"
)


@pytest.mark.parametrize(("schedule", "kinds"), [("'@daily'", ["clock"]), ("None", [])])
def test_tasks_that_stand_in_a_graph(schedule: str, kinds: list[str]) -> None:
    files = {"dags/a.py": TASKS.format(schedule), "fit.py": TRAIN}
    assert [one.kind for one in triggers(facts(files))] == kinds


BRANCH = """
from airflow import DAG
from airflow.operators.python import BranchPythonOperator, PythonOperator
from fit import train
def decide(**context):
    {test} = context["ti"].xcom_pull(key="a")
    if {test}:
        return {answer}
    return "nothing"
dag = DAG("a", schedule=None)
BranchPythonOperator(task_id="decide", python_callable=decide, dag=dag)
PythonOperator(task_id="retrain", python_callable=train, dag=dag)
"""


@pytest.mark.parametrize(
    ("test", "answer", "kinds"),
    [
        ("drift_detected", '"retrain"', ["score"]),
        ("drift_detected", '["report", "retrain"]', ["score"]),
        ("drift_detected", '"report"', []),
        ("force_retrain", '"retrain"', []),
        ("weekend", '"retrain"', []),
    ],
)
def test_a_branch_that_a_score_decides(test: str, answer: str, kinds: list[str]) -> None:
    files = {"dags/a.py": BRANCH.format(test=test, answer=answer), "fit.py": TRAIN}
    assert [one.kind for one in triggers(facts(files))] == kinds
