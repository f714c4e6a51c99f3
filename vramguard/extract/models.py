"""Hugging Face configs: the config.json of a model, and the neighbours that only share its name."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vramguard.facts import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

# Any of these keys makes a config.json one of Hugging Face's: a model's, a diffusers component's, a PEFT adapter's.
_MARKS = ("model_type", "architectures", "_class_name", "peft_type")
_OTHERS = ("config.json", "adapter_config.json")


def extract(document: Document) -> Iterator[ModelConfig]:
    """The config, if this is one. A file of any other name is read only because a deployment names it."""
    value = document.value
    named = posixpath.basename(document.path) not in _OTHERS
    if isinstance(value, Mapping) and (named or is_model(value)):
        yield ModelConfig(document.at(), value, document.sha256)


def is_model(config: Mapping[str, object]) -> bool:
    """Whether a JSON object is one of Hugging Face's: any other is read only because somebody named the file."""
    return any(mark in config for mark in _MARKS)
