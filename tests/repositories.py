"""Deployments of small repositories, as tests say them; and a pod that runs a program on a card."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from vramguard.extract import extract
from vramguard.facts import Deployment, Fact, Facts, PathClass, Unknown
from vramguard.link.deployments import deployments
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWN = ("at", "declared", "form", "name", "assumed", "unread", "places", "pattern", "holds")


def found(files: Mapping[str, str], classes: Mapping[str, PathClass] | None = None) -> list[Deployment]:
    facts: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode(), kind=kind_of(path))
        assert isinstance(document, Document)
        facts.extend(extract(document))
    known = classes or {}
    return list(deployments(Facts(facts, lambda path: known.get(path, PathClass.SERVING), paths=files)))


def said(deployment: Deployment) -> dict[str, Any]:
    values = {each.name: getattr(deployment, each.name) for each in fields(deployment) if each.name not in _OWN}
    shown = {name: f"({value.text})" if isinstance(value, Unknown) else value for name, value in values.items()}
    return {name: value for name, value in shown.items() if value not in (None, False)}


def only(files: Mapping[str, str]) -> dict[str, Any]:
    (one,) = found(files)
    return said(one)


def lines(deployment: Deployment) -> dict[str, tuple[str, int]]:
    return {name: (at.path, at.line) for name, at in deployment.places.items()}


POD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    spec:
      nodeSelector: {cloud.google.com/gke-accelerator: nvidia-l4}
      containers:
        - name: chat
          image: example.org/chat:1
          command: %s
          env:
            - name: MODEL_ID
              value: acme/small
          resources: {limits: {nvidia.com/gpu: 1}}
"""
SERVE = "import os\nfrom vllm import LLM\nllm = LLM(os.environ['MODEL_ID'])\n"
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
L4 = {"engine": "vllm", "model": "acme/small", "gpu": "l4-24gb", "gpus": 1}
