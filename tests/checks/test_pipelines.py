"""Demand 5 in pipelines: what starts training, who is asked, and what looks like a violation and is none."""

from __future__ import annotations

import pytest
from routed import routed

from vramguard.checks import Check, Problem, Severity
from vramguard.checks.pipelines import (
    AutomergedModels,
    GateThatDoesNotBlock,
    MovingWeights,
    PipelineCommits,
    PipelinePromotion,
    PipelineRetraining,
    UnownedModels,
    UnprotectedDeployJob,
)
from vramguard.facts import Protection
from vramguard.source import Location

FLOW = ".github/workflows/flow.yml"
TRAIN = "from sklearn.linear_model import Ridge\n\nRidge().fit(load_rows(), load_prices())\n"
PROMOTE = """\
import os

from mlflow import MlflowClient

MlflowClient().set_registered_model_alias("prices", os.environ["ALIAS"], os.environ["VERSION"])
"""
SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: price}
spec:
  predictor:
    model:
      modelFormat: {name: sklearn}
      storageUri: %s
"""
BOTH = PipelineRetraining(kinds=("clock", "event"))


def flow(on: str, jobs: str, name: str = "flow") -> str:
    """A workflow by its triggers and its jobs."""
    return f"name: {name}\non:\n{_moved(on, 2)}jobs:\n{_moved(jobs, 2)}"


def _moved(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in text.splitlines())


def job(name: str, *runs: str, more: str = "") -> str:
    """A job of commands, with further keys."""
    steps = "".join(f"    - run: |\n{_moved(run, 8)}" for run in runs)
    return f"{name}:\n  runs-on: ubuntu-latest\n{_moved(more, 2)}  steps:\n{steps}"


def found(check: Check, files: dict[str, str] | str, *more: Protection) -> list[Problem]:
    """What a check finds in files, or in one workflow beside a script that trains and one that promotes."""
    if isinstance(files, str):
        files = {FLOW: files, "train.py": TRAIN, "promote.py": PROMOTE, "deploy/price.yaml": SERVICE % "s3://m/v7"}
    return list(check.find(routed(files).adding(more)))


def lines(check: Check, files: dict[str, str] | str) -> list[int]:
    """The lines of what a check finds."""
    return sorted(problem.at.line for problem in found(check, files))


CLOCK = 'schedule:\n  - cron: "0 3 * * 1"'
HAND = "workflow_dispatch:"
PUSH = "push:\n  branches: [main]"
UPLOAD = "aws s3 cp model.joblib s3://shop-prod/models/"


# --- VG501, VG502


@pytest.mark.parametrize(
    ("on", "jobs", "expected"),
    [
        (CLOCK, job("retrain", "python train.py", UPLOAD), [4]),
        (CLOCK, job("retrain", "cd . && uv run python -u train.py --epochs 3", UPLOAD), [4]),
        (f"{HAND}\n{CLOCK}", job("retrain", "python train.py", UPLOAD), [5]),
        (CLOCK, job("retrain", "python train.py", "dvc push"), [4]),
        (CLOCK, job("retrain", "python - <<'PY'\nmodel.fit(rows, prices)\nPY", UPLOAD), [4]),
        ("repository_dispatch:\n  types: [drift]", job("retrain", "python train.py", UPLOAD), [3]),
        ('push:\n  paths: ["data/**"]', job("retrain", "python train.py", UPLOAD), [4]),
        ("workflow_run:\n  workflows: [ci]", job("retrain", "python train.py", UPLOAD), [3]),
        # a person starts it
        (HAND, job("retrain", "python train.py", UPLOAD), []),
        # a push is looked at before it is merged
        (PUSH, job("retrain", "python train.py", UPLOAD), []),
        # what is made dies with the runner
        (CLOCK, job("retrain", "python train.py"), []),
        # nothing is trained: tests, reports, data
        (CLOCK, job("drift", "python report.py --threshold 0.1", UPLOAD), []),
        (CLOCK, job("retrain", "ruff check train.py", "git add train.py", UPLOAD), []),
        (CLOCK, job("retrain", "python train.py --dry-run", UPLOAD), []),
        (CLOCK, job("tests", "pytest tests/test_train.py", "docker push shop/api"), []),
        # the job runs on a push alone
        (CLOCK, job("retrain", "python train.py", UPLOAD, more="if: github.event_name == 'push'"), []),
        (CLOCK, job("retrain", "python train.py", UPLOAD, more="if: inputs.retrain == 'true'"), []),
        # a person is asked: before training, and before the result is used
        (CLOCK, job("retrain", "python train.py", UPLOAD, more="environment: training"), []),
        (
            CLOCK,
            job("retrain", "python train.py") + job("use", UPLOAD, more="needs: retrain\nenvironment: {name: prod}"),
            [],
        ),
        (
            CLOCK,
            job("ask", "true", more="environment: p") + job("r", "python train.py", UPLOAD, more="needs: [ask]"),
            [],
        ),
    ],
)
def test_training_that_starts_by_itself(on: str, jobs: str, expected: list[int]) -> None:
    assert lines(BOTH, flow(on, jobs)) == expected


def test_clock_and_event_are_told_apart() -> None:
    text = flow(f"{CLOCK}\nrepository_dispatch:", job("retrain", "python train.py", UPLOAD))
    assert lines(PipelineRetraining(kinds=("clock",)), text) == [4]
    assert lines(PipelineRetraining(kinds=("event",)), text) == [5]


def test_the_way_is_told_link_by_link() -> None:
    (one,) = found(BOTH, flow(CLOCK, job("retrain", "python train.py", UPLOAD)))
    assert [(link.at.path, link.at.line) for link in one.evidence] == [
        (FLOW, 4),
        (FLOW, 10),
        ("train.py", 3),
        (FLOW, 12),
    ]
    assert one.severity is None


def test_a_name_alone_is_a_warning() -> None:
    (one,) = found(BOTH, flow(CLOCK, job("retrain", "make train", UPLOAD)))
    assert one.severity is Severity.WARNING
    assert not found(BOTH, flow(CLOCK, job("retrain", "make train-data", UPLOAD)))


def test_a_workflow_that_another_starts_or_calls() -> None:
    inner = flow("workflow_call:", job("retrain", "python train.py", UPLOAD), "inner")
    outer = flow(CLOCK, "all:\n  uses: ./.github/workflows/inner.yml\n", "outer")
    files = {".github/workflows/inner.yml": inner, FLOW: outer, "train.py": TRAIN}
    assert [(one.at.path, one.at.line) for one in found(BOTH, files)] == [(FLOW, 4)]
    files[FLOW] = flow(CLOCK, job("start", "gh workflow run inner.yml"), "outer")
    assert [(one.at.path, one.at.line) for one in found(BOTH, files)] == [(FLOW, 4)]


def test_what_follows_a_person_is_no_event() -> None:
    after = flow("workflow_run:\n  workflows: [start]", job("retrain", "python train.py", UPLOAD))
    files = {FLOW: after, ".github/workflows/start.yml": flow(HAND, job("x", "true"), "start"), "train.py": TRAIN}
    assert not found(BOTH, files)
    files[".github/workflows/start.yml"] = flow(PUSH, job("x", "true"), "start")
    assert len(found(BOTH, files)) == 1


def test_a_graph_of_airflow_that_a_clock_starts() -> None:
    dag = """\
