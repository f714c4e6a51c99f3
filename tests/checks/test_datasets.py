"""How much a finding on training data weighs, and what it says."""

from __future__ import annotations

import pytest
from judged import problems

from vramguard.checks import Severity
from vramguard.checks.datasets import UncheckedWebData, UnvalidatedTrainingData

TRAIN = """
import joblib
import pandas as pd
from sklearn.linear_model import LinearRegression

def train():
    rows = pd.read_csv("prices.csv")
    others = pd.read_csv("stock.csv")
    model = LinearRegression().fit(rows.merge(others), rows["price"])
"""
SAVED = TRAIN + '    joblib.dump(model, "pricing.joblib")\n'
FETCH = """
import requests

def scrape(url):
    with open("data/pages.txt", "w") as file:
        file.write({})
"""


@pytest.mark.parametrize(
    ("path", "text", "severity"),
    [
        ("serving/train.py", SAVED, None),
        ("training/train.py", SAVED, None),
        ("serving/train.py", TRAIN, Severity.WARNING),
        ("example/train.py", SAVED, Severity.WARNING),
        ("docs/train.py", SAVED, Severity.WARNING),
    ],
)
def test_training_weighs_by_what_it_keeps(path: str, text: str, severity: Severity | None) -> None:
    (found,) = problems(UnvalidatedTrainingData(), {path: text})
    assert found.severity is severity
    assert found.values["of"] == " (prices.csv)"
    assert found.values["more"] == " and 1 more of `train`"
    assert [link.at.line for link in found.evidence] == [7, 9]


def test_tests_are_not_judged() -> None:
    assert problems(UnvalidatedTrainingData(), {"test/train.py": SAVED}) == []


@pytest.mark.parametrize(
    ("given", "severity"),
    [("requests.get(url).text", None), ("requests.get(url).json()['pages']", Severity.WARNING)],
)
def test_a_page_weighs_more_than_a_key_that_must_be_there(given: str, severity: Severity | None) -> None:
    (found,) = problems(UncheckedWebData(), {"scrape.py": FETCH.format(given)})
    assert found.severity is severity
    assert found.values["checks"] == "`ok` or `raise_for_status` or `status_code`"
