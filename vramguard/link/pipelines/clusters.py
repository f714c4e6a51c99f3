"""Pipelines of a cluster: workflows of Argo and Tekton, what a clock or an event starts there, and their containers.

argoproj/argo-workflows, docs/fields.md (`suspend.duration`: it goes on by itself); argoproj/argo-events, Sensor;
tektoncd/pipeline, docs/pipelines.md; kubeflow/pipelines, ScheduledWorkflow; kubeflow/spark-operator.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

from vramguard.facts import Word
from vramguard.link.pipelines.parts import MOST, Job, Pipeline, Step, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster
    from vramguard.source import Location

_CLOCKS: Final = {
    "CronJob": ("spec", "schedule"),
    "RayCronJob": ("spec", "schedule"),
    "ScheduledSparkApplication": ("spec", "schedule"),
    "CronWorkflow": ("spec", "schedule"),
    "ScheduledWorkflow": ("spec", "trigger", "cronSchedule", "cron"),
}
_TEMPLATES: Final = ("WorkflowTemplate", "ClusterWorkflowTemplate")
_SHELLS: Final = re.compile(r"(?:.*/)?(?:ba|z|k|da)?sh$")
_SHELL_OPTION: Final = re.compile(r"-[a-z]*c$")
_PYTHON: Final = re.compile(r"(?:.*/)?python[\d.]*$")
_AFTER: Final = re.compile(r"[A-Za-z0-9][\w-]{0,120}")
_DEEP: Final = 4


def pipelines(cluster: Cluster) -> Iterator[Pipeline]:
    """Every pipeline that is an object of a cluster."""
    for manifest in cluster.objects():
        if manifest.guessed:
            continue
        if manifest.kind in ("Workflow", "CronWorkflow", *_TEMPLATES) and manifest.group == "argoproj.io":
            yield _argo(cluster, manifest)
        elif manifest.kind in _CLOCKS:
            yield _clocked(cluster, manifest)
        elif manifest.kind == "Sensor" and manifest.group == "argoproj.io":
            yield from _sensor(cluster, manifest)
        elif manifest.kind in ("Pipeline", "PipelineRun") and manifest.group == "tekton.dev":
            yield _tekton(cluster, manifest)


def _trigger(manifest: Manifest) -> tuple[Trigger, ...]:
    """The clock of an object; none of one that is suspended."""
    keys = _CLOCKS.get(manifest.kind)
    if keys is None or manifest.node.get("spec", "suspend").text == "true":
        return ()
    at = manifest.node.get(*keys) or manifest.node.get("spec", "schedules", 0)
    return (Trigger(at.at, "clock", "schedule"),) if at else ()


# ---- containers


def container(node: Node, name: str = "") -> Step:
    """A container as a step: its command and arguments as a command line, or the script that its shell gets."""
    words = [*node.get("command").words(), *node.get("args").words()]
    return Step(
        node.at,
        name or node.get("name").text,
        _script(node, words),
        env={one.get("name").text: one.get("value").text for one in node.get("env").list()},
        image=node.get("image").text,
    )


def _script(node: Node, words: list[Word]) -> Word | None:
    source = node.get("source").word() or node.get("script").word()
    if source is not None:
        return source
    for number, (one, other) in enumerate(pairwise(words)):
        if (
            (_SHELLS.match(one.text) or _PYTHON.match(one.text))
            and _SHELL_OPTION.match(other.text)
            and len(words) > number + 2
        ):
            held = words[number + 2]
            return held if _SHELLS.match(one.text) else _python(held)
    if not words:
        return None
    return Word(shlex.join(word.text for word in words), words[0].at, all(word.known for word in words))


def _python(held: Word) -> Word:
    """What Python gets as text, as a here-document of a shell."""
    return Word(f"python - <<'PYTHON_TEXT'\n{held.text}\nPYTHON_TEXT\n", held.at)


def _clocked(cluster: Cluster, manifest: Manifest) -> Pipeline:
    steps = [container(one.node) for pod in cluster.pods_of(manifest) for one in pod.containers]
    if manifest.kind == "ScheduledSparkApplication":
        steps = [_spark(manifest.node.get("spec", "template"))]
    if manifest.kind == "RayCronJob":
        entry = manifest.node.get("spec", "jobTemplate", "entrypoint")
        steps = [Step(entry.at, manifest.name, entry.word())] if entry else steps
    if manifest.kind == "ScheduledWorkflow":
        steps = [Step(manifest.at, manifest.name)]
    job = Job(manifest.at, manifest.name, tuple(steps))
    return Pipeline(manifest.at, "kubernetes", manifest.name, _trigger(manifest), (job,))


def _spark(spec: Node) -> Step:
    file = spec.get("mainApplicationFile")
    words = [file, *spec.get("arguments").list()]
    text = "spark-submit " + shlex.join(one.text for one in words if one.text)
    return Step(spec.at, "", Word(text, file.at if file else spec.at), image=spec.get("image").text)


# ---- Argo


def _argo(cluster: Cluster, manifest: Manifest) -> Pipeline:
    spec = manifest.node.get("spec", "workflowSpec") if manifest.kind == "CronWorkflow" else manifest.node.get("spec")
    jobs = tuple(islice(_of_spec(cluster, manifest, spec, 0), MOST))
    return Pipeline(manifest.at, "kubernetes", manifest.name, _trigger(manifest), jobs)


def _of_spec(cluster: Cluster, by: Manifest, spec: Node, depth: int) -> Iterator[Job]:
    reference = spec.get("workflowTemplateRef", "name")
    if reference and depth < _DEEP:
        for kind in _TEMPLATES:
            for one in cluster.named(by, kind, reference.text)[:1]:
                yield from _of_spec(cluster, one, one.node.get("spec"), depth + 1)
                return
        yield Job(reference.at, reference.text, (Step(reference.at, reference.text),))
        return
    templates = {one.get("name").text: one for one in spec.get("templates").list()}
    entry = templates.get(spec.get("entrypoint").text)
    if entry is not None:
        yield from _tasks(entry, templates, "", (), depth)


def _tasks(
    template: Node, templates: Mapping[str, Node], name: str, after: tuple[str, ...], depth: int
) -> Iterator[Job]:
    """The jobs of a template: those of its steps or tasks, or itself."""
    if depth > _DEEP or not (template.get("steps") or template.get("dag")):
        yield _leaf(template, template.at, name or template.get("name").text, after)
        return
    for group in template.get("steps").list():
        held = list(group.list()) if isinstance(group.value, list) else [group]
        made = list(islice((job for task in held for job in _task(task, templates, name, after, depth)), MOST))
        yield from made
        after = tuple(job.key for job in made) or after
    tasks = list(template.get("dag", "tasks").list())
    keys = {task.get("name").text for task in tasks}
    for task in tasks:
        named = [word.text for word in task.get("dependencies").words()]
        named += [word for word in _AFTER.findall(task.get("depends").text) if word in keys]
        yield from _task(task, templates, name, tuple(f"{name}{one}" for one in named) or after, depth)


def _task(task: Node, templates: Mapping[str, Node], prefix: str, after: tuple[str, ...], depth: int) -> Iterator[Job]:
    name = f"{prefix}{task.get('name').text}"
    template = templates.get(task.get("template").text)
    if template is None:
        inline = task.get("inline")
        reference = task.get("templateRef", "template").text
        if inline:
            yield _leaf(inline, task.at, name, after)
        else:
            yield Job(task.get("name").at, name, (Step(task.at, f"{name} {reference}"),), after, condition=_when(task))
        return
    if template.get("steps") or template.get("dag"):
        made = list(islice(_tasks(template, templates, f"{name}/", after, depth + 1), MOST))
        yield from made
        yield Job(task.get("name").at, name, (), tuple(job.key for job in made) or after)
        return
    yield replace(_leaf(template, task.get("name").at, name, after), condition=_when(task))


def _when(task: Node) -> str:
    """Whether a task runs whatever became of the one before."""
    depends = task.get("depends").text
    carries_on = task.get("continueOn")
    return "always()" if ("||" in depends and "Failed" in depends) or (carries_on and not depends) else ""


def _leaf(template: Node, at: Location, name: str, after: tuple[str, ...]) -> Job:
    suspend = template.get("suspend")
    asks = "suspend" in template.value if isinstance(template.value, dict) else False
    lets_on = suspend.get("duration").at if suspend.get("duration") else None
    held = [template.get(key) for key in ("container", "script") if template.get(key)]
    steps = [container(node, template.get("name").text) for node in held]
    steps += [container(node) for node in template.get("containerSet", "containers").list()]
    resource = template.get("resource", "manifest")
    if resource:
        steps.append(
            Step(
                resource.at,
                template.get("name").text,
                Word(f"kubectl apply -f - <<'MANIFEST'\n{resource.text}\nMANIFEST\n", resource.at),
            )
        )
    label = template.get("name").text
    return Job(at, name, tuple(steps), after, template.at if asks else None, lets_on=lets_on, label=label)


def _sensor(cluster: Cluster, manifest: Manifest) -> Iterator[Pipeline]:
    """What a sensor starts: a workflow that it names or holds; each trigger by itself."""
    for one in manifest.node.get("spec", "triggers").list():
        template = one.get("template")
        at = template.get("name").at if template.get("name") else template.at
        trigger = Trigger(at, "event", "sensor")
        for key in ("argoWorkflow", "k8s"):
            resource = template.get(key, "source", "resource")
            if resource:
                jobs = tuple(islice(_started(cluster, manifest, resource, template.get("name")), MOST))
                yield Pipeline(at, "kubernetes", template.get("name").text or manifest.name, (trigger,), jobs)


def _started(cluster: Cluster, by: Manifest, resource: Node, trigger: Node) -> Iterator[Job]:
    kind, name = resource.get("kind").text, resource.get("metadata", "name").text or resource.get("name").text
    spec = resource.get("spec")
    if kind in ("Workflow", *_TEMPLATES):
        found = list(_of_spec(cluster, by, spec, 0)) if spec else []
        for one in cluster.named(by, kind, name)[:1] if name and not found else ():
            found = list(_of_spec(cluster, one, one.node.get("spec"), 0))
        if found:
            yield from found
            return
    name = name or resource.get("metadata", "generateName").text
    steps = [container(node) for node in spec.get("template", "spec", "containers").list()]
    yield Job(
        resource.at, name or trigger.text, (*steps, Step(trigger.at or resource.at, f"{trigger.text} {name} {kind}"))
    )


# ---- Tekton


def _tekton(cluster: Cluster, manifest: Manifest) -> Pipeline:
    spec = manifest.node.get("spec")
    reference = spec.get("pipelineRef", "name").text
    held = spec.get("pipelineSpec") if manifest.kind == "PipelineRun" else spec
    for one in cluster.named(manifest, "Pipeline", reference)[:1] if reference else ():
        held = one.node.get("spec")
    notes = manifest.node.get("metadata", "annotations")
    event = next((node for key, node in notes.items() if key.endswith("pipelinesascode.tekton.dev/on-event")), None)
    triggers = (Trigger(event.at, "push", "push"),) if event is not None else ()
    jobs = tuple(_tekton_job(cluster, manifest, task) for task in islice(held.get("tasks").list(), MOST))
    return Pipeline(manifest.at, "kubernetes", manifest.name, triggers, jobs)


def _tekton_job(cluster: Cluster, by: Manifest, task: Node) -> Job:
    name, reference = task.get("name"), task.get("taskRef", "name").text
    spec = task.get("taskSpec")
    for one in cluster.named(by, "Task", reference)[:1] if reference else ():
        spec = one.node.get("spec")
    steps = tuple(container(node) for node in spec.get("steps").list()) or (Step(task.at, f"{name.text} {reference}"),)
    return Job(name.at, name.text, steps, tuple(word.text for word in task.get("runAfter").words()), label=reference)