from airflow import DAG
from airflow.operators.python import PythonOperator
from sklearn.linear_model import Ridge


def train():
    Ridge().fit(load_rows(), load_prices())


with DAG("prices", schedule=None) as dag:
    PythonOperator(task_id="train", python_callable=train)
"""
    start = 'curl -X POST "${{ secrets.AIRFLOW }}/api/v2/dags/prices/dagRuns" -d "{}"'
    files = {FLOW: flow(CLOCK, job("start", start)), "dags/prices.py": dag}
    assert lines(BOTH, files) == [4]
    files[FLOW] = flow(CLOCK, job("start", start.replace("prices", "reports")))
    assert not found(BOTH, files)


GITLAB = """\
train:
  stage: build
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule"
  script: [python train.py]
publish:
  stage: deploy
  script: [aws s3 cp model.joblib s3://shop-prod/models/]
"""
AZURE = """\
schedules:
  - cron: "0 3 * * *"
    branches: {include: [main]}
trigger: none
stages:
  - stage: train
    jobs: [{job: fit, steps: [{script: python train.py}]}]
  - stage: publish
    jobs:
      - deployment: use
%s        strategy: {runOnce: {deploy: {steps: [{script: "aws s3 cp model.joblib s3://shop-prod/models/"}]}}}
"""
CIRCLE = """\
version: 2.1
jobs:
  train: {docker: [{image: python}], steps: [checkout, {run: python train.py}]}
  use: {docker: [{image: python}], steps: [{run: "aws s3 cp model.joblib s3://shop-prod/models/"}]}
workflows:
  nightly:
    triggers: [{schedule: {cron: "0 3 * * *"}}]
    jobs:
      - train
%s
"""
ASK = "ask: {type: approval, requires: [train]}"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (".gitlab-ci.yml", GITLAB, [4]),
        (".gitlab-ci.yml", f"{GITLAB}  when: manual\n", []),
        ("azure-pipelines.yml", AZURE % "", [2]),
        ("azure-pipelines.yml", AZURE % "        environment: prod\n", []),
        (".circleci/config.yml", CIRCLE % "      - use: {requires: [train]}", [7]),
        (
            ".circleci/config.yml",
            CIRCLE % "      - ask: {type: approval, requires: [train]}\n      - use: {requires: [ask]}",
            [],
        ),
    ],
)
def test_other_services(path: str, text: str, expected: list[int]) -> None:
    assert lines(BOTH, {path: text, "train.py": TRAIN}) == expected


CRON = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: retrain}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          containers: [{name: main, image: shop/jobs, command: %s}]
"""
ARGO = """\
apiVersion: argoproj.io/v1alpha1
kind: %s
metadata: {name: prices}
spec:
  %s
    entrypoint: main
    templates:
      - name: main
        steps:
          - - {name: fit, template: train}
%s          - - {name: deploy-model, template: use}
      - {name: train, container: {image: shop/jobs, command: [python, train.py]}}
      - {name: use, container: {image: shop/jobs, command: [./use.sh]}}
      - {name: ask, suspend: {}}
      - {name: wait, suspend: {duration: "1h"}}
"""


def argo(kind: str = "CronWorkflow", between: str = "") -> str:
    """A workflow that trains and deploys, with what stands between."""
    held = f"          - - {{name: {between}, template: {between}}}\n" if between else ""
    return ARGO % (kind, "schedule: '0 3 * * *'\n  workflowSpec:" if kind == "CronWorkflow" else "x:", held)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CRON % '["python", "train.py"]', [5]),
        (CRON % '["sh", "-c", "cd /app && python train.py"]', [5]),
        (CRON % '["python", "report.py"]', []),
        ((CRON % '["python", "train.py"]').replace("spec:\n  sch", "spec:\n  suspend: true\n  sch"), []),
        (argo(), [5]),
        (argo(between="wait"), [5]),
    ],
)
def test_clocks_of_a_cluster(text: str, expected: list[int]) -> None:
    assert lines(BOTH, {"jobs.yaml": text, "train.py": TRAIN}) == expected


