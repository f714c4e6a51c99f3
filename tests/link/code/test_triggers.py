"""What starts training without a person, and what only looks as if it did."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.triggers import triggers

MODEL = """
import time, schedule, subprocess, click
from sklearn.linear_model import Ridge


def train(rows=None, prices=None):
    Ridge().fit(rows, prices)


def report():
    print("read me")


"""


BEAT = """
from celery import Celery
app = Celery()
@app.task
def learn():
    train()
app.conf.beat_schedule = {"nightly": {"task": "app.learn", "schedule": 3600.0}}
"""
SCALE = """
from sklearn.preprocessing import StandardScaler
def scale(rows):
    StandardScaler().fit(rows)
schedule.every().day.do(scale)
"""
DECIDED = """
def check(rows):
    wanted = False
    if bad(rows):
        wanted = True
    should_retrain = wanted
    if should_retrain:
        train()
"""
SEARCH = """
def search(grid):
    best = 0
    for one in grid:
        accuracy = measure(one)
        if accuracy < best:
            train()
"""


def found(text: str, **others: str) -> list[tuple[str, bool]]:
    """The kinds of the triggers of a program, and whether a person is asked."""
    files = {"app.py": MODEL + text, **{name.replace("__", "/") + ".py": other for name, other in others.items()}}
    return [(one.kind, one.gate is not None) for one in triggers(facts(files))]


@pytest.mark.parametrize(
    "text",
    [
        "schedule.every().day.do(train)",
        "schedule.every(6).hours.do(lambda: train())",
        "from functools import partial\nschedule.every().day.do(partial(train, 1))",
        "@schedule.repeat(schedule.every().day)\ndef nightly():\n    train()",
        "from apscheduler.schedulers.blocking import BlockingScheduler\nBlockingScheduler().add_job(train, 'cron')",
        "from fastapi_utils.tasks import repeat_every\n@repeat_every(seconds=3600)\nasync def again():\n    train()",
        BEAT,
        "from prefect import flow\n@flow\ndef weekly():\n    train()\nweekly.serve(name='weekly', cron='0 2 * * 1')",
        "import modal\napp = modal.App()\n@app.function(schedule=modal.Period(days=1))\ndef daily():\n    train()",
        "from airflow.decorators import dag\n@dag(schedule='@daily')\ndef pipeline():\n    train()",
        "import threading\ndef again():\n    train()\n    threading.Timer(3600, again).start()\n",
    ],
)
def test_a_clock_starts_training(text: str) -> None:
    assert found(text) == [("clock", False)]


@pytest.mark.parametrize(
    "text",
    [
        "schedule.every().day.do(report)",
        "import modal\napp = modal.App()\n@app.function(gpu='A100')\ndef once():\n    train()",
        "from prefect import flow\n@flow\ndef weekly():\n    train()\nweekly.serve(name='weekly')",
        "from airflow.decorators import dag\n@dag(schedule=None)\ndef pipeline():\n    train()",
        "import threading\nthreading.Timer(5, train).start()",
        "import argparse\nargs = argparse.ArgumentParser().parse_args()\nif args.train:\n    train()",
        SCALE,
        "@click.command()\ndef main():\n    train()",
    ],
)
def test_what_a_person_starts_is_no_trigger(text: str) -> None:
    assert found(text) == []


def test_a_loop_that_never_ends() -> None:
    assert found("while True:\n    train()\n    time.sleep(3600)") == [("loop", False)]
    assert found("def retry():\n    while True:\n        train()\n        break\n        time.sleep(1)") == []


@pytest.mark.parametrize(
    "text",
    [
        "def check(sentiment):\n    if sentiment < 0.6:\n        train()",
        "def check(old, new):\n    drift = compare(old, new)\n    if drift.detected:\n        train()",
        "def check(rows):\n    accuracy = measure(rows)\n    if accuracy < 0.9:\n        train()",
        "def check(rows):\n    rmse = measure(rows)\n    if not rmse <= 3.0:\n        train()",
        "def check(rows):\n    if len(rows['new_feedback']) > 100:\n        train()",
        "def check(rows):\n    if not is_drifted(rows):\n        return\n    train()",
        DECIDED,
    ],
)
def test_a_score_starts_training(text: str) -> None:
    assert [kind for kind, _ in found(text)] == ["score"]


@pytest.mark.parametrize(
    "text",
    [
        SEARCH,
        "def check(rows):\n    accuracy = measure(rows)\n    if accuracy > 0.9:\n        train()",
        "def check(args):\n    if args.retrain:\n        train()",
        "import os\ndef model():\n    if not os.path.exists('model.joblib'):\n        train()",
        "class Server:\n    def get(self):\n        if self.model is None:\n            train()",
        "def check(drift):\n    if drift > 0.3:\n        report()",
    ],
)
def test_what_only_looks_like_a_score(text: str) -> None:
    assert found(text) == []


def test_a_clock_that_looks_at_a_score_is_a_weaker_one() -> None:
    text = "def check():\n    if measured_drift() > 1:\n        train()\nschedule.every().day.do(check)"
    assert found(text) == [("score", False), ("clock", False)]
    assert [one.sure for one in triggers(facts({"app.py": MODEL + text}))] == [True, False]


def test_a_score_decides_once_for_all_that_it_starts() -> None:
    text = "def check():\n    if not measured_drift() > 1:\n        return\n    train()\n    train()\n"
    assert found(text) == [("score", False)]


DEPLOY = "def main(cron):\n    subprocess.run(['prefect', 'deploy', 'flows/train.py:nightly', {}])\n"
FLOW = """
from prefect import flow
from sklearn.linear_model import Ridge
@flow
def nightly(rows):
    Ridge().fit(rows)
