"""Which of what leads to training and to use is a problem, and how much it weighs."""

from __future__ import annotations

from programs import facts

from vramguard.checks import Severity
from vramguard.checks.retraining import AutonomousTraining, AutoPromotion, PromotionFailsOpen, WeightsWithoutDigest

NIGHTLY = """
import schedule
from sklearn.svm import SVC


def train():
    SVC().fit(rows, labels)


schedule.every().day.do(train)
"""
PUSH = """
from sklearn.svm import SVC


def run(model, tokenizer):
    SVC().fit(rows, labels)
    model.push_to_hub("a")
    tokenizer.push_to_hub("a")
"""
BY_NAME = """
import schedule, subprocess


def job():
    subprocess.run(["python", "train.py"])


schedule.every().day.do(job)
"""
EQUAL = """
import mlflow


def run(new, production_score):
    if new.score >= production_score:
        mlflow.MlflowClient().set_registered_model_alias("a", "champion", 1)
"""
SAFE = """
import urllib.request
from safetensors.torch import load_file

urllib.request.urlretrieve(url, "model.safetensors")
load_file("model.safetensors")
"""


def test_an_example_is_a_warning_and_a_test_is_nothing() -> None:
    weights = {
        path: [one.severity for one in AutonomousTraining().find(facts({path: NIGHTLY}))]
        for path in ("app.py", "examples/app.py", "tests/test_app.py")
    }
    assert weights == {"app.py": [None], "examples/app.py": [Severity.WARNING], "tests/test_app.py": []}


def test_kinds_are_told_apart() -> None:
    assert not list(AutonomousTraining(kinds=("event", "score")).find(facts({"app.py": NIGHTLY})))


def test_what_names_alone_say_is_a_warning() -> None:
    assert [one.severity for one in AutonomousTraining().find(facts({"app.py": BY_NAME}))] == [Severity.WARNING]


def test_weights_and_tokenizer_are_one_push() -> None:
    (one,) = AutoPromotion().find(facts({"app.py": PUSH}))
    assert (one.at.line, one.severity) == (7, Severity.WARNING)
    assert not list(AutoPromotion(kinds=("alias",)).find(facts({"app.py": PUSH})))


def test_faults_are_a_parameter() -> None:
    (one,) = PromotionFailsOpen().find(facts({"app.py": EQUAL}))
    assert one.at.line == 6
    assert one.values["when"] == "both are equal"
    assert not list(PromotionFailsOpen(faults=("nan",)).find(facts({"app.py": EQUAL})))


def test_a_format_that_runs_nothing_is_a_warning() -> None:
    assert [one.severity for one in WeightsWithoutDigest().find(facts({"app.py": SAFE}))] == [Severity.WARNING]
