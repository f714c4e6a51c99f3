"""The page of a proof: well-formed, harmless, complete, the same every time, and readable."""

from __future__ import annotations

import dataclasses
import itertools
import re
from fractions import Fraction
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest
from llama import LLAMA_8B

from vramguard.engine import Proven
from vramguard.memory import Depth, Device, Ledger, Prover, Workload
from vramguard.memory.curves import Curve, curves
from vramguard.memory.ledger import bound, exact
from vramguard.report import pictures
from vramguard.report.pictures import figures, style
from vramguard.report.pictures.page import html
from vramguard.source import Location
from vramguard.units import gib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from report.conftest import Make

CARD = Device("h100-sxm5-80gb", 84_927_609_569, "a log, https://example.org/log", 0, 960_998_933, "another log")
EMPTY: Final = {
    "meta",
    "link",
    "br",
    "wbr",
    "img",
    "input",
    "hr",
    "rect",
    "line",
    "path",
    "circle",
    "polyline",
    "polygon",
}
ANSWERS: Final = {
    "FITS": {"engine": "vllm", "dtype": "bfloat16", "max_model_len": 8192},
    "EXCEEDS": {"engine": "transformers", "dtype": "bfloat16", "concurrency": 64},
    "UNKNOWN": {"engine": "transformers", "dtype": "bfloat16", "concurrency": 2},
}


def drawn(**workload: object) -> tuple[Proven, tuple[Curve, ...]]:
    asked = Workload(**workload)  # type: ignore[arg-type]  # fields by name
    prover = Prover(LLAMA_8B, Fraction(4, 5))
    proof = prover(asked, CARD, Depth.WHOLE)
    return Proven(proof, Location("models/llama/config.json"), "a" * 64), curves(
        prover, asked, CARD, prover.context, proof
    )


