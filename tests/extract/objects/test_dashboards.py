"""Dashboards and lists of counters, as files and within other documents."""

from __future__ import annotations

import json

import pytest
from timed import within

from vramguard.extract import extract
from vramguard.facts import DuplicateKey, Manifest
from vramguard.source import Document, kind_of, read

BOARD = json.dumps({"title": "Cards", "panels": [{"targets": [{"expr": "a"}]}]}, indent=1)
COUNTERS = """\
# DCGM FIELD, type, help
DCGM_FI_DEV_GPU_TEMP, gauge, t
  DCGM_EXP_XID_ERRORS_COUNT ,counter,x
#DCGM_FI_DEV_FB_USED, gauge, u
"""


def found(path: str, text: str) -> list[Manifest]:
    kind = kind_of(path)
    document = read(path, text.encode(), kind=kind) if kind else None
    facts = list(extract(document)) if isinstance(document, Document) else []
    assert not [fact for fact in facts if isinstance(fact, DuplicateKey)]
    return [fact for fact in facts if isinstance(fact, Manifest) and fact.form in ("dashboard", "counters")]


def held(text: str, indent: str = "    ") -> str:
    lines = "".join(f"{indent}{line}\n" for line in text.splitlines())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  x: |\n{lines}"


@pytest.mark.parametrize(
    "path", ["grafana/x.json", "monitoring/a/b.json", "gpu-dashboard.json", "observability/x.json", "Grafana-1.json"]
)
def test_a_dashboard_by_its_path(path: str) -> None:
    (one,) = found(path, BOARD)
    assert (one.form, one.name, one.at.line) == ("dashboard", "Cards", 2)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/x.json", BOARD),
        ("grafana/x.json", '{"title": "no queries"}'),
        ("grafana/x.json", '{"panels": [{"expr": '),
        ("monitoring/settings.json", "[]"),
        ("grafana/x.json", "[" * 10_000 + '"panels" "expr"'),
    ],
)
def test_what_is_no_dashboard(path: str, text: str) -> None:
    assert found(path, text) == []


def test_a_key_given_twice_is_its_editors_business() -> None:
    assert len(found("grafana/x.json", '{"title": "a", "title": "b", "panels": [{"expr": "c"}]}')) == 1


def test_a_dashboard_of_an_object() -> None:
    (one,) = found("c.yaml", held(BOARD))
    assert (one.name, one.at.line, one.at.column) == ("Cards", 7, 15)


@pytest.mark.parametrize("path", ["dcgm.csv", "etc/default-counters.csv", "my-dcgm-metrics.csv"])
def test_a_list_of_counters(path: str) -> None:
    (one,) = found(path, COUNTERS)
    assert list(one.node.value) == ["DCGM_FI_DEV_GPU_TEMP", "DCGM_EXP_XID_ERRORS_COUNT"]
    assert (one.at.line, one.node.get(1).at.line) == (2, 3)


def test_a_list_of_an_object() -> None:
    (one,) = found("c.yaml", held(COUNTERS))
    assert (one.at.path, one.at.line, one.at.column) == ("c.yaml", 7, 5)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "# DCGM_FI_DEV_GPU_TEMP, gauge, t\n", ""])
def test_a_table_of_something_else(text: str) -> None:
    assert found("dcgm.csv", text) == []


@pytest.mark.parametrize("text", ["DCGM_FI_" + "A" * 3_000_000, " " * 3_000_000, "DCGM_FI_A,\n" * 200_000])
def test_hostile_lists_take_no_time(text: str) -> None:
    with within(2):
        found("dcgm.csv", text)