"""


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        (DEPLOY.format("'--cron', cron"), [("clock", False)]),
        (DEPLOY.format("'--pool', 'p'"), []),
        (DEPLOY.format("'--cron', cron").replace("nightly'", "other'"), []),
        ("subprocess.run('prefect deploy flows/train.py:nightly --interval 60', shell=True)", [("clock", False)]),
    ],
)
def test_a_flow_that_a_command_line_schedules(command: str, kinds: list[tuple[str, bool]]) -> None:
    assert found(command, flows__train=FLOW) == kinds


WAKE = """
import boto3
ec2 = boto3.client("ec2")
def lambda_handler(event, context):
    print("{}")
    ec2.start_instances(InstanceIds=["i-1"])
"""


@pytest.mark.parametrize(("said", "kinds"), [("retraining starts", [("event", False)]), ("hello", [])])
def test_a_machine_that_an_event_wakes_to_train(said: str, kinds: list[tuple[str, bool]]) -> None:
    assert found(WAKE.format(said)) == kinds


def test_a_person_who_is_asked() -> None:
    job = "def nightly():\n    {}\nschedule.every().day.do(nightly)"
    assert found(job.format("if input('train?') == 'y':\n        train()")) == [("clock", True)]
    assert found(job.format("click.confirm('train?', abort=True)\n    train()")) == [("clock", True)]


def test_command_lines() -> None:
    """A script that is run, a module, a name that a caller hands over; a script that does not train is none."""
    job = "def job():\n    subprocess.run({})\nschedule.every().day.do(job)"
    other = "from sklearn.svm import SVC\nSVC().fit(rows(), labels())\n"
    assert found(job.format("['python', 'jobs/fit.py']"), jobs__fit=other) == [("clock", False)]
    assert found(job.format("['python', '-m', 'jobs.fit']"), jobs__fit=other) == [("clock", False)]
    assert found(job.format("'accelerate launch finetune.py'")) == [("clock", False)]
    assert found(job.format("['python', 'jobs/fit.py']"), jobs__fit="print('no')\n") == []
    runner = "def run(name):\n    subprocess.run(['python', name])\n"
    both = "schedule.every().day.do(lambda: run('fit.py'))\nschedule.every().day.do(lambda: run('show.py'))"
    assert found(runner + both, fit=other, show="print('no')\n") == [("clock", False)]


QUEUE = """
class Worker:
    def run(self):
        self.running = True
        while True:
            job = redis_client.rpop("jobs")
            if job:
                self.work(job)
            else:
                time.sleep(10)
    def work(self, job):
        train()
