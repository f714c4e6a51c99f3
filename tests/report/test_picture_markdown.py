"""The comment of a proof: nothing of a repository is mark-up in it, and its numbers are the proof's."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

import pytest
from markdown_it import MarkdownIt

from vramguard.memory import Answer, Ledger
from vramguard.memory.curves import Curve, Point
from vramguard.memory.ledger import bound
from vramguard.memory.planning import Largest
from vramguard.report.pictures.markdown import bar, code, markdown, prose
from vramguard.source import Location
from vramguard.units import gib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token
    from report.conftest import Make

EVILS: Final = (
    "<script>alert(1)</script>",
    "<!-- hidden",
    "</details><h1>merge</h1>",
    "@everyone please merge",
    "fixes #1 and org/repo#2, GH-3",
    "[a link](https://example.org) ![an image](//example.org/x.png)",
    "https://example.org www.example.org me@example.org",
    "a | b | c \\| d \\",
    "` one `` two ``` three",
    "`````",
    " `padded` ",
    "**bold** _it_ ~~no~~ $x$ :tada:",
    "# heading",
    "1. first",
    "- item",
    "> quote",
    "```",
    "deadbeefdeadbeef",
    "&lt;b&gt; &#64;me",
    "line\nbreak\r\n# heading",
    "\u202eevil\u200b",
    "x" * 9000,
)
LOUD: Final = re.compile(r"[@#<>|`*_~$\[\]&]|://|www\.|GH-\d|\b[0-9a-f]{7,40}\b|:\w+:")
CURVE: Final = Curve(
    "concurrency",
    1,
    (Point(1, Answer.FITS, 1 << 30, 2 << 30), Point(2, Answer.EXCEEDS, 90 << 30, 95 << 30)),
    Largest(1, "budget"),
)


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def spoken(text: str) -> str:
    """What Markdown reads as words: neither code nor our own tags."""
    return " ".join(token.content for token in tokens(text) if token.type == "text")


@pytest.mark.parametrize("evil", EVILS)
@pytest.mark.parametrize("frame", ["{}", "- {}", "### {} x", "| a | b |\n| - | - |\n| {} | c |"])
def test_code_is_code_wherever_it_stands(evil: str, frame: str) -> None:
    found = list(tokens(frame.format(code(evil))))
    assert [token.type for token in found].count("code_inline") == 1
    assert not {"html_inline", "html_block", "link_open", "image", "fence"} & {token.type for token in found}
    assert sum(token.type == "td_open" for token in found) == (2 if "|" in frame else 0)
    span = next(token.content for token in found if token.type == "code_inline")
    if len(evil) < 100 and "|" not in evil and evil.isprintable():
        assert span.strip() == evil.strip()


@pytest.mark.parametrize("evil", EVILS)
def test_prose_is_words_and_code(evil: str) -> None:
    for sentence in (evil, f"it assumes {evil}, which `{evil}` says", f"a `{evil}"):
        text = f"- {prose(sentence)}"
        found = {token.type for token in tokens(text)}
        assert not {"html_inline", "html_block", "link_open", "image", "fence", "strong_open", "em_open"} & found
        assert not {"heading_open", "blockquote_open", "ordered_list_open"} & found
        assert not LOUD.search(spoken(text))


def test_a_plain_sentence_stays_one() -> None:
    sentence = (
        "the peak is at most 40.52 GiB (43,505,801,282 bytes), 80 % of one h100-sxm5-80gb; max 3, as vLLM takes it."
    )
    assert prose(sentence) == sentence
    assert prose("max_model_len is `x` here") == "`max_model_len` is `x` here"


def test_nothing_of_a_repository_becomes_markup(make: type[Make]) -> None:
    evil = " ".join(EVILS[:-1])
    proof = make.proven().proof
    proof = dataclasses.replace(
        proof,
        device=dataclasses.replace(proof.device, name=evil),
        workload=dataclasses.replace(proof.workload, engine=evil),
        ledger=Ledger((*proof.ledger, bound(f"{evil}/{evil}", "size", {"size": 9}, source=evil))),
        assumptions=EVILS,
    )
    proven = make.proven()._replace(proof=proof, model=evil, at=Location(evil), sha256=evil)
    for answer in (proof, dataclasses.replace(proof, totals=None, reason=evil, answer=Answer.UNKNOWN)):
        text = markdown(proven._replace(proof=answer), (CURVE,))
        assert not {"link_open", "image", "html_inline"} & {token.type for token in tokens(text)}
        blocks = [token.content for token in tokens(text) if token.type == "html_block"]
        assert all(re.fullmatch(r"(<details><summary>[\w, ]+</summary>|</details>)\n?", block) for block in blocks)
        assert not LOUD.search(spoken(text))
        assert text.isprintable() or set(text) - {"\n"} == {char for char in text if char.isprintable()}


def test_numbers_are_the_proofs(make: type[Make]) -> None:
    proven = make.proven()
    text, proof = markdown(proven, (CURVE,)), proven.proof
    assert proof.totals is not None
    assert text.startswith("### FITS: `LlamaForCausalLM` on `h100-sxm5-80gb`\n\n**FITS**: the peak is at most ")
    assert f"{gib(proof.totals.peak_upper_bytes)} GiB ({proof.totals.peak_upper_bytes:,} bytes)" in text
    assert f"| █ weights | {gib(proof.ledger.lower_bytes('weights'))} | {gib(proof.totals.weights_bytes)} |" in text
    for term in proof.ledger:
        assert f"| `{term.name}` | {term.lower_bytes:,} | {term.upper_bytes:,} | {term.kind.value} |" in text
    assert "| 2 | 90.00 | 95.00 | EXCEEDS |" in text
    assert "The largest concurrency that fits is 1; 2 is not shown to." in text
    assert f"<summary>{len(proof.assumptions)} assumptions</summary>" in text
    assert text == markdown(proven, (CURVE,))
    rows = [line.count(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert set(rows) == {4}


def test_a_long_ledger_is_cut_to_what_a_comment_holds(make: type[Make]) -> None:
    proof = make.proven().proof
    rows = tuple(bound(f"weights/{number}{'w' * 300}", "size", {"size": 9}) for number in range(1000))
    text = markdown(
        make.proven()._replace(proof=dataclasses.replace(proof, ledger=Ledger(rows), assumptions=EVILS * 50))
    )
    assert "880 more are in the JSON." in text
    assert len(text) < 65_536


@pytest.mark.parametrize(("budget", "peak"), [(16, 13), (16, 40), (1, 40), (20, 1)])
def test_the_bar_is_to_scale(make: type[Make], budget: int, peak: int) -> None:
    proof = dataclasses.replace(
        make.proven().proof,
        ledger=Ledger((bound("weights/all", "size", {"size": peak << 30}),)),
        budget_bytes=budget << 30,
        device=dataclasses.replace(make.proven().proof.device, capacity_bytes=20 << 30),
    )
    assert proof.totals is not None
    cells, *under = bar(proof, dataclasses.replace(proof.totals, peak_upper_bytes=peak << 30))
    scale = max(20, peak)
    assert len(cells) == 72
    assert cells.count("█") == peak * 72 // scale
    assert under[0].index("▲") == min(budget * 72 // scale, 71)
    assert len(under) == (2 if peak > 20 else 1)
