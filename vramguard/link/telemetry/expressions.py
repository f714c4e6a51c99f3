"""Every place of the repository that asks for a metric: alerts, dashboards, autoscalers, analyses of a rollout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.extract import terraform
from vramguard.extract.objects.dashboards import DASHBOARD, held
from vramguard.facts import Manifest
from vramguard.facts.nodes import Node
from vramguard.link.cluster import cluster
from vramguard.link.telemetry import promql
from vramguard.link.telemetry.promql import Query
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts

_RULES: Final = ("PrometheusRule", "VMRule", "Rules", "ClusterRules", "GlobalRules")
# Kinds that list queries: under which keys of `spec`, under which of an item, and what they are for.
_ANALYSED: Final = (("metrics",), ("provider", "prometheus", "query"), "analysis")
_QUERIES: Final = {
    "ScaledObject": (("triggers",), ("metadata", "query"), "autoscaler"),
    "ScaledJob": (("triggers",), ("metadata", "query"), "autoscaler"),
    "InferenceService": (("predictor", "autoScaling", "metrics"), ("external", "metric", "query"), "autoscaler"),
    "AnalysisTemplate": _ANALYSED,
    "ClusterAnalysisTemplate": _ANALYSED,
}
_GROUPED: Final = {"aws_prometheus_rule_group_namespace": "data"}  # resources that hold a file of rules
_OTHERS: Final = ("VMRule",)  # another language than Prometheus', near to it
_TEXTS: Final = ("expr", "prometheusQuery")  # keys of a dashboard that hold a query
_DEEPEST: Final = 30  # panels in rows in dashboards
_MOST: Final = 100_000  # characters of the queries of one dashboard
_ALERT, _RECORD = "alert", "record"


@dataclass(frozen=True)
class Asked:
    """A query, and who asks. `kind`: alert, record, panel, autoscaler, analysis, adapter.

    `wait` is an alert's `for` in seconds (0 without one, None where it is filled in), `name` its own, `said` all that
    its labels and annotations say. `strict`: Prometheus itself reads it, so that a mistake in it
    counts. `aliased`: an adapter may have given the name.
    """

    at: Location
    node: Node
    query: Query
    kind: str
    owner: Manifest
    name: str = ""
    wait: float | None = 0.0
    waits: Node | None = None
    said: str = ""
    strict: bool = False
    aliased: bool = False
    within: Node | None = None

    @property
    def stands(self) -> Location:
        """Where another alert would go: the list of rules that the alert is of, else the alert."""
        return self.within.at if self.within is not None else self.at

    def place(self, metric: str) -> Location:
        """Where a metric stands in the query: its line, where the text's lines stand in the file."""
        word = self.node.word()
        found = re.search(rf"(?<![\w:]){re.escape(metric)}(?![\w:])", word.text) if word else None
        if word is None or word.first is None or found is None:
            return self.at
        before = word.text[: found.start()]
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        start = word.first[1] + column
        return Location(self.at.path, word.first[0] + line, start, word.first[0] + line, start + len(metric))


@dataclass(frozen=True)
class RuleGroup:
    """The groups of rules of one file or object; `alerts` are those that wake somebody."""

    at: Location
    owner: Manifest
    alerts: tuple[Asked, ...]


def asked(facts: Facts) -> tuple[Asked, ...]:
    """Every query of the repository, by place."""
    return facts.once("asked", lambda facts: tuple(sorted(_asked(facts), key=lambda one: one.at)))


def rule_groups(facts: Facts) -> list[RuleGroup]:
    """Every object and file that has alerts."""
    found: dict[int, list[Asked]] = {}
    for one in asked(facts):
        if one.kind == _ALERT:
            found.setdefault(id(one.owner), []).append(one)
    return [RuleGroup(alerts[0].stands, alerts[0].owner, tuple(alerts)) for alerts in found.values()]


def _stack(owner: Manifest) -> list[Node]:
    """What holds groups of rules among the values of a chart that installs Prometheus."""
    listed = (owner.node.get("additionalPrometheusRulesMap"), owner.node.get("serverFiles"))
    held = [one for node in listed for one in node.children()]
    return [*held, *owner.node.get("additionalPrometheusRules").list(), owner.node.get("prometheusRule")]


def _terraform(facts: Facts) -> Iterator[Asked]:
    """The rules that Terraform gives to a cloud's own Prometheus."""
    for owner in cluster(facts).configured(terraform.FORM):
        if owner.kind == "azurerm_monitor_alert_prometheus_rule_group":
            for rule in owner.node.get("rule").list():
                yield from _of_rule(owner, rule, rule.get("expression"), strict=False)
        elif owner.kind in _GROUPED:
            for node in terraform.documents(owner.node.get(_GROUPED[owner.kind])):
                yield from _of_groups(owner, node.get("groups"))


