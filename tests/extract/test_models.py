"""Which JSON files are Hugging Face configs."""

from __future__ import annotations

import json

import pytest

from vramguard.extract.models import extract
from vramguard.source import Unreadable, read


@pytest.mark.parametrize(
    ("path", "value", "is_config"),
    [
        ("config.json", {"model_type": "llama"}, True),
        ("a/config.json", {"architectures": ["X"]}, True),
        ("config.json", {"_class_name": "UNet"}, True),
        ("adapter_config.json", {"peft_type": "LORA"}, True),
        ("config.json", {"name": "of an application"}, False),
        ("config.json", ["model_type"], False),
        ("config.json", "model_type", False),
        ("config.json", None, False),
        ("models/named-by-a-deployment.json", {"hidden_size": 1}, True),
        ("models/named-by-a-deployment.json", [], False),
    ],
)
def test_a_config_is_told_by_its_keys(path: str, value: object, *, is_config: bool) -> None:
    document = read(path, json.dumps(value).encode(), kind="json")
    assert not isinstance(document, Unreadable)
    found = list(extract(document))
    assert [(fact.at.path, fact.config, fact.sha256) for fact in found] == (
        [(path, value, document.sha256)] if is_config else []
    )
