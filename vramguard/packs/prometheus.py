"""The pack `prometheus`: alerts with their tests, the exporter's list of counters, and what collects from whom."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from vramguard import data
from vramguard.extract.objects.dashboards import COUNTERS
from vramguard.link.cluster import cluster
from vramguard.link.telemetry import names
from vramguard.link.telemetry.expressions import asked as asked_of
from vramguard.packs.parts import File, Plan, dumped, filled, table, template
from vramguard.packs.served import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.facts import Facts

_STEP: Final = "5s"  # between the samples of a test
_SCRAPE: Final = "5s"  # ten seconds are the budget: two samples within them
_LABELS: Final = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
_GROUP: Final = "monitoring.coreos.com"
# What a Prometheus of an operator selects monitors and rules by, where this repository's have it.
_SELECTED: Final = ("release", "prometheus", "role", "team")
_HEAD: Final = (
    "Written by `vramguard init --pack prometheus` for the surfaces of this repository; yours to change.\n"
    "Tests: promtool test rules rules.test.yml"
)


def plan(facts: Facts, folder: str) -> Plan:
    """Every file of the pack; nothing where no card serves."""
    surfaces = served(facts, gpu=True)
    if not surfaces:
        return Plan((), ("no surface with a GPU: there is nothing to watch",))
    where = f"{folder}/prometheus"
    alerts = list(_alerts(surfaces))
    groups = _grouped(alerts)
    counters = _counters(facts, groups)
    files = [
        File(f"{where}/rules.yml", dumped({"groups": groups}, _HEAD)),
        File(f"{where}/rules.test.yml", dumped(_tests(alerts), "promtool test rules rules.test.yml")),
        File(f"{where}/dcgm-counters.csv", counters),
        File(f"{where}/torch_memory.py", template("torch_memory.py.tmpl")),
    ]
    if not all(one.composed for one in surfaces):
        header = _header(facts, folder)
        files.append(File(f"{where}/prometheusrule.yaml", _rule_object(groups, header)))
        files.append(File(f"{where}/dcgm-exporter.yaml", _exporter(counters, header)))
        if monitors := _monitors(surfaces, header):
            files.append(File(f"{where}/podmonitors.yaml", monitors))
    if composed := [one for one in surfaces if one.composed]:
        files.append(File(f"{where}/prometheus.yml", _jobs(composed)))
    return Plan(tuple(files), tuple(_notes(surfaces, labelled=bool(_header(facts, folder)[1]))))


class _Alert:
    """An alert for this repository: its row, with every place filled."""

    def __init__(self, row: Mapping[str, Any], values: Mapping[str, str], labels: Mapping[str, str]) -> None:
        self.row, self.values, self.labels = row, values, labels

    def said(self, key: str) -> str:
        return filled(self.row[key], self.values)

    @property
    def rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"alert": self.row["name"], "expr": self.said("expr")}
        if self.row["for"] != "0s":
            rule["for"] = self.row["for"]
        rule["labels"] = {"severity": self.row["severity"], **self.labels}
        rule["annotations"] = {key: self.said(key) for key in ("summary", "description")}
        return rule

    def tests(self) -> Iterator[dict[str, Any]]:
        for test in self.row.get("test", ()):
            if test.get("fires") and self.values.get("alike"):
                continue  # it does not, as long as the other is there
            given = {filled(series, self.values): _samples(values) for series, values in test["given"].items()}
            given |= dict.fromkeys(self.values.get("others", "").split("\n")[:-1], "1x60")
            fires = [*test.get("fires", ()), *self._others(test.get("absent"))]
            expected = [self._expected({key: filled(str(value), self.values) for key, value in one.items()})
                        for one in fires]  # fmt: skip
            yield {
                "interval": _STEP,
                "input_series": [{"series": series, "values": values} for series, values in given.items()],
                "alert_rule_test": [
                    {"eval_time": test["at"], "alertname": self.row["name"], "exp_alerts": expected},
                ],
            }

    def _others(self, present: Sequence[str] | None) -> Iterator[dict[str, str]]:
        """Of an alert on what is absent: each that it watches and that a test does not give."""
        if present is not None:
            yield from ({"metric": one} for one in self.values["watched"].split() if one not in present)

    def _expected(self, labels: Mapping[str, str]) -> dict[str, Any]:
        said = self.rule["annotations"]
        texts = {key: _LABELS.sub(lambda found: labels.get(found[1], ""), text) for key, text in said.items()}
        return {"exp_labels": {**self.rule["labels"], **labels}, "exp_annotations": texts}


def _samples(values: str) -> str:
    """Samples as promtool reads them, which repeats every number but NaN."""
    return re.sub(r"NaNx(\d+)", lambda found: " ".join(["NaN"] * (int(found[1]) + 1)), values)


def _alerts(surfaces: list[Served]) -> Iterator[_Alert]:
    rows, groups = table("alerts")["alert"], table("alerts")["group"]
    kubernetes = not all(one.composed for one in surfaces)
    needs = {"": True, "kubernetes": kubernetes, "nvlink": any(one.parallel for one in surfaces)}
    engines = {one.engine if one.engine in groups else "" for one in surfaces}
    values = _values(surfaces)
    for row in rows:
        engine = groups[row["group"]].get("engine")
        if not needs[row.get("needs", "")] or (engine is not None and engine not in engines):
            continue
        if row.get("each") == "surface":
            yield from (_Alert(row, values | _of(one, surfaces), _labels(one)) for one in surfaces)
        else:
            yield _Alert(row, values | _watched(row, needs), {"engine": engine} if engine else {})


def _labels(one: Served) -> dict[str, str]:
    return {"surface": one.name, **({"namespace": one.namespace} if one.namespace else {})}


def _watched(row: Mapping[str, Any], needs: Mapping[str, bool]) -> dict[str, str]:
    watched = [*row.get("watches", ()), *(row.get("watches_nvlink", ()) if needs["nvlink"] else ())]
    absences = (f'label_replace(absent({one}), "metric", "{one}", "", "")' for one in watched)
    return {"watched": " ".join(watched), "absences": "\nor ".join(absences) + "\n"}


def _values(surfaces: list[Served]) -> dict[str, str]:
    """Names of metrics that the releases run here export, and the pods whose cards work together."""
    parallel = [one for one in surfaces if one.parallel]
    found = {
        "parallel": "|".join(one.pods for one in parallel),
        "a_pod": parallel[0].a_pod if parallel else "",
    }
    for name, by_engine in table("alerts")["metric"].items():
        engine = next((one.engine for one in surfaces if one.engine in by_engine), "")
        versions = [one.version for one in surfaces if one.engine == engine]
        found[name] = _exported(by_engine.get(engine, next(iter(by_engine.values()))), versions)
    return found


def _exported(candidates: Sequence[str], versions: Sequence[str]) -> str:
    """The first name that every release in use has, as far as those are known; the first of all otherwise."""
    known = [names.version(text) for text in versions]
    for metric in candidates:
        family = names.family_of(metric)
        span = family.spans.get(names.base(metric, family.spans)) if family else None
        if span is None or not known or not all(known):
            return metric
        if not (span.before and min(known) <= names.version(span.before)) and not (
            span.after and max(known) >= names.version(span.after)
        ):
            return metric
    return candidates[0]


def _of(one: Served, surfaces: list[Served]) -> dict[str, str]:
    """The labels of a surface's `up`, as its monitor sets them; `others` are those of all others, a line each."""
    where = _where(one, f'pod=~"{one.pods}"')
    others = "".join(f"up{{{_series(other)}}}\n" for other in surfaces if other is not one)
    alike = " ".join(other.name for other in surfaces if other is not one and _alike(one, other))
    return {"where": where, "series": _series(one), "others": others, "surface": one.name, "alike": alike}


