"""Promotions, and comparators that let through what is not better."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.commits import pushed
from vramguard.link.code.comparators import comparators
from vramguard.link.code.promotions import promotions

HEAD = """
import boto3, shutil
from mlflow import MlflowClient
from sklearn.linear_model import Ridge

client = MlflowClient()


def train():
    return Ridge().fit(rows, prices)


def promote(version):
    client.set_registered_model_alias("prices", "champion", version)


"""


def by(text: str) -> list[str]:
    return [one.by for one in promotions(facts({"app.py": HEAD + text}))]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("def run():\n    promote(train())", ["chain"]),
        ("def run():\n    promote(1)", [""]),
        ("def run():\n    promote(1)\n    train()", [""]),
        ("def run(args):\n    if args.mode == 'train':\n        train()\n    else:\n        promote(1)", [""]),
        ("def run(args):\n    train()\n    if args.promote:\n        promote(1)", [""]),
        ("def run(args):\n    if args.go:\n        train()\n        promote(1)", ["chain"]),
    ],
)
def test_how_a_promotion_comes_to_run(text: str, how: list[str]) -> None:
    assert by(text) == how


@pytest.mark.parametrize(
    ("call", "count"),
    [
        ("client.set_registered_model_alias('a', 'candidate', 1)", 0),
        ("client.transition_model_version_stage('a', 1, 'Production')", 1),
        ("client.transition_model_version_stage('a', 1, stage='Staging')", 0),
        ("boto3.client('sagemaker').update_model_package(ModelPackageArn=a, ModelApprovalStatus='Approved')", 1),
        ("boto3.client('sagemaker').update_model_package(ModelPackageArn=a, ModelApprovalStatus='Rejected')", 0),
        ("model.push_to_hub('me/model')", 1),
        ("model.push_to_hub('me/model', create_pr=True)", 0),
        ("boto3.client('s3').upload_file('model.pt', 'shop-production', 'model.pt')", 1),
        ("boto3.client('s3').upload_file('model.pt', 'shop-candidates', 'model.pt')", 0),
        ("boto3.client('s3').upload_file('model.pt', 'shop', 'models/latest/model.pt')", 1),
        ("boto3.client('s3').upload_file('model.pt', 'shop', 'checkpoints/latest.pt')", 0),
        ("boto3.client('s3').upload_file('report.html', 'shop-production', 'index.html')", 0),
        ("shutil.copy('model.pt', '/srv/production/model.pt')", 1),
    ],
)
def test_what_is_a_promotion(call: str, count: int) -> None:
    found = promotions(facts({"app.py": HEAD + f"def run():\n    model = train()\n    {call}"}))
    assert len([one for one in found if one.by]) == count


def test_the_way_back_is_no_promotion() -> None:
    text = "def {name}():\n    train()\n    client.set_registered_model_alias('a', 'champion', 1)"
    assert by(text.format(name="run")) == ["", "chain"]
    assert by(text.format(name="rollback")) == [""]


def test_a_parameter_that_turns_it_on() -> None:
    save = "def save(model, push=False):\n    if push:\n        model.push_to_hub('me/model')\n"
    assert by(save + "def run():\n    save(train(), push=True)").count("chain") == 1
    assert by(save + "def run(args):\n    save(train(), push=args.push)").count("chain") == 0
    assert by(save + "def run():\n    save(train())").count("chain") == 0


BETTER = """
def better(new, old_score):
    return new.score >= old_score
def run(new, old):
    if better(new, old):
        promote(1)
"""
BRANCH = "git checkout -b new && git add models/ && git push origin new && gh pr create"


def faults(text: str) -> list[tuple[str, ...]]:
    return [one.faults for one in comparators(facts({"app.py": HEAD + text}))]


LOOKUP = """
def run(new):
    try:
        champion = client.get_run(client.get_model_version_by_alias("prices", "champion").run_id).data.metrics["loss"]
    except Exception:
"""
TRIED = """
def run(new):
    try:
        old = load_champion()
        if new.loss < old.loss:
            promote(1)
