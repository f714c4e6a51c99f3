"""The line reader: tables, a round trip, and pip's own reader as the judge of both."""

from __future__ import annotations

import itertools
import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pip._internal.exceptions import RequirementsFileParseError
from pip._internal.req.req_file import RequirementsFileParser, get_line_parser

from vramguard.source import Document, ParseError, Span, Unreadable, read
from vramguard.source.requirements import Line, Option, parse

if TYPE_CHECKING:
    from pathlib import Path

SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def lines(text: str) -> tuple[Line, ...]:
    found: tuple[Line, ...] = parse(text).value
    return found


@pytest.mark.parametrize(
    ("text", "requirement", "span"),
    [
        ("torch==2.1.0", "torch==2.1.0", (1, 1, 1, 13)),
        ("\n\n  torch==2.1.0  # why\n", "torch==2.1.0", (3, 3, 3, 15)),
        ("torch==2.1.0\t# a tab is white space too", "torch==2.1.0", (1, 1, 1, 13)),
        ("torch==2.1.0#no comment", "torch==2.1.0#no comment", (1, 1, 1, 24)),
        ("torch \\\n  ==2.1.0", "torch   ==2.1.0", (1, 1, 2, 10)),
        ("\\\ntorch==2.1.0", "torch==2.1.0", (2, 1, 2, 13)),
        ("torch==2.1.0 \\", "torch==2.1.0", (1, 1, 1, 13)),
        ("a==1\n\x0cb==2", "a==1", (1, 1, 1, 5)),
        ("-e ./src", "./src", (1, 4, 1, 9)),
        ("--editable=./src[dev]", "./src[dev]", (1, 12, 1, 22)),
        ("-e./src", "./src", (1, 3, 1, 8)),
        ("torch==2.1.0 --hash=sha256:aa", "torch==2.1.0", (1, 1, 1, 13)),
        ('torch ; python_version < "3.12" --hash=sha256:aa', 'torch ; python_version < "3.12"', (1, 1, 1, 32)),
        ("tørch==1 ; x", "tørch==1 ; x", (1, 1, 1, 13)),
    ],
)
def test_a_requirement_and_its_place(text: str, requirement: str, span: tuple[int, ...]) -> None:
    assert (lines(text)[0].requirement, lines(text)[0].span) == (requirement, Span(*span))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("-r base.txt", [("--requirement", "base.txt")]),
        ("-rbase.txt", [("--requirement", "base.txt")]),
        ("--requirement=base.txt", [("--requirement", "base.txt")]),
        ("--requirem base.txt", [("--requirement", "base.txt")]),  # optparse takes any prefix that only one option has
        ("-r a.txt -c b.txt", [("--requirement", "a.txt"), ("--constraint", "b.txt")]),
        ("-r 'with space.txt'", [("--requirement", "with space.txt")]),
        ("-i https://example.com/simple", [("--index-url", "https://example.com/simple")]),
        ("--pre --no-index", [("--pre", ""), ("--no-index", "")]),
        (f"a==1 --hash=sha256:{SHA} --hash sha512:00", [("--hash", f"sha256:{SHA}"), ("--hash", "sha512:00")]),
        ("a==1 --config-settings='k=v w'", [("--config-settings", "k=v w")]),
        ("a==1 -- --hash=sha256:00", []),
        ("- a", []),
    ],
)
def test_options(text: str, options: list[tuple[str, str]]) -> None:
    (line,) = lines(text)
    assert (list(line.options), line.flaw) == ([Option(*option) for option in options], "")


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("--no-such-thing", "no such option: --no-such-thing"),
        ("-x", "no such option: -x"),
        ("--no", "no such option: --no"),  # a prefix of several
        ("--pre=yes", "--pre takes no value"),
        ("-r", "--requirement needs a value"),
        ("a==1 --hash=md5:00", "--hash takes sha256, sha384, sha512, not md5"),
        ("a==1 --hash=sha256", "--hash takes sha256, sha384, sha512, not sha256"),
        ("a==1 -C key", "--config-settings takes KEY=VALUE"),
        ("-r 'a", "its options cannot be split: no closing quotation"),
    ],
)
def test_what_pip_refuses(text: str, flaw: str) -> None:
    assert lines(text)[0].flaw == flaw


def test_a_comment_after_a_backslash_swallows_nothing_but_cuts_off_the_hash() -> None:
    first, second = lines(f"torch==2.1.0 \\\n  # the tested build\n  --hash=sha256:{SHA}\n")
    assert (first.requirement, first.options) == ("torch==2.1.0", ())
    assert (second.requirement, second.values("--hash"), second.span.line) == ("", [f"sha256:{SHA}"], 3)