def _alike(one: Served, other: Served) -> bool:
    """Whether the pods of another surface are found by the pattern of this one's."""
    apart = one.composed or other.composed or (one.namespace and one.namespace != other.namespace)
    return not apart and re.fullmatch(one.pods, other.a_pod) is not None


def _where(one: Served, pod: str) -> str:
    if one.composed:
        return f'job="{one.name}"'
    return f'namespace="{one.namespace}",{pod}' if one.namespace else pod


def _series(one: Served) -> str:
    return _where(one, f'pod="{one.a_pod}"')


def _grouped(alerts: list[_Alert]) -> list[dict[str, Any]]:
    groups = []
    for name, group in table("alerts")["group"].items():
        rules = [alert.rule for alert in alerts if alert.row["group"] == name]
        if rules:
            groups.append({"name": f"vramguard-{name}", "interval": group["interval"], "rules": rules})
    return groups


def _tests(alerts: list[_Alert]) -> dict[str, Any]:
    tests = [test for alert in alerts for test in alert.tests()]
    return {"rule_files": ["rules.yml"], "evaluation_interval": _STEP, "tests": tests}


def _counters(facts: Facts, groups: list[dict[str, Any]]) -> str:
    """The exporter's list: what the alerts of these groups ask for, what a dashboard shows, and what the repository's
    own queries and lists name: this one takes the place of theirs.
    """
    kinds = table("counters")["kinds"]
    asked = {name for group in groups for rule in group["rules"] for name in re.findall(r"DCGM_\w+", rule["expr"])}
    nvlink = any("NVLINK" in name for name in asked)
    kept = {name: row for name, row in kinds.items() if nvlink or "NVLINK" not in name or name in asked}
    assert asked <= set(kept)  # noqa: S101 - a test sees to it for every alert
    lines = [f"{name}, {kind}, {words}" for name, (kind, words) in kept.items()]
    own = {name for one in asked_of(facts) for name in one.query.metrics}
    own |= {name for one in cluster(facts).configured(COUNTERS) for name in one.node.value}
    lines += [
        f"{name}, {_kind(name)}, Asked for in this repository." for name in sorted((own & names.fields()) - set(kept))
    ]
    return "\n".join(("# Field of DCGM, kind of metric, words: what the alerts beside this file need.", *lines, ""))


