"""What counts as a read of data: by what is called, by what is said, and by whom a function is told."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.datasets import data_sources
from vramguard.link.code.latest import latest_data

HEAD = """
import json, pickle
import boto3, numpy as np, openai, pandas as pd, pymongo, torch, yfinance
from flask_sqlalchemy import SQLAlchemy
from pydantic import BaseModel
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.linear_model import LinearRegression

"""
FIT = "LinearRegression().fit(rows[['a']], rows['b'])\n"


def found(text: str) -> list[tuple[int, str, str]]:
    """The reads that train: the line below the head, what is called, and of what."""
    lines = HEAD.count("\n")
    return [(one.at.line - lines, one.call, one.of) for one in data_sources(facts({"app.py": HEAD + text}))]


@pytest.mark.parametrize(
    ("read", "call"),
    [
        ("np.load('data/x_train.npy')", "numpy.load"),
        ("torch.load(f'data/{name}/train.pt')", "torch.load"),
        ("yfinance.download('SPY')", "yfinance.download"),
        ("np.load('weights/w.npy')", ""),
        ("np.load('data/embeddings.npy')", ""),
        ("np.load('data/train_mean.npy')", ""),
        ("torch.load('data/model.pt')", ""),
    ],
)
def test_arrays_and_services(read: str, call: str) -> None:
    assert [one for _, one, _ in found(f"rows = {read}\n{FIT}")] == ([call] if call else [])


def test_rows_of_a_model_of_a_database() -> None:
    text = f"""db = SQLAlchemy()
class Sale(db.Model):
    price = db.Column(db.Float)
rows = pd.DataFrame([{{'a': one.price, 'b': 1}} for one in Sale.query.order_by(Sale.price).all()])
{FIT}"""
    assert [line for line, _, _ in found(text)] == [4]


def test_rows_of_a_cursor_are_where_it_is_asked() -> None:
    text = f"""import sqlite3
cursor = sqlite3.connect('s.db').cursor()
cursor.execute('sales of the year')


rows = cursor.fetchmany(9)
{FIT}"""
    assert found(text) == [(3, "cursor.fetchmany", "sales of the year")]


@pytest.mark.parametrize(
    ("first", "second", "lines"),
    [("train_data.pkl", "model.pkl", [4]), ("scaler.pkl", "model.pkl", []), ("train.pkl", "test_data.pkl", [4])],
)
def test_a_function_that_reads_what_it_is_told(first: str, second: str, lines: list[int]) -> None:
    text = f"""def load_object(path):
    with open(path, 'rb') as file:
        return pickle.load(file)
rows = load_object('{first}')
other = load_object('{second}')
{FIT}"""
    assert [line for line, _, _ in found(text)] == lines


def test_of_a_database_the_question_that_trains_is_named() -> None:
    text = f"""class Store:
    def find(self, query):
        return pymongo.MongoClient().shop.sales.find(query)
def show():
    return Store().find({{'sold': True}})
rows = Store().find({{'kind': 'train'}})
{FIT}"""
    assert [line for line, _, _ in found(text)] == [6]
    both = text.replace("    return Store()", "    rows = Store()").replace(
        "rows = Store().find({'kind'", f"    {FIT}rows = Store().find({{'kind'"
    )
    assert [line for line, _, _ in found(both)] == [3]


@pytest.mark.parametrize(("parse", "count"), [("json.loads(one)", 1), ("one.strip()", 0)])
def test_lines_of_json(parse: str, count: int) -> None:
    text = f"with open('data/train.jsonl') as file:\n    rows = pd.DataFrame([{parse} for one in file])\n{FIT}"
    assert len(found(text)) == count


@pytest.mark.parametrize(
    ("purpose", "end", "trains"),
    [
        (
            "fine-tune",
            "client.fine_tuning.jobs.create(training_file=file.id, model='m')",
            "client.fine_tuning.jobs.create",
        ),
        ("fine-tune", "print(file.id)", "client.files.create"),
        ("assistants", "client.fine_tuning.jobs.create(training_file=file.id, model='m')", ""),
    ],
)
def test_what_is_handed_to_who_trains(purpose: str, end: str, trains: str) -> None:
    text = f"""client = openai.OpenAI()
file = client.files.create(file=open('chats.jsonl', 'rb'), purpose='{purpose}')
{end}
"""
    got = [(one.of, one.trains) for one in data_sources(facts({"app.py": HEAD + text + FIT.replace("rows", "[1]")}))]
    assert got == ([("chats.jsonl", trains)] if trains else [])


@pytest.mark.parametrize(("model", "count"), [("TransformedTargetRegressor()", 1), ("ColumnTransformer([])", 0)])
def test_what_wraps_a_model_learns(model: str, count: int) -> None:
    assert len(found(f"rows = pd.read_csv('p.csv')\nthing = {model}\nthing.fit(rows[['a']], rows['b'])\n")) == count


def test_what_an_answer_is_made_of_validates_nothing() -> None:
    text = f"""class {{}}(BaseModel):
    a: float
def load():
    return pd.read_csv('p.csv')
def answer():
    return {{}}(a=load()['a'])
rows = load()
{FIT}"""
    validated = [
        data_sources(facts({"app.py": HEAD + text.format(name, name)}))[0].validated
        for name in ("PriceResponse", "Row")
    ]
    assert validated == [False, True]


@pytest.mark.parametrize(
    ("back", "taken", "count"),
    [
        ("return rows, size", "rows, size", 1),
        ("return rows, size", "size, rows", 0),
        ("return rows.values, rows['b']", "size, rows", 1),
    ],
)
def test_places_in_tuples(back: str, taken: str, count: int) -> None:
    text = f"def load():\n    rows = pd.read_csv('p.csv')\n    size = 3\n    {back}\n{taken} = load()\n"
    assert len(found(f"{text}LinearRegression().fit(rows, 1)\n")) == count


def test_sizes_are_no_data() -> None:
    text = "sizes = pd.read_csv('history.csv')\nLinearRegression().fit(rows(batch_size=sizes['size'][0]), 1)\n"
    assert found(text) == []


def test_what_a_layer_keeps_is_not_what_trains() -> None:
    text = """class Norm(torch.nn.Module):
    def forward(self, x):
        {}
        return x - self.mean
norm = Norm()
def answer():
    return norm(pd.read_csv('asked.csv'))
def train(batch):
    loss = norm(batch)
    loss.backward()
"""
    assert found(text.format("self.mean = x.mean()")) == []


@pytest.mark.parametrize(
    ("key", "read", "count"),
    [
        ("features/latest_features.csv", "path", 1),
        ("features/latest/features.csv", "path", 1),
        ("features/2026-11-02/features.csv", "path", 0),
        ("models/latest_model.h5", "path", 0),
        ("features/latest_features.csv", "'other.csv'", 0),
    ],
)
def test_downloads_of_what_changes(key: str, read: str, count: int) -> None:
    text = f"""def train(path):
    boto3.client('s3').download_file('shop', '{key}', path)
    rows = pd.read_csv({read})
    {FIT}"""
    got = [(one.call.rpartition(".")[2], one.latest) for one in latest_data(facts({"app.py": HEAD + text}))]
    assert got == [("download_file", key)] * count