def test_a_template_is_not_judged() -> None:
    with pytest.raises(ParseError) as error:
        parse("numpy==1\n{% if gpu %}\n")
    assert (error.value.line, error.value.column) == (2, 1)
    unread = read("requirements.txt", b"torch=={{ cookiecutter.torch }}\n")
    assert isinstance(unread, Unreadable)
    assert unread.template
    assert lines("torch==2.1.0 # {{ not a mark, in a comment }}")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks(encoding: str) -> None:
    document = read("requirements.txt", "torch==2.1.0\r\nnumpy\r\n".encode(encoding))
    assert isinstance(document, Document)
    assert [line.requirement for line in document.value] == ["torch==2.1.0", "numpy"]
    assert document.at(1) == ("requirements.txt", 2, 1, 2, 6)


names = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
versions = st.lists(st.integers(0, 99), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
hashes = st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=2)
joints = st.sampled_from([" ", "   ", " \\\n", " \\\n    "])
endings = st.sampled_from(["", "  ", "  # note", "\t# note"])
blanks = st.sampled_from(["", "\n", "# note\n", "   # note \\\n", " \n\n"])


@given(st.lists(st.tuples(names, versions, hashes, joints, endings, blanks), max_size=6))
def test_round_trip(written: list[tuple[str, str, list[str], str, str, str]]) -> None:
    text = "".join(
        blank + joint.join([f"{name}=={version}", *(f"--hash=sha256:{value}" for value in values)]) + ending + "\n"
        for name, version, values, joint, ending, blank in written
    )
    found = lines(text)
    assert [line.requirement for line in found] == [f"{name}=={version}" for name, version, *_ in written]
    assert [line.values("--hash") for line in found] == [
        [f"sha256:{v}" for v in values] for _, _, values, *_ in written
    ]
    for line in found:  # the place is that of the requirement itself
        row = text.split("\n")[line.span.line - 1]
        assert row[line.span.column - 1 : line.span.end_column - 1] == line.requirement


Seen = tuple[str, bool, tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def ours(text: str) -> list[Seen] | str:
    found = []
    for line in lines(text):
        if line.flaw:
            return "refused"
        values = [tuple(line.values(name)) for name in ("--hash", "--requirement", "--constraint")]
        found.append((line.requirement.strip(), line.editable and line.text.startswith("-"), *values))
    return found  # type: ignore[return-value]


def pips(text: str, folder: Path) -> list[Seen] | str:
    """What the installed pip reads, in the same form; blanks behind a requirement aside, which mean nothing to it."""
    path = folder / "requirements.txt"
    path.write_text(text, "utf-8")
    parser = RequirementsFileParser(None, get_line_parser(None))  # type: ignore[arg-type]
    try:
        parsed = list(parser._parse_file(str(path), constraint=False))
    except RequirementsFileParseError:
        return "refused"
    found = []
    for line in parsed:
        hashed = tuple(f"{kind}:{value}" for kind, values in (line.opts.hashes or {}).items() for value in values)
        text = (getattr(line, "requirement", None) or "").strip()
        files = (tuple(line.opts.requirements or ()), tuple(line.opts.constraints or ()))
        # `z==1 -e .` is the editable z==1 to pip 26.3, which then refuses it, and a plain z==1 to those before.
        editable = getattr(line, "is_editable", False) and not getattr(line, "args", "")
        found.append((text, bool(editable), hashed, *files))
    return found


# Abbreviations aside (`--a` is --all-releases to pip 26.3, and nothing to 23.2), both versions read these alike.
words = ["z==1", "-r", "-c b", "-e .", "--hash=sha256:0", "--hash", "sha256:1", "#", " # x", "\\\n", "\n", " ", "  "]
words += [
    "\t",
    "\\",
    "-",
    "--",
    "--pre",
    "--req=x",
    "'",
    '"',
    ";",
    "--nope",
    "md5:2",
    "-i u",
    "-C",
    " k=v",
    "\x0c",
    "é",
    "\u2028",
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(words), max_size=9).map("".join))
def test_pip_reads_the_same(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    assert ours(text) == pips(text, tmp_path_factory.getbasetemp())


def test_pip_reads_the_same_in_every_arrangement_of_three(tmp_path: Path) -> None:
    few = ["z==1", " --hash=sha256:0", " # x", "\\\n", "\n"]
    for parts in itertools.product(few, repeat=4):
        text = "".join(parts)
        assert ours(text) == pips(text, tmp_path), repr(text)
