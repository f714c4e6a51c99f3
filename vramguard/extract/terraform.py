"""Terraform: objects of a cluster that it makes, the values of charts that it installs, and the clouds' own resources.

A `kubernetes_*` resource becomes the object that the provider sends (hashicorp/kubernetes 2.38): its blocks in the
API's own names. Every other resource is a `Manifest` of the form `terraform`, whose node is its body.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from vramguard.extract.made import listed, made, mapping, scalar
from vramguard.extract.objects import of_node
from vramguard.facts import HelmRelease, Launch, Manifest, Word
from vramguard.facts.nodes import Node, within
from vramguard.source.hcl import ARGUMENTS, CALL, HEREDOC, LABELS, MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Fact
    from vramguard.source import Document
    from vramguard.source.program import PythonModule

FORM: Final = "terraform"
UNREAD: Final = "terraform-unread"  # the form of a file that nothing here can read; `name` says why
_MAX_RESOURCES: Final = 3000  # of one file
_MAX_DEPTH: Final = 40
_NOTHING: Final = re.compile(  # resources that no rule asks for, and that are many
    r"_(?:iam|role|policy|secret|firewall|network|subnet|subnetwork|route|dns|security_group|vpc|address|eip)(?:_|$)"
    r"|^(?:random|local|null|time|tls|archive|template)_"
)


def extract(document: Document) -> Iterator[Fact]:
    """What the resources of a file are."""
    root = Node(document, (), document.value)
    if root.get(MISSING):
        yield Manifest(root.at, UNREAD, root, name=root.get(MISSING).text)
        return
    for resource in list(root.get("resource").list())[:_MAX_RESOURCES]:
        kind, name = resource.get(LABELS, 0).text, resource.get(LABELS, 1).text
        if kind.startswith("kubernetes_") or kind == "kubectl_manifest":
            yield from _objects(resource, kind)
        elif kind and (not _NOTHING.search(kind) or (kind == "null_resource" and resource.get("provisioner"))):
            yield Manifest(resource.at, FORM, resource, kind=kind, name=name)
            if kind == "helm_release":
                yield from _release(resource)
    for module in list(root.get("module").list())[:_MAX_RESOURCES]:
        yield Manifest(module.at, FORM, module, kind="module", name=module.get(LABELS, 0).text)


def _objects(resource: Node, kind: str) -> Iterator[Fact]:
    if kind in ("kubernetes_manifest", "kubectl_manifest"):
        held = resource.get("manifest") if kind == "kubernetes_manifest" else resource.get("yaml_body")
        for node in documents(held):
            yield from _said(node)
    elif (header := _HEADERS.get(_VERSION.sub("", kind.removeprefix("kubernetes_")))) is not None:
        yield from _said(_object(resource, *header))


def _said(node: Node) -> Iterator[Launch | Manifest | PythonModule | Fact]:
    from vramguard.extract.kubernetes import of_manifest

    yield from of_node(node)
    yield from (fact for fact in of_manifest(node) if isinstance(fact, Launch))


def documents(node: Node) -> Iterator[Node]:
    """The YAML that a value is: of a heredoc, of `yamldecode` and `jsondecode`, or the object itself.

    Nothing of what is filled in elsewhere: a file is read where it stands, a template is for its renderer.
    """
    if node.get(HEREDOC):
        text = node.get(HEREDOC).value
        if isinstance(text, str) and "%{" not in text:
            line, column = node.get("line").value, node.get("column").value
            yield from within(Word(text, node.at, True, (line, column)))
    elif node.get(CALL).text in ("yamldecode", "jsondecode", "yamlencode", "jsonencode"):
        yield from documents(node.get(ARGUMENTS, 0))
    elif isinstance(node.value, dict) and not node.get(CALL):
        yield node
    elif isinstance(node.value, str) and "\n" in node.value:
        yield from within(Word(node.value, node.at, True))


# --- kubernetes_*: what the provider's blocks are called in the API

_VERSION: Final = re.compile(r"_v\d\w*$")
_HEADERS: Final[Mapping[str, tuple[str, str]]] = {
    "deployment": ("apps/v1", "Deployment"),
    "stateful_set": ("apps/v1", "StatefulSet"),
    "daemonset": ("apps/v1", "DaemonSet"),
    "daemon_set": ("apps/v1", "DaemonSet"),
    "job": ("batch/v1", "Job"),
    "cron_job": ("batch/v1", "CronJob"),
    "pod": ("v1", "Pod"),
    "service": ("v1", "Service"),
    "config_map": ("v1", "ConfigMap"),
    "horizontal_pod_autoscaler": ("autoscaling/v2", "HorizontalPodAutoscaler"),
    "pod_disruption_budget": ("policy/v1", "PodDisruptionBudget"),
    "ingress": ("networking.k8s.io/v1", "Ingress"),
}
_LISTS: Final[Mapping[str, str]] = {  # blocks that may come several times
    "container": "containers",
    "init_container": "initContainers",
    "env": "env",
    "env_from": "envFrom",
    "port": "ports",
    "volume": "volumes",
    "volume_mount": "volumeMounts",
    "volume_claim_template": "volumeClaimTemplates",
    "toleration": "tolerations",
    "image_pull_secrets": "imagePullSecrets",
    "host_aliases": "hostAliases",
    "metric": "metrics",
    "policy": "policies",
    "rule": "rules",
    "path": "paths",
    "tls": "tls",
    "items": "items",
    "topology_spread_constraint": "topologySpreadConstraints",
    "node_selector_term": "nodeSelectorTerms",
    "match_expressions": "matchExpressions",
    "match_fields": "matchFields",
    "preferred_during_scheduling_ignored_during_execution": "preferredDuringSchedulingIgnoredDuringExecution",
    "readiness_gate": "readinessGates",
    "http_header": "httpHeaders",
}
_SNAKE: Final = re.compile(r"_([a-z0-9])")
_OWN: Final = frozenset((LABELS, "count", "for_each", "depends_on", "provider", "lifecycle", "timeouts", "connection"))


def _object(resource: Node, version: str, kind: str) -> Node:
    parts = _parts(resource, _MAX_DEPTH)
    head = {"apiVersion": made(scalar(resource), version), "kind": made(scalar(resource), kind)}
    return mapping(resource, {**head, **parts})


def _parts(node: Node, depth: int) -> dict[str, Node]:
    """The entries of a block: attributes as they are, blocks by their names in the API."""
    found: dict[str, Node] = {}
    for key, child in node.items() if depth else ():
        if key == "dynamic":
            found |= {name: value for block in child.list() for name, value in _dynamic(block) if name not in found}
        elif key not in _OWN:
            blocks = _blocks(child)
            name = _LISTS.get(key) if blocks else None
            if name:
                found[name] = listed(child, [mapping(block, _parts(block, depth - 1)) for block in blocks])
            elif blocks:
                found[_camel(key)] = mapping(blocks[0], _parts(blocks[0], depth - 1))
            else:
                found[_camel(key)] = _plain(child)
    return found


def _blocks(node: Node) -> list[Node]:
    """The blocks of one type; none of an attribute, whose list is one of values."""
    if not isinstance(node.value, list) or not node.value:
        return []
    held = list(node.list())
    place, item = node.document.places.get(node.keys), node.document.places.get(held[0].keys)
    is_block = place is not None and item is not None and place.value == item.value
    return held if is_block and all(isinstance(one.value, dict) for one in held) else []


def _dynamic(block: Node) -> Iterator[tuple[str, Node]]:
    """A block that is there as often as a variable says: that there may be one is all that is known."""
    name = block.get(LABELS, 0).text
    if name:
        yield _LISTS.get(name, _camel(name)), made(scalar(block), f"{{{{ dynamic {name} }}}}")


def _plain(node: Node) -> Node:
    """An attribute; a text of several lines is what its heredoc holds."""
    if isinstance(node.value, dict) and node.get(HEREDOC):
        text = node.get(HEREDOC)
        return Node(node.document, node.keys, text.value, node.inside)
    if isinstance(node.value, dict) and node.get(CALL):
        return made(scalar(node), f"{{{{ {node.get(CALL).text} }}}}")
    if isinstance(node.value, dict):
        return mapping(node, {key: _plain(child) for key, child in node.items()})
    return node


def _camel(name: str) -> str:
    return _SNAKE.sub(lambda match: match[1].upper(), name)


# --- helm_release

_FOLDER: Final = re.compile(r"\{\{ path\.(?:module|root|cwd) \}\}/?")


def _release(resource: Node) -> Iterator[HelmRelease | Launch]:
    """The chart that a release installs where it stands in the repository, and what its values launch."""
    from vramguard.extract.helm import launches

    chart = local(resource, resource.get("chart").text)
    yield HelmRelease(resource.at, chart, ())
    if chart is None:
        for node in values(resource):
            yield from launches(node)


def values(resource: Node) -> list[Node]:
    """The values of a `helm_release`, one mapping for each that it lays over the others."""
    held = [node for one in resource.get("values").list() for node in documents(one) if isinstance(node.value, dict)]
    entries = [one for one in resource.get("set").list() if one.get("name").text and one.get("value")]
    told = [_nested(one.get("value"), one.get("name").text.split(".")) for one in entries]
    return [*(_whole(node) for node in held), *told]


def _whole(node: Node) -> Node:
    return mapping(node, {key: _plain(child) for key, child in node.items()})


def _nested(value: Node, keys: list[str]) -> Node:
    for key in reversed(keys[:_MAX_DEPTH]):
        value = mapping(value, {key: value})
    return value


def local(resource: Node, name: str) -> str | None:
    """A path of the repository that a file names from its own folder; None for what stands elsewhere."""
    inner = _FOLDER.sub("./", name, count=1)
    if not inner.startswith(".") or "{{" in inner:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(resource.document.path), inner))
    return None if path.startswith("..") else path
