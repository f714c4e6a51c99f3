"""Repositories with routes to a model, as tests write them, and what is found in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from judged import classify

from vramguard.extract import extract
from vramguard.facts import Fact, Facts
from vramguard.link.deployments import deployments
from vramguard.link.routes import traffic
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from vramguard.checks import Check
    from vramguard.link.routes import Traffic

# A model on three GPUs, `chat`, that answers in tokens; beside it a page for people, `page`.
CHAT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 3
  selector: {matchLabels: {app: chat}}
  template:
    metadata: {labels: {app: chat}}
    spec:
      containers:
        - name: server
          image: vllm/vllm-openai:v0.33.0
          args: ["--model", "acme/small"]
          resources: {limits: {nvidia.com/gpu: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {selector: {app: chat}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: page}
spec:
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      containers: [{name: page, image: acme/page:1}]
---
apiVersion: v1
kind: Service
metadata: {name: page}
spec: {selector: {app: page}}
"""
# A classifier of KServe, `price`, that answers at once.
PRICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: price}
spec:
  predictor:
    sklearn: {storageUri: "s3://models/price"}
"""


def routed(files: dict[str, str] | str) -> Facts:
    """The facts of files with their deployments; of one text beside `CHAT` and `PRICE`."""
    if isinstance(files, str):
        files = {"route.yaml": files, "chat.yaml": CHAT, "price.yaml": PRICE}
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode(), kind=kind_of(path))
        assert isinstance(document, Document), path
        found += extract(document)
    facts = Facts(found, classify, files)
    return facts.adding(deployments(facts))


def way(files: dict[str, str] | str) -> Traffic:
    """What stands between users and the models of files."""
    return traffic(routed(files))


def said(check: Check, files: dict[str, str] | str) -> list[tuple[int, str]]:
    """The line and the word `surface`, or what else names it, of everything that a check finds."""
    return [(one.at.line, str(one.values.get("surface", one.subject))) for one in check.find(routed(files))]
