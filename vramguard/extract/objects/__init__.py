"""Objects as they are written: a cluster's, and each configuration file of what stands around a model.

What an object means for others is for `link/cluster` to say. Kinds that no rule asks for are left out, since a
repository may hold thousands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.extract.objects import dashboards, gateways
from vramguard.facts import Manifest
from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.source import Document

KUBERNETES: Final = "kubernetes"
_MAX_NESTED = 3  # lists within lists, manifests within a ConfigMap
_MAX_ITEMS = 5000  # objects of one file
_NOTHING: Final = frozenset(  # kinds that no rule asks for, and that are many or large
    (
        *("CustomResourceDefinition", "Secret", "SealedSecret", "Role", "ClusterRole", "RoleBinding"),
        *("ClusterRoleBinding", "ServiceAccount", "PersistentVolume", "StorageClass", "Kustomization"),
        *("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService", "Certificate", "Issuer"),
    )
)
# Configuration files that are no objects: what tells each, by its path or by the keys of its first level.
_BY_PATH: Final = (
    ("workflow", re.compile(r"(?:^|/)\.(?:github|gitea|forgejo)/workflows/[^/]+\.ya?ml$")),
    ("gitlab", re.compile(r"(?:^|/)(?:[^/]*\.)?gitlab-ci\.ya?ml$|(?:^|/)\.gitlab/[^/]+\.ya?ml$")),
    ("azure-pipelines", re.compile(r"(?:^|/)azure-pipelines[^/]*\.ya?ml$")),
    ("circleci", re.compile(r"(?:^|/)\.circleci/[^/]+\.ya?ml$")),
    ("compose", re.compile(r"(?:^|/)(?:docker-)?compose[^/]*\.ya?ml$")),
    ("prefect", re.compile(r"(?:^|/)prefect\.ya?ml$")),
    ("dependabot", re.compile(r"(?:^|/)\.github/dependabot\.ya?ml$")),
)
_BY_KEYS: Final = (
    ("compose", frozenset({"services"})),
    ("litellm", frozenset({"model_list"})),
    ("litellm", frozenset({"router_settings"})),
    ("envoy", frozenset({"static_resources"})),
    ("envoy", frozenset({"resources"})),
    ("prometheus", frozenset({"scrape_configs"})),
    ("rules", frozenset({"groups"})),
    ("traefik", frozenset({"http"})),
    ("bentoml", frozenset({"services"})),
    ("bentoml", frozenset({"api_server"})),
    ("ray-serve", frozenset({"applications"})),
    ("alertmanager", frozenset({"route", "receivers"})),
    ("prometheus-stack", frozenset({"additionalPrometheusRulesMap"})),
    *(("prometheus-stack", frozenset({key})) for key in ("additionalPrometheusRules", "prometheusRule", "serverFiles")),
    ("prometheus-stack", frozenset({"prometheus"})),
    ("prometheus-adapter", frozenset({"rules"})),
)


def extract(document: Document) -> Iterator[Manifest]:
    """Every object of a YAML file, or the one configuration that it is; those of a ConfigMap's texts as well."""
    for number, value in enumerate(document.value[:_MAX_ITEMS]):
        if isinstance(value, dict):
            yield from of_node(Node(document, (number,), value))


def of_node(node: Node, overlay: str = "", depth: int = _MAX_NESTED) -> Iterator[Manifest]:
    """The objects that one value is: itself, those of a list, those that a ConfigMap holds as texts.

    `overlay`: the folder whose build the value comes from.
    """
    kind = node.get("kind").text
    if kind and node.get("apiVersion"):
        yield from _object(node, kind, overlay, depth)
    elif node.get("proxy_config", "model_list"):  # the values of LiteLLM's own chart
        yield Manifest(node.get("proxy_config").at, "litellm", node.get("proxy_config"), overlay=overlay)
    elif form := form_of(node):
        yield Manifest(node.at, form, node, overlay=overlay)


def form_of(node: Node) -> str:
    """What a configuration that is no object configures; empty for one that is not known."""
    path = node.document.path
    found = next((form for form, pattern in _BY_PATH if pattern.search(path)), "") if node.inside is None else ""
    if found or not isinstance(node.value, dict):
        return found
    return next((form for form, keys in _BY_KEYS if keys <= node.value.keys() and _is(form, node)), "")


def _is(form: str, node: Node) -> bool:
    """Whether a common key means what it says: `resources` and `groups` and `http` stand in many files."""
    means = _MEANS.get(form)
    return means is None or bool(means(node))


def _adapted(node: Node) -> bool:
    """Whether rules are those of prometheus-adapter: its configuration's, or those among its chart's values."""
    rules = node.get("rules")
    lists = (rules, *rules.children()) if isinstance(rules.value, dict) else (rules,)
    return any(rule.get("seriesQuery") for listed in lists for rule in listed.list())


_MEANS: Final[Mapping[str, Callable[[Node], object]]] = {
    "rules": lambda node: node.get("groups", 0, "rules"),
    "prometheus-stack": lambda node: (
        node.get("additionalPrometheusRulesMap")
        or node.get("additionalPrometheusRules")
        or node.get("prometheusRule", "groups", 0, "rules")
        or any(one.get("groups", 0, "rules") for one in node.get("serverFiles").children())
        or node.get("prometheus", "prometheusSpec")
    ),
    "prometheus-adapter": _adapted,
    "envoy": lambda node: node.get("static_resources") or node.get("resources", 0, "@type"),
    "traefik": lambda node: any(node.get("http", key) for key in ("routers", "services", "middlewares")),
    "bentoml": lambda node: (
        node.get("api_server") or any(one.get("traffic") for _, one in node.get("services").items())
    ),
    "ray-serve": lambda node: node.get("applications", 0, "import_path"),
    "compose": lambda node: any(one.get("image") or one.get("build") for _, one in node.get("services").items()),
}


def _object(node: Node, kind: str, overlay: str, depth: int) -> Iterator[Manifest]:
    group, slash, _ = node.get("apiVersion").text.rpartition("/")
    if kind == "List" or (kind.endswith("List") and isinstance(node.get("items").value, list)):
        for item in node.get("items").list() if depth else ():
            yield from of_node(item, overlay, depth - 1)
        return
    if kind in _NOTHING:
        return
    head = node.get("metadata")
    labels = {name: label.text for name, label in head.get("labels").items()}
    names = (group if slash else "", kind, head.get("name").text or head.get("generateName").text)
    yield Manifest(node.get("kind").at, KUBERNETES, node, *names, head.get("namespace").text, labels, overlay)
    if kind == "ConfigMap" and depth:
        for text in node.get("data").children():
            yield from _held(text, overlay, depth - 1)


_WORTH: Final = re.compile(
    r"^(?:apiVersion|groups|rules|static_resources|model_list|scrape_configs|router_settings|http):", re.MULTILINE
)


def _held(text: Node, overlay: str, depth: int) -> Iterator[Manifest]:
    """What a ConfigMap's text is, where it is YAML that says something to us, a dashboard or a list of counters."""
    if isinstance(text.value, str) and ("DCGM_" in text.value or '"panels"' in text.value):
        yield from dashboards.held(text, overlay)
    elif isinstance(text.value, str) and _WORTH.search(text.value):
        for inner in text.parsed():
            yield from of_node(inner, overlay, depth)
    else:
        yield from gateways.held(text, overlay)
