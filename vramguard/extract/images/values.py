"""Values of YAML in which images stand: how they are walked, and an image that several keys make together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vramguard.extract.images.lines import placed
from vramguard.extract.images.reference import CHART_TAG, image
from vramguard.facts import Image
from vramguard.facts.nodes import Node
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.source import KeyPath

_MOST = 100_000  # collections of one document that are looked at
_NO_IMAGES = frozenset(("metadata", "status", "annotations", "labels", "openAPIV3Schema", "imagePullSecrets"))
_REGISTRY = ("registry", "imageRegistry", "hub")
_NAME = ("repository", "repo", "name", "image", "reference")
_TAG = ("tag", "imageTag", "image_tag", "version")
_DIGEST = ("digest", "imageDigest", "sha")
_PLACE = re.compile(
    r"your[-_ /]|(?:change|replace)[-_ ]?me|todo\b|xxx+|example(?:\.com|\.org)?/|none\Z|null\Z|n/a\Z|"
    r".*/should-be-overridden-during-runtime\Z",  # KFP's compiler, for what its driver patches
    re.IGNORECASE,
)


def mappings(root: Node, of_interest: Callable[[Mapping[Any, Any], str], bool]) -> Iterator[tuple[Node, str]]:
    """The mappings of interest at or below a node in the order of the text, each with the key that it is under.

    One is given once, however often it is named. The key of a list's item is that of the list.
    """
    pending: list[tuple[KeyPath, Any, str]] = [(root.keys, root.value, "")]
    seen = set[int]()
    while pending and len(seen) < _MOST:
        keys, value, key = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            if of_interest(value, key):
                yield Node(root.document, keys, value, root.inside), key
            inner = [
                ((*keys, name), item, str(name))
                for name, item in value.items()
                if isinstance(item, dict | list) and name not in _NO_IMAGES
            ]
        else:
            inner = [((*keys, at), item, key) for at, item in enumerate(value) if isinstance(item, dict | list)]
        inner.reverse()
        pending += inner


def named(node: Node, form: str, use: str, *, certain: bool = True) -> Image | None:
    """The image that a scalar names."""
    if not isinstance(node.value, str) or not node.value.strip():
        return None
    found = image(node.value, Location(node.document.path), form, use, certain=certain)  # no place is asked for in vain
    if found is None:
        return None
    at, comment = placed(node)
    return image(node.value, at, form, use, certain=certain, behind=comment)


def composed(node: Node, form: str, use: str) -> Image | None:
    """The image that a mapping's keys make: registry, repository, tag and digest. None where none names one.

    A repository without a tag takes the chart's.
    """
    part = next((part for key in _NAME if isinstance((part := node.get(key)).value, str) and part.value), None)
    if part is None or is_place(part.value) or "://" in part.value.removeprefix("docker://"):
        return None
    registry, tag, digest = (_text(node, keys) for keys in (_REGISTRY, _TAG, _DIGEST))
    name = part.value
    own = node.get("image").value
    if (
        part.keys[-1] == "repository" and isinstance(own, str) and own
    ):  # repository, image, version of NVIDIA's operators
        name = own if ":" in own or "." in own.partition("/")[0] else f"{name}/{own}"
    text = "".join((f"{registry.rstrip('/')}/" if registry and not name.startswith(registry) else "", name))
    text += f":{tag}" if tag and ":" not in name.rpartition("/")[2] else ""
    text += f"@{digest if ':' in digest else f'sha256:{digest}'}" if digest and "@" not in text else ""
    found = image(text, placed(part).at, form, use)
    if found is None or found.pinned is not False or found.tag is not None or found.digest is not None:
        return found
    return Image(found.at, form, found.name, None, None, pinned=False, reason=CHART_TAG, use=use)


def _text(node: Node, keys: tuple[str, ...]) -> str:
    """The first of a mapping's keys that holds a scalar with something in it."""
    for key in keys:
        value = node.value.get(key)
        if isinstance(value, str) and value.strip():
            return str(value).strip()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return node.get(key).text
    return ""


def is_place(text: str) -> bool:
    """Whether a text holds the place of an image, and names none."""
    return not text.strip() or _PLACE.match(text) is not None
