"""Durations as each system writes them."""

from __future__ import annotations

import pytest

from vramguard.facts.nodes import Node
from vramguard.link.routes.durations import count, duration, milliseconds, said
from vramguard.source import Document, read


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("500ms", "s", 500),
        ("0.5s", "s", 500),
        ("10s", "s", 10_000),
        ("1m", "s", 60_000),
        ("1h30m", "s", 5_400_000),
        ("1m 30s", "s", 90_000),
        ("60", "s", 60_000),
        ("2500", "ms", 2500),
        ("1.5", "s", 1500),
        ("250us", "s", 1),
        ("0", "s", 0),
        ("0s", "s", 0),
        ("infinity", "s", 0),
        (".5s", "s", 500),
        ("1d", "s", 86_400_000),
        ("soon", "s", None),
        ("5 minutes", "s", None),
        ("", "s", None),
        ("1" * 80, "s", None),
    ],
)
def test_a_duration_in_milliseconds(text: str, unit: str, expected: int | None) -> None:
    assert milliseconds(text, unit) == expected


def node(text: str) -> Node:
    document = read("a.yaml", text.encode())
    assert isinstance(document, Document)
    return Node(document, (0,), document.value[0])


def test_a_duration_of_protobuf_has_seconds_and_nanos() -> None:
    found = duration(node("timeout: {seconds: 1, nanos: 500000000}").get("timeout"))
    assert found is not None
    assert found.known == 1500


def test_what_a_renderer_fills_in_is_not_known() -> None:
    found = duration(node("timeout: '{{ .Values.timeout }}'").get("timeout"))
    assert found is not None
    assert found.known is None
    assert duration(node("timeout: 1").get("other")) is None


@pytest.mark.parametrize(("text", "expected"), [("3", 3), ("-1", -1), ("50%", 50), ("'{{ x }}'", None), ("many", None)])
def test_a_count_may_be_negative_and_may_be_percent(text: str, expected: int | None) -> None:
    found = count(node(f"a: {text}").get("a"))
    assert found is not None
    assert found.known == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(500, "500 ms"), (30_000, "30 s"), (600_000, "10 min"), (90_000, "90 s"), (1500, "1,500 ms")],
)
def test_durations_in_sentences(value: int, expected: str) -> None:
    assert said(value) == expected
