"""Compose: the image of each service, and those that the project builds.

Variables that are unset have their default (compose-spec, "Interpolation"); what `.env` sets is for `link/images`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract.images.builds import built
from vramguard.extract.images.lines import placed
from vramguard.extract.images.reference import image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Image
    from vramguard.facts.nodes import Node

FORM = "compose"
_OF_A_SERVICE = ("image", "build", "extends", "command", "environment", "deploy")
_MOST = 1000
_MAX_TEXT = 2000


def is_project(value: object) -> bool:
    """Whether a document is a compose project."""
    if not isinstance(value, dict) or "apiVersion" in value or not isinstance(value.get("services"), dict):
        return False
    services = [service for service in value["services"].values() if isinstance(service, dict)]
    return any(key in service for service in services for key in _OF_A_SERVICE)


def services(root: Node) -> Iterator[Image]:
    """One image for each service; with `build` beside it, one that is built."""
    for number, (_, node) in enumerate(root.get("services").items()):
        held, build = node.get("image"), node.get("build")
        text = held.value
        if number == _MOST:
            return
        if isinstance(build.value, dict):
            yield from _contexts(build)
        if not isinstance(text, str) or not text.strip() or len(text) > _MAX_TEXT:
            continue
        at, comment = placed(held)
        is_built = build.value is not None
        found = built(text, at, FORM) if is_built else image(text, at, FORM, "container", behind=comment)
        if found is not None:
            yield found


def _contexts(build: Node) -> Iterator[Image]:
    """`additional_contexts`: an image by its scheme; any other is a name that a Dockerfile may begin with."""
    contexts = build.get("additional_contexts")
    for name, node in contexts.items():
        if isinstance(node.value, str):
            is_image = node.value.startswith("docker-image://")
            found = image(node.value, node.at, FORM, "base") if is_image else built(name, node.at, FORM)
            if found is not None:
                yield found
