"""Weights that move, where something takes it into use: automated sync, updaters, polling.

argo-cd.readthedocs.io, "Automated Sync Policy"; fluxcd.io, Kustomization and ImageUpdateAutomation;
keel.sh, "Policies"; argocd-image-updater.readthedocs.io;
triton-inference-server/server, docs/user_guide/model_management.md (POLL);
tensorflow/serving, g3doc/serving_config.md (the largest version of a path that is watched).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts import Deployment
from vramguard.facts.outputs import Step as Evidence
from vramguard.facts.values import UNREAD
from vramguard.link.cluster import cluster
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts, Manifest, Word
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster, Surface

_LATEST: Final = re.compile(
    r"(^|[/:@=_-])(latest|current|newest|main|master|production|prod|champion)(/|$)", re.IGNORECASE
)
_REMOTE: Final = re.compile(
    r"^(s3|gs|gcs|abfss?|az|azure|wasbs?|https?|hf|hdfs|models|mlflow)://?|^models:/", re.IGNORECASE
)
_VERSIONED: Final = re.compile(r"[0-9]")  # of a path: a version, a run, a hash
_HUB: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")
_POLL: Final = re.compile(r"--model-control-mode[= ]poll\b")
_BASE: Final = re.compile(r"--model_base_path[= ](\w+://\S+)")
_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")
_MOVING: Final = ("newest-build", "latest", "digest", "alphabetical", "name", "semver")


@dataclass(frozen=True, slots=True)
class Moving:
    """A reference to weights that can change, and what takes the change into use."""

    at: Location
    surface: str
    reference: str
    by: str
    steps: tuple[Evidence, ...]


def moving(facts: Facts) -> Iterator[Moving]:
    """Every such reference, once for each place."""
    held = cluster(facts)
    seen: set[Location] = set()
    found = (one for surface in held.surfaces for one in (*_polled(surface), *_synced(held, surface)))
    for one in (*found, *_scripted(held)):
        if one.at not in seen:
            seen.add(one.at)
            yield one


# ---- servers that look themselves


def _polled(surface: Surface) -> Iterator[Moving]:
    if not surface.launches:  # of a chart that was rendered
        yield from _polling(surface)
    for launch in surface.launches:
        words = [*launch.command, *([launch.script] if launch.script else [])]
        text = " ".join(word.text for word in words)
        if _POLL.search(text):
            at = _word_at(words, "model-control-mode") or launch.at
            steps = (Evidence(launch.at, f"`{surface.name}` looks into its model repository again and again"),)
            yield Moving(at, surface.name, "whatever lies in its model repository", "Triton's poll mode", steps)
        match = _BASE.search(text)
        if (
            match
            and "--model_config_file" not in text
            and "tensorflow/serving" in (launch.image.text if launch.image else "")
        ):
            at = _word_at(words, "model_base_path") or launch.at
            yield Moving(
                at, surface.name, match[1], "TensorFlow Serving, which loads the largest version that appears", ()
            )


def _polling(surface: Surface) -> Iterator[Moving]:
    for container in (one for pod in surface.pods for one in pod.containers):
        words = [*container.node.get("command").words(), *container.node.get("args").words()]
        if _POLL.search(" ".join(word.text for word in words)):
            at = _word_at(words, "model-control-mode") or surface.at
            steps = (Evidence(surface.at, f"`{surface.name}` looks into its model repository again and again"),)
            yield Moving(at, surface.name, "whatever lies in its model repository", "Triton's poll mode", steps)


def _word_at(words: list[Word], name: str) -> Location | None:
    return next((word.at for word in words if name in word.text), None)


# ---- what applies what is in git


def _synced(held: Cluster, surface: Surface) -> Iterator[Moving]:
    manifest = surface.manifest
    if manifest is None:
        return
    by = _applied_by(held, manifest)
    if by is not None:
        for at, reference in _references(surface, manifest):
            yield Moving(at, surface.name, reference, by[0], (Evidence(by[1], by[2]),))
    yield from _updated(held, surface, manifest)


def _references(surface: Surface, manifest: Manifest) -> Iterator[tuple[Location, str]]:
    """What a surface loads, where that can change with nothing changing in git."""
    for node in _uris(manifest.node.get("spec"), 0):
        word = node.word()
        if word and word.known and (_LATEST.search(word.text) or not _VERSIONED.search(word.text.partition("://")[2])):
            yield node.at, word.text
    yield from _of_hub(surface.deployments)


def _of_hub(deployments: Iterable[Deployment]) -> Iterator[tuple[Location, str]]:
    """Models of the hub whose revision nobody names."""
    for one in deployments:
        if isinstance(one.model, str) and one.revision is None and _REMOTE.match(one.model) is None:
            place = one.places.get("model")
            if place is not None and _HUB.fullmatch(one.model):
                yield place, f"{one.model} without a revision"


def _scripted(held: Cluster) -> Iterator[Moving]:
    """What a ConfigMap's script launches, and a pod mounts: the ConfigMap is what is applied."""
    scripts = held.of("ConfigMap")
    for one in held.facts.of(Deployment) if scripts else ():
        within = [script for script in scripts if script.at.path == one.at.path and script.at.line <= one.at.line]
        if one.declared or not within or held.facts.classify(one.at.path) in UNREAD:
            continue
        holder = max(within, key=lambda script: script.at.line)
        surface = next((surface for surface in held.surfaces if _mounts(surface, holder)), None)
        by = _applied_by(held, holder) if surface is not None else None
        if surface is not None and by is not None:
            for at, reference in _of_hub((one,)):
                yield Moving(at, surface.name, reference, by[0], (Evidence(by[1], by[2]),))