class Reader(HTMLParser):
    """Elements in order, with the text of each; unclosed and misnested tags are errors."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY or tag == "circle":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in EMPTY
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(page: str) -> Reader:
    """The page by html.parser, in which a rect with a title inside is closed by its own tag."""
    return Reader(re.sub(r"<(rect|circle)([^<>]*[^/])>(<title>[^<>]*</title>)</\1>", r"\3<\1\2/>", page))


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_page_is_well_formed_and_needs_no_network(answer: str) -> None:
    proven, found = drawn(**ANSWERS[answer])
    assert proven.proof.answer.value == answer
    page = html(proven, found)
    reader = read(page)
    tags = [tag for tag, _ in reader.tags]
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(tags)
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name in {"src", "style", "xlink:href"}]
        assert attributes.get("href", "#").startswith("#"), tag  # type: ignore[union-attr]  # no href is without value
    assert "url(" not in page.replace("url(#curve-", "")
    assert "@import" not in page
    assert "https://example.org/log" in reader.words()  # a source is text
    policy = next(attributes["content"] for tag, attributes in reader.tags if attributes.get("http-equiv"))
    assert policy == style.POLICY
    assert "default-src 'none'" in str(policy)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(
        r"#([\w-]+)", " ".join(str(a.get("href", "")) + str(a.get("clip-path", "")) for _, a in reader.tags)
    )
    named = " ".join(str(a["aria-labelledby"]) for _, a in reader.tags if "aria-labelledby" in a).split()
    assert {*used, *named} <= set(ids)


def test_pictures_are_well_formed_and_named() -> None:
    page = html(*drawn(**ANSWERS["FITS"]))
    svgs = re.findall(r"<svg.*?</svg>", page)
    for svg in svgs:
        root = ET.fromstring(svg)  # noqa: S314 - our own
        if root.get("role") == "img":
            assert [child.tag for child in root][:2] == ["title", "desc"]
            assert root.get("aria-labelledby")
        else:
            assert root.get("aria-hidden") == "true"
    assert sum('role="img"' in svg for svg in svgs) == 3  # the bar and two curves


def test_headings_are_in_order() -> None:
    levels = [int(tag[1]) for tag, _ in read(html(*drawn(**ANSWERS["FITS"]))).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_number_of_the_proof_is_on_the_page(answer: str) -> None:
    proven, found = drawn(**ANSWERS[answer])
    words, proof = read(html(proven, found)).words(), proven.proof
    assert proof.totals is not None
    assert words.index(answer) < words.index("What fills the card")
    peak = (proof.totals.peak_lower_bytes, proof.totals.peak_upper_bytes)
    sizes = [*peak, proof.budget_bytes, proof.device.capacity_bytes]
    for size in (*sizes, *(size for term in proof.ledger for size in (term.lower_bytes, term.upper_bytes))):
        assert f"{size:,}" in words
    for group in figures.groups(proof):
        assert f"{group.label} {gib(group.lower_bytes)} {gib(group.upper_bytes)}" in words
    for term in proof.ledger:
        said = (f"{name}={value:,}" if name != term.formula else f"{value:,}" for name, value in term.inputs.items())
        assert all(integer in words for integer in said if integer.split("=")[0] in (*term.formula.split(), integer))
        assert term.source is None or term.source in words
    for curve in found:
        assert curve.largest.value is None or f"{curve.largest.value:,}" in words
        for point in curve.points:
            assert f"{point.value:,} {gib(point.lower_bytes)} {gib(point.upper_bytes)}" in words
    assert all(sentence.replace("`", "") in words for sentence in proof.assumptions)
    assert CARD.source in words


def test_the_bar_is_to_scale_and_adds_up_to_the_peak() -> None:
    proof = drawn(**ANSWERS["FITS"])[0].proof
    parts = figures.segments(proof)
    assert proof.totals is not None
    assert parts[0].start == 0
    assert parts[-1].end == proof.totals.peak_upper_bytes
    assert all(before.end == after.start for before, after in itertools.pairwise(parts))


def test_what_is_kept_on_the_host_is_taken_off_the_bar(make: type[Make]) -> None:
    proof = make.proven().proof
    assert proof.totals is not None
    rows = (*proof.ledger, exact("offload/weights_on_host", "0 - offloaded", {"offloaded": 1 << 30}))
    offloaded = dataclasses.replace(proof, ledger=Ledger(rows))
    before, after = figures.segments(proof), figures.segments(offloaded)
    assert before[0].end - after[0].end == 1 << 30
    assert after[-1].end == offloaded.ledger.upper_bytes()
    assert "kept on the host" in read(html(make.proven()._replace(proof=offloaded))).words()


def test_groups_that_nobody_foresaw_are_drawn(make: type[Make]) -> None:
    proof = make.proven().proof
    extra = tuple(
        bound(f"{name}/all", "size", {"size": 1 << 30}) for name in ("gradients", "optimizer", "a_new_one", "another")
    )
    grown = dataclasses.replace(proof, ledger=Ledger((*proof.ledger, *extra)))
    found = figures.groups(grown)
    assert [group.label for group in found][4:] == ["gradients", "optimizer", "a new one", "another"]
    assert len({group.slot for group in found}) == len(found)
    assert all(f">{group.label}<" in html(make.proven()._replace(proof=grown)) for group in found)


def test_nothing_of_a_repository_becomes_markup(make: type[Make], hostile: str) -> None:
    evil = f"<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{hostile}{'w' * 5000}"
    proof = make.proven().proof
    row = bound(f"weights/{evil}", "size", {"size": 9}, source=evil)
    proof = dataclasses.replace(
        proof,
        reason=evil,
        architecture=evil,
        model_type=evil,
        workload=dataclasses.replace(proof.workload, quantization=evil, engine=evil),
        device=dataclasses.replace(proof.device, name=evil, source=evil),
        ledger=Ledger((*proof.ledger, row, bound(f"{evil}/x", "size", {"size": 9}))),
        assumptions=(evil, f"`{evil}`"),
    )
    proven = make.proven()._replace(proof=proof, model=evil, at=Location(evil), sha256=evil)
    page = html(proven)
    reader = read(page)
    assert not {"script", "img"} & {tag for tag, _ in reader.tags}
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert all(char.isprintable() or char == "\n" for char in page)
    assert "\u202e" not in page
    assert page.encode()
    assert "<script>alert(1)</script>" in reader.words()


def test_unknown_without_a_peak_says_why(make: type[Make]) -> None:
    proven = make.proven({"model_type": "mamba", "architectures": ["<b>"]})
    page = html(proven)
    assert proven.proof.reason
    assert proven.proof.reason.replace("`", "")[1:20] in read(page).words()
    assert "<h2>Ledger" not in page
    assert "<b>" not in page


def test_a_page_is_the_same_every_time_and_small() -> None:
    first, second = (html(*drawn(**ANSWERS["FITS"])) for _ in range(2))
    assert first == second
    assert len(first.encode()) < 100_000


def test_both_formats_by_name() -> None:
    proven, found = drawn(**ANSWERS["FITS"])
    assert pictures.proof("html", proven, found) == html(proven, found)
    assert pictures.proof("markdown", proven, found).startswith("### FITS: `LlamaForCausalLM`")


# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
BLINDNESS: Final = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour: str) -> list[float]:
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG."""
    low, high = sorted(
        sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))
        for colour in (one, other)
    )
    return (high + 0.05) / (low + 0.05)


def lab(rgb: Sequence[float]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear sRGB."""
    red, green, blue = (min(1.0, max(0.0, part)) for part in rgb)
    white = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in white)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("colours", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_text_can_be_read_in_both_themes(colours: dict[str, str]) -> None:
    for name in ("ink", "dim", "fits", "exceeds", "unknown", "curve", "budget"):
        assert contrast(colours[name], colours["bg"]) >= 4.5
        assert contrast(colours[name], colours["soft"]) >= 4.5


def test_text_on_a_segment_can_be_read() -> None:
    assert all(contrast(ink, fill) >= 4.5 for fill, ink in style.PALETTE)


@pytest.mark.parametrize("matrix", BLINDNESS.values(), ids=BLINDNESS)
def test_colours_can_be_told_apart(matrix: Sequence[Sequence[float]]) -> None:
    seen = [
        lab([sum(share * part for share, part in zip(row, linear(fill), strict=True)) for row in matrix])
        for fill, _ in style.PALETTE[:6]  # the groups that there are
    ]
    for one, other in itertools.combinations(seen, 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 15
