"""kustomization.yaml: which files its objects come from. What it changes of them is for `link/kustomize`."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from vramguard.facts import Kustomization
from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

# Kustomize 5.8, api/types/kustomization.go: where objects come from; `bases` is the older spelling of `resources`.
_SOURCES = ("resources", "bases", "components")
_REMOTE = re.compile(r"\w+://|git@|[\w-]+(?:\.[\w-]+)+/[\w.-]+/[\w.-]+|.*\?(?:ref|version|timeout|submodules)=")


def extract(document: Document) -> Iterator[Kustomization]:
    """Every kustomization of a file, which is one."""
    for number, value in enumerate(document.value[:1]):
        root = Node(document, (number,), value)
        names = [node.text for key in _SOURCES for node in root.get(key).list()]
        remote = tuple(name for name in names if _REMOTE.match(name))
        folder = posixpath.dirname(document.path)
        local = (within(folder, name) for name in names if name not in remote)
        yield Kustomization(
            at=root.at,
            resources=tuple(path for path in local if path is not None),
            remote=remote,
            patches=tuple(path for name in _patches(root) if (path := within(folder, name))),
            component=root.get("kind").text == "Component",
        )


def _patches(root: Node) -> Iterator[str]:
    """Names of files; a patch that stands in the kustomization itself is a text of several lines."""
    for node in (*root.get("patches").list(), *root.get("patchesJson6902").list()):
        yield node.get("path").text
    yield from (node.text for node in root.get("patchesStrategicMerge").list() if "\n" not in node.text)


def within(folder: str, name: str) -> str | None:
    """A path named in a folder, as it is in the repository; None for one that leads out of it. The root is "."."""
    path = posixpath.normpath(posixpath.join(folder, name)) if name and "\0" not in name else ".."
    return None if path.startswith(("..", "/")) else path
