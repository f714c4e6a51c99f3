"""What every syntax shares: kinds of file, encodings, templates, places."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed import within

from vramguard.source import (
    LENIENT,
    MAX_BYTES,
    PARSERS,
    Document,
    Location,
    ParseError,
    Ruler,
    Unreadable,
    decode,
    is_template,
    kind_of,
    read,
)


@pytest.mark.parametrize(
    ("path", "kind", "explicit"),
    [
        ("requirements.txt", "requirements", "requirements"),
        ("a/requirements-dev.in", "requirements", "requirements"),
        ("requirements/base.txt", "requirements", "requirements"),
        ("constraints.txt", "requirements", "requirements"),
        ("notes.txt", None, "requirements"),
        ("poetry.lock", "toml", "toml"),
        ("a/b.TOML", "toml", "toml"),
        ("x.yml", "yaml", "yaml"),
        ("config.json", "json", "json"),
        ("package.json", None, "json"),
        ("README.md", "frontmatter", "frontmatter"),
        ("Makefile", "makefile", "makefile"),
        ("requirements.txt/readme", None, None),
    ],
)
def test_the_kind_of_a_file(path: str, kind: str | None, explicit: str | None) -> None:
    assert kind_of(path) == kind
    assert kind_of(path, explicit=True) == explicit


def test_a_file_read_by_name_alone_has_its_own_syntax() -> None:
    found = read("package.json", b'{"a": 1}')
    assert isinstance(found, Document)
    assert found.value == {"a": 1}


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "text"), [("toml", 'a = "é😀"\r\n'), ("yaml", "a: é😀\r\n"), ("json", '{"a": "é😀"}')]
)
def test_byte_order_marks_are_honoured(mark: bytes, encoding: str, kind: str, text: str) -> None:
    found = read("x", mark + text.encode(encoding), kind=kind)
    assert isinstance(found, Document)
    assert found.value in ({"a": "é😀"}, [{"a": "é😀"}])


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"a\nb\xff", 2, "not UTF-8 text: invalid start byte at byte 3"),
        (b"a\nb\0", 2, "binary, not text"),
        ("a = 1".encode("utf-16-le"), 1, "binary, not text"),
        (codecs.BOM_UTF16_LE + b"a", 1, "not UTF-16-LE text: truncated data at byte 0"),
        (b"\xed\xa0\x80", 1, "not UTF-8 text"),
        (b"{{ a }}\0", 1, "binary, not text"),
    ],
)
@pytest.mark.parametrize("kind", [kind for kind in PARSERS if kind not in LENIENT])
def test_bytes_that_are_no_text(data: bytes, line: int, reason: str, kind: str) -> None:
    found = read("x", data, kind=kind)
    assert isinstance(found, Unreadable)
    assert reason in found.reason
    assert found.at.line == line
    assert not found.template, "what is no text is no template"


@pytest.mark.parametrize("kind", sorted(LENIENT))
def test_bytes_of_a_kind_that_is_mostly_no_concern_of_ours_say_nothing(kind: str) -> None:
    found = read("x", b"\xff\xfe\0binary", kind=kind)
    assert isinstance(found, Document)
    assert found.text == ""


@pytest.mark.parametrize("kind", PARSERS)
def test_more_than_the_limit_is_not_parsed(kind: str) -> None:
    found = read("x", b"#" * (MAX_BYTES + 1), kind=kind)
    assert found == Unreadable(Location("x"), "larger than 32 MiB")


@given(data=st.binary(max_size=60), kind=st.sampled_from(PARSERS))
def test_no_bytes_raise(data: bytes, kind: str) -> None:
    found = read("x", data, kind=kind)
    if isinstance(found, Document):
        assert all(found.places[path] for path in found.places)


@given(text=st.text(st.sampled_from("{}[]<>*&!|-?:,#'\"\\= \n\t.aé😀01"), max_size=40), kind=st.sampled_from(PARSERS))
def test_no_text_raises(text: str, kind: str) -> None:
    found = read("x", text.encode(), kind=kind)
    if isinstance(found, Document):
        assert all(found.places[path] for path in found.places)


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("{{ .Values.a }}", True),
        ("{{\n a\n}}", True),
        ("{% if a %}", True),
        ("{%- for a %} {{", True),
        ("}} {{", False),
        ("{{", False),
        ("{ { a } }", False),
        ("a: [", False),
        ("", False),
    ],
)
def test_templates_are_told_by_their_marks(text: str, template: bool) -> None:  # noqa: FBT001
    assert is_template(text) is template


@pytest.mark.parametrize("mark", ["{{", "{%", "}}", "{{ "])
def test_the_search_for_a_template_is_linear(mark: str) -> None:
    with within(1):
        is_template(mark * 10_000_000)


def test_a_broken_file_with_marks_is_a_template() -> None:
    found = read("a.yaml", b"a: {{ .Values.a }}\n- b\n")
    assert isinstance(found, Unreadable)
    assert found.template


def test_a_file_with_marks_that_can_be_read_is_read() -> None:
    found = read("a.yaml", b"a: '{{ b }}'\n")
    assert isinstance(found, Document)
    assert found.value == [{"a": "{{ b }}"}]


@given(st.text(st.sampled_from("ab\n😀"), max_size=30))
def test_a_ruler_agrees_with_counting(text: str) -> None:
    ruler = Ruler(text)
    for offset in range(len(text) + 1):
        line, column = ruler.position(offset)
        assert line == text.count("\n", 0, offset) + 1
        assert column == offset - (text.rfind("\n", 0, offset) + 1) + 1


def test_the_nearest_enclosing_place_serves_for_what_has_none() -> None:
    found = read("a.toml", b"x = 1\n[a]\nb = [1, 2]\n")
    assert isinstance(found, Document)
    assert found.at("a", "b", 7)[1:3] == (3, 5)
    assert found.at("a", "c")[1:3] == (2, 1)
    assert found.at("z") == Location("a.toml")
    assert found.key_at("a", "b") == Location("a.toml", 3, 1, 3, 2)


def test_line_ends_are_one() -> None:
    assert decode(b"a\r\nb\rc\n") == "a\nb\nc\n"
    with pytest.raises(ParseError):
        decode(b"\x80")
