"""Words and scripts of YAML scalars, in every style, and their places."""

from __future__ import annotations

import pytest
from timed import within

from vramguard.extract.tools.layout import shell_words
from vramguard.extract.tools.values import Node, joined, pinned, top
from vramguard.facts import Word
from vramguard.facts import nodes as kubernetes
from vramguard.source import Document, Location, read


def node(text: str) -> Node:
    document = read("a.yaml", text.encode())
    assert isinstance(document, Document)
    return top(document)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: one two\n", [("one", 1, 4), ("two", 1, 8)]),
        ("a: one\n  two\n\n", [("one", 1, 4), ("two", 2, 3)]),
        ("a: >-\n  one\n\n  two\n", [("one", 2, 3), ("two", 4, 3)]),
        ("a: |\n  one \\\n    two\n", [("one", 2, 3), ("two", 3, 5)]),
        ('a: "one \\\n  two \\"3 4\\""\n', [("one", 1, 5), ("two", 2, 3), ("3 4", 2, 9)]),
        ("a: 'one ''two'''\n", [("one", 1, 5), ("two", 1, 11)]),
        ('a: "x\\u0041 b"\n', [("xA", 1, 4), ("b", 1, 4)]),
        ("a: &x one\nb: *x\n", [("one", 1, 7)]),
        ("a: [one, 2, 0.90, true, null]\n", [("one", 1, 5), ("2", 1, 10), ("0.90", 1, 13), ("true", 1, 19)]),
        ("a: {b: c}\n", []),
        ("a:\n", []),
    ],
)
def test_words_stand_where_they_are_written(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert [(word.text, word.at.line, word.at.column) for word in node(text).get("a").words()] == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a 'b c' \"d e\"f g\\ h", ["a", "b c", "d ef", "g h"]),
        ("--x={{ .Values.y }} ${A:-b c} ${{ matrix.m }}", ["--x={{ .Values.y }}", "${A:-b c}", "${{ matrix.m }}"]),
        ('"a \\"b\\" \\n"', ['a "b" \\n']),
        ("'open end", ["open end"]),
        ("'' x", ["", "x"]),
        ("${A $ { } x", ["${A", "$", "{", "}", "x"]),
    ],
)
def test_a_line_is_split_as_a_shell_would(line: str, words: list[str]) -> None:
    found = list(shell_words(line))
    assert [text for text, _ in found] == words
    assert all(len(text) == len(offsets) for text, offsets in found)
    assert all(line[offset] == char for text, offsets in found for char, offset in zip(text, offsets, strict=True))


def test_a_folded_script_is_a_shells_lines_that_go_on() -> None:
    (shell, flag, script) = node('a: >\n  sh -c "vllm serve m\n  --max-model-len 8"\n').get("a").words()
    assert (shell.text, flag.text) == ("sh", "-c")
    assert script.text == "         vllm serve m \\\n  --max-model-len 8"
    assert script.first == (2, 1)
    assert script.known


def test_folds_within_single_quotes_are_left_alone() -> None:
    script = node("a: >\n  x '{1\n  2}'\n").get("a").script()
    assert script is not None
    assert (script.text, script.first) == ("x '{1 2}'\n", None)


def test_commands_of_one_shell_keep_their_lines() -> None:
    commands = node("a:\n  - export M=x\n  # why\n  - |\n    vllm serve \\\n      $M\n").get("a")
    script = joined(word for item in commands if (word := item.script()))
    assert script is not None
    assert script.text == "export M=x\n\n\nvllm serve \\\n  $M"
    assert script.first == (2, 5)
    assert script.place(4, 4).line == 6


def test_a_text_inside_has_the_places_of_the_file() -> None:
    document = node("spec:\n  config: |\n    a:\n      - b: 7\n").document
    (inner,) = kubernetes.Node(document, (0,), document.value[0]).get("spec", "config").parsed()
    found = inner.get("a", 0, "b")
    assert (found.number(), found.at) == (7, Location("a.yaml", 4, 12, 4, 13))
    assert found.word() == Word("7", Location("a.yaml", 4, 12, 4, 13), first=(4, 12))
    assert list(kubernetes.within(Word("a: [", found.at))) == []


def test_a_pinned_engine() -> None:
    setup = Word("pip install 'vllm[audio]==0.16.0' torch==2.8\n", Location("a"), first=(7, 3))
    run = Word("vllm serve x", Location("a"))
    assert {name: (word.text, word.at.line) for name, word in pinned(run, setup).items()} == {
        "engine_version": ("0.16.0", 7)
    }
    assert pinned(Word("python train.py", Location("a")), setup) == {}
    assert pinned(run, setup, Word("pip install vllm==0.17", Location("a"))) == {}
    assert pinned(run, None) == {}


@pytest.mark.parametrize(
    "value",
    ["{{" * 60_000, "${" * 60_000, "${a" * 60_000, '"' + "\\" * 100_000, "'" * 99_999, "a " * 90_000, "x" * 500_000],
)
def test_hostile_lines_take_no_time(value: str) -> None:
    with within(10):
        list(shell_words(value))
        tree = node("a: |\n  " + value + "\n").get("a")
        tree.words()
        tree.script()
