"""What nobody watches: cards without an exporter, faults without an alert, NaN and the allocator without a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard import data
from vramguard.facts import Launch, PythonMetrics, ScriptText, Texts
from vramguard.facts.outputs import Step
from vramguard.facts.values import UNREAD, Word
from vramguard.link.cluster import cluster
from vramguard.link.cluster.podspecs import composed
from vramguard.link.cluster.surfaces import STREAMING
from vramguard.link.launches import images
from vramguard.link.telemetry import names
from vramguard.link.telemetry.collectors import monitored, scrapes
from vramguard.link.telemetry.expressions import asked, dashboards, rule_groups
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Surface
    from vramguard.link.cluster.pods import Container
    from vramguard.link.telemetry.expressions import Asked, RuleGroup

# Images of one's own that say that they are vLLM's.
_OWN_VLLM: Final = re.compile(r"(?:^|[-_/])vllm(?:[-_](?:server|serve|serving|openai))?(?::|@|$)")
_OF_CARDS: Final = frozenset(("memory", "fragmentation", "nvlink", "temperature", "xid", "nan"))
# A file that looks like one that collects, and that is no YAML that could be read: nothing is said of its absence.
_UNREAD_MONITOR: Final = re.compile(
    r"(?:service|pod|vm)[-_]?(?:monitor|scrape)|pod[-_]?monitoring|dcgm|gpu[-_]operator|prometheus", re.IGNORECASE
)
# Where whoever writes the repository has to see to it: a platform has telemetry of its own, and a chart may bring some.
_SCRAPED_HERE: Final = ("", "compose")
_MOST_ROLES: Final = 8  # of one object that serve side by side
_SERVES: Final = re.compile(
    r"vllm|\btgi\b|sglang|triton|\bnim\b|\bllms?\b|inference|predict|\bmodels?\b|\bml\b|kserve|serving|\bgpus?\b", re.I
)


@dataclass(frozen=True)
class Gap:
    """Something that is missing, and where it should be. `weak`: less certain, or of less weight."""

    at: Location
    surface: str
    what: str
    steps: tuple[Step, ...] = ()
    weak: bool = False


def judged(facts: Facts) -> list[Surface]:
    """The surfaces with a card that are somebody's to mend."""
    return [one for one in cluster(facts).gpu_surfaces if facts.classify(one.at.path) not in UNREAD]


def unwatched(facts: Facts) -> Iterator[Gap]:
    """The first surface with a card, where nothing collects from cards or from what serves on them."""
    surfaces = [one for one in judged(facts) if _placed(one) in _SCRAPED_HERE]
    if not surfaces or scrapes(facts) or any(_UNREAD_MONITOR.search(path) for path in facts.paths):
        return
    surface, manager = surfaces[0], monitored(facts)
    steps = [Step(surface.gpu, f"{surface.name} asks for a GPU here")] if surface.gpu else []
    if manager is not None:
        steps.append(Step(manager.at, f"{manager.title} shows that monitoring is managed in this repository"))
    yield Gap(surface.at, surface.name, "", tuple(steps), weak=manager is None)


def _placed(surface: Surface) -> str:
    """What a surface is run by: an object of a cluster, else the form of what starts it."""
    return "" if surface.manifest is not None else surface.launches[0].form if surface.launches else "?"


def unalerted(facts: Facts) -> Iterator[Gap]:
    """What no alert tells of, in a repository that has alerts, and cards or an engine of language models."""
    groups = [one for one in rule_groups(facts) if facts.classify(one.at.path) not in UNREAD]
    if not groups:
        yield from _without_alerts(facts)
        return
    surfaces = judged(facts)
    steps = [Step(one.gpu or one.at, f"{one.name} asks for a GPU here") for one in surfaces[:1]]
    if not surfaces:
        steps = [Step(one.at, f"this alert is of {engine}") for group in groups for one in group.alerts
                 if (engine := _engine_of(one))][:1]  # fmt: skip
    covered = _covered(facts, groups)
    parallel = any(surface.tensor_parallel_size > 1 for surface in surfaces)
    missing = [says for name, says in names.wanted(parallel=parallel).items() if name not in covered]
    if steps and missing:
        named = surfaces[0].name if surfaces else steps[0].what.rpartition(" ")[2]
        yield Gap(
            _first_of_models(facts, groups),
            named,
            ", ".join(missing),
            tuple(steps),
            weak=bool(covered & _OF_CARDS) or not surfaces,
        )


def _first_of_models(facts: Facts, groups: list[RuleGroup]) -> Location:
    """The first rules of the first file where an alert asks for a card's or an engine's metric, else the first."""
    recorded = _recorded(facts)
    ordered = sorted(groups, key=lambda one: one.at)
    told = [
        group
        for group in ordered
        if any(names.is_dcgm(name) or names.family_of(name) for one in group.alerts for name in _of(one, recorded))
    ]
    return min(one.stands for one in (told or ordered)[0].alerts)