"""
STAGED = """
def run(new):
    prod_models = client.search_model_versions("prices")
    if not prod_models:
        stage = "{}"
    else:
        stage = "{}"
    client.transition_model_version_stage("prices", 1, stage=stage)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def run(new, production_score):\n    if new.accuracy > production_score:\n        promote(1)", []),
        ("def run(new, production_score):\n    if new.accuracy >= production_score:\n        promote(1)", [("equal",)]),
        (
            "def run(new, production_score):\n    if not new.accuracy < production_score:\n        promote(1)",
            [("equal", "nan")],
        ),
        (
            "def run(new, production_score):\n    if new.accuracy <= production_score:\n        return\n    promote(1)",
            [("nan",)],
        ),
        ("def run(new, champion):\n    if champion is None:\n        promote(1)", [("absent",)]),
        (
            "def run(new, champion):\n    if champion is None or new.score > champion.score:\n        promote(1)",
            [("absent",)],
        ),
        (
            "def run(new, champion):\n    if champion is not None and new.score > champion.score:\n        promote(1)",
            [],
        ),
        (
            "def run(new):\n    try:\n        score = load_champion()\n    except KeyError:\n        promote(1)",
            [("absent",)],
        ),
        (
            "def run(new):\n    try:\n        score = load_champion()\n    except Exception:\n        promote(1)",
            [("error",)],
        ),
        (f"{LOOKUP}        champion = float('inf')\n    if new.loss < champion:\n        promote(1)", [("error",)]),
        (f"{LOOKUP}        raise\n    if new.loss < champion:\n        promote(1)", []),
        (f"{LOOKUP}        champion = 0.2\n    if new.loss < champion:\n        promote(1)", []),
        (
            f"{TRIED}    except LookupError:\n        promote(1)",
            [("absent",)],
        ),
        (STAGED.format("Production", "Staging"), [("absent",)]),
        (STAGED.format("Staging", "Archived"), []),
        (STAGED.format("Staging", "None"), []),
        ("def run(new):\n    if new.accuracy > 0.9:\n        promote(1)", []),
        (BETTER, [("equal",)]),
    ],
)
def test_what_a_comparator_lets_through(text: str, expected: list[tuple[str, ...]]) -> None:
    assert faults(text) == expected


ASKED = """
def is_better(new, old):
    if old is None:
        return True
    return new < old
def run(new):
    better = is_better(new, look_up("prices"))
    if not better:
        return
    promote(1)
"""


def test_a_function_that_is_asked_before_a_return_decides() -> None:
    assert faults(ASKED) == [("absent",)]


def test_equal_to_what_is_required_is_enough_and_nan_is_not() -> None:
    text = "def run(production, min_auc):\n    if production.auc < min_auc:\n        raise ValueError\n    promote(1)"
    assert faults(text) == [("nan",)]


def test_a_graph_of_tasks_that_trains_and_promotes() -> None:
    text = """
from airflow import DAG
from airflow.operators.python import PythonOperator
with DAG("prices", schedule=None) as dag:
    PythonOperator(task_id="train", python_callable=train)
    PythonOperator(task_id="promote", python_callable=promote)
"""
    assert by(text) == ["chain"]


def test_an_alias_of_wandb() -> None:
    text = """
import wandb
def run():
    train()
    artifact = wandb.Api().artifact("prices:staging")
    artifact.aliases.append("production")
    artifact.save()
"""
    assert sorted(by(text)) == ["", "chain"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("import subprocess\nsubprocess.getoutput('git add models/ && git commit -m new && git push')", 1),
        ("import subprocess\nsubprocess.getoutput('git add docs/ && git commit -m new && git push')", 0),
        (f"import subprocess\nsubprocess.getoutput('{BRANCH}')", 0),
        (
            "import git\nrepo = git.Repo()\nrepo.git.add('data/a.csv')\nrepo.git.commit('-m', 'new')\nrepo.git.push()",
            1,
        ),
        ("import subprocess\nsubprocess.getoutput('git pull')", 0),
    ],
)
def test_a_job_that_pushes(text: str, count: int) -> None:
    assert len(pushed(facts({"app.py": text}))) == count


DECIDE = """
def decide(new):
    try:
        old = client.get_model_version_by_alias("prices", "champion")
    except {}:
        return {}
    if new > old.score:
        return "champion", "better"
    return "challenger", "worse"

def run():
    new = train()
    alias, why = decide(new)
    client.set_registered_model_alias("prices", alias, 1)
"""


@pytest.mark.parametrize(
    ("caught", "answer", "chains", "expected"),
    [
        ("LookupError", "'champion', 'none there'", ["", "chain"], [("absent",)]),
        ("Exception", "'champion', 'failed'", ["", "chain"], [("error",)]),
        ("Exception", "'challenger', 'failed'", ["", "chain"], []),
        ("Exception", "None", ["", "chain"], []),
    ],
)
def test_an_alias_that_a_function_answers(
    caught: str, answer: str, chains: list[str], expected: list[tuple[str, ...]]
) -> None:
    text = DECIDE.format(caught, answer)
    assert by(text) == chains
    assert [one.faults for one in comparators(facts({"app.py": HEAD + text}))] == expected