def _asked(facts: Facts) -> Iterator[Asked]:
    graph = cluster(facts)
    for owner in graph.of(*_RULES):
        yield from _of_groups(owner, owner.node.get("spec", "groups"))
    for owner in once(graph.configured("rules")):
        yield from _of_groups(owner, owner.node.get("groups"))
    for owner in graph.configured("prometheus-stack"):
        for rules in _stack(owner):
            yield from _of_groups(owner, rules.get("groups"))
    yield from _terraform(facts)
    for owner in dashboards(facts):
        yield from _of_dashboard(owner)
    yield from _of_scalers(graph.objects())
    for owner in graph.configured("prometheus-adapter"):
        yield from _of_adapter(owner)


def dashboards(facts: Facts) -> tuple[Manifest, ...]:
    """Every dashboard: files, texts of ConfigMaps, those of Grafana's operator."""
    return facts.once("dashboards", _dashboards)


def _dashboards(facts: Facts) -> tuple[Manifest, ...]:
    graph = cluster(facts)
    operated = [one for by in graph.of("GrafanaDashboard") for one in held(by.node.get("spec", "json"), by.overlay)]
    return (*once(graph.configured(DASHBOARD)), *(one for one in operated if one.form == DASHBOARD))


def once(found: list[Manifest]) -> list[Manifest]:
    """Without what a build puts into an object, of a file that is read as it is."""
    plain = {one.at.path for one in found if one.node.inside is None}
    return [one for one in found if one.node.inside is None or one.at.path not in plain]


def _one(owner: Manifest, node: Node, kind: str, name: str = "") -> Iterator[Asked]:
    if isinstance(node.value, str):
        yield Asked(node.at, node, promql.read(node.value), kind, owner, name)


def _of_groups(owner: Manifest, groups: Node) -> Iterator[Asked]:
    strict = owner.kind not in _OTHERS
    for group in groups.list():
        rules = group.get("rules")
        for rule in rules.list():
            if rule.get("expr"):
                yield from _of_rule(owner, rule, rule.get("expr"), strict=strict, within=rules)
            else:
                for node in _managed(rule):
                    yield from _of_rule(owner, rule, node, strict=False, within=rules)


def _of_rule(owner: Manifest, rule: Node, node: Node, *, strict: bool, within: Node | None = None) -> Iterator[Asked]:
    if not isinstance(node.value, str):
        return
    alert = rule.get("alert") or rule.get("title")
    said = " ".join(one.text for key in ("labels", "annotations") for one in rule.get(key).children())
    waits = rule.get("for")
    wait = promql.seconds(waits.text) if waits else 0.0
    kind, name = _ALERT if alert else _RECORD, alert.text or rule.get("record").text
    query = promql.read(node.value)
    yield Asked(node.at, node, query, kind, owner, name, wait, waits, said, strict, within=within or alert or None)


def _managed(rule: Node) -> list[Node]:
    """The queries of a rule that Grafana itself evaluates."""
    return [node for part in rule.get("data").list() if (node := part.get("model", "expr"))]


def _of_dashboard(owner: Manifest) -> Iterator[Asked]:
    left = _MOST
    waiting = [(owner.node, 0)]
    while waiting and left > 0:
        node, depth = waiting.pop()
        for key in _TEXTS:
            text = node.value.get(key) if isinstance(node.value, dict) else None
            if isinstance(text, str) and text.strip():
                left -= len(text)
                yield from _one(owner, node.get(key), "panel", owner.name)
        if depth < _DEEPEST:
            held_ = node.value.values() if isinstance(node.value, dict) else node.value
            if any(isinstance(value, dict | list) for value in held_):
                waiting += [(one, depth + 1) for one in node.children() if isinstance(one.value, dict | list)]


_GOOGLE = re.compile(r"prometheus\.googleapis\.com[|/]([\w:]+)[|/]\w+")


def _of_scalers(objects: Iterator[Manifest]) -> Iterator[Asked]:
    for owner in objects:
        if owner.kind == "HorizontalPodAutoscaler":
            for metric in owner.node.get("spec", "metrics").list():
                for kind in ("pods", "object", "external"):
                    yield from _named(owner, metric.get(kind, "metric", "name") or metric.get(kind, "metricName"))
        elif owner.kind == "PodAutoscaler":  # of AIBrix
            for source in owner.node.get("spec", "metricsSources").list():
                yield from _named(owner, source.get("targetMetric"))
        elif owner.kind in _QUERIES:
            listed, below, kind = _QUERIES[owner.kind]
            for metric in owner.node.get("spec", *listed).list():
                yield from _one(owner, metric.get(*below), kind)
        elif owner.kind == "MetricTemplate":
            yield from _one(owner, owner.node.get("spec", "query"), "analysis")


def _named(owner: Manifest, name: Node) -> Iterator[Asked]:
    """A metric that an autoscaler names: an adapter may call it as it likes, so that only known spellings are read."""
    found = _GOOGLE.fullmatch(name.text)
    plain = found[1] if found else name.text
    if re.fullmatch(r"[A-Za-z_:][\w:]*", plain):
        yield Asked(name.at, name, promql.Query(name.text, (plain,)), "autoscaler", owner, aliased=True)


def _of_adapter(owner: Manifest) -> Iterator[Asked]:
    rules = owner.node.get("rules")
    for listed in (rules, *rules.children()):
        for rule in listed.list():
            yield from _one(owner, rule.get("seriesQuery"), "adapter")
