"""Repositories of a few files as telemetry sees them: facts, what a check finds in them, and a server on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from judged import classify

from vramguard.extract import extract
from vramguard.facts import Fact, Facts
from vramguard.link.deployments import deployments
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.checks import Check, Problem


def facts_of(files: Mapping[str, str]) -> Facts:
    """What the files say, and the deployments that are found in them."""
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode(), kind=kind) if (kind := kind_of(path)) else None
        if isinstance(document, Document):
            found.extend(extract(document))
    facts = Facts(found, classify, files)
    return facts.adding(deployments(facts))


def problems(check: Check, files: Mapping[str, str]) -> list[Problem]:
    """What a check finds."""
    return list(check.find(facts_of(files)))


def server(image: str = "vllm/vllm-openai:v0.28.0", env: str = "[]", arguments: str = "--model=/models/llama") -> str:
    """A Deployment with a card; its `image` stands on line 11, its `env` on line 13."""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: llama
spec:
  selector: {{matchLabels: {{app: llama}}}}
  template:
    metadata: {{labels: {{app: llama}}}}
    spec:
      containers:
        - image: {image}
          name: server
          env: {env}
          args: [{arguments}]
          ports: [{{name: http, containerPort: 8000}}]
          resources: {{limits: {{nvidia.com/gpu: 1}}}}
"""


def rules(*lines: str) -> str:
    """A file of rules with one group; its first rule's first line is line 4."""
    return "\n".join(("groups:", "  - name: g", "    rules:", *(f"      {line}" for line in lines), ""))


def alert(expr: str, wait: str = "", name: str = "A") -> str:
    """A file with one alert, whose `expr` stands on line 5."""
    return rules(f"- alert: {name}", f"  expr: {expr}", *([f"  for: {wait}"] if wait else []))


MONITOR = """\
apiVersion: monitoring.coreos.com/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {app}}}}}
"""


def monitor(app: str = "llama", kind: str = "PodMonitor", name: str = "m") -> str:
    """An object that collects from what has the label."""
    return MONITOR.format(kind=kind, name=name, app=app)
