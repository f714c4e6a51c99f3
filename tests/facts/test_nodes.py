"""Where a YAML scalar's own text stands, and documents inside documents."""

from __future__ import annotations

import pytest
import timed

from vramguard.facts import Unknown, Word
from vramguard.facts.nodes import Node, within
from vramguard.source import Document, Location, read


def node(text: str) -> Node:
    document = read("a.yaml", text.encode())
    assert isinstance(document, Document), document
    return Node(document, (0,), document.value[0])


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("k: |\n  a\n  b\n", (2, 3)),
        ("k: |-  # why\n    a\n", (2, 5)),
        ("k: |+\n\n   a\n", (2, 4)),
        ("k: &name |\n  a\n", (2, 3)),
        ("k: plain  # c\n", (1, 4)),
        ('k: "one line"\n', (1, 5)),
        ("k: 'one line'\n", (1, 5)),
        ("k: !tag 'x'\n", (1, 10)),
        ("k: >\n  folded\n  text\n", None),
        ("k: |2\n   x\n", None),
        ("k: one\n  two\n", None),
        ('k: "a\\tb"\n', None),
        ("k: 'it''s'\n", None),
        ("k: 1\n", (1, 4)),
    ],
)
def test_where_the_text_of_a_scalar_begins(text: str, first: tuple[int, int] | None) -> None:
    word = node(text).get("k").word()
    assert word is not None
    assert word.first == first
    if first:
        assert text.split("\n")[first[0] - 1][first[1] - 1 :].startswith(word.text.split("\n")[0])


def test_a_stretch_of_a_literal_block_has_its_own_place() -> None:
    word = node("k: |\n  cd /\n  vllm serve x\n").get("k").word()
    assert word is not None
    assert word.place(1, 11, 1) == Location("a.yaml", 3, 14, 3, 15)


@pytest.mark.parametrize(
    ("value", "text", "known"),
    [
        ("0.90", "0.90", True),
        ("yes", "yes", True),
        ("true", "true", True),
        ("010", "010", True),
        ("'{{ .Values.model }}'", "{{ .Values.model }}", False),
        ("${MODEL}", "${MODEL}", False),
        ("--model=$MODEL", "--model=$MODEL", False),
        ("$(MODEL)", "$(MODEL)", False),
        ("'vllm serve $MODEL'", "vllm serve $MODEL", True),
        ("'vllm serve {{ model }}'", "vllm serve {{ model }}", False),
        ("costs $5", "costs $5", True),
    ],
)
def test_a_word_is_as_written_and_says_whether_it_is_known(value: str, text: str, *, known: bool) -> None:
    word = node(f"k: {value}\n").get("k").word()
    assert word is not None
    assert (word.text, word.known) == (text, known)


@pytest.mark.parametrize(
    ("value", "number"),
    [("8", 8), ("'8'", 8), ("", None), ("'{{ n }}'", Unknown("{{ n }}")), ("1k", Unknown("1k")), ("[8]", None)],
)
def test_counts(value: str, number: int | Unknown | None) -> None:
    assert node(f"k: {value}\n").get("k").number() == number


def test_a_value_that_a_patch_has_replaced_has_no_first_character_here() -> None:
    document = node("k: old\n").document
    word = Node(document, (0, "k"), "new").word()
    assert word == Word("new", Location("a.yaml", 1, 4, 1, 7))


def test_a_document_inside_a_value_is_placed_in_the_file() -> None:
    (inner,) = node("outer:\n  text: |\n    a:\n    - b: 7\n").get("outer", "text").parsed()
    assert inner.get("a", 0, "b").at == Location("a.yaml", 4, 10, 4, 11)
    (folded,) = node("text: >-\n  {a: 7}\n").get("text").parsed()
    assert folded.get("a").at.line == 1


def test_a_document_two_deep_is_placed_in_the_file() -> None:
    (middle,) = node("x: |\n  y: |\n    z: here\n").get("x").parsed()
    (inner,) = middle.get("y").parsed()
    assert inner.get("z").at == Location("a.yaml", 3, 8, 3, 12)


def test_what_is_no_document_is_none() -> None:
    assert list(node("k: '{'\n").get("k").parsed()) == []
    assert list(node("k: [1]\n").get("k").parsed()) == []
    assert list(within(Word("a: [", Location("x.sh")))) == []


def test_one_text_that_many_aliases_name_is_not_read_forever() -> None:
    inner = "\n".join(f"  k{number}: v" for number in range(20_000))
    holder = node(f"a: &a |\n{inner}\nb: [{', '.join(['*a'] * 2000)}]\n")
    with timed.within(40):
        found = [list(item.parsed()) for item in holder.get("b").list()]
    assert 0 < sum(map(bool, found)) < 100