def _mounts(surface: Surface, holder: Manifest) -> bool:
    """Whether a pod of a surface takes a ConfigMap for a volume."""
    volumes = (volume for pod in surface.pods for volume in pod.spec.get("volumes").list())
    return any(volume.get("configMap", "name").text == holder.name for volume in volumes)


def _uris(node: Node, depth: int) -> Iterator[Node]:
    if depth > 8:  # noqa: PLR2004 - keys below each other, in an InferenceService
        return
    for key, inner in node.items():
        if key in ("storageUri", "modelUri") and inner.text and _REMOTE.match(inner.text):
            yield inner
        elif isinstance(inner.value, dict):
            yield from _uris(inner, depth + 1)


def _applied_by(held: Cluster, manifest: Manifest) -> tuple[str, Location, str] | None:
    """What applies an object by itself: by the folder that it watches."""
    for one in held.of("Application", "ApplicationSet", group="argoproj.io"):
        spec = one.node.get("spec", "template", "spec") if one.kind == "ApplicationSet" else one.node.get("spec")
        policy = spec.get("syncPolicy")
        automated = policy.get("automated")
        on = isinstance(policy.value, dict) and "automated" in policy.value and automated.get("enabled").text != "false"
        paths = [spec.get("source", "path"), *(source.get("path") for source in spec.get("sources").list())]
        if on and any(_covers(held, path.text, manifest) for path in paths):
            return "Argo CD", policy.at, f"`{one.title}` is synchronised by itself"
    for one in held.of("Kustomization", group="kustomize.toolkit.fluxcd.io"):
        if one.node.get("spec", "suspend").text != "true" and _covers(
            held, one.node.get("spec", "path").text, manifest
        ):
            return "Flux", one.at, f"`{one.title}` is reconciled by itself"
    return None


def _covers(held: Cluster, path: str, manifest: Manifest) -> bool:
    """Whether what stands in a folder, or what its kustomization names, holds an object."""
    folder = posixpath.normpath(path.strip().lstrip("/")) if path.strip() else ""
    if not folder or folder == "." or "{" in folder:
        return False
    if folder in manifest.builds:
        return True
    listed = any(f"{folder}/kustomization.{end}" in held.facts.paths for end in ("yaml", "yml"))
    return not listed and manifest.at.path.startswith(f"{folder}/")


def _updated(held: Cluster, surface: Surface, manifest: Manifest) -> Iterator[Moving]:
    """Images that an updater changes: Keel by the object's notes, Flux by a mark, Argo CD's by its application's."""
    notes = dict(manifest.node.get("metadata", "annotations").items())
    policy = notes.get("keel.sh/policy")
    images = [one.node.get("image") for pod in surface.pods for one in pod.containers if one.node.get("image").text]
    own = [node for node in images if _COMMIT.fullmatch(node.text.rpartition("@sha256:")[2]) is None]
    if policy is not None and policy.text not in ("never", "") and notes.get("keel.sh/approvals") is None:
        for node in own[:1]:
            steps = (Evidence(policy.at, f"Keel's policy is `{policy.text}`, with no approvals"),)
            yield Moving(node.at, surface.name, node.text, "Keel", steps)
    pushes = [one for one in held.of("ImageUpdateAutomation") if _to_the_same_branch(one)]
    for node in own if pushes else ():
        line = node.document.lines[node.at.line - 1] if node.inside is None else ""
        if "$imagepolicy" in line:
            steps = (Evidence(pushes[0].at, f"`{pushes[0].title}` writes the newest image into git"),)
            yield Moving(node.at, surface.name, node.text, "Flux's image automation", steps)
    yield from _by_image_list(held, surface, manifest, own)


def _to_the_same_branch(manifest: Manifest) -> bool:
    pushed = manifest.node.get("spec", "git", "push", "branch").text
    return not pushed or pushed == manifest.node.get("spec", "git", "checkout", "ref", "branch").text


def _by_image_list(held: Cluster, surface: Surface, manifest: Manifest, images: list[Node]) -> Iterator[Moving]:
    for one in held.of("Application", "ApplicationSet", group="argoproj.io"):
        spec = one.node.get("spec", "template", "spec") if one.kind == "ApplicationSet" else one.node.get("spec")
        head = one.node.get("spec", "template") if one.kind == "ApplicationSet" else one.node
        listed = head.get("metadata", "annotations", "argocd-image-updater.argoproj.io/image-list")
        if not listed.text or not _covers(held, spec.get("source", "path").text, manifest):
            continue
        for node in images:
            name = node.text.partition("@")[0].rpartition(":")[0] or node.text
            if any(name and name in item for item in listed.text.split(",")):
                steps = (Evidence(listed.at, "Argo CD's image updater takes the newest image"),)
                yield Moving(node.at, surface.name, node.text, "Argo CD's image updater", steps)
