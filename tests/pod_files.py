"""A server of a model as tests write it, and what a rule says of a few files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard import engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.policy import Finding

READY = "readinessProbe: {exec: {command: [python3, /golden.py]}}"
LIMITS = "resources: {limits: {nvidia.com/gpu: 1, memory: 32Gi}}"


class Files:
    """A tree in memory."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {path: text.encode() for path, text in files.items()}

    def paths(self) -> list[str]:
        return sorted(self._files)

    def read(self, path: str) -> bytes | None:
        return self._files.get(path)

    def head(self, path: str) -> None:
        """None of them is a file of weights."""

    def sample(self, path: str, kind: str) -> None:
        """None of them is data."""


def findings(rule: str, files: Mapping[str, str]) -> list[Finding]:
    """What one rule finds in some files."""
    tree = Files(files)
    return engine.check(tree, engine.load_policy(tree, select=(rule,))).findings


def lines(rule: str, files: Mapping[str, str]) -> list[tuple[str, str]]:
    """Where one rule finds something: the path, and the text of the line."""
    return [(one.at.path, files[one.at.path].splitlines()[one.at.line - 1].strip()) for one in findings(rule, files)]


def server(*container: str, kind: str = "Deployment", api: str = "apps/v1", pod: str = "", spec: str = "") -> str:
    """An object named `llama` that starts vLLM: more of its container, its pod and its spec, a key on each line."""
    more = "".join(f"        {line}\n" for part in container for line in part.splitlines())
    around = "".join(f"      {line}\n" for line in pod.splitlines())
    above = "".join(f"  {line}\n" for line in spec.splitlines())
    return (
        f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: llama}}\nspec:\n{above}"
        "  selector: {matchLabels: {app: llama}}\n  template:\n    metadata: {labels: {app: llama}}\n    spec:\n"
        f"{around}      containers:\n      - name: vllm\n        image: vllm/vllm-openai:v0.19.0\n"
        f"        args: [--model, acme/llama-8b]\n        ports: [{{containerPort: 8000}}]\n{more}"
    )


GOOD = server(READY, LIMITS, pod="terminationGracePeriodSeconds: 130", spec="strategy: {type: Recreate}")
