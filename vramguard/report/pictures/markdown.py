"""A proof as GitHub-flavoured Markdown, for a comment on a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.report.escape import visible
from vramguard.report.pictures import figures
from vramguard.report.pictures.chart import sayings
from vramguard.report.pictures.figures import CURVES, share
from vramguard.units import gib, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vramguard.engine import Proven
    from vramguard.memory import Proof, Totals
    from vramguard.memory.curves import Curve

_ROWS: Final = 120  # of a ledger or a list; a comment on GitHub holds 65,536 characters
_CELL: Final = 160  # characters of a name or a formula
_WIDTH: Final = 72  # cells of the bar
_FILLS: Final = "█▓▒░▚▞◆◇"
# A word that Markdown or GitHub would make nothing of: no mark-up, mention, reference, link, emoji or formula.
_PLAIN: Final = re.compile(r"(?!www\.|GH-\d|[0-9a-f]{7,40}\b)[\w(\"'][^\W_]*(?:[.,;?'\"()%+=-]+[^\W_]*)*:?", re.I)


def markdown(proven: Proven, curves: Sequence[Curve] = ()) -> str:
    """The comment; it ends with a newline."""
    return "\n\n".join(block for block in _blocks(proven, curves) if block) + "\n"


def _blocks(proven: Proven, curves: Sequence[Curve]) -> Iterator[str]:
    proof, totals = proven.proof, proven.proof.totals
    yield f"### {proof.answer.value}: {code(figures.named(proven))} on {code(proof.device.name)}"
    yield f"**{proof.answer.value}**: {prose(figures.answer(proof))}"
    if totals is not None:
        yield table(("group", "at least, GiB", "at most, GiB", "at most, bytes", "of the card"), _groups(proof, totals))
        yield fenced(*bar(proof, totals))
    yield "\n".join(f"- {prose(sentence)}" for sentence in sayings(proof, curves))
    yield asked(proven)
    yield from (curve(found) for found in curves)
    if totals is not None:
        heads = ("row", "at least, bytes", "at most, bytes", "kind", "formula")
        rows = [
            (
                code(term.name),
                f"{term.lower_bytes:,}",
                f"{term.upper_bytes:,}",
                term.kind.value,
                code(figures.formula(term)),
            )
            for term in proof.ledger
        ]
        yield folded(f"Ledger of the worst GPU, {len(rows)} rows", table(heads, rows[:_ROWS]), more(len(rows)))
    yield assumptions(proof)


def assumptions(proof: Proof) -> str:
    """What the proof assumes, folded; nothing where it assumes nothing."""
    found = proof.assumptions
    if not found:
        return ""
    items = "\n".join(f"- {prose(sentence)}" for sentence in found[:_ROWS])
    return folded(f"{len(found)} assumptions", items, more(len(found)))


def _groups(proof: Proof, totals: Totals) -> Iterator[tuple[str, ...]]:
    capacity = proof.device.capacity_bytes
    for group in figures.groups(proof):
        high = group.upper_bytes
        mark = f"{_FILLS[group.slot]} " if high > 0 else ""
        yield f"{mark}{prose(group.label)}", gib(group.lower_bytes), gib(high), f"{high:,}", share(high, capacity)
    low, high = totals.peak_lower_bytes, totals.peak_upper_bytes
    yield tuple(f"**{cell}**" for cell in ("peak", gib(low), gib(high), f"{high:,}", share(high, capacity)))
    for name, size in ((f"budget, {percent(proof.budget_fraction)}", proof.budget_bytes), ("card", capacity)):
        yield name, "", gib(size), f"{size:,}", share(size, capacity)


def bar(proof: Proof, totals: Totals) -> Iterator[str]:
    """The card in one line of cells, with the budget under it, and the card's end where the peak passes it."""
    capacity = proof.device.capacity_bytes
    scale = max(capacity, totals.peak_upper_bytes, 1)
    cells = ""
    for part in figures.segments(proof):
        cells += _FILLS[part.group.slot] * (part.end * _WIDTH // scale - len(cells))
    yield cells.ljust(_WIDTH, "·")
    yield _under(proof.budget_bytes * _WIDTH // scale, f"budget {gib(proof.budget_bytes)} GiB")
    if scale > capacity:
        yield _under(capacity * _WIDTH // scale, f"the card ends: {gib(capacity)} GiB")


def _under(column: int, label: str) -> str:
    column = min(column, _WIDTH - 1)
    return f"{label} ▲".rjust(column + 1) if column > len(label) else f"{' ' * column}▲ {label}"


def asked(proven: Proven) -> str:
    """What was asked, and of which file."""
    said = [code(f"{name}={value}") for name, value in figures.workload(proven.proof)]
    source = f"Of {code(proven.at.path)}" + (f", SHA-256 {code(proven.sha256)}" if proven.sha256 else "")
    return f"{source}, method {proven.proof.method}. Asked: {' '.join(said) or 'nothing'}."


def curve(found: Curve) -> str:
    """The numbers of a curve, folded."""
    shown, unit = CURVES[found.field]
    rows = (
        (f"{point.value:,}", gib(point.lower_bytes), gib(point.upper_bytes), point.answer.value)
        for point in found.points
    )
    return folded(f"Peak against {shown}", table((unit, "at least, GiB", "at most, GiB", "answer"), rows))


def more(count: int) -> str:
    """What is said of a list that is cut."""
    return f"{count - _ROWS:,} more are in the JSON." if count > _ROWS else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; every cell is Markdown already."""
    lines = [heads, ["---", *["---:" if "GiB" in head or "byte" in head else "---" for head in heads[1:]]], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def folded(summary: str, *blocks: str) -> str:
    """What is shown when somebody asks for it."""
    content = "\n\n".join(block for block in blocks if block)
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def fenced(*lines: str) -> str:
    """Lines as they stand: of our own making, as a fence is closed by what a text may hold."""
    return "\n".join(("```text", *lines, "```"))


def code(content: str) -> str:
    """Text of any origin as a span of code, in which Markdown and GitHub see no mark-up, mention or link.

    The span is fenced by more backticks than stand in it; a bar, which would end a table's cell, is spelt out.
    """
    said = visible(content).replace("|", "\\x7c")
    said = f"{said[:_CELL]}…" if len(said) > _CELL else said
    if not said.strip():
        return "` `"
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", said)), default=0))
    pad = " " if said[0] in "` " or said[-1] in "` " else ""
    return f"{fence}{pad}{said}{pad}{fence}"


def prose(content: str) -> str:
    """A sentence of ours with words of any origin in it: what is more than a plain word becomes code."""
    parts = re.split(r"`([^`]+)`", content)
    said = ""
    for place, part in enumerate(parts):
        piece = code(part) if place % 2 else _words(part)
        said += f" {piece}" if said.endswith("`") and piece.startswith("`") else piece  # two fences are one
    return said


def _words(content: str) -> str:
    first, *others = content.split(" ")
    listed = re.fullmatch(r"\d+[.)]", first) is not None  # would begin a list
    head = code(first) if first and (listed or not _is_plain(first)) else first
    return " ".join((head, *(word if not word or _is_plain(word) else code(word) for word in others)))


def _is_plain(word: str) -> bool:
    return re.fullmatch(r"[.,:;?%)]+", word) is not None or (
        word.isprintable() and len(word) <= _CELL and _PLAIN.fullmatch(word) is not None
    )
