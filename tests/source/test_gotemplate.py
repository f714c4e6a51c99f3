"""Helm's templates as trees: what stands between the marks, what is trimmed, and what is refused."""

from __future__ import annotations

import pytest

from vramguard.source import ParseError
from vramguard.source.gotemplate import Action, Block, Call, Field, Literal, Pipe, Words, template


def only(text: str) -> Action:
    (action,) = template(text).body
    assert isinstance(action, Action)
    return action


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("{{ .Values.a.b }}", Field(".", ("Values", "a", "b"))),
        ("{{ . }}", Field(".")),
        ("{{ $ }}", Field("$")),
        ("{{ $.Values.a }}", Field("$", ("Values", "a"))),
        ("{{ $x }}", Field("$x")),
        ('{{ "a\\"\\n" }}', Literal('a"\n')),
        ("{{ `a\\n` }}", Literal("a\\n")),
        ("{{ 'a' }}", Literal(97)),
        ("{{ -12 }}", Literal(-12)),
        ("{{ 1.5 }}", Literal(1.5)),
        ("{{ true }}", Literal(True)),
        ("{{ nil }}", Literal(None)),
        ("{{ int .a }}", Call("int", (Field(".", ("a",)),))),
        ("{{ .a | quote }}", Pipe((Field(".", ("a",)), Call("quote", ())))),
        ('{{ (index . "a").b }}', Field(Call("index", (Field("."), Literal("a"))), ("b",))),
        ('{{ .Files.Get "a" }}', Call(Field(".", ("Files", "Get")), (Literal("a"),))),
        ("{{ f .a .b }}", Call("f", (Field(".", ("a",)), Field(".", ("b",))))),
    ],
)
def test_an_expression(text: str, expression: object) -> None:
    assert only(text).pipe == expression


def test_variables_are_declared_or_set() -> None:
    assert (only("{{ $a := 1 }}").variables, only("{{ $a := 1 }}").fresh) == (("$a",), True)
    assert (only("{{ $a = 1 }}").variables, only("{{ $a = 1 }}").fresh) == (("$a",), False)
    (block,) = template("{{ range $k, $v := .a }}{{ end }}").body
    assert isinstance(block, Block)
    assert (block.variables, block.fresh) == (("$k", "$v"), True)


def test_what_is_trimmed_keeps_its_offset() -> None:
    body = template("a \n {{- 1 -}} \n b").body
    assert body[0] == Words("a", 0)
    assert body[2] == Words("b", 16)


def test_a_minus_that_is_a_number_does_not_trim() -> None:
    assert template("a {{-1}}").body[0] == Words("a ", 0)


def test_comments_say_nothing_even_with_marks_in_them() -> None:
    assert template("a{{/* {{ .b }} */}}c").body == (Words("a", 0), Words("c", 19))
    assert template("a {{- /* b */ -}} c").body == (Words("a", 0), Words("c", 18))


def test_else_if_is_ended_with_its_if() -> None:
    (block, after) = template("{{ if .a }}1{{ else if .b }}2{{ else }}3{{ end }}4").body
    assert isinstance(block, Block)
    (inner,) = block.other
    assert isinstance(inner, Block)
    assert [block.body, inner.body, inner.other, after] == [
        [Words("1", 11)],
        [Words("2", 28)],
        [Words("3", 39)],
        Words("4", 49),
    ]


def test_definitions_are_by_name_and_write_nothing() -> None:
    found = template('{{ define "a.b" }}x{{ end }}y')
    assert found.body == (Words("y", 28),)
    assert found.defined["a.b"].body == [Words("x", 18)]


@pytest.mark.parametrize(
    "text",
    [
        "{{ if .a }}",
        "{{ end }}",
        "{{ else }}",
        "{{ .a",
        "{{ (.a }}",
        "{{ .a ) }}",
        '{{ "a }}',
        "{{ define }}{{ end }}",
        "{{/* a",
        "{{ 1 2 }}",
        "{{ a | }}",
        "{% if a %}{{ a['b'] }}",
        "{{ if .a }}" * 5000,
        "{{ " + "(" * 5000 + " }}",
        "{{ a }}" * 200_000,
        "x" * (2 << 20),
    ],
)
def test_what_is_no_template_of_go_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        template(text)


def test_a_refusal_has_its_place() -> None:
    with pytest.raises(ParseError) as refusal:
        template("a\nb {{ if .a }}")
    assert (refusal.value.line, refusal.value.column) == (2, 3)
