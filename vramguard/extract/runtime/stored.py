"""Models in YAML that a name or a path leads to which somebody moves: a stage or an alias of MLflow, `…/latest`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.extract.runtime.walk import scalars, tops
from vramguard.facts import Artefact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

REGISTERED: Final = re.compile(r"models:/{1,3}([^/@\s]{1,200})(?:/([^/@\s]{1,200})|@([^/@\s]{1,200}))/?\Z")
_BUCKET: Final = re.compile(r"(?:s3|gs|gcs|abfss?|wasbs?|az|oss|hdfs)://\S{1,500}?/latest/?\Z", re.IGNORECASE)
# Keys under which a place of a model stands.
_MODELS: Final = re.compile(
    r"(?:storage|model|source|artifact|checkpoint|weights)[_-]?(?:uri|url|path|location|source)?\Z", re.IGNORECASE
)


def stored(document: Document) -> Iterator[Artefact]:
    """Every such model that a document names."""
    for node in scalars(tops(document)):
        text = node.value
        if text.startswith("models:/") and (named := REGISTERED.fullmatch(text)):
            yield Artefact(node.at, "model", "yaml", text, named[2] or f"@{named[3]}", "", source="mlflow")
        elif _BUCKET.fullmatch(text) and _MODELS.fullmatch(str(node.keys[-1])):
            yield Artefact(node.at, "model", "yaml", text, "latest", "", source="bucket")
