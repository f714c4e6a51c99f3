"""HAProxy's configuration: sections, lines, words and their places."""

from __future__ import annotations

from vramguard.source import Document, Location, read

TEXT = r"""global
    maxconn 1000  # of everything
defaults
    timeout server 30s

backend gpu
    http-request set-header X-Name "a # b" 'c d' e\ f
    server one 10.0.0.1:8000 check inter 2s
"""


def parsed(text: str) -> Document:
    document = read("haproxy.cfg", text.encode(), kind="haproxy")
    assert isinstance(document, Document)
    return document


def test_sections_hold_lines_of_words() -> None:
    sections = parsed(TEXT).value
    assert [(one["section"], one["name"]) for one in sections] == [("global", ""), ("defaults", ""), ("backend", "gpu")]
    assert sections[0]["lines"] == [["maxconn", "1000"]]
    assert sections[2]["lines"][0] == ["http-request", "set-header", "X-Name", "a # b", "c d", "e f"]


def test_words_know_their_places() -> None:
    assert parsed(TEXT).at(2, "lines", 1, 5) == Location("haproxy.cfg", 8, 42, 8, 44)
    assert parsed(TEXT).at(2, "lines", 1).line == 8


def test_what_stands_before_a_section_and_open_quotes_are_left_out() -> None:
    assert parsed('stray words\nbackend a\n  server b "never closed\n').value == [
        {"section": "backend", "name": "a", "lines": [["server", "b"]]}
    ]


def test_a_megabyte_of_quotes_ends_quickly() -> None:
    assert len(parsed("backend a\n" + "'" * 1_000_000).value) == 1
    assert parsed("backend a\n" + "x " * 1_000_000).value == []
