"""Who collects metrics in this repository: exporters of cards, monitors of what serves, jobs of Prometheus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from vramguard import data
from vramguard.extract.objects.dashboards import COUNTERS
from vramguard.facts import HelmChart, Image, ScriptText
from vramguard.facts.values import UNREAD
from vramguard.link.cluster import cluster
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts, Manifest
    from vramguard.link.cluster import Cluster, Surface

MONITORS: Final = (
    *("ServiceMonitor", "PodMonitor", "PodMonitoring", "ClusterPodMonitoring", "VMServiceScrape", "VMPodScrape"),
    *("ScrapeConfig", "Probe", "NodeMonitoring", "ClusterNodeMonitoring"),
)
_RULES: Final = ("PrometheusRule", "VMRule", "Rules", "ClusterRules", "GlobalRules")
_OTHERS: Final = ("GrafanaDashboard", "OpenTelemetryCollector", "Prometheus", "Alertmanager", "DatadogAgent")
_FORMS: Final = ("rules", "prometheus", "dashboard", COUNTERS, "alertmanager", "prometheus-stack", "prometheus-adapter")
_CLOUDS: Final = (  # resources of Terraform that watch: rules and stores of a cloud's own Prometheus, its Grafana
    *("azurerm_monitor_alert_prometheus_rule_group", "azurerm_monitor_workspace", "azurerm_dashboard_grafana"),
    *("aws_prometheus_rule_group_namespace", "aws_prometheus_workspace", "aws_grafana_workspace"),
)
# Words that say of a monitor whose selector finds nothing here that it is one of a model's server.
_SERVES: Final = re.compile(
    r"vllm|\btgi\b|text-generation|sglang|triton|\bnim\b|llm|infer|predict|model|kserve|ray|torchserve|tf-?serving|gpu"
)
_SCRAPED: Final = ("prometheus.io/scrape", "serving.kserve.io/enable-prometheus-scraping", "k8s.grafana.com/scrape")
_DATADOG: Final = re.compile(r"ad\.datadoghq\.com/.+")


@dataclass(frozen=True)
class Exporter:
    """What exports the state of cards. `standard`: dcgm-exporter with the list of counters that its image brings.

    `dcgm`: it is dcgm-exporter, or brings it.
    """

    at: Location
    what: str
    standard: bool = False
    dcgm: bool = False


@dataclass(frozen=True)
class Scrape:
    """What collects from what serves. `at` is its place, `what` says what it is."""

    at: Location
    what: str


def monitored(facts: Facts) -> Manifest | None:
    """The first object that shows that this repository manages how it is watched; None where it has none."""
    return facts.once("monitored", _monitored)


def _monitored(facts: Facts) -> Manifest | None:
    graph = cluster(facts)
    found = [*graph.of(*MONITORS, *_RULES, *_OTHERS), *(one for form in _FORMS for one in graph.configured(form))]
    found += [one for one in graph.configured("terraform") if one.kind in _CLOUDS]
    judged = [one for one in found if facts.classify(one.at.path) not in UNREAD]
    return min(judged, key=lambda one: one.at, default=None)


@cache
def _word() -> re.Pattern[str]:
    table: Mapping[str, Any] = data.load("metrics")["gpu_exporters"]
    return re.compile("|".join(re.escape(word) for word in table["words"]), re.IGNORECASE)


def exporters(facts: Facts) -> tuple[Exporter, ...]:
    """Everything of this repository that exports the state of cards, as far as it says so."""
    return facts.once("gpu-exporters", lambda facts: tuple(_exporters(facts)))


def _exporters(facts: Facts) -> Iterator[Exporter]:
    graph = cluster(facts)
    yield from _running(graph)
    yield from _installed(graph)
    yield from _by_terraform(facts)
    yield from _by_scripts(facts)
    for built in facts.of(Image):
        if built.form != "kubernetes" and _word().search(built.name):
            yield Exporter(built.at, f"runs {built.name}", dcgm="dcgm-exporter" in built.name)
    for chart in facts.of(HelmChart):
        if any(_word().search(one.name) for one in chart.dependencies):
            yield Exporter(chart.at, f"the chart {chart.name} brings an exporter of cards")


def _running(graph: Cluster) -> Iterator[Exporter]:
    """The exporters that objects of this repository run."""
    for owner in graph.objects():
        for pod in graph.pods_of(owner):
            for container in pod.containers:
                image = container.node.get("image").text
                if _word().search(image):
                    own = "dcgm-exporter" not in image or _replaces(container.node.value, pod.spec.value)
                    yield Exporter(owner.at, f"{owner.title} runs {image}", not own, "dcgm-exporter" in image)


def _installed(graph: Cluster) -> Iterator[Exporter]:
    """The exporters that an operator or a chart brings."""
    for owner in graph.of(*data.load("metrics")["gpu_exporters"]["kinds"]):
        if owner.group.startswith("nvidia."):
            yield Exporter(owner.at, f"{owner.title} brings dcgm-exporter", dcgm=True)
    for owner in graph.of("Application", "ApplicationSet", "HelmRelease", "HelmChart", "Addon"):
        words = _flat(owner.node.value)
        if _word().search(words):
            known = bool(_DCGM.search(words))
            alone = known and "dcgm-exporter" in words and not _OPERATOR.search(words) and not _OWN_VALUES.search(words)
            yield Exporter(owner.at, f"{owner.title} installs an exporter of cards", alone, known)


def _by_terraform(facts: Facts) -> Iterator[Exporter]:
    """The charts that Terraform installs by a resource of its own."""
    for one in cluster(facts).configured("terraform"):
        if one.kind != "helm_release" or facts.classify(one.at.path) in UNREAD:
            continue
        chart = one.node.get("chart").text
        if _word().search(chart):
            own = one.node.get("values") or _OWN_VALUES.search(_flat(one.node.value))
            alone = chart.endswith("dcgm-exporter") and not own
            yield Exporter(one.at, f"helm_release.{one.name} installs {chart}", alone, bool(_DCGM.search(chart)))


def _by_scripts(facts: Facts) -> Iterator[Exporter]:
    """The charts that scripts install, those that Terraform runs as well."""
    for script in facts.of(ScriptText):
        if "dcgm-exporter" in script.text.text and facts.classify(script.at.path) not in UNREAD:
            yield from _installing(script.at, script.text.text)
    for one in cluster(facts).configured("terraform"):
        if one.kind == "null_resource" and facts.classify(one.at.path) not in UNREAD:
            yield from _installing(one.at, _flat(one.node.value))


def _installing(at: Location, text: str) -> Iterator[Exporter]:
    for command in _HELM.findall(text.replace("\\\n", " ")):
        own = _OWN_VALUES.search(command) or re.search(r"\s(?:-f|--values|--set-file)[ =]", command)
        yield Exporter(at, "helm installs dcgm-exporter", not own, dcgm=True)


_DCGM: Final = re.compile(r"dcgm-exporter|gpu-operator")
_OPERATOR: Final = re.compile(r"chart[^\w]+gpu-operator|gpu-operator/")
_OWN_VALUES: Final = re.compile(
    r"arguments|customMetrics|\.csv|[cC]onfigMap|extraVolumes|valuesFrom|valueFiles|\$values"
    r"|_COLLECTORS|CONFIGMAP_DATA|\bsources\b"
)
_HELM: Final = re.compile(r"\bhelm\s+(?:upgrade|install)\b[^\n;&|]{0,300}?/dcgm-exporter\b[^\n;&|]{0,2000}")
_OWN_LIST: Final = re.compile(r"\.csv|DCGM_EXPORTER_(?:COLLECTORS|CONFIGMAP_DATA)|(?:^|\s)(?:-m|--configmap-data)\s")


def _replaces(container: object, spec: object) -> bool:
    """Whether an exporter reads a list of its own: one that is mounted, or that it is told of."""
    return bool(_OWN_LIST.search(_flat(container))) or "configMap" in _flat(spec)


def scrapes(facts: Facts) -> tuple[Scrape, ...]:
    """Everything that collects from cards or from what serves a model on them."""
    return facts.once("scrapes", lambda facts: tuple(_scrapes(facts)))


def _scrapes(facts: Facts) -> Iterator[Scrape]:
    graph = cluster(facts)
    yield from (Scrape(one.at, one.what) for one in exporters(facts))
    yield from (Scrape(one.at, "a list of an exporter's counters") for one in graph.configured(COUNTERS))
    for monitor in graph.of(*MONITORS):
        if _finds(graph, monitor):
            yield Scrape(monitor.at, f"{monitor.title} collects from it")
    for surface in graph.gpu_surfaces:
        yield from _annotated(graph, surface)
    for form in ("prometheus", "prometheus-stack"):
        for owner in graph.configured(form):
            words = _flat(owner.node.value)
            if _word().search(words) or _SERVES.search(words.lower()):
                yield Scrape(owner.at, "Prometheus has a job for it")
    for owner in graph.of("OpenTelemetryCollector", "ConfigMap"):
        words = _flat(owner.node.get("spec" if owner.kind != "ConfigMap" else "data").value)
        if "scrape_configs" in words and (_word().search(words) or _SERVES.search(words.lower())):
            yield Scrape(owner.at, f"{owner.title} has a job for it")


def _finds(graph: Cluster, monitor: Manifest) -> bool:
    """Whether a monitor selects a GPU surface, exporters of cards, or says that it is one of theirs."""
    spec = monitor.node.get("spec")
    selector = {key: node.text for key, node in spec.get("selector", "matchLabels").items()}
    words = " ".join((monitor.name, _flat(spec.value), *selector.values()))
    if _word().search(words) or _SERVES.search(words.lower()):
        return True
    if not selector:  # everything, or by expressions that nobody here evaluates
        return not re.search(
            r"kafka|redis|postgres|mysql|mongo|elastic|nginx|rabbit|cassandra|operator|controller", words
        )
    return any(_has(labels, selector) for surface in graph.gpu_surfaces for labels in _labels(graph, surface))


def _labels(graph: Cluster, surface: Surface) -> Iterator[Mapping[str, str]]:
    """The labels by which a surface may be found: its pods', its own, those of the Services that send to it."""
    yield from (pod.labels for pod in surface.pods)
    if surface.manifest is not None:
        yield surface.manifest.labels
    yield from (service.labels for service in _services(graph, surface))