def _kind(field: str) -> str:
    """What a field of DCGM is to Prometheus, by its name."""
    if re.search(r"_(?:VERSION|VER|SERIAL|BRAND|UUID|NAME)$", field):
        return "label"
    return "counter" if re.search(r"_(?:TOTAL|COUNTER|VIOLATION|CONSUMPTION|ROWS)$", field) else "gauge"


def _header(facts: Facts, folder: str) -> tuple[str, dict[str, str]]:
    """The namespace and the labels that monitors and rules of this repository have, so that theirs selects ours."""
    for one in cluster(facts).of("PrometheusRule", "ServiceMonitor", "PodMonitor"):
        if one.group == _GROUP and not one.guessed and not one.at.path.startswith(f"{folder}/"):
            return one.namespace, {key: value for key, value in one.labels.items() if key in _SELECTED}
    return "", {}


def _object(kind: str, name: str, namespace: str, labels: Mapping[str, str], spec: object) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {"app.kubernetes.io/managed-by": "vramguard", **labels}
    return {"apiVersion": f"{_GROUP}/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _rule_object(groups: list[dict[str, Any]], header: tuple[str, dict[str, str]]) -> str:
    rules = _object("PrometheusRule", "vramguard", *header, {"groups": groups})
    return dumped(rules, "The groups of rules.yml, for the Prometheus operator. Its tests are rules.yml's.")


def _exporter(counters: str, header: tuple[str, dict[str, str]]) -> str:
    """The list of counters for the exporter, and the monitor that keeps its labels."""
    namespace, labels = header
    block = "".join(f"    {line}\n" for line in counters.splitlines())
    values = {"counters": block, "namespace": f"\n  namespace: {namespace}" if namespace else ""}
    values["labels"] = "".join(f"\n    {key}: {value}" for key, value in labels.items())
    return filled(template("dcgm-exporter.yaml.tmpl"), values)


def _monitors(surfaces: list[Served], header: tuple[str, dict[str, str]]) -> str:
    """A PodMonitor for every surface whose pods can be told by their labels."""
    documents = []
    for one in surfaces:
        if one.composed or not one.labels:
            continue
        endpoint = {"port" if isinstance(one.port, str) else "portNumber": one.port}
        spec = {
            "selector": {"matchLabels": dict(one.labels)},
            "podMetricsEndpoints": [{**endpoint, "path": "/metrics", "interval": _SCRAPE, "scrapeTimeout": "4s"}],
        }
        documents.append(dumped(_object("PodMonitor", one.name, one.namespace, header[1], spec)))
    return "---\n".join(documents)


def _jobs(surfaces: list[Served]) -> str:
    jobs = [{"job_name": one.name, "scrape_interval": _SCRAPE, "scrape_timeout": "4s",
             "static_configs": [{"targets": [f"{one.name}:{one.port}"]}]} for one in surfaces]  # fmt: skip
    exporter = {"job_name": "dcgm-exporter", "scrape_interval": "15s",
                "static_configs": [{"targets": ["dcgm-exporter:9400"]}]}  # fmt: skip
    config = {"rule_files": ["rules.yml"], "scrape_configs": [exporter, *jobs]}
    return dumped(config, "For a Prometheus beside these services. Run dcgm-exporter with -f dcgm-counters.csv.")


def _counts(one: Served) -> bool:
    """Whether vLLM is told to count NaN."""
    variable = data.load("metrics")["nan"]["variable"]
    return any(variable in launch.env for launch in one.surface.launches)


def _notes(surfaces: list[Served], *, labelled: bool) -> Iterator[str]:
    kubernetes = [one for one in surfaces if not one.composed]
    if kubernetes:
        yield (
            "dcgm-exporter has to read the ConfigMap of dcgm-exporter.yaml: `-m NAMESPACE:vramguard-dcgm-counters`, or "
            "`dcgmExporter.config.name` of the GPU operator"
        )
    if kubernetes and not labelled:
        yield "a Prometheus of kube-prometheus-stack takes what has its label `release`: add yours to these objects"
    for one in kubernetes:
        if not one.labels:
            yield f"{one.title}: nobody says by which labels its pods are told, so that it has no PodMonitor"
    for one in kubernetes:
        if alike := _of(one, surfaces)["alike"]:
            yield f"{one.title}: by their names its pods cannot be told from those of {alike}: ModelUnseen needs more"
    if any(one.engine == "vllm" and not _counts(one) for one in surfaces):
        yield "set VLLM_COMPUTE_NANS_IN_LOGITS=1 for vLLM, or it counts no NaN"
    yield "load torch_memory.py in every process that holds a card: nothing else exports the allocator's state"