def test_a_sensor() -> None:
    sensor = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: s}
spec:
  triggers:
    - template:
        name: %s
        argoWorkflow: {source: {resource: {apiVersion: argoproj.io/v1alpha1, kind: WorkflowTemplate, name: %s}}}
"""
    assert lines(BOTH, {"sensor.yaml": sensor % ("start-training", "prices-training")}) == [7]
    assert not found(BOTH, {"sensor.yaml": sensor % ("prepare-data", "training-data")})


# --- VG503


@pytest.mark.parametrize(
    ("on", "jobs", "expected"),
    [
        (PUSH, job("use", "ALIAS=production python promote.py"), [9]),
        (PUSH, job("use", "python promote.py", more="env: {ALIAS: champion}"), [10]),
        (PUSH, job("use", "python promote.py", more="env: {ALIAS: staging}"), []),
        (PUSH, job("use", "python promote.py", more="env: {ALIAS: production}\nenvironment: production"), []),
        (HAND, job("use", "ALIAS=production python promote.py"), []),
        (PUSH, job("use", "aws sagemaker update-model-package --model-approval-status Approved"), [9]),
        (PUSH, job("use", "python train.py", "docker push shop/price-model:latest"), [11]),
        (PUSH, job("build", "docker push shop/price-model:latest"), []),
        (PUSH, job("use", "python train.py", "aws s3 cp model.joblib s3://shop-models/price/latest/"), [11]),
        (PUSH, job("use", "python train.py", "aws s3 cp model.joblib s3://shop-models/price/v7/"), []),
        (PUSH, job("use", "aws s3 cp s3://shop-models/latest/model.joblib . && python train.py"), []),
        (PUSH, job("use", UPLOAD), [9]),
        (PUSH, job("use", "aws s3 cp model.joblib s3://shop-candidates/models/"), []),
    ],
)
def test_promotion_that_nobody_is_asked_about(on: str, jobs: str, expected: list[int]) -> None:
    assert lines(PipelinePromotion(), flow(on, jobs)) == expected


IMAGE = """\
- id: tags
  run: |
    LATEST="${{ secrets.USER }}/price-model:%s"
    echo "all=${{ secrets.USER }}/price-model:v7,${LATEST}" >> $GITHUB_OUTPUT
