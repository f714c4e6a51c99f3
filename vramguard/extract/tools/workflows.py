"""CI: steps of GitHub workflows, jobs of GitLab and Azure pipelines that start an engine.

A runner that its provider hosts without a card is a place without a GPU. Other runners' labels are names of their
owners' own: a card's name in one says which card it is, any other says nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.extract.tools.values import joined
from vramguard.facts import Hardware, Launch, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.extract.tools.values import Node

_HOSTED = re.compile(r"(?:ubuntu|windows|macos)-(?:latest|[0-9.]+|slim)(?:-(?:arm|intel|large|xlarge))*")
_CARD = re.compile(
    r"(?<![a-z0-9])(h100|h200|h20|b200|gb200|a100|a10g?|a6000|l40s?|l4|t4|v100|mi[0-9]{3}x?|rtx-?[0-9]{4})(?![a-z0-9])"
)
_OTHERS = {"gaudi": "gaudi", "hpu": "gaudi", "tpu": "tpu", "inf2": "neuron", "trn1": "neuron"}
_SHELLS = (None, "bash", "sh")
_MAX_DEPTH = 8


def github(document: Node) -> Iterator[Launch]:
    """Every step of a workflow, or of an action, that names an engine; and every service container that does."""
    env = document.get("env").variables()
    for name, job in document.get("jobs").items():
        inner = {**env, **job.get("env").variables()}
        hardware = _hardware(job)
        container = job.get("container")
        image = (container if container.text else container.get("image")).word()
        yield from _steps(job.get("steps"), name, inner | container.get("env").variables(), hardware, image)
        for service, node in job.get("services").items():
            yield from _service(node, f"{name}/{service}", hardware)
    yield from _steps(document.get("runs", "steps"), document.get("name").text or "", env, Hardware(), None)


def _steps(steps: Node, name: str, env: Mapping[str, Word], hardware: Hardware, image: Word | None) -> Iterator[Launch]:
    for step in steps if isinstance(steps.value, list) else ():
        run = step.first("run", "bash", "script")
        if not isinstance(run.value, str) or not mentions(run.value) or step.get("shell").text not in _SHELLS:
            continue
        title = step.first("name", "displayName", "id").text
        yield Launch(
            at=run.key_at,
            form="workflow",
            name=f"{name}/{title}" if title else name,
            script=run.script(),
            env={**env, **step.get("env").variables()},
            image=image,
            hardware=hardware,
        )


def _service(node: Node, name: str, hardware: Hardware) -> Iterator[Launch]:
    image = node.get("image").word()
    if image is None or not mentions(image.text):
        return
    options = node.get("options")
    if "--gpus" in (options.text or ""):
        hardware = Hardware(hardware.gpu, hardware.gpus, places={**hardware.places, "gpus": options.at})
    env = {**node.get("env").variables()}
    yield Launch(node.key_at, "workflow", name, entrypoint=False, env=env, image=image, hardware=hardware)


def _hardware(job: Node) -> Hardware:
    """What the labels of a job's runner say."""
    runner = job.first("runs-on", "tags", "pool", "vmImage")
    labels = [runner, *runner, *runner.get("labels"), runner.get("group"), runner.get("vmImage"), runner.get("name")]
    for label in labels:
        text = (label.text or "").lower()
        other = next((name for mark, name in _OTHERS.items() if mark in text.split("-")), None)
        if _HOSTED.fullmatch(text) or other:
            return Hardware(accelerator=other or "cpu", places={"accelerator": label.at})
        if card := _CARD.search(text):
            return Hardware(gpu=card[1], places={"gpu": label.at, "gpus": label.at})
        if "gpu" in text and "${{" not in text:
            return Hardware(places={"gpus": label.at})
    options = job.get("container", "options")
    return Hardware(places={"gpus": options.at} if "--gpus" in (options.text or "") else {})


_RESERVED = frozenset(
    {"default", "include", "stages", "variables", "workflow", "image", "services", "cache", "before_script"}
)


def gitlab(document: Node) -> Iterator[Launch]:
    """Every job whose script names an engine."""
    shared = document.get("variables").variables()
    for name, job in document.items():
        if name in _RESERVED or not isinstance(job.value, dict):
            continue
        lines = [word for key in ("before_script", "script") for item in job.get(key) for word in lines_of(item)]
        script = joined(lines)
        if script is None or not mentions(script.text):
            continue
        image = job.get("image") if job.get("image").value is not None else document.first("image", "default")
        yield Launch(
            at=job.first("script", "before_script").key_at,
            form="workflow",
            name=name,
            script=script,
            env={**shared, **job.get("variables").variables()},
            image=(image if image.text else image.first("name", "image")).word(),
            hardware=_hardware(job),
        )


def lines_of(item: Node, depth: int = 0) -> Iterator[Word]:
    """The lines of a script, whose lists may hold lists: an anchor's, a reference's."""
    if isinstance(item.value, list) and depth < _MAX_DEPTH:
        for part in item:
            yield from lines_of(part, depth + 1)
    elif isinstance(item.value, str) and (word := item.script()) is not None:
        yield word


def azure(document: Node) -> Iterator[Launch]:
    """Every step of a pipeline that names an engine, at whatever depth of stages and jobs."""
    if isinstance(document.value, dict):
        yield from _stage(document, document.get("name").text or "", document.get("variables").variables(), Hardware())


def _stage(node: Node, name: str, env: Mapping[str, Word], hardware: Hardware, depth: int = 0) -> Iterator[Launch]:
    inner = {**env, **node.get("variables").variables()}
    own = _hardware(node)
    hardware = own if own.places else hardware
    yield from _steps(node.get("steps"), name, inner, hardware, None)
    for key in ("stages", "jobs"):
        for part in node.get(key) if depth < _MAX_DEPTH else ():
            yield from _stage(part, part.first("stage", "job").text or name, inner, hardware, depth + 1)
