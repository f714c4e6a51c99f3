"""Dockerfiles, makefiles and files of variables: their syntax."""

from __future__ import annotations

from timed import within

from vramguard.source.dockerfile import Instruction
from vramguard.source.dockerfile import parse as dockerfile
from vramguard.source.dotenv import parse as dotenv
from vramguard.source.makefile import parse as makefile


def instructions(text: str) -> list[tuple[str, str, int]]:
    found: tuple[Instruction, ...] = dockerfile(text).value
    return [(item.keyword, item.text, item.row) for item in found]


def test_instructions() -> None:
    text = "# syntax=x\nFROM a AS b\n\nrun x \\\n  # why\n\n  && y\nCMD z"
    assert instructions(text) == [
        ("FROM", "     a AS b", 2),
        ("RUN", "    x \\\n\\\n\\\n  && y", 4),
        ("CMD", "    z", 8),
    ]


def test_the_escape_directive() -> None:
    assert instructions("# escape=`\nFROM a\nRUN x `\n  y\\\nCMD z")[1:] == [
        ("RUN", "    x \\\n  y\\", 3),
        ("CMD", "    z", 5),
    ]


def test_heredocs_belong_to_their_instruction() -> None:
    text = "RUN <<A bash && <<-'B' cat\nFROM no\nA\n\tCMD no\n\tB\nCMD z\nRUN <<NEVER\nUSER x"
    assert [keyword for keyword, _, _ in instructions(text)] == ["RUN", "CMD", "RUN", "USER"]
    assert instructions(text)[0][1].split("\n")[1:] == ["FROM no", "A", "\tCMD no", "\tB"]


def test_hostile_dockerfiles_cost_little() -> None:
    with within(10):
        for text in ("RUN <<A\n" * 20_000, "FROM a \\\n" * 50_000, "RUN " + "<<A " * 50_000, "\n" * 500_000):
            dockerfile(text)


def test_makefiles() -> None:
    text = (
        "M ?= a/b # which\nA := x \\\n  y\nifdef X\nB = 1\nendif\nexport C=2\nserve: dep\n\t@vllm $(M)\n\n\techo\n"
        "t: A = z\ndefine no\nN = 1\nendef\none: ; vllm\n.PHONY: serve\n"
    )
    found = makefile(text).value
    assert [(item.name, item.operator, item.value, item.row) for item in found.assignments] == [
        ("M", "?=", "a/b", 1),
        ("A", ":=", "x y", 2),
        ("B", "=", "1", 5),
        ("C", "=", "2", 7),
        ("A", "=", "z", 12),
    ]
    assert [item.conditional for item in found.assignments] == [False, False, True, False, False]
    assert found.assignments[3].exported
    assert found.assignments[4].target == "t"
    assert [(recipe.target, recipe.row, recipe.lines) for recipe in found.recipes] == [
        ("serve", 9, ("\t@vllm $(M)", "", "\techo")),
        ("one", 16, ("       vllm",)),
    ]


def test_dotenv() -> None:
    text = "# no\nA=b # c\nexport B=\"x $A\\n y\"\nC='$A'\nD=${Z:-4}${A:+5}\nE=$Q\nF=a#b\nG=\nH: 1\n"
    text += 'I="two\nlines"\nJ="open\nK=1\n'
    found = {entry.key: (entry.value, entry.known) for entry in dotenv(text).value}
    assert found == {
        "A": ("b", True),
        "B": ("x b\n y", True),
        "C": ("$A", True),
        "D": ("45", True),
        "E": ("$Q", False),
        "F": ("a#b", True),
        "G": ("", True),
        "H": ("1", True),
        "I": ("two\nlines", True),
        "J": ('"open', True),
        "K": ("1", True),
    }
    places = {entry.key: (entry.row, entry.column) for entry in dotenv(text).value}
    assert (places["A"], places["B"], places["K"]) == ((2, 3), (3, 11), (13, 3))
