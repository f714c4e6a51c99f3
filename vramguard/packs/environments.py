"""The pack `github-environments`: workflows that train and roll out after a person has agreed, and CODEOWNERS."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from vramguard.link.cluster import cluster
from vramguard.packs.parts import File, Plan, filled, template
from vramguard.packs.served import served

if TYPE_CHECKING:
    from vramguard.facts import Facts
    from vramguard.packs.served import Served

CHECKOUT: Final = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
_OWNER: Final = "@OWNER/model-owners"
# Where GitHub looks for it, in its order: the first that is there counts alone.
_CODEOWNERS: Final = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
_OWNED: Final = (
    ("weights, and what points at them", ("*.safetensors", "*.gguf", "*.onnx", "*.pt", "*.pth", "*.ckpt", "*.joblib",
                                          "*.pkl", "*.dvc", "dvc.lock")),
    ("data", ("data/", "datasets/")),
    ("training", ("training/", "train/", "dvc.yaml", "params.yaml")),
    ("the gates", ("vramguard.toml", "vramguard-baseline.json", "vramguard.lock", ".github/")),
)  # fmt: skip
_ROLLED: Final = ("Deployment", "StatefulSet", "DaemonSet")


def plan(facts: Facts, folder: str) -> Plan:
    """The two workflows, what they run, and the lines of CODEOWNERS."""
    surfaces = [one for one in served(facts) if one.surface.manifest is not None]
    said = {"checkout": CHECKOUT, "folder": folder, "deploy": _deploy(facts, surfaces)}
    names = (
        ("model-retrain.yml", ".github/workflows"),
        ("model-deploy.yml", ".github/workflows"),
        ("release.sh", folder),
    )
    files = [File(f"{where}/{name}", filled(template(f"{name}.tmpl"), said)) for name, where in names]
    owners = next((path for path in _CODEOWNERS if path in facts.paths), _CODEOWNERS[0])
    files.append(File(owners, _lines(facts, folder), lines=True))
    notes = (
        "required reviewers are for you to set (Settings, Environments): without them the gates are open",
        f"write {_OWNER} as the team that it is: an owner that GitHub does not know owns nothing",
        f"{folder}/release.sh: what trains, evaluates and promotes is yours to write; until then it fails",
    )
    return Plan(tuple(files), notes)


def _deploy(facts: Facts, surfaces: list[Served]) -> str:
    """Commands that roll out the surfaces whose objects are written out in this repository."""
    plain = [one for one in surfaces if one.surface.manifest and not one.surface.manifest.guessed]
    built = sorted({build for one in plain if one.surface.manifest for build in one.surface.manifest.builds})
    if not plain or built:  # an overlay or a chart: which of them is a decision
        return "  unwritten deploy"
    del facts
    lines = [
        f"  kubectl apply --filename {shlex.quote(path)}" for path in sorted({one.surface.at.path for one in plain})
    ]
    for one in plain:
        if one.surface.manifest and one.surface.manifest.kind in _ROLLED:
            space = f" --namespace {one.namespace}" if one.namespace else ""
            target = f"{one.surface.manifest.kind.lower()}/{one.name}"
            lines.append(f"  kubectl rollout status {target}{space} --timeout 30m")
    return "\n".join(lines)


def _lines(facts: Facts, folder: str) -> str:
    said = ["# What decides what a model answers: written by `vramguard init --pack github-environments`"]
    for what, patterns in _OWNED:
        said.append(f"# {what}")
        said += [f"{pattern} {_OWNER}" for pattern in patterns]
    graph = cluster(facts)
    places = sorted({one.at.path for one in graph.surfaces if " " not in one.at.path and "\\" not in one.at.path})
    said += ["# what serves", *(f"/{path} {_OWNER}" for path in places), f"/{folder}/ {_OWNER}"]
    return "\n".join((*said, ""))