- id: meta
  uses: docker/metadata-action@v5
  with: {images: shop/price-model, tags: "type=raw,value=%s"}
- run: python train.py
- uses: docker/build-push-action@v6
  with: {push: true, tags: "${{ steps.%s.outputs.%s }}"}
"""


@pytest.mark.parametrize(
    ("tag", "step", "name", "expected"),
    [
        ("latest", "tags", "all", [17]),
        ("v8", "tags", "all", []),
        ("latest", "meta", "tags", [17]),
        ("v8", "meta", "tags", []),
        ("latest", "other", "tags", []),
    ],
)
def test_tags_that_an_earlier_step_has_answered(tag: str, step: str, name: str, expected: list[int]) -> None:
    steps = IMAGE % (tag, tag, step, name)
    text = flow(PUSH, f"build:\n  runs-on: ubuntu-latest\n  steps:\n{_moved(steps, 4)}")
    assert lines(PipelinePromotion(), text) == expected
    asked = f"use:\n  needs: build\n  environment: production\n  runs-on: a\n  steps: [{{run: {USE}}}]\n"
    assert not lines(UnprotectedDeployJob(), text + _moved(asked, 2)), "the job that deploys it asks"


def test_what_a_script_of_the_repository_does() -> None:
    script = "#!/bin/bash\npython train.py\naws s3 cp model.joblib s3://shop-prod/models/\n"
    files = {FLOW: flow(CLOCK, job("nightly", "bash ops/nightly.sh")), "train.py": TRAIN, "ops/nightly.sh": script}
    assert lines(BOTH, files) == [4]
    (one,) = found(PipelinePromotion(), files)
    assert (one.at.line, [(link.at.path, link.at.line) for link in one.evidence][-1]) == (9, ("ops/nightly.sh", 3))
    told = f'case "$1" in\n  train)\n{script}  ;;\nesac\n'
    assert not lines(BOTH, {**files, "ops/nightly.sh": told}), "it does what it is told"
    assert not lines(BOTH, {**files, FLOW: flow(CLOCK, job("nightly", "bash ops/nightly.sh --dry-run"))})


def test_a_name_of_a_template_that_stands_elsewhere_is_no_deployment() -> None:
    text = argo().replace("template: use}", "templateRef: {name: a, template: use}}")
    assert not found(PipelinePromotion(), {"jobs.yaml": text, "train.py": TRAIN})


@pytest.mark.parametrize(("between", "expected"), [("", [12]), ("wait", [14]), ("ask", [])])
def test_deployment_behind_training_in_one_workflow(between: str, expected: list[int]) -> None:
    held = {"jobs.yaml": argo(between=between), "train.py": TRAIN}
    assert [one.at.line + (1 if between else 0) for one in found(PipelinePromotion(), held)] == expected


# --- VG504, VG506


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (job("use", "python evaluate.py || true", "kubectl apply -f deploy/price.yaml"), [10]),
        (job("use", "pytest tests \\\n  -q || echo 'no tests'", "kubectl apply -f deploy/price.yaml"), [10]),
        (job("use", "docker stop price || true", "kubectl apply -f deploy/price.yaml"), []),
        (job("use", "ruff check . || true", "kubectl apply -f deploy/price.yaml"), []),
        (job("test", "pytest || true"), []),
        (
            job("test", "pytest") + job("use", "kubectl apply -f deploy/price.yaml", more="needs: test\nif: always()"),
            [14],
        ),
    ],
)
def test_a_check_that_cannot_fail(jobs: str, expected: list[int]) -> None:
    assert lines(GateThatDoesNotBlock(kinds=("open",)), flow(PUSH, jobs)) == expected


APPROVE = job("approve", "true", more="environment: production")
USE = "kubectl apply -f deploy/price.yaml"


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (APPROVE + job("use", USE, more="needs: approve\nif: always()"), [15]),
        (APPROVE + job("use", USE), [12]),
        (APPROVE + job("use", USE, more="needs: approve"), []),
        (APPROVE + job("use", USE, more="needs: approve\nif: failure() || success()\nenvironment: x"), []),
        (job("use", "gh api repos/x/y/actions/runs/1/pending_deployments -f state=approved", USE), [10]),
    ],
)
def test_a_gate_that_does_not_block(jobs: str, expected: list[int]) -> None:
    assert lines(GateThatDoesNotBlock(), flow(PUSH, jobs)) == expected


DAG = """\
from airflow import DAG
from airflow.operators.python import PythonOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from mlflow import MlflowClient