def _services(graph: Cluster, surface: Surface) -> tuple[Manifest, ...]:
    """The Services whose selector a surface's pods have."""
    found: Mapping[int, tuple[Manifest, ...]] = graph.facts.once("services-of-surfaces", lambda _: _selecting(graph))
    return found.get(id(surface), ())


def _selecting(graph: Cluster) -> Mapping[int, tuple[Manifest, ...]]:
    services = [(one, {key: node.text for key, node in one.node.get("spec", "selector").items()})
                for one in graph.of("Service", group="")]  # fmt: skip
    return {
        id(surface): tuple(
            service for service, wanted in services if wanted and any(_has(pod.labels, wanted) for pod in surface.pods)
        )
        for surface in graph.gpu_surfaces
    }


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


def _annotated(graph: Cluster, surface: Surface) -> Iterator[Scrape]:
    """Annotations that ask for collection: on the pods, the object, or a Service of it."""
    held = [pod.annotations for pod in surface.pods]
    if surface.manifest is not None:
        held.append(surface.manifest.node.get("metadata", "annotations"))
        held += [one.node.get("metadata", "annotations") for one in _services(graph, surface)]
    for notes in held:
        for key, node in notes.items():
            if (key in _SCRAPED and node.text.lower() == "true") or _DATADOG.fullmatch(key):
                yield Scrape(node.at, f"the annotation {key} asks for collection")


def _flat(value: object, depth: int = 12, most: int = 4000) -> str:
    """The words of a value, keys and scalars, as one text: for looking for a word in it."""
    words: list[str] = []
    waiting = [(value, depth)]
    while waiting and len(words) < most:
        one, left = waiting.pop()
        if isinstance(one, dict) and left:
            for key, held in one.items():
                words.append(str(key))
                waiting.append((held, left - 1))
        elif isinstance(one, list) and left:
            waiting += [(held, left - 1) for held in one]
        elif isinstance(one, str | int | float):
            words.append(str(one)[:20_000])
    return " ".join(words)
