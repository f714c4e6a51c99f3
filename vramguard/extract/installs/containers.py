"""Compose, Kubernetes, Helm's values and other tools' files: commands of containers, and scripts under their keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vramguard.extract.installs.commands import Runs
from vramguard.extract.installs.tools import worth
from vramguard.extract.requirements import facts_of
from vramguard.facts import Requirement

if TYPE_CHECKING:
    from vramguard.extract.installs.places import Visitor
    from vramguard.extract.tools.values import Node

_VALUES = re.compile(r"(?:^|/)(?:[^/]*values[^/]*\.ya?ml|(?:charts?|helm)/.+\.ya?ml)$", re.IGNORECASE)
_PIPELINE = re.compile(
    r"(?:^|/)(?:\.travis|bitbucket-pipelines|cloudbuild[^/]*|\.drone|appveyor|\.readthedocs|\.buildkite/.+|buildspec[^/]*"
    r"|\.woodpecker.*|\.semaphore/.+)\.ya?ml$"
)
_REQUIREMENTS = re.compile(r"[\w.-]*requirements[\w.-]*\.(?:txt|in)")
_SHELL_TEXT = re.compile(r"\s*#!\S*?(?:/env\s+)?(?:\S*/)?(?:ba|da|z|k)?sh\b")
_FORMS = {"tekton.dev": "tekton", "argoproj.io": "argo"}
_TRUSS = {"model_metadata", "model_name", "base_image", "resources", "requirements", "model_class_name"}
_SERVICE = {"image", "build", "command", "entrypoint", "environment", "extends", "volumes", "ports", "deploy"}


def read(node: Node, visitor: Visitor) -> None:
    """The commands of one YAML document that is no pipeline's."""
    value = node.value
    if isinstance(value, Mapping) and isinstance(value.get("kind"), str) and "apiVersion" in value:
        _manifest(node, visitor, 3)
    elif isinstance(value, Mapping) and _is_compose(value):
        for name, service in node.get("services").items():
            _service(name, service, visitor)
    elif isinstance(value, Mapping) and ("implementation" in value or "deploymentSpec" in value):
        visitor.walk(node, Runs("kfp", visitor.document.path))
    else:
        visitor.walk(node, Runs(_form(value, visitor.document.path), visitor.document.path))


def _form(value: object, path: str) -> str:
    """Whose file it is that has commands under its keys."""
    keys = value.keys() if isinstance(value, Mapping) else set[str]()
    if "build_commands" in keys and keys & _TRUSS:
        return "truss"
    if "build" in keys and re.search(r"(?:^|/)cog[\w.-]*\.ya?ml$", path):
        return "cog"
    if _VALUES.search(path):
        return "helm"
    return "workflow" if _PIPELINE.search(path) else "shell"


def _is_compose(value: Mapping[str, object]) -> bool:
    services = value.get("services")
    described = services.values() if isinstance(services, Mapping) else ()
    return any(isinstance(service, Mapping) and service.keys() & _SERVICE for service in described)


def _service(name: str, service: Node, visitor: Visitor) -> None:
    """A service: its entry point and command together, as one command."""
    env = service.get("environment").variables()
    runs = Runs("compose", visitor.place(name), service.get("working_dir").text or "", env)
    entrypoint, command = service.get("entrypoint"), service.get("command")
    visitor.command([node for node in (entrypoint, command) if node.value is not None], runs)
    for key in ("post_start", "pre_stop", "healthcheck", "develop"):
        visitor.walk(service.get(key), runs)


def _manifest(node: Node, visitor: Visitor, depth: int) -> None:
    """An object of Kubernetes, and those that a list holds."""
    kind, items = node.get("kind").text or "", node.get("items")
    if kind.endswith("List") and isinstance(items.value, list) and depth:
        for item in items:
            _manifest(item, visitor, depth - 1)
        return
    name = node.get("metadata", "name").text or node.get("metadata", "generateName").text or ""
    group = str(node.value.get("apiVersion")).partition("/")[0]
    form = _FORMS.get(group, "kubernetes")
    form = "kubernetes" if form == "argo" and "Workflow" not in kind else form
    runs = Runs(form, visitor.place("/".join(filter(None, (kind, name)))))
    if kind in {"ConfigMap", "Secret"}:
        for part in ("data", "stringData"):
            for key, value in node.get(part).items():
                _held(key, value, runs, visitor)
    elif kind != "CustomResourceDefinition":
        visitor.walk(node, runs)


def _held(key: str, node: Node, runs: Runs, visitor: Visitor) -> None:
    """A text that a ConfigMap holds: a script, or a file of requirements."""
    text = node.value
    if not isinstance(text, str):
        return
    if _REQUIREMENTS.fullmatch(key):
        word = node.script()
        for number, line in enumerate(text.split("\n")) if word else ():
            if word and line.strip() and not line.rstrip().endswith("\\"):
                start = len(line) - len(line.lstrip())
                at = word.place(number, start, max(1, len(line.split(" #")[0].strip())))
                found = facts_of(line, at, "kubernetes", key)
                visitor.more += [fact for fact in found if isinstance(fact, Requirement)]
    elif worth(text) and (key.endswith((".sh", ".bash")) or _SHELL_TEXT.match(text) or "." not in key):
        visitor.text(node.script(), runs)
