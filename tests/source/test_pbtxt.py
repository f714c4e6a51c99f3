"""Protobuf's text format: values and places."""

from __future__ import annotations

import pytest
from timed import within

from vramguard.source import Document, Unreadable, read

TEXT = r"""# a model
name: "a" 'b\n\x41'
backend: "vllm" # of it
instance_group [
  { count: 1, kind: KIND_GPU gpus: [ 0, 1 ] },
  < count: -2; >
]
parameters: { key: "k" value: { string_value: "${path}" } }
parameters { key: "l" }
max_batch_size: ${size}
"""


def test_fields_are_lists_of_values() -> None:
    document = read("m/config.pbtxt", TEXT.encode())
    assert isinstance(document, Document)
    assert document.value == {
        "name": ["ab\nA"],
        "backend": ["vllm"],
        "instance_group": [{"count": ["1"], "kind": ["KIND_GPU"], "gpus": ["0", "1"]}, {"count": ["-2"]}],
        "parameters": [{"key": ["k"], "value": [{"string_value": ["${path}"]}]}, {"key": ["l"]}],
        "max_batch_size": ["${size}"],
    }
    assert document.at("instance_group", 0, "gpus", 1)[1:3] == (5, 41)
    assert document.at("parameters", 0, "value", 0, "string_value", 0)[1:3] == (8, 47)
    assert document.key_at("backend", 0)[1:3] == (3, 1)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: {", 1), ("a:\n]", 2), ("a", 1), ('a: "open', 1), ("a: 1\n}", 2), ("a: @", 1), ("a: [1, 2", 1), ("{" * 9, 1)],
)
def test_what_is_no_message(text: str, line: int) -> None:
    document = read("config.pbtxt", text.encode())
    assert isinstance(document, Unreadable)
    assert document.at.line == line


@pytest.mark.parametrize("text", ["a{" * 100_000, "a:[" * 90_000, '"' * 99_999, "a: " + "'' " * 90_000, "${" * 50_000])
def test_hostile_text_is_refused_quickly(text: str) -> None:
    with within(10):
        read("config.pbtxt", text.encode())
