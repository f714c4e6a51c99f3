"""Container images, and the actions of pipelines: where each form of file names them.

Every image is one fact: what is pinned by a digest, what is not, and what has no digest by nature (`pinned` None): a
stage, `scratch`, a folder's own action. One whose `use` is `built` says that the repository builds that name itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Action, Image
    from vramguard.source import Document

_WORDS = ("mage", "MAGE", "uses:", "oci://", "repository:")  # one of these names an image, or an action

_WORKFLOW = re.compile(r"(?:^|/)(?:\.(?:github|gitea|forgejo)/workflows/[^/]+|action)\.ya?ml\Z")
_GITLAB = re.compile(r"(?:^|/)(?:[^/]*gitlab-ci[^/]*|\.gitlab/.+)\.ya?ml\Z")
_AZURE = re.compile(r"(?:^|/)(?:[^/]*azure-pipelines[^/]*|\.azure[^/]*/.+)\.ya?ml\Z")
_CIRCLE = re.compile(r"(?:^|/)\.circleci/[^/]+\.ya?ml\Z")
_CLOUD_BUILD = re.compile(r"(?:^|/)[^/]*cloud-?build[^/]*\.ya?ml\Z")
_PRE_COMMIT = re.compile(r"(?:^|/)\.pre-commit-(?:config|hooks)\.ya?ml\Z")
_KUSTOMIZATION = re.compile(r"(?:^|/)kustomization\.ya?ml\Z")


def extract(document: Document) -> Iterator[Action | Image]:
    """Every image and action of a file, each place once."""
    if document.kind == "dockerfile":
        from vramguard.extract.images import dockerfile

        yield from dockerfile.images(document)
    elif document.kind in ("python", "notebook"):
        from vramguard.extract.images import calls

        yield from calls.images(document)
    elif document.kind in ("shell", "makefile"):
        from vramguard.extract.images import builds, runs

        yield from builds.scripts(document)
        yield from runs.scripts(document)
    elif document.kind == "yaml" and _worth(document):
        seen = set[object]()
        for fact in _of_yaml(document):
            key = (fact.at, fact.name, type(fact))
            if key not in seen:
                seen.add(key)
                yield fact


def _worth(document: Document) -> bool:
    return any(word in document.text for word in _WORDS) or _reader(document.path) is not None


def _of_yaml(document: Document) -> Iterator[Action | Image]:
    reader = _reader(document.path)
    for number, value in enumerate(document.value):
        root = Node(document, (number,), value)
        if isinstance(value, dict):
            yield from (reader or _by_shape(document, root))(root)


def _reader(path: str) -> Callable[[Node], Iterator[Action | Image]] | None:
    """What reads a file of this name; None where its contents have to say it."""
    from vramguard.extract.images import pipelines

    named: tuple[tuple[re.Pattern[str], Callable[[Node], Iterator[Action | Image]]], ...] = (
        (_WORKFLOW, pipelines.github),
        (_GITLAB, pipelines.gitlab),
        (_AZURE, pipelines.azure),
        (_CIRCLE, pipelines.circleci),
        (_CLOUD_BUILD, pipelines.cloud_build),
        (_PRE_COMMIT, pipelines.pre_commit),
    )
    return next((read for pattern, read in named if pattern.search(path)), None)


def _by_shape(document: Document, root: Node) -> Callable[[Node], Iterator[Action | Image]]:
    from vramguard.extract.helm import is_values
    from vramguard.extract.images import compose, manifests, pipelines, tools

    if _KUSTOMIZATION.search(document.path):
        return manifests.kustomization
    if str(root.value.get("apiVersion", "")).startswith("skaffold/"):
        return pipelines.skaffold
    if manifests.is_object(root.value):
        return manifests.manifest
    if compose.is_project(root.value):
        return compose.services
    if is_values(document.path):
        return manifests.values
    return pipelines.gitlab if pipelines.is_gitlab(root.value) else tools.images
