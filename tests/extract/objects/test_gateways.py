"""Configurations that are no YAML, and those that a ConfigMap holds."""

from __future__ import annotations

import pytest

from vramguard.extract import extract
from vramguard.facts import Manifest
from vramguard.source import Document, kind_of, read

HELD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  file: |\n"


def manifests(path: str, text: str) -> list[Manifest]:
    document = read(path, text.encode(), kind=kind_of(path))
    assert isinstance(document, Document)
    return [fact for fact in extract(document) if isinstance(fact, Manifest)]


@pytest.mark.parametrize(
    ("path", "text", "form"),
    [
        ("nginx.conf", "server { location / { proxy_pass http://a; } }\n", "nginx"),
        ("haproxy.cfg", "backend a\n  server b c:80\n", "haproxy"),
        ("models/a/config.pbtxt", 'name: "a" dynamic_batching { }\n', "triton"),
        ("traefik.toml", '[http.routers.a]\nservice = "b"\n', "traefik"),
        ("serve.yaml", "applications: [{import_path: 'a:b'}]\n", "ray-serve"),
        ("bento.yaml", "services: {A: {traffic: {timeout: 1}}}\n", "bentoml"),
    ],
)
def test_each_configuration_is_told_by_what_it_says(path: str, text: str, form: str) -> None:
    assert [one.form for one in manifests(path, text)] == [form]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app.conf", "[program:a]\ncommand=b\n"),
        ("models/a/config.pbtxt", 'name: "a"\n'),
        ("pyproject.toml", "[tool.a]\nhttp = 1\n"),
        ("a.yaml", "services: {A: {port: 1}}\n"),
        ("a.yaml", "applications: [one, two]\n"),
    ],
)
def test_what_says_nothing_of_requests_is_none(path: str, text: str) -> None:
    assert manifests(path, text) == []


@pytest.mark.parametrize(
    ("lines", "form"),
    [
        (["server {", "  location / { proxy_pass http://a; }", "}"], "nginx"),
        (["backend a", "  server b c:80"], "haproxy"),
        (["a line", "of text"], None),
    ],
)
def test_a_configmap_holds_configurations_with_their_lines(lines: list[str], form: str | None) -> None:
    found = manifests("c.yaml", HELD + "".join(f"    {line}\n" for line in lines))
    assert [one.form for one in found] == ["kubernetes", *([form] if form else [])]
    assert [one.at.line for one in found[1:]] == ([6] if form else [])


def test_a_long_text_of_a_configmap_is_left_alone() -> None:
    assert len(manifests("c.yaml", HELD + "    proxy_pass http://a;\n" * 20_000)) == 1