"""


def test_a_worker_that_waits_for_messages_is_set_off_by_these() -> None:
    assert found(QUEUE) == [("event", False)]
    assert found(QUEUE.replace("if job:", "if True:")) == [("loop", False)]


DAGS = """
from airflow import DAG
from airflow.operators.python import PythonOperator
from airflow.operators.trigger_dagrun import TriggerDagRunOperator
from app import train
"""
LAST = DAGS + "with DAG('last', schedule=None) as dag:\n    PythonOperator(task_id='a', python_callable=train)\n"
RUNS = DAGS + "with DAG('{}', schedule={}) as dag:\n    TriggerDagRunOperator(task_id='a', trigger_dag_id='{}')\n"


def test_graphs_of_tasks_that_run_one_another() -> None:
    daily, between = RUNS.format("first", "'@daily'", "between"), RUNS.format("between", None, "last")
    assert found("", dags__first=daily, dags__between=between, dags__last=LAST) == [("clock", False)]
    assert found("", dags__first=daily, dags__between=between) == []
    assert found("", dags__between=between, dags__last=LAST) == []


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("statistics.mean(sentiments) < 0.6", "statistics.mean(sentiments) < 0.6"),
        ("force_train or result['drift_detected']", "force_train or result['drift_detected']"),
        ("not (no_drift := find_drift())", "not no_drift"),
    ],
)
def test_a_score_is_named_as_it_was(condition: str, said: str) -> None:
    text = f"import statistics\ndef check(sentiments, result, force_train=False):\n    if {condition}:\n        train()"
    assert [one.what for one in triggers(facts({"app.py": MODEL + text}))] == [said]


def test_the_score_is_named_rather_than_the_bookkeeping() -> None:
    text = """
def check(report):
    if not report.drift_detected:
        return
    already_retrained = look(report)
    if already_retrained:
        return
    train()
"""
    assert [one.what for one in triggers(facts({"app.py": MODEL + text}))] == ["report.drift_detected"]


def test_a_launcher_of_training_is_training() -> None:
    assert found("def check(drift):\n    if drift.score > 0.3:\n        subprocess.run(['torchrun', 'x.py'])") == [
        ("score", False)
    ]


def test_handlers() -> None:
    """Of what users send: a trigger. Of a person who asks for training: none."""
    head = "from fastapi import FastAPI\napp = FastAPI()\n"
    assert found(head + "@app.post('/feedback')\ndef feedback(text: str):\n    train()") == [("event", False)]
    assert found(head + "@app.post('/train')\ndef start():\n    train()") == []


def test_the_way_is_told_step_by_step() -> None:
    (one,) = triggers(facts({"app.py": MODEL + "def nightly():\n    train()\nschedule.every().day.do(nightly)"}))
    assert one.at.line == 16
    assert [(step.at.line, step.what) for step in one.steps] == [
        (16, "`schedule.every.day.do` runs it"),
        (15, "`train(…)` runs `train`"),
        (7, "`Ridge.fit(…)` trains"),
    ]


RUNS_ONE = """
import requests
def run_dag(name, conf):
    return requests.post(f"http://airflow/api/v1/dags/{name}/dagRuns", json=conf)
def check(drift):
    if "error" in drift:
        return
    should_retrain = decide(drift)
    if should_retrain:
        run_dag("prices_training", {})
    else:
        run_dag("prices_report", {})
"""


def test_a_function_that_is_told_which_graph_to_run() -> None:
    (found,) = triggers(facts({"app.py": RUNS_ONE}))
    assert (found.kind, found.what, found.at.line) == ("score", "should_retrain", 10)
