"""What clocks and sensors of orchestrators run: jobs and assets of Dagster, flows of Metaflow, pipelines of Kubeflow,
Vertex and SageMaker, launch plans of Flyte, rules of EventBridge.

dagster 1.13, define_asset_job (selection), decorators/schedule_decorator.py, sensor_decorator.py, AutomationCondition;
metaflow 2, plugins/aws/step_functions/schedule_decorator.py; kfp 2, client/client.py (create_recurring_run);
google-cloud-aiplatform, PipelineJob.create_schedule; sagemaker 2, workflow/triggers.py (PipelineSchedule);
flytekit 1, core/launch_plan.py; clearml 2, automation/scheduler.py; botocore, events and scheduler.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref, Routine
from vramguard.link.code.words import literal, texts, values, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.starts import Starts

# Calls that are given the function they run, and what has to be said for a clock to run it.
_GIVEN: Final = (
    ("build_from_flow", "flow", 0, ("schedule", "schedules", "cron", "interval")),
    ("create_recurring_run_from_pipeline_func", "pipeline_func", 0, ("cron_expression", "interval_second")),
    ("LaunchPlan", "workflow", NONE, ("schedule",)),
    ("get_or_create", "workflow", NONE, ("schedule",)),
    ("create", "workflow", 1, ("schedule",)),
    ("add_task", "schedule_function", NONE, ()),
)
# Calls that put a pipeline on a clock that was compiled, or defined, in the same file.
_HERE: Final = (
    ("create_recurring_run", ("cron_expression", "interval_second")),
    ("create_schedule", ("cron", "cron_expression")),
    ("PipelineSchedule", ("cron", "rate", "at")),
)
_PIPELINE: Final = re.compile(r"^(kfp|google_cloud_pipeline_components)\b.*\bpipeline(\(\))?$")
_JOBS: Final = re.compile(r"^dagster\.((?:[\w.]*\.)?(?:multi_)?(?:asset_)?(?:schedule|sensor))\(\)$")
_ASSET: Final = re.compile(r"^dagster\.(?:[\w.]*\.)?(?:multi_|graph_)?asset(\(\))?$")
_FLOW: Final = re.compile(r"^metaflow\.(?:[\w.]*\.)?(schedule|trigger|trigger_on_finish)\(\)$")
_BY_ITSELF: Final = re.compile(r"\b(eager|on_cron|AutoMaterializePolicy)\b")
_TRAINS: Final = re.compile(r"re-?train|(?<![a-z])(train|training|fine-?tun\w*)(?![a-z])", re.IGNORECASE)
_OTHERS: Final = re.compile(r"(?<![a-z])(monitor\w*|drift|report|evaluat\w*|infer\w*|predict\w*|batch)(?![a-z])", re.I)


@dataclass(frozen=True)
class Timed:
    """A place that says when something runs, and what. `kind`: clock, event; no `routine`: known by its name alone."""

    place: Ref
    kind: str
    what: str
    routine: Routine | None


def timed(code: Code, starts: Starts) -> Iterator[Timed]:
    """Everything of orchestrators that a clock or an event runs, and that may train."""
    judged = set(code.routines)
    for find in (_given, _located, _compiled, _of_dagster, _of_assets, _of_metaflow, _of_cloud):
        yield from (one for one in find(code, starts) if one.place.routine in judged)


def _calls(code: Code, name: str) -> Iterator[Ref]:
    yield from code.program.calls.get(name, ())


def _said(code: Code, call: Ref, words: tuple[str, ...]) -> Ref | None:
    """The argument that says when, where it says anything; the call where it is a name that stands elsewhere."""
    for word in words:
        found = code.argument(call, word)
        if found is not None and found.node.name != "None":
            return found if found.at.line >= call.at.line else call
    return None


def _functions(code: Code, ref: Ref | None) -> Iterator[Routine]:
    """The functions of the repository that a value is."""
    if ref is not None:
        yield from code.meanings.functions(ref)


def _given(code: Code, _: Starts) -> Iterator[Timed]:
    for name, keyword, position, times in _GIVEN:
        for call in _calls(code, name):
            place = _said(code, call, times) if times else call
            if place is not None:
                for routine in _functions(code, code.argument(call, keyword, position)):
                    yield Timed(place, "clock", code.written(call), routine)


def _located(code: Code, starts: Starts) -> Iterator[Timed]:
    """`DeploymentSpec(flow_location="flows/train.py", schedule=…)`: a flow of that file, as seen from here."""
    for name in ("DeploymentSpec", "Deployment"):
        for call in _calls(code, name):
            place = _said(code, call, ("schedule", "schedules"))
            prefect = any(path.startswith("prefect.") for path in code.meanings.called(call))
            where = literal(code, code.argument(call, "flow_location") or code.argument(call, "entrypoint"))
            wanted = literal(code, code.argument(call, "flow_name"))
            if place is None or not prefect:
                continue
            given = _functions(code, code.argument(call, "flow"))
            for routine in _flows_in(code, starts, call, where) if where else given:
                if wanted in ("", routine.function.name):
                    yield Timed(place, "clock", code.written(call), routine)


def _flows_in(code: Code, starts: Starts, call: Ref, where: str) -> Iterator[Routine]:
    """The flows that train in a file, which a call names from its own place."""
    path, _, name = where.partition(":")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(call.routine.path), path))
    for routine in starts.down:
        named = not name or routine.function.name == name
        if named and routine.path in (path, where.partition(":")[0].removeprefix("./")) and _is_flow(code, routine):
            yield routine


def _is_flow(code: Code, routine: Routine) -> bool:
    return any(
        path.startswith("prefect.") and "flow" in path for _, paths in code.decorators(routine) for path in paths
    )


def _compiled(code: Code, starts: Starts) -> Iterator[Timed]:
    for name, times in _HERE:
        for call in _calls(code, name):
            place = _said(code, call, times)
            found = list(_pipelines_of(code, starts, call)) if place is not None else []
            if place is not None and found:
                yield Timed(place, "clock", code.written(call), found[0])


def _pipelines_of(code: Code, starts: Starts, call: Ref) -> Iterator[Routine]:
    """The pipelines that a file compiles, defines, or runs in the function that puts one on a clock."""
    for compiled in _calls(code, "compile"):
        if compiled.routine.path == call.routine.path:
            for routine in _functions(code, code.argument(compiled, "pipeline_func", 0)):
                if routine in starts.down:
                    yield routine
    for routine in starts.down:
        if routine.path == call.routine.path and any(
            _PIPELINE.match(path) for _, paths in code.decorators(routine) for path in paths
        ):
            yield routine
    if call.routine in starts.down:
        yield call.routine


# ---- Dagster


def _of_dagster(code: Code, starts: Starts) -> Iterator[Timed]:
    """`ScheduleDefinition(job=…)` of assets; what `@schedule(job=…)` and `@sensor(job=…)` request."""
    for call in (*_calls(code, "ScheduleDefinition"), *_calls(code, "build_schedule_from_partitioned_job")):
        given = code.argument(call, "job") or code.argument(call, "target") or code.argument(call, "job", 0)
        for routine in _of_job(code, starts, given, by_function=False):
            yield Timed(_said(code, call, ("cron_schedule",)) or call, "clock", code.written(call), routine)
    for name in ("schedule", "sensor", "asset_sensor", "multi_asset_sensor"):
        for call in _calls(code, name):
            path = next(iter(code.meanings.called(call)), "")
            given = code.argument(call, "job") or code.argument(call, "target")
            if given is not None and _JOBS.match(f"{path}()"):
                kind = "clock" if name == "schedule" else "event"
                for routine in _of_job(code, starts, given, by_function=True):
                    yield Timed(_said(code, call, ("cron_schedule",)) or call, kind, code.written(call), routine)


def _of_job(code: Code, starts: Starts, given: Ref | None, *, by_function: bool) -> Iterator[Routine]:
    """What a job runs that trains: its own function, or the first asset of its selection."""
    if by_function:
        yield from (one for one in _functions(code, given) if one in starts.down)
    for ref in values(code, given):
        if ref.node.op == "call" and code.written(ref).rpartition(".")[2] == "define_asset_job":
            yield from islice(_selected(code, starts, ref), 1)


def _selected(code: Code, starts: Starts, job: Ref) -> Iterator[Routine]:
    chosen = code.argument(job, "selection", 1)
    words = set[str]() if chosen is None else {one for ref in values(code, chosen) for one in _named(code, ref)}
    every = chosen is None or "*" in words or "all" in words
    for routine in starts.down:
        if _is_asset(code, routine) and (every or routine.function.name in words):
            yield routine


def _named(code: Code, ref: Ref) -> Iterator[str]:
    yield from texts(code, ref)
    for inner in within(ref):
        yield inner.node.name.rpartition(".")[2]


def _is_asset(code: Code, routine: Routine) -> bool:
    return any(_ASSET.match(path) for _, paths in code.decorators(routine) for path in paths)


def _of_assets(code: Code, starts: Starts) -> Iterator[Timed]:
    """`@asset(automation_condition=AutomationCondition.on_cron(…))`."""
    for routine in starts.down:
        for ref, paths in code.decorators(routine) if routine.function.decorators else ():
            given = (
                _said(code, ref, ("automation_condition", "auto_materialize_policy")) if ref.node.op == "call" else None
            )
            if given is not None and any(map(_ASSET.match, paths)):
                said = " ".join(code.written(inner) for inner in within(given))
                if _BY_ITSELF.search(said):
                    yield Timed(given, "clock" if "on_cron" in said else "event", code.written(ref), routine)


# ---- Metaflow, and clouds


def _of_metaflow(code: Code, starts: Starts) -> Iterator[Timed]:
    """`@schedule(weekly=True)` of a class, one of whose steps trains."""
    seen = set[Ref]()
    for routine in starts.down:
        owner = code.program.owner(routine)
        for ref, paths in code.decorators(owner) if owner is not None and owner.function.decorators else ():
            match = next((found for path in paths if (found := _FLOW.match(path))), None)
            if match and ref not in seen:
                seen.add(ref)
                yield Timed(ref, "clock" if match[1] == "schedule" else "event", code.written(ref), routine)


def _of_cloud(code: Code, _: Starts) -> Iterator[Timed]:
    """A rule of EventBridge, or a job of a cloud's scheduler, whose own words say that it trains."""
    for name in ("put_rule", "create_schedule"):
        for call in _calls(code, name):
            place = _said(code, call, ("ScheduleExpression",))
            if place is not None and any(path.startswith("boto3.") for path in code.meanings.called(call)):
                said = " ".join(one for word in ("Name", "Description", "Target") for one in _words(code, call, word))
                if _TRAINS.search(said) and not _OTHERS.search(said):
                    yield Timed(place, "clock", code.written(call), None)


def _words(code: Code, call: Ref, keyword: str) -> list[str]:
    given = code.argument(call, keyword)
    return [] if given is None else list(texts(code, given))