def promote():
    MlflowClient().set_registered_model_alias("prices", "champion", "7")


def tell():
    print("done")


with DAG("prices", schedule="@weekly") as dag:
    ask = ApprovalOperator(task_id="ask", subject="Are the weights fit?"%s)
    ask >> PythonOperator(task_id="promote", python_callable=promote, trigger_rule="%s")
    PythonOperator(task_id="tell", python_callable=tell, trigger_rule="all_done")
"""


@pytest.mark.parametrize(
    ("defaults", "rule", "expected"),
    [
        ("", "all_success", []),
        ("", "none_failed_min_one_success", []),
        ("", "all_done", [17]),
        (', defaults="Approve"', "all_success", [16]),
        (', defaults="Reject"', "all_success", []),
    ],
)
def test_a_graph_of_airflow_that_goes_on(defaults: str, rule: str, expected: list[int]) -> None:
    assert lines(GateThatDoesNotBlock(), {"dags/prices.py": DAG % (defaults, rule)}) == expected


# --- VG505


@pytest.mark.parametrize(
    ("on", "jobs", "expected"),
    [
        (PUSH, job("use", USE), [6]),
        (PUSH, job("use", "helm upgrade price ./charts/model"), [6]),
        (PUSH, job("use", "terraform -chdir=infra/model apply -auto-approve"), [6]),
        (PUSH, job("use", "git push --force space main", more="name: the model's space"), [6]),
        (PUSH, job("model", "python -m ops.deploy --tag v7"), [6]),
        (PUSH, job("model", "uv run --active python -m ops.cli deploy price_model --tag v7"), [6]),
        (PUSH, job("model", "uv run --with ops python -m ops.cli status price_model"), []),
        (PUSH, job("model", "python ops/deploy.py --dry-run"), []),
        (PUSH, job("model", "python ops/deployed_versions.py"), []),
        (PUSH, job("docs", "python ops/deploy_docs.py"), []),
        (PUSH, job("deploy-mlflow", "python -m ops.cli deploy mlflow --env-from MLFLOW_TRACKING_URI"), []),
        (PUSH, job("use", USE, more="environment: production"), []),
        (HAND, job("use", USE), []),
        (
            "push:\n  branches: [main]\npull_request:",
            job("use", USE, more="if: github.event_name == 'pull_request'"),
            [],
        ),
        (PUSH, job("deploy-dev", USE), []),
        (PUSH, job("deploy-model", "docker run -d --name test-container shop/price-model"), []),
        # something beside the model, a trial, a cluster that dies with the job
        (PUSH, job("frontend", "gcloud run deploy shop-frontend"), []),
        (PUSH, job("e2e-tests", USE), []),
        (PUSH, job("use", "minikube start", USE), []),
        (PUSH, job("use", f"{USE} --dry-run=client"), []),
        (PUSH, job("build", "docker build -t model ."), []),
        (PUSH, job("note", "echo 'kubectl apply -f deploy/price.yaml'"), []),
        # a container stays up only where the job's machine serves
        (PUSH, job("deploy-model", "docker run -d -p 80:80 shop/price-model"), [6]),
        (PUSH, job("check", "docker run -d -p 80:80 shop/price-model"), []),
    ],
)
def test_a_job_that_deploys(on: str, jobs: str, expected: list[int]) -> None:
    assert lines(UnprotectedDeployJob(), flow(on, jobs)) == expected


def test_environments_are_believed_as_far_as_they_are_known() -> None:
    text = flow(PUSH, job("use", USE, more="environment: production"))
    other = Protection(Location("vramguard.toml"), "live", reviewed=True, by="configuration")
    assert len(found(UnprotectedDeployJob(), text, other)) == 1, "it is not among those that are attested"
    same = Protection(Location("vramguard.toml"), "production", reviewed=True, by="configuration")
    assert not found(UnprotectedDeployJob(), text, same)
    asked = Protection(Location(FLOW), "production", reviewed=False, by="github")
    (one,) = found(UnprotectedDeployJob(), text, same, asked)
    assert "`production` has no required reviewers" in one.values["why"]
    unsaid = Protection(Location(FLOW, 7), "production", reviewed=None, by="github", why="it is not there")
    (one,) = found(UnprotectedDeployJob(), text, unsaid)
    assert (one.severity, one.at.line) == (Severity.WARNING, 7)


# --- VG507


APP = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: a}
spec:
  source: {path: %s}
  syncPolicy: %s
"""


