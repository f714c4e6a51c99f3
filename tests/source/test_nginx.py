"""nginx's configuration: directives, blocks, places; what is broken or hostile."""

from __future__ import annotations

import pytest

from vramguard.source import Document, Location, Unreadable, kind_of, read
from vramguard.source.nginx import MAX_CHARACTERS

TEXT = """\
# in front of the model
upstream chat {
    server gpu0:8000 max_fails=3 fail_timeout=30s;  # the first
    server "gpu1:8000" backup;
}
server {
    location ~ ^/v1/(chat|completions)$ {
        proxy_pass http://chat;
        proxy_set_header X-Price "a; b { c }";
    }
}
"""


def parsed(text: str, path: str = "nginx.conf") -> Document:
    document = read(path, text.encode(), kind="nginx")
    assert isinstance(document, Document)
    return document


def test_directives_are_told_with_their_words_and_blocks() -> None:
    upstream, server = parsed(TEXT).value
    assert (upstream["name"], upstream["args"]) == ("upstream", ["chat"])
    assert [one["args"] for one in upstream["block"]] == [
        ["gpu0:8000", "max_fails=3", "fail_timeout=30s"],
        ["gpu1:8000", "backup"],
    ]
    location = server["block"][0]
    assert location["args"] == ["~", "^/v1/(chat|completions)$"]
    assert [one["name"] for one in location["block"]] == ["proxy_pass", "proxy_set_header"]
    assert location["block"][1]["args"] == ["X-Price", "a; b { c }"]


def test_each_directive_knows_its_line() -> None:
    document = parsed(TEXT)
    assert document.at(0, "block", 1) == Location("nginx.conf", 4, 5, 4, 31)
    assert document.at(1, "block", 0, "block", 0).line == 8
    assert document.at(0, "block", 0, "args", 2).line == 3


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("deploy/nginx.conf", "nginx"),
        ("conf.d/default.conf.template", "nginx"),
        ("haproxy.cfg", "haproxy"),
        ("etc/haproxy/haproxy-gpu.cfg.j2", "haproxy"),
        ("nginx.py", "python"),
        ("setup.cfg", "ini"),
        ("nginx.md", None),
    ],
)
def test_files_are_told_by_their_name(path: str, kind: str | None) -> None:
    assert kind_of(path) == kind


def test_what_passes_nothing_on_is_not_taken_apart() -> None:
    assert parsed("[program:web]\ncommand=gunicorn app:app\n", "supervisord.conf").value == []


@pytest.mark.parametrize("text", ["location / { proxy_pass http://a;", "}\n proxy_pass http://a;"])
def test_broken_braces_are_nobodys_error(text: str) -> None:
    assert parsed(text).value is None


def test_what_is_deep_or_long_ends_quickly() -> None:
    assert parsed("proxy_pass a;\n" + "a {" * 100_000).value is None
    assert parsed("proxy_pass a;\n" + "x" * MAX_CHARACTERS).value == []
    assert not isinstance(read("nginx.conf", b"proxy_pass 'never closed", kind="nginx"), Unreadable)
