"""What clocks and events of clouds start, as Terraform declares them: rules of EventBridge and of Cloud Scheduler.

registry.terraform.io, hashicorp/aws: aws_cloudwatch_event_rule (schedule_expression, event_pattern, is_enabled, state),
aws_cloudwatch_event_target, aws_scheduler_schedule; hashicorp/google: google_cloud_scheduler_job (paused);
docs.aws.amazon.com, Step Functions, "Create and manage Amazon SageMaker AI jobs".
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from vramguard.link.pipelines.parts import MOST, Job, Pipeline, Step, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster

_FORM: Final = "terraform"
_REFERENCE: Final = re.compile(r"\b((?:aws|awscc|google)_\w{1,60})\.(\w{1,80})\b")
# What a state machine or a pipeline says of itself where it trains; the action that `data/pipelines.toml` knows.
_JOBS: Final = re.compile(r"sagemaker:create(TrainingJob|HyperParameterTuningJob|AutoMLJob)", re.IGNORECASE)
_STEPS: Final = re.compile(r"\bType[\"']?\s*[:=]\s*[\"'](Training|Tuning|AutoML)[\"']")
_BUILDING: Final = re.compile(r"sagemaker[\w-]*pipeline|:sagemaker:[^\n]{0,200}:pipeline/", re.IGNORECASE)
_OTHERS: Final = re.compile(
    r"(?<![a-z])(infer\w*|predict\w*|batch|scor\w*|monitor\w*|drift|report\w*|evaluat\w*|stop|start-?stop|shutdown|"
    r"cleanup|backup|ingest\w*|etl|preprocess\w*|scrap\w*|fetch\w*|download\w*|features?)(?![a-z])",
    re.IGNORECASE,
)
_OFF: Final = ("DISABLED", "false")
_NODES: Final = 2000  # of one resource


def pipelines(cluster: Cluster) -> Iterator[Pipeline]:
    """Every rule of a cloud's clock with what it starts."""
    declared = {(one.kind, one.name): one for one in cluster.configured(_FORM)}
    targets = [one for one in declared.values() if one.kind == "aws_cloudwatch_event_target"]
    for one in declared.values():
        if one.kind == "aws_cloudwatch_event_rule":
            own = [target for target in targets if _names(target.node.get("rule").text, one)]
            yield _pipeline(one, [(target.node, target.name) for target in own], declared)
        elif one.kind == "aws_scheduler_schedule":
            yield _pipeline(one, [(node, one.name) for node in one.node.get("target").list()], declared)
        elif one.kind == "google_cloud_scheduler_job":
            yield _pipeline(one, [(one.node, one.name)], declared)


def _names(text: str, manifest: Manifest) -> bool:
    return any((match[1], match[2]) == (manifest.kind, manifest.name) for match in _REFERENCE.finditer(text))


def _pipeline(
    rule: Manifest, targets: list[tuple[Node, str]], declared: Mapping[tuple[str, str], Manifest]
) -> Pipeline:
    jobs = tuple(_job(rule, node, name, declared) for node, name in targets[:MOST])
    return Pipeline(rule.at, _FORM, rule.name, tuple(_triggers(rule)), jobs)


def _triggers(rule: Manifest) -> Iterator[Trigger]:
    node = rule.node
    off = [node.get(key).text for key in ("state", "is_enabled")]
    if any(one in _OFF for one in off) or node.get("paused").text == "true":
        return
    for key in ("schedule_expression", "schedule"):
        if node.get(key):
            yield Trigger(node.get(key).at, "clock", "schedule")
            return
    if node.get("event_pattern"):
        yield Trigger(node.get("event_pattern").at, "event", "event")


def _job(rule: Manifest, target: Node, name: str, declared: Mapping[tuple[str, str], Manifest]) -> Job:
    """What a target does: what the machine that it names says, else what the names say."""
    own = " ".join(_texts(target))
    started = [declared[key] for match in _REFERENCE.finditer(own) if (key := (match[1], match[2])) in declared]
    started = [one for one in started if one is not rule and one.kind != "aws_cloudwatch_event_rule"]
    said = "\n".join(text for one in started for text in _texts(one.node))
    names = " ".join((rule.name, rule.node.get("name").text, name, *(one.name for one in started)))
    if _JOBS.search(f"{own}\n{said}") or _STEPS.search(said):
        return Job(target.at, name, (Step(target.at, names, uses="sagemaker:createTrainingJob"),))
    building = _BUILDING.search(f"{own} {names}") is not None or bool(target.get("sagemaker_pipeline_target"))
    if _OTHERS.search(f"{names} {own}".replace("_", " ")):
        return Job(target.at, "", (Step(target.at),))
    label = "training" if building else ""
    return Job(target.at, name.replace("_", "-"), (Step(target.at, names.replace("_", "-")),), label=label)


def _texts(node: Node) -> Iterator[str]:
    """Every text of a resource with its key, as `key: "text"`."""
    pending = [node]
    for one in islice(pending, _NODES):
        if isinstance(one.value, dict):
            for key, inner in one.items():
                if inner.text:
                    yield f'{key}: "{inner.text}"'
                pending.append(inner)
        elif isinstance(one.value, list):
            pending += one.list()


__all__ = ["pipelines"]