@pytest.mark.parametrize(
    ("uri", "path", "policy", "expected"),
    [
        ("s3://m/price/latest", "deploy", "{automated: {}}", [8]),
        ("s3://m/price", "deploy", "{automated: {prune: true}}", [8]),
        ("s3://m/price/v7", "deploy", "{automated: {}}", []),
        ("s3://m/price/latest", "other", "{automated: {}}", []),
        ("s3://m/price/latest", "deploy", "{}", []),
        ("s3://m/price/latest", "deploy", "{automated: {enabled: false}}", []),
        ("'{{ .Values.uri }}'", "deploy", "{automated: {}}", []),
    ],
)
def test_weights_that_move_by_themselves(uri: str, path: str, policy: str, expected: list[int]) -> None:
    assert lines(MovingWeights(), {"app.yaml": APP % (path, policy), "deploy/price.yaml": SERVICE % uri}) == expected


MOUNTED = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: start}
data:
  start.sh: |
    exec vllm serve acme/small%s
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: llm}
spec:
  template:
    spec:
      containers:
        - name: vllm
          image: vllm/vllm-openai:v0.14.1
          command: ["/bin/sh", "/scripts/start.sh"]
          resources: {limits: {nvidia.com/gpu: 1}}
          volumeMounts: [{name: scripts, mountPath: /scripts}]
      volumes: [{name: scripts, configMap: {name: %s}}]
"""


@pytest.mark.parametrize(
    ("more", "name", "policy", "expected"),
    [
        ("", "start", "{automated: {}}", [6]),
        (" --revision 0123456789abcdef0123456789abcdef01234567", "start", "{automated: {}}", []),
        ("", "other", "{automated: {}}", []),
        ("", "start", "{}", []),
    ],
)
def test_a_model_that_a_mounted_script_names(more: str, name: str, policy: str, expected: list[int]) -> None:
    files = {"app.yaml": APP % ("deploy", policy), "deploy/llm.yaml": MOUNTED % (more, name)}
    assert lines(MovingWeights(), files) == expected


def test_a_server_that_looks_itself() -> None:
    compose = """\
