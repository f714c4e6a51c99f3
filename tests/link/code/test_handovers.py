"""What comes from function to function by other hands than a call's: of Airflow, Dagster, Prefect, TensorFlow."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.datasets import data_sources

HEAD = """
import pickle
import pandas as pd
from sklearn.linear_model import LinearRegression

"""
STEPS = """
def load(**context):
    return pickle.dumps(pd.read_csv('p.csv'))

def fit(rows, **context):
    rows = pickle.loads(rows)
    LinearRegression().fit(rows[['a']], rows['b'])

"""
PULLS = """
def load(ti):
    rows = pd.read_csv('p.csv')
    {push}

def fit(ti):
    rows = ti.xcom_pull(task_ids={task}{key})
    LinearRegression().fit(rows[['a']], rows['b'])

"""
TASKS = """
from airflow.operators.python import PythonOperator
first = PythonOperator(task_id='load', python_callable=load)
second = PythonOperator(task_id='fit', python_callable=fit{given})
"""


def trains(text: str) -> bool:
    """Whether the one read trains."""
    return [one.trains for one in data_sources(facts({"app.py": HEAD + text}))] == ["LinearRegression.fit"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (", op_args=[first.output]", True),
        (", op_kwargs={'rows': first.output}", True),
        (", op_kwargs={'other': first.output}", False),
        ("", False),
    ],
)
def test_arguments_of_a_task(given: str, found: bool) -> None:  # noqa: FBT001
    assert trains(STEPS + TASKS.format(given=given)) is found


@pytest.mark.parametrize(
    ("push", "task", "key", "found"),
    [
        ("return rows", "'load'", "", True),
        ("return rows", "['load']", ", key='return_value'", True),
        ("return rows", "'other'", "", False),
        ("ti.xcom_push(key='rows', value=rows)", "'load'", ", key='rows'", True),
        ("ti.xcom_push(key='rows', value=rows)", "'load'", ", key='size'", False),
        ("ti.xcom_push(key='size', value=len(rows))", "'load'", ", key='size'", False),
    ],
)
def test_what_tasks_leave(push: str, task: str, key: str, found: bool) -> None:  # noqa: FBT001
    assert trains(PULLS.format(push=push, task=task, key=key) + TASKS.format(given="")) is found


@pytest.mark.parametrize(
    ("decorator", "parameter", "found"),
    [
        ("@dg.asset", "rows", True),
        ("@dg.asset(name='table')", "table", True),
        ("@dg.asset(name='table')", "rows", False),
        ("@dg.op", "rows", False),
    ],
)
def test_assets_go_by_the_names_of_parameters(decorator: str, parameter: str, found: bool) -> None:  # noqa: FBT001
    text = f"""
import dagster as dg

{decorator}
def rows():
    return pd.read_csv('p.csv')

@dg.asset
def fitted(context, {parameter}):
    return LinearRegression().fit({parameter}[['a']], {parameter}['b'])
"""
    assert trains(text) is found


@pytest.mark.parametrize("way", ["fit.submit(load.submit())", "fit.remote(rows=load.remote())", "fit(load())"])
def test_what_is_submitted(way: str) -> None:
    assert trains(STEPS + way)


def test_a_function_that_gives_batches() -> None:
    text = """
import tensorflow as tf
rows = pd.read_csv('p.csv')
spec = tf.estimator.TrainSpec(input_fn=lambda: batches(rows), max_steps=9)
tf.estimator.train_and_evaluate(model, spec, None)
"""
    found = data_sources(facts({"app.py": HEAD + text}))
    assert [one.trains for one in found] == ["tensorflow.estimator.train_and_evaluate"]
