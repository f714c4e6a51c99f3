"""Configurations of what stands in front of a model and is written in no YAML: nginx, HAProxy, Traefik's TOML, Triton.

nginx and HAProxy are read out of a ConfigMap's texts as well.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Manifest
from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document, Location

_TRITON: Final = frozenset(("dynamic_batching", "sequence_batching", "ensemble_scheduling"))
_NGINX = re.compile(r"(?:^|[\s{;])(?:proxy_pass|grpc_pass)\s+[^;\n]+;", re.MULTILINE)
_HAPROXY = (
    re.compile(r"^(?:backend|listen)[ \t]+\S", re.MULTILINE),
    re.compile(r"^[ \t]+server[ \t]+\S+[ \t]+\S", re.MULTILINE),
)
_MOST = 1 << 18  # characters of one text of a ConfigMap


def extract(document: Document) -> Iterator[Manifest]:
    """The one configuration that a file is."""
    root = Node(document, (), document.value)
    if document.kind in ("nginx", "haproxy") and document.value:
        yield Manifest(_first(root), document.kind, root)
    elif document.kind == "toml" and any(root.get("http", key) for key in ("routers", "services", "middlewares")):
        yield Manifest(root.get("http").at, "traefik", root)
    elif document.kind == "pbtxt" and isinstance(document.value, dict) and _TRITON & document.value.keys():
        yield Manifest(document.at(), "triton", root, name=root.get("name", 0).text)


def held(text: Node, overlay: str = "") -> Iterator[Manifest]:
    """What a ConfigMap's text configures, if that is nginx or HAProxy."""
    if not isinstance(text.value, str) or len(text.value) > _MOST:
        return
    proxied = all(pattern.search(text.value) for pattern in _HAPROXY)
    kind = "nginx" if _NGINX.search(text.value) else "haproxy" if proxied else ""
    word = text.word()
    document = text.document.inner(text.value, kind) if kind and word else None
    if document is not None and document.value:
        root = Node(document, (), document.value, word)
        yield Manifest(_first(root), kind, root, overlay=overlay)


def _first(root: Node) -> Location:
    return root.get(0).at