def _recorded(facts: Facts) -> dict[str, tuple[str, ...]]:
    return {one.name: one.query.metrics for one in asked(facts) if one.kind == "record"}


def _of(alert: Asked, recorded: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The metrics that an alert asks for, and those that they are recorded from."""
    return tuple(name for metric in alert.query.metrics for name in (metric, *recorded.get(metric, ())))


def _without_alerts(facts: Facts) -> Iterator[Gap]:
    """That there is none at all, where the repository manages how its surfaces are watched."""
    manager, surfaces = monitored(facts), judged(facts)
    if manager is not None and surfaces:
        parallel = any(surface.tensor_parallel_size > 1 for surface in surfaces)
        missing = ", ".join(names.wanted(parallel=parallel).values())
        steps = (Step(surfaces[0].gpu or surfaces[0].at, f"{surfaces[0].name} asks for a GPU here"),)
        yield Gap(manager.at, surfaces[0].name, missing, steps, weak=True)


def _engine_of(alert: Asked) -> str:
    """The engine of language models that an alert is of; empty for none."""
    found = next((one for metric in alert.query.metrics if (one := names.family_of(metric))), None)
    return found.name if found and found.name in STREAMING else ""


def _covered(facts: Facts, groups: list[RuleGroup]) -> frozenset[str]:
    """What the alerts tell of, by the names of their metrics and of what those are recorded from."""
    recorded = _recorded(facts)
    covered: set[str] = set()
    for group in groups:
        for alert in group.alerts:
            covered |= names.signals(_of(alert, recorded), alert.name)
    return frozenset(covered)


def uncounted_nans(facts: Facts) -> Iterator[Gap]:
    """Surfaces of vLLM that count no NaN, in a repository that manages how it is watched."""
    manager = monitored(facts)
    if manager is None or _set_in_image(facts):
        return
    for surface in cluster(facts).surfaces:
        if _counts(surface) and facts.classify(surface.at.path) not in UNREAD:
            for at in _unset(facts, surface):
                steps = (Step(manager.at, f"{manager.title} shows that monitoring is managed in this repository"),)
                yield Gap(at, surface.name, _lacks(facts, surface), steps)


def _counts(surface: Surface) -> bool:
    """Whether a surface's vLLM could count: on a card, and not within Ray, whose runtime has ways of its own."""
    elsewhere = any(one.accelerator is not None for one in surface.deployments)
    own = _placed(surface) in (*_SCRAPED_HERE, "helm")
    return _is_vllm(surface) and own and not elsewhere and not surface.name.startswith("Ray")


def _is_vllm(surface: Surface) -> bool:
    """Whether a surface runs vLLM: by its command, or by the image of the container with the card, which tells as much
    where a script that nobody here reads starts it.
    """
    container = surface.container
    if surface.engine is not None or container is None or not container.has_gpu:
        return surface.engine == "vllm"
    image = container.node.get("image").word()
    if images.found(image).engine == "vllm":
        return True
    words = " ".join(word.text for key in ("command", "args") for word in container.node.get(key).words())
    return bool(image and _OWN_VLLM.search(image.text)) and "--max-model-len" in words


def _set_in_image(facts: Facts) -> bool:
    """Whether a Dockerfile of this repository sets the variable for whatever it builds."""
    variable = data.load("metrics")["nan"]["variable"]
    return any(variable in one.env for one in facts.of(Launch) if one.form == "dockerfile")


def _written(facts: Facts, variable: str) -> bool:
    """Whether a script or a text that pods are given names the variable."""
    texts = (word.text for held in facts.of(Texts) for word in held.values.values())
    scripts = (script.text.text for script in facts.of(ScriptText))
    return any(variable in text for text in (*texts, *scripts))


def _unset(facts: Facts, surface: Surface) -> Iterator[Location]:
    """Where a surface should say that NaN are counted; nowhere where it does, or where that is not known."""
    variable = data.load("metrics")["nan"]["variable"]
    if any(_sets(launch, variable) for launch in surface.launches):
        return
    if surface.engine is None and _written(facts, variable):  # by a script that starts it, perhaps
        return
    grouped = surface.manifest is not None and surface.manifest.kind == "LeaderWorkerSet"  # whose leader answers
    pods = surface.pods[:1] if grouped else surface.pods
    containers = [one for pod in pods for one in pod.containers if one.has_gpu][:_MOST_ROLES]
    containers = containers or _alone(surface)
    if not containers:
        yield _of_service(facts, surface) or (_of_launch(surface.launches[0]) if surface.launches else surface.at)
    for container in containers:
        if (at := _of_container(container, variable)) is not None:
            yield at


def _alone(surface: Surface) -> list[Container]:
    """The one container of a surface whose engine runs without a card of its own."""
    held = [one for pod in surface.pods for one in pod.containers]
    return held if len(held) == 1 and surface.deployments and held[0].node.get("image") else []


def _of_service(facts: Facts, surface: Surface) -> Location | None:
    """Where a service of compose says its variables, or its image; None for what is none."""
    services = facts.once("composed surfaces", lambda facts: {id(one): node for one, node in composed(cluster(facts))})
    node: Node | None = services.get(id(surface))
    asked = (node.get("environment"), node.get("image")) if node else ()
    return next((one.at for one in asked if one), None)


def _of_launch(launch: Launch) -> Location:
    """The first of the variables of what is no container of a cluster, else its image, else itself."""
    variables = [
        value.at for value in launch.env.values() if isinstance(value, Word) and value.at.path == launch.at.path
    ]
    return min(variables, default=launch.image.at if launch.image else launch.at)


def _of_container(container: Container, variable: str) -> Location | None:
    if container.node.get("envFrom").value:
        return None
    for node in container.node.get("env").list():
        if node.get("name").text == variable:
            return node.at if node.get("value").text in ("0", "false", "False", "") else None
    environment = container.node.get("env")
    image = container.node.get("image")
    return environment.at if environment.value else (image or container.node.get("name")).at


def _lacks(facts: Facts, surface: Surface) -> str:
    """Why it counts none: the variable is not set, or its release knows none."""
    table = data.load("metrics")["nan"]
    for one in surface.deployments:
        release = names.release(facts, one)
        if release and () < names.version(release) < names.version(table["first"]):
            return f"{release} cannot, {table['first']} and later can"
    return f"{table['variable']} is not set"


def _sets(launch: Launch, variable: str) -> bool:
    """Whether a launch sets the variable, or takes its variables from where nobody here can look."""
    value = launch.env.get(variable)
    text = f"{launch.script.text if launch.script else ''} {' '.join(word.text for word in launch.command)}"
    if f"{variable}=1" in text or launch.references:
        return True
    return value is not None and not (isinstance(value, Word) and value.known and value.text in ("0", "", "false"))


def blind_dashboards(facts: Facts) -> Iterator[Gap]:
    """Dashboards of a surface with a card that show its processor and its host's memory only."""
    surfaces = judged(facts)
    if not surfaces:
        return
    by_owner: dict[int, list[str]] = {}
    unread: set[int] = set()
    words: dict[int, str] = {}
    for one in asked(facts):
        if one.kind == "panel":
            by_owner.setdefault(id(one.owner), []).extend(one.query.metrics)
            words[id(one.owner)] = words.get(id(one.owner), "") + " " + one.query.text[:500]
            if not one.query.metrics:
                unread.add(id(one.owner))
    for board in dashboards(facts):
        metrics = by_owner.get(id(board), [])
        host = metrics and id(board) not in unread and all(names.of_host(metric) for metric in metrics)
        if not host or not any(names.of_load(metric) for metric in metrics):
            continue
        if (surface := _of_board(board, words[id(board)], surfaces)) is not None:
            shown = ", ".join(dict.fromkeys(metrics[:3]))
            steps = (Step(surface.gpu or surface.at, f"{surface.name} asks for a GPU here"),)
            yield Gap(board.at, surface.name, shown, steps)


def _of_board(board: Manifest, words: str, surfaces: list[Surface]) -> Surface | None:
    """The surface that a dashboard is of: one that its queries name, else the first if its title is of models."""
    for surface in surfaces:
        name = surface.name.partition("/")[2]
        if len(name) > 2 and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w])", words):  # noqa: PLR2004
            return surface
    return surfaces[0] if _SERVES.search(board.name) else None


def silent_allocators(facts: Facts) -> Iterator[Gap]:
    """Python servers that run a model with torch on a card, and tell Prometheus nothing of its allocator."""
    modules = [one for one in facts.of(PythonMetrics) if facts.classify(one.at.path) not in UNREAD]
    if any(one.allocator for one in modules):
        return
    for module in modules:
        if module.exposes is None:
            continue
        near = [one for one in modules if one.card and (one is module or _stem(one) in module.imports)]
        if near:
            steps = (Step(near[0].at, "the model runs with torch on a card here"),)
            yield Gap(module.exposes, module.at.path, "", steps)


def _stem(module: PythonMetrics) -> str:
    """The name by which a module is imported: a package's is its folder's."""
    folder, _, name = module.at.path.removesuffix(".py").rpartition("/")
    return folder.rpartition("/")[2] if name == "__init__" else name