services:
  triton:
    image: nvcr.io/nvidia/tritonserver:25.01-py3
    command: tritonserver --model-repository=/models --model-control-mode=%s
    ports: ["8000:8000"]
    deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 1}]}}}
"""
    assert lines(MovingWeights(), {"compose.yaml": compose % "poll"}) == [4]
    assert not found(MovingWeights(), {"compose.yaml": compose % "explicit"})


@pytest.mark.parametrize(
    "program", ['python -c "from sklearn.svm import SVC; SVC().fit(rows, labels)"', "python train.py"]
)
def test_a_program_in_the_command_trains_as_one_in_a_file_does(program: str) -> None:
    assert lines(BOTH, flow(CLOCK, job("r", program, UPLOAD))), program


def test_what_is_only_compiled_trains_nothing() -> None:
    assert not lines(BOTH, flow(CLOCK, job("r", "python train.py compile", UPLOAD)))


# --- VG508


def test_owners() -> None:
    files = {"train.py": TRAIN, "models/price.joblib": "", "params.yaml": "a: 1", "vramguard.toml": ""}
    said = [one.values["said"] for one in found(UnownedModels(), {**files, ".github/CODEOWNERS": "/src/ @a\n"})]
    assert [one.partition(":")[0] for one in said] == [
        "weights have no owner",
        "the configuration of training have no owner",
        "vramguard's own policy have no owner",
    ]
    assert not found(UnownedModels(), {**files, ".github/CODEOWNERS": "* @a\n"})
    assert len(found(UnownedModels(), {**files, "CODEOWNERS": "* @a\n/models/\n"})) == 1, "the last line has no owner"
    assert not found(UnownedModels(), {**files, "docs/deep/CODEOWNERS": "/src/ @a\n"}), "no forge looks there"


def test_no_owners_at_all() -> None:
    assert lines(UnownedModels(), flow(HAND, job("retrain", "python train.py"))) == [1]
    assert not found(UnownedModels(), flow(HAND, job("build", "docker build .")))
    two = {
        FLOW: flow(PUSH, job("use", USE)),
        ".github/workflows/a.yml": flow(CLOCK, job("r", "python train.py", UPLOAD)),
    }
    (one,) = found(UnownedModels(), {**two, "train.py": TRAIN, "deploy/price.yaml": SERVICE % "s3://m/v7"})
    assert one.at.path == ".github/workflows/a.yml", "said once, at the first by its path"
    named = flow(f"{HAND}\n{CLOCK}", job("plan", "python train.py --dry-run"), "retrain")
    assert lines(UnownedModels(), named) == [1], "a pipeline for training, as its name says"
    assert not found(UnownedModels(), {FLOW: named}), "where nothing trains"
    assert lines(UnownedModels(), {"jobs.yaml": argo(), "train.py": TRAIN}) == [1], (
        "a cluster's, where no forge has one"
    )
    assert not found(UnownedModels(), {"example/jobs.yaml": argo(), "train.py": TRAIN})
    assert not found(
        UnownedModels(), {FLOW: flow(PUSH, job("a", "python example/train.py")), "example/train.py": TRAIN}
    )
    pushed = flow(PUSH, job("test", "python train.py\ndocker push acme/price:v1"))
    assert lines(UnownedModels(), pushed) == [1], "what pushes an image is no trial, whatever its name is"
    assert not found(UnownedModels(), flow(PUSH, job("test", "python train.py")))
    nested = {f"examples/shop/{FLOW}": flow(HAND, job("retrain", "python train.py")), "examples/shop/train.py": TRAIN}
    assert not found(UnownedModels(), nested), "no forge runs a workflow of a folder"


# --- VG509


@pytest.mark.parametrize(
    ("on", "run", "expected"),
    [
        (CLOCK, "git add models/price.joblib\ngit commit -m x\ngit push", [9]),
        (CLOCK, "git add data/prices.csv && git commit -m x && git push origin main", [9]),
        (CLOCK, "git checkout -b new\ngit add models/\ngit commit -m x\ngit push origin new\ngh pr create --fill", []),
        (CLOCK, "git add models/\ngit commit -m x\ngit push origin HEAD:${{ github.ref_name }}", [9]),
        (CLOCK, "git add models/\ngit commit -m x\ngit push https://x:$T@github.com/a/b.git HEAD:main", [9]),
        (CLOCK, "git add models/\ngit commit -m x\ngit push origin HEAD:retrained", []),
        (CLOCK, "git add models/*.joblib models/*.json || true\ngit commit -m x\ngit push", [9]),
        (CLOCK, "git add version.txt\ngit commit -m x\ngit push", []),
        (CLOCK, "git add src/models/price.py\ngit commit -m x\ngit push", []),
        (CLOCK, "git add models/\ngit commit -m x", []),
        (CLOCK, "git push --tags", []),
        (CLOCK, "git add -A\ngit commit -m x\ngit push", []),
        (CLOCK, "python train.py\ngit add -A\ngit commit -m x\ngit push", [9]),
        (HAND, "git add models/\ngit commit -m x\ngit push", []),
    ],
)
def test_a_job_that_commits(on: str, run: str, expected: list[int]) -> None:
    assert lines(PipelineCommits(), flow(on, job("retrain", run))) == expected


def test_an_action_that_commits() -> None:
    step = "    - uses: stefanzweifel/git-auto-commit-action@v5\n      with: {file_pattern: %s}\n"
    held = "retrain:\n  runs-on: x\n  steps:\n"
    assert lines(PipelineCommits(), flow(CLOCK, held + step % "models/*.joblib")) == [9]
    assert not found(PipelineCommits(), flow(CLOCK, held + step % "CHANGELOG.md"))


# --- VG510


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ('"automerge": true', 1),
        ('"minor": {"automerge": true}', 1),
        ('"extends": [":automergeMinor"]', 1),
        ('"packageRules": [{"matchPackageNames": ["torch"], "automerge": true}]', 1),
        ('"packageRules": [{"matchPackagePatterns": ["^tor"], "automerge": true}]', 1),
        ('"packageRules": [{"matchManagers": ["pip_requirements"], "automerge": true}]', 1),
        ('"packageRules": [{"matchManagers": ["github-actions"], "automerge": true}]', 0),
        ('"packageRules": [{"matchDepTypes": ["devDependencies"], "automerge": true}]', 0),
        ('"packageRules": [{"matchPackageNames": ["ruff"], "automerge": true}]', 0),
        ('"packageRules": [{"matchPackageNames": ["*", "!torch"], "automerge": true}]', 0),
        ('"automerge": true, "packageRules": [{"matchPackageNames": ["torch"], "automerge": false}]', 0),
        ('"automerge": false', 0),
    ],
)
def test_updates_that_merge_themselves(rules: str, expected: int) -> None:
    files = {"renovate.json": f"{{{rules}}}", "requirements.txt": "torch==2.13.0\n"}
    assert len(found(AutomergedModels(), files)) == expected
    assert not found(AutomergedModels(), {**files, "requirements.txt": "httpx==0.28.0\n"}), "no model runs on it"


def test_what_dependabot_opens() -> None:
    merge = job("merge", "gh pr merge --auto --squash", more="if: github.actor == 'dependabot[bot]'")
    updates = "version: 2\nupdates:\n  - {package-ecosystem: %s, directory: /}\n"
    files = {FLOW: flow("pull_request:", merge), "requirements.txt": "vllm==0.33.0\n"}
    assert lines(AutomergedModels(), {**files, ".github/dependabot.yml": updates % "pip"}) == [10]
    assert not found(AutomergedModels(), {**files, ".github/dependabot.yml": updates % "github-actions"})
    assert not found(
        AutomergedModels(), {".github/dependabot.yml": updates % "pip", "requirements.txt": "vllm==0.33.0\n"}
    )
