"""What objects of a cluster refer to, where several kinds of object say it in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts.nodes import Node


def targets_of(spec: Node) -> Iterator[Node]:
    """What a policy of the Gateway API is attached to; a node without a value is among them where it names none."""
    yield spec.get("targetRef")
    yield from spec.get("targetRefs").list()


def backends_of(spec: Node) -> Iterator[tuple[str, Node, str]]:
    """Where an Ingress sends to, in either of its versions: the path, the backend, and the name of its Service."""
    rules = [path for rule in spec.get("rules").list() for path in rule.get("http", "paths").list()]
    held = [(path.get("path").text, path.get("backend")) for path in rules]
    for path, backend in (*held, ("", spec.get("defaultBackend")), ("", spec.get("backend"))):
        yield path, backend, backend.get("service", "name").text or backend.get("serviceName").text
