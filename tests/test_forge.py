"""Environments and their reviewers, asked of a server that speaks GitHub's protocol."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from routed import routed

from vramguard import engine
from vramguard.discover import WorkTree
from vramguard.forge import protections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Git, Repo

    from vramguard.facts import Protection

FLOW = """\
on: push
jobs:
  use:
    environment: %s
    steps: [{run: kubectl apply -f model.yaml}]
"""
ASKED = {"protection_rules": [{"type": "required_reviewers", "reviewers": [{"type": "Team", "reviewer": {"id": 1}}]}]}
PATH = "/repos/shop/prices/environments/production"


@dataclass
class Forge:
    """The server: what it answers by path, and what it was asked, with which token."""

    url: str
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Forge]:
    """A forge on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append((self.path, self.headers.get("authorization")))
            status, body = served.answers.get(self.path, (404, {}))
            self.send_response(status)
            if status == 301:
                self.send_header("location", body)
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Forge(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forge]:
    """GitHub, as its own variables name it."""
    with serving() as found:
        monkeypatch.setenv("GITHUB_API_URL", found.url)
        monkeypatch.setenv("GITHUB_REPOSITORY", "shop/prices")
        monkeypatch.setenv("GITHUB_TOKEN", "tests-only")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
        yield found


def asked(environment: str = "production", root: Path | None = None) -> Protection:
    """What is said of one environment of one workflow."""
    (one,) = protections(routed({".github/workflows/use.yml": FLOW % environment}), root)
    return one


@pytest.mark.parametrize(
    ("answer", "reviewed"),
    [
        (ASKED, True),
        ({"protection_rules": []}, False),
        ({"protection_rules": [{"type": "wait_timer", "wait_timer": 30}]}, False),
        ({"protection_rules": [{"type": "branch_policy"}]}, False),
        ({"protection_rules": [{"type": "required_reviewers", "reviewers": []}]}, False),
        ({}, None),
        ([], None),
    ],
)
def test_what_github_says(forge: Forge, answer: object, reviewed: object) -> None:
    forge.answers[PATH] = 200, answer
    one = asked()
    assert (one.reviewed, one.by, one.at.line) == (reviewed, "github", 4)
    assert forge.asked == [(PATH, "Bearer tests-only")]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, {}, "not accepted"),
        (403, {}, "may not read it"),
        (404, {}, "not there"),
        (500, {}, "answers 500"),
        (200, "no json", "cannot be asked"),
        (301, "http://127.0.0.2:9/elsewhere", "answers 301"),
    ],
)
def test_what_is_not_said_is_not_known(forge: Forge, status: int, body: object, why: str) -> None:
    forge.answers[PATH] = status, body
    one = asked()
    assert one.reviewed is None
    assert why in one.why


def test_a_renamed_repository_is_followed_on_the_same_host(forge: Forge) -> None:
    forge.answers[PATH] = 301, f"{forge.url}/repositories/1/environments/production"
    forge.answers["/repositories/1/environments/production"] = 200, ASKED
    assert asked().reviewed is True


def test_names_are_quoted_and_those_of_expressions_not_asked(forge: Forge) -> None:
    assert asked("a b/c").reviewed is None
    assert [path for path, _ in forge.asked] == ["/repos/shop/prices/environments/a%20b%2Fc"]
    assert not list(protections(routed({".github/workflows/use.yml": FLOW % "${{ inputs.place }}"}), None))


def test_no_token_where_there_is_none_and_nothing_over_plain_http(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "")
    asked()
    assert forge.asked[0][1] is None
    monkeypatch.setenv("GITHUB_API_URL", "http://forge.example.com")
    assert "no https" in asked().why


@pytest.mark.parametrize(
    ("remote", "path"),
    [
        ("https://github.com/shop/other.git", "/repos/shop/other/environments/production"),
        ("git@github.com:shop/other.git", "/repos/shop/other/environments/production"),
        ("ssh://git@github.com/shop/other", "/repos/shop/other/environments/production"),
        ("https://gitlab.example.com/shop/other.git", None),
        ("/srv/git/other.git", None),
    ],
)
def test_the_repository_is_where_origin_is(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, repo: Repo, git: Git, remote: str, path: str | None
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY")
    root = repo({"a": "b"}, commit="first")
    git(root, "remote", "add", "origin", remote)
    one = asked(root=root)
    assert [name for name, _ in forge.asked] == ([path] if path else [])
    assert path is not None or "GITHUB_REPOSITORY" in one.why


def test_github_is_asked_online_alone(forge: Forge, repo: Repo) -> None:
    model = (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: price}\n"
        'spec: {predictor: {model: {modelFormat: {name: sklearn}, storageUri: "s3://models/price/v7"}}}\n'
    )
    root = repo({".github/workflows/use.yml": FLOW % "production", "model.yaml": model})
    forge.answers[PATH] = 200, {"protection_rules": []}
    found = {}
    for online in (False, True):
        tree = WorkTree(root)
        report = engine.check(tree, engine.load_policy(tree, select=("VG505",), online=online))
        found[online] = [(finding.id, finding.at.line) for finding in report.findings]
    assert found == {False: [], True: [("VG505", 3)]}
    assert len(forge.asked) == 1