def test_an_alias_that_is_never_the_one_in_use() -> None:
    assert by(DECIDE.format("Exception", "None").replace("champion", "canary")) == [""]


SETTINGS = """
from sagemaker.workflow.parameters import ParameterString
status = ParameterString(name="ModelApproval", default_value="{}")
"""
REGISTERED = """
from sagemaker import PipelineModel
from sagemaker.sklearn.estimator import SKLearn
from settings import *


def run():
    SKLearn(role=1).fit(rows)
    return PipelineModel(models=[]).register(approval_status=status)
"""


@pytest.mark.parametrize(("default", "how"), [("Approved", ["chain"]), ("PendingManualApproval", [])])
def test_an_approval_that_is_a_parameter_of_a_pipeline_elsewhere(default: str, how: list[str]) -> None:
    files = {
        "settings/__init__.py": "from .pipeline import *\n",
        "settings/pipeline.py": SETTINGS.format(default),
        "app.py": REGISTERED,
    }
    assert [one.by for one in promotions(facts(files)) if one.kind == "approval"] == how


REGISTERS = (
    "import mlflow\nfrom sklearn.linear_model import Ridge\nmodel = Ridge().fit(rows, prices)\n"
    "mlflow.sklearn.log_model(model, 'model', registered_model_name={})\n"
)


@pytest.mark.parametrize(
    ("name", "loaded", "kinds"),
    [
        ("'prices'", "models:/prices/latest", ["register"]),
        ("'prices'", "models:/prices/3", []),
        ("'other'", "models:/prices/latest", []),
        ("config.name", "models:/prices/latest", []),
    ],
)
def test_a_version_that_is_loaded_as_the_latest(name: str, loaded: str, kinds: list[str]) -> None:
    serve = f"import mlflow\nmodel = mlflow.pyfunc.load_model({loaded!r})\n"
    found = promotions(facts({"train.py": REGISTERS.format(name), "serve.py": serve}))
    assert [one.kind for one in found if one.by] == kinds


SENDS = """
from google.cloud import storage
from transformers import Trainer
def main(bucket, name):
    trainer = Trainer(model=model)
    trainer.train()
    trainer.save_model("out")
    storage.Client().bucket(bucket).blob(name).upload_from_filename("out/{}")
"""
FETCHES = (
    "import joblib\nfrom google.cloud import storage\n"
    "storage.Client().bucket('a').blob('b').download_to_filename('model.pkl')\nmodel = joblib.load('model.pkl')\n"
)


@pytest.mark.parametrize(
    ("file", "serve", "kinds"), [("a", FETCHES, ["replace"]), ("a", "", []), ("logs/a", FETCHES, [])]
)
def test_weights_that_go_where_others_fetch_them(file: str, serve: str, kinds: list[str]) -> None:
    found = promotions(facts({"train.py": SENDS.format(file), "serve.py": serve}))
    assert [one.kind for one in found if one.by] == kinds


def test_a_server_that_loads_its_model_again_right_after_training() -> None:
    text = "import joblib\ndef reload_model():\n    return joblib.load('m')\n"
    after = "def run():\n    train()\n    reload_model()\n"
    assert [one.kind for one in promotions(facts({"app.py": HEAD + text + after})) if one.by] == ["reload"]
    alone = "def run():\n    reload_model()\n"
    assert not [one for one in promotions(facts({"app.py": HEAD + text + alone})) if one.by]


JUDGE = """
def decide_promotion(new, champion):
    if champion is None:
        return {}
    if new.score > champion.score:
        return Decision(promote=True)
    return Decision(promote=False)
"""


@pytest.mark.parametrize(
    ("answer", "faults"),
    [
        ("Decision(promote=True, reason='first')", [("absent",)]),
        ("{'promote': True}", [("absent",)]),
        ("(True, 'first')", [("absent",)]),
        ("Decision(promote=False)", []),
    ],
)
def test_a_function_that_is_named_for_promoting(answer: str, faults: list[tuple[str, ...]]) -> None:
    text = JUDGE.replace("{}", answer)
    assert [one.faults for one in comparators(facts({"app.py": text + "model.predict(1)\n"}))] == faults
