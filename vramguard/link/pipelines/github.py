"""Workflows of GitHub, and of forges that read the same: triggers, jobs, environments, steps.

docs.github.com, "Workflow syntax" and "Events that trigger workflows".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.link.pipelines.answers import Answers
from vramguard.link.pipelines.parts import Job, Pipeline, Step, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.source import Location

_KINDS: Final = {
    "schedule": "clock",
    "workflow_dispatch": "hand",
    "release": "hand",
    "workflow_call": "called",
    "push": "push",
    "pull_request": "push",
    "pull_request_target": "push",
    "merge_group": "push",
    "create": "push",
    "issue_comment": "asked",
    "pull_request_review": "asked",
    "repository_dispatch": "event",
    "workflow_run": "event",
    "issues": "event",
    "registry_package": "event",
    "status": "event",
    "deployment_status": "event",
    "watch": "event",
}
_DATA: Final = re.compile(
    r"(^|/)(\w+[_-])?(data|datasets?|feedback|corpus)(/|$|\*)|\.(csv|parquet|jsonl|dvc)$", re.IGNORECASE
)


def pipeline(manifest: Manifest) -> Pipeline:
    """A workflow as a pipeline."""
    root = manifest.node
    env = _texts(root.get("env"))
    jobs = tuple(_job(key, node, env) for key, node in root.get("jobs").items() if isinstance(node.value, dict))
    name = root.get("name").text or manifest.at.path.rpartition("/")[2]
    return Pipeline(manifest.at, "workflow", name, tuple(_triggers(_on(root))), jobs)


def _on(root: Node) -> Node:
    """What stands under `on`, which YAML 1.1 reads as true."""
    return next((root.get(key) for key in root.value if key is True or str(key) == "on"), root.get("on"))


def _triggers(on: Node) -> Iterator[Trigger]:
    if isinstance(on.value, dict):
        for event, node in on.items():
            yield from _of(event, node)
    elif isinstance(on.value, list):
        yield from (Trigger(one.at, _KINDS.get(one.text, "other"), one.text) for one in on.list())
    elif on.text:
        yield Trigger(on.at, _KINDS.get(on.text, "other"), on.text)


def _of(event: str, node: Node) -> Iterator[Trigger]:
    at = node.document.key_at(*node.keys)
    if event == "schedule":
        for one in node.list():
            yield Trigger(one.get("cron").at if one.get("cron") else one.at, "clock", event)
        return
    paths = [one for one in node.get("paths").list() if _DATA.search(one.text)]
    if event == "push" and paths and len(paths) == len(list(node.get("paths").list())):
        yield Trigger(paths[0].at, "data", event)
        return
    yield Trigger(at, _KINDS.get(event, "other"), event, tuple(one.text for one in node.get("workflows").list()))


def _texts(node: Node) -> dict[str, str]:
    return {key: one.text for key, one in node.items() if one.text}


def _job(key: str, node: Node, env: Mapping[str, str]) -> Job:
    own = {**env, **_texts(node.get("env"))}
    place = node.get("environment")
    name = place.get("name").text if isinstance(place.value, dict) else place.text
    return Job(
        node.at,
        key,
        tuple(_steps(node.get("steps"), own)),
        tuple(word.text for word in node.get("needs").words()),
        place.at if name else None,
        name,
        node.get("if").text,
        node.get("if").at if node.get("if") else None,
        lets_on=_lenient(node),
        calls=node.get("uses").text.removeprefix("./") if node.get("uses").text.startswith("./") else "",
        runner=" ".join(word.text for word in node.get("runs-on").words()),
        label=node.get("name").text,
    )


def _steps(node: Node, env: Mapping[str, str]) -> Iterator[Step]:
    """The steps of a job: what one is given is filled with what those before it have answered."""
    answers = Answers()
    for one in node.list():
        if isinstance(one.value, dict):
            own = {**env, **_texts(one.get("env"))}
            given = {key: answers.filled(text, own) for key, text in _texts(one.get("with")).items()}
            answers.note(one.get("id").text, one.get("run").text, one.get("uses").text, given, own)
            yield _step(one, given, own)


def _step(node: Node, given: Mapping[str, str], env: Mapping[str, str]) -> Step:
    return Step(
        node.at,
        node.get("name").text,
        node.get("run").word(),
        node.get("uses").text,
        given,
        env,
        "",
        node.get("if").text,
        _lenient(node),
    )


def _lenient(node: Node) -> Location | None:
    return node.get("continue-on-error").at if node.get("continue-on-error").text == "true" else None
