"""What of YAML is an object of a cluster, what a configuration, and what neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract.objects import extract
from vramguard.source import Document, read

if TYPE_CHECKING:
    from vramguard.facts import Manifest


def objects(text: str, path: str = "a.yaml") -> list[Manifest]:
    document = read(path, text.encode(), kind="yaml")
    assert isinstance(document, Document), document
    return list(extract(document))


HEAD = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n"


def test_an_object_has_its_header() -> None:
    (one,) = objects(HEAD + "  name: llama\n  namespace: prod\n  labels: {app: llama, version: 1}\n")
    assert (one.form, one.group, one.kind, one.name, one.namespace) == (
        "kubernetes",
        "apps",
        "Deployment",
        "llama",
        "prod",
    )
    assert one.labels == {"app": "llama", "version": "1"}
    assert (one.at.line, one.at.column, one.guessed, one.builds) == (2, 7, False, frozenset())


def test_the_core_has_no_group_and_a_name_may_be_made() -> None:
    (one,) = objects("apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n")
    assert (one.group, one.name) == ("", "a-")


def test_lists_are_opened() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}}\n- {kind: x}\n- 1\n"
    )
    assert [(one.title, one.at.line) for one in objects(text)] == [("Service/a", 4)]


def test_lists_within_lists_end() -> None:
    text = "{apiVersion: v1, kind: Service}"
    for _ in range(20):
        text = f"{{apiVersion: v1, kind: List, items: [{text}]}}"
    assert objects(text) == []


@pytest.mark.parametrize("kind", ["CustomResourceDefinition", "Secret", "ClusterRole", "Kustomization"])
def test_kinds_that_no_rule_asks_for_are_left_out(kind: str) -> None:
    assert objects(f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n") == []


@pytest.mark.parametrize(
    ("path", "text", "form"),
    [
        (".github/workflows/a.yml", "on: push\njobs: {}\n", "workflow"),
        ("sub/.gitlab-ci.yml", "a: {script: [b]}\n", "gitlab"),
        ("docker-compose.gpu.yml", "services: {a: {image: b}}\n", "compose"),
        ("deploy/stack.yaml", "services: {a: {image: b}}\n", "compose"),
        ("config.yaml", "model_list: [{model_name: a}]\n", "litellm"),
        ("envoy.yaml", "static_resources: {clusters: []}\n", "envoy"),
        ("prometheus.yml", "scrape_configs: [{job_name: a}]\n", "prometheus"),
        ("alerts.yml", "groups: [{name: a, rules: [{alert: b}]}]\n", "rules"),
        ("dynamic.yml", "http: {routers: {a: {}}}\n", "traefik"),
    ],
)
def test_a_configuration(path: str, text: str, form: str) -> None:
    (one,) = objects(text, path)
    assert (one.form, one.kind, one.title) == (form, "", form)


@pytest.mark.parametrize(
    "text",
    [
        "groups: [a, b]\n",
        "groups: {}\n",
        "http: {port: 80}\n",
        "services: [a]\n",
        "services: {a: {port: 1}}\n",
        "resources: {limits: {cpu: 1}}\n",
        "kind: Deployment\n",
        "apiVersion: v1\n",
        "[1, 2]\n",
        "text\n",
        "",
    ],
)
def test_what_is_neither(text: str) -> None:
    assert objects(text) == []


def test_what_a_config_map_holds_stands_at_its_lines() -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  rules.yml: |\n    groups:\n    - name: a\n"
        "      rules:\n      - {alert: Hot, expr: up}\n  notes.txt: |\n    nothing\n"
    )
    config, rules = objects(text)
    assert (config.kind, rules.form) == ("ConfigMap", "rules")
    expression = rules.node.get("groups", 0, "rules", 0, "expr").at
    assert (expression.line, expression.column) == (9, 28)


def test_config_maps_within_config_maps_end() -> None:
    text = "apiVersion: v1\nkind: Service\n"
    for _ in range(12):
        inner = "".join(f"    {line}\n" for line in text.splitlines())
        text = f"apiVersion: v1\nkind: ConfigMap\ndata:\n  a.yaml: |\n{inner}"
    found = objects(text)
    assert 1 < len(found) < 12
    assert {one.kind for one in found} == {"ConfigMap"}


def test_aliases_of_one_object_are_not_read_without_end() -> None:
    text = "x: &a {apiVersion: v1, kind: Service}\n---\napiVersion: v1\nkind: List\nitems: [" + "{}, " * 20_000 + "]\n"
    assert objects(text) == []


def test_odd_headers_are_read_as_far_as_they_go() -> None:
    found = objects("apiVersion: v1\nkind: Service\nmetadata: [a]\n---\napiVersion: [1]\nkind: {a: b}\n")
    assert [(one.title, one.name, one.labels) for one in found] == [("Service/", "", {})]
