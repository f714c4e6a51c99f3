"""What readings of values share: a container made of them, words made of them, and values that only hold a place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.kubernetes.pods import Owner, pod
from vramguard.extract.made import made, scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.extract.made import Part
    from vramguard.facts import Launch
    from vramguard.facts.nodes import Node

FORM = "helm"
_MAX_PLACE = 200  # characters of a value that only holds a place
_HOLDS_A_PLACE = re.compile(
    r"\s*\Z|<.*>\s*\Z|\[.*\]\s*\Z|(?:change|replace|fill)[-_ ]?(?:me|this)|your[-_ /]|todo\b|xxx+|random/model|"
    r"(?:none|null|nil|tbd|model|model[-_]?(?:name|id)|example|org(?:anization)?/model.*|path/to/.*)\s*\Z",
    re.IGNORECASE,
)


def holds_a_place(text: str) -> bool:
    """Whether a value is none yet: empty, `changeme`, `<your-model>`."""
    return len(text) < _MAX_PLACE and _HOLDS_A_PLACE.match(text) is not None


def launch(anchor: Node, name: str, container: Mapping[str, Part], spec: Mapping[str, Part]) -> Iterator[Launch]:
    """The launch of a container that a template makes of the values, in a pod whose other keys are `spec`."""
    made_spec = made(anchor, {**spec, "containers": [made(anchor, dict(container))]})
    yield from pod(made_spec, Owner(FORM, name))


def texts(node: Node, text: str) -> Node:
    """A text of ours at the place of a value that it is made of."""
    plain = scalar(node)
    return type(plain)(plain.document, plain.keys, text, plain.inside)


def flags(node: Node, names: Mapping[str, str]) -> list[Node]:
    """`--flag`, `value` for each key of a mapping that has one, in the order of `names`."""
    found = ((flag, node.get(key)) for key, flag in names.items())
    return [part for flag, value in found if not _nothing(value) for part in (texts(value, flag), value)]


def _nothing(value: Node) -> bool:
    return value.value is None or value.value == "" or isinstance(value.value, dict | list)


def image(node: Node, tag: Node | None = None) -> Node | None:
    """An image as one text: `registry/repository:tag@digest` of a mapping, or the text itself; None where none is."""
    if not isinstance(node.value, dict):
        found = node if node.text else None
        return texts(node, f"{node.text}:{tag.text}") if found and tag and tag.text else found
    repository = node.get("repository") or node.get("name") or node.get("image")
    if not repository.text:
        return None
    registry, version, digest = (node.get(key).text for key in ("registry", "tag", "digest"))
    if version == "" and digest == "" and registry == "":
        return repository
    behind = f"@{digest}" if digest else f":{version}" if version else ""
    return texts(
        repository, f"{registry.rstrip('/')}/{repository.text}{behind}" if registry else f"{repository.text}{behind}"
    )
