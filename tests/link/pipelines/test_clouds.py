"""Clocks outside of a forge: rules of a cloud in Terraform, crontabs, deployments of Prefect."""

from __future__ import annotations

import pytest
from routed import routed

from vramguard.checks.pipelines import PipelineRetraining

TRAIN = "from sklearn.linear_model import Ridge\n\nRidge().fit(load_rows(), load_prices())\n"
RULE = """\
resource "aws_cloudwatch_event_rule" "weekly" {{
  name = "{name}"
  {when}
}}
resource "aws_cloudwatch_event_target" "run" {{
  rule = aws_cloudwatch_event_rule.weekly.name
  arn  = {arn}
}}
resource "aws_sfn_state_machine" "machine" {{
  definition = jsonencode({{States = {{A = {{Resource = "arn:aws:states:::{job}.sync"}}}}}})
}}
"""
WHEN = 'schedule_expression = "rate(7 days)"'
CRON = 'schedule = "0 3 * * *"'
MACHINE = "aws_sfn_state_machine.machine.arn"
SAGEMAKER = '"arn:aws:sagemaker:eu-west-1:1:pipeline/prices"'
TRAINS, QUERIES = "sagemaker:createTrainingJob", "athena:startQueryExecution"
SCHEDULER = """\
resource "{kind}" "weekly" {{
  name = "{name}"
  {when}
  {target} {{
    {how} = "{what}"
  }}
}}
"""


def found(files: dict[str, str]) -> list[tuple[str, int, bool]]:
    """Where training starts by itself: the path, the line, and whether it is a warning."""
    held = PipelineRetraining(kinds=("clock", "event")).find(routed({"train.py": TRAIN, **files}))
    return [(one.at.path, one.at.line, one.severity is not None) for one in held]


@pytest.mark.parametrize(
    ("name", "when", "arn", "job", "lines"),
    [
        ("prices", WHEN, MACHINE, TRAINS, [3]),
        ("prices", WHEN, MACHINE, QUERIES, []),
        ("retrain-prices", WHEN, MACHINE, QUERIES, [3]),
        ("prices", WHEN, SAGEMAKER, QUERIES, [3]),
        ("batch-scoring", WHEN, SAGEMAKER, QUERIES, []),
        ("model-monitor", WHEN, SAGEMAKER, QUERIES, []),
        ("prices", 'event_pattern = "{}"', MACHINE, TRAINS, [3]),
        ("prices", f'{WHEN}\n  state = "DISABLED"', MACHINE, TRAINS, []),
    ],
)
def test_a_rule_of_a_clock(name: str, when: str, arn: str, job: str, lines: list[int]) -> None:
    text = RULE.format(name=name, when=when, arn=arn, job=job)
    assert [line for _, line, _ in found({"main.tf": text})] == lines


@pytest.mark.parametrize(
    ("kind", "when", "target", "how", "name", "count"),
    [
        ("aws_scheduler_schedule", WHEN, "target", "arn", "retrain", 1),
        ("aws_scheduler_schedule", WHEN, "target", "arn", "report", 0),
        ("google_cloud_scheduler_job", CRON, "http_target", "uri", "train-model", 1),
        ("google_cloud_scheduler_job", f"{CRON}\n  paused = true", "http_target", "uri", "train-model", 0),
    ],
)
def test_a_scheduler(kind: str, when: str, target: str, how: str, name: str, count: int) -> None:
    text = SCHEDULER.format(kind=kind, name=name, when=when, target=target, how=how, what="https://example.com/run")
    assert len(found({"main.tf": text})) == count


@pytest.mark.parametrize(
    ("path", "text", "lines"),
    [
        ("jobs/crontab", "# nightly\n0 3 * * * root cd /app && python train.py >> /var/log/t.log 2>&1\n", [2]),
        ("jobs/crontab", "#0 3 * * * python train.py\n", []),
        ("jobs/crontab", "0 3 * * * python report.py\n", []),
        ("setup.sh", '(crontab -l; echo "0 3 * * 1 python train.py") | crontab -\n', [1]),
        ("setup.sh", 'JOB="@daily python train.py"\necho "$JOB" | crontab -\n', [1]),
        ("setup.sh", 'echo "run crontab -e and add:"\necho "0 3 * * 1 python train.py"\n', []),
        ("Dockerfile", 'FROM a\nRUN echo "0 3 * * * python /app/train.py" > /etc/cron.d/train\n', [2]),
    ],
)
def test_crontabs(path: str, text: str, lines: list[int]) -> None:
    assert [line for _, line, _ in found({path: text})] == lines


@pytest.mark.parametrize(
    ("schedule", "lines"),
    [
        ("schedules:\n      - cron: '0 3 * * *'", [5]),
        ("schedule: {interval: 3600}", [4]),
        ("schedules:\n      - cron: '0 3 * * *'\n        active: false", []),
        ("schedules: []", []),
    ],
)
def test_deployments_of_prefect(schedule: str, lines: list[int]) -> None:
    text = f"deployments:\n  - name: nightly\n    entrypoint: flows/fit.py:nightly\n    {schedule}\n"
    flow = "from prefect import flow\nfrom sklearn.svm import SVC\n\n@flow\ndef nightly():\n    SVC().fit(a, b)\n"
    assert [line for _, line, _ in found({"prefect.yaml": text, "flows/fit.py": flow})] == lines
