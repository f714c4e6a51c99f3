"""Numbers that schemas declare: classes of Python, OpenAPI and JSON Schema, protobuf.

Most files have none: each reader first asks the text itself, and nothing is parsed for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document


def extract(document: Document) -> Iterator[Fact]:
    """The declared numbers of one file, and of code, who answers with them."""
    if document.kind in ("python", "notebook"):
        from vramguard.extract.fields import python

        yield from python.extract(document)
    elif document.kind == "proto":
        from vramguard.extract.fields import proto

        yield from proto.extract(document)
    else:
        from vramguard.extract.fields import openapi

        yield from openapi.extract(document)
