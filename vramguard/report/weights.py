"""A review of weights, for programs (`vramguard.weights/1`) and as text."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from vramguard.report.escape import to_json
from vramguard.report.page import Page, written
from vramguard.units import margin, plural
from vramguard.weights import KINDS, brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from vramguard.weights import Change, Gap, Problem, Review, Side, Statistics, Tensor

SCHEMA: Final = "vramguard.weights/1"
_SHOWN: Final = 20  # lines of one kind; --all and JSON have them all
_ORDER: Final = ("added", "removed", "reshaped", "retyped", "changed")


def render(name: str, found: Review, *, every: bool = False) -> str:
    """The review as `json`, which always has everything, or as `text`."""
    if name == "json":
        return to_json(as_json(found))
    return written(lambda console: print_review(found, console, every=every))


def as_json(found: Review) -> dict[str, Any]:
    """The review in JSON's types."""
    against = found.against and {
        **_side(found.against),
        "changes": [_change(change) for change in found.changes],
        "unchanged": found.unchanged,
    }
    return {
        "schema": SCHEMA,
        **_side(found.side),
        "tensors": [_tensor(tensor) for tensor in found.side.tensors],
        "problems": [_problem(item) for item in found.problems],
        "notes": [_problem(item) for item in found.notes],
        "against": against,
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "target": side.target,
        "files": [
            {"path": file.path, "format": file.format, "bytes": file.bytes, "tensors": file.tensors}
            for file in side.files
        ],
        "digest": side.digest,
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    found = tensor.statistics
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "elements": tensor.elements,
        "bytes": tensor.bytes,
        "file": tensor.file,
        "sha256": tensor.sha256,
        "examined": tensor.examined,
        "statistics": found and _statistics(tensor, found),
    }


def _statistics(tensor: Tensor, found: Statistics) -> dict[str, Any]:
    return {
        "values": found.values,
        "nan": found.nan,
        "positive_inf": found.positive_inf,
        "negative_inf": found.negative_inf,
        "first_non_finite": None if found.first is None else list(tensor.index(found.first)),
        "zeros": found.zeros,
        "zero_share": found.zero_share,
        "min": found.min,
        "max": found.max,
        "mean": found.mean,
        "std": found.std,
        "abs_max": found.abs_max,
        "norm": found.norm,
    }


def _problem(item: Problem) -> dict[str, Any]:
    of = "against" if item.of_against else "target"
    return {"kind": item.kind, "message": item.message, "file": item.file, "tensor": item.tensor, "of": of}


def _change(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "name": change.name,
        "before": change.before and _tensor(change.before),
        "after": change.after and _tensor(change.after),
        "difference": change.gap and change.after and _gap(change.after, change.gap),
    }


def _gap(tensor: Tensor, gap: Gap) -> dict[str, Any]:
    return {
        "differing": gap.differing,
        "not_compared": gap.not_compared,
        "max_abs": gap.max_abs,
        "at": None if gap.at is None else list(tensor.index(gap.at)),
        "relative": gap.relative,
        "norm_change": gap.norm_change,
    }


def print_review(found: Review, console: Console, *, every: bool = False) -> None:
    """A summary, then what is wrong, then what has changed: the largest first."""
    out = Page(console)
    _print_side(out, found.side)
    if found.against:
        out.blank()
        out.line("against ", (found.against.target, "bold"))
        _print_counts(out, found.against)
    out.blank()
    if found.problems:
        out.write((plural(len(found.problems), "problem"), "bold red"))
        _listed(out, found.problems, "bold red", every=every)
    elif any(tensor.examined != "none" for tensor in found.side.tensors):
        out.write(("every value that was examined is finite", "bold green"))
    else:
        out.write(("no problem, and no value was examined", "yellow"))
    if found.notes:
        out.blank()
        out.write((plural(len(found.notes), "note"), "bold"))
        _listed(out, found.notes, "cyan", every=every)
    if found.against:
        _print_changes(out, found, every=every)
    if every:
        _print_tensors(out, found.side.tensors)


def _print_side(out: Page, side: Side) -> None:
    out.line((side.target, "bold"))
    _print_counts(out, side)
    types = Counter(tensor.dtype for tensor in side.tensors)
    if types:
        out.write(
            "types     ", ", ".join(f"{count:,} {dtype}" for dtype, count in types.most_common()), indent=2, hang=12
        )
    for examined, words in (("scales", "only the scales of blocks"), ("none", "no values")):
        kept = [tensor for tensor in side.tensors if tensor.examined == examined]
        if kept:
            names = ", ".join(sorted({tensor.dtype for tensor in kept}))
            out.write(f"examined  {words} of {plural(len(kept), 'tensor')} of {names}", indent=2, hang=12)


def _print_counts(out: Page, side: Side) -> None:
    elements = sum(tensor.elements for tensor in side.tensors)
    size = sum(tensor.bytes for tensor in side.tensors)
    counted = [plural(len(side.files), "file"), plural(len(side.tensors), "tensor"), plural(elements, "element")]
    out.write(", ".join([*counted, margin(size)]), indent=2)
    out.line(f"digest    {side.digest or 'none, for these weights are not whole'}", indent=2)


def _listed(out: Page, items: Sequence[Problem], style: str, *, every: bool) -> None:
    for kind, group in groupby(items, key=lambda item: item.kind):
        same = list(group)
        count = f" ({len(same):,})" if len(same) > 1 else ""
        meaning = f": {KINDS[kind]}" if style == "bold red" else ""
        out.write((f"{kind}{count}", style), meaning, indent=2, hang=4)
        for item in same if every else same[:_SHOWN]:
            side = "of the other side: " if item.of_against else ""
            where = ", ".join(part for part in (item.tensor, item.file) if part)
            out.write(f"{side}{where}: {item.message}" if where else f"{side}{item.message}", indent=4, hang=6)
        _print_rest(out, len(same), every=every)


def _print_rest(out: Page, count: int, *, every: bool) -> None:
    if count > _SHOWN and not every:
        out.write(f"... and {count - _SHOWN:,} more, with --all and in JSON", indent=4)


def _print_changes(out: Page, found: Review, *, every: bool) -> None:
    out.blank()
    kinds = Counter(change.kind for change in found.changes)
    counted = [f"{kinds[kind]:,} {kind}" for kind in _ORDER if kinds[kind]]
    out.write((", ".join([*counted, f"{found.unchanged:,} unchanged"]), "bold"))
    for kind in _ORDER:
        same = sorted((change for change in found.changes if change.kind == kind), key=_largest)
        if not same:
            continue
        out.write((f"{kind} ({len(same):,})", "cyan"), indent=2)
        for change in same if every else same[:_SHOWN]:
            out.write(f"{change.name}  {_change_words(change)}", indent=4, hang=6)
        _print_rest(out, len(same), every=every)


def _largest(change: Change) -> tuple[float, float, str]:
    """What cannot be said comes first, then the largest change."""
    gap = change.gap
    if gap is None or gap.not_compared:
        return (-2.0, 0.0, change.name)
    relative = -1.0 if gap.relative is None else -gap.relative
    return (-1.0 if gap.relative is None else 0.0, relative, change.name)


def _change_words(change: Change) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        only = after or before
        return f"{only.dtype} {brief(only.shape)}" if only else ""
    if change.kind == "reshaped" or before.dtype != after.dtype:
        old = f"{before.dtype} {brief(before.shape)}" if change.kind == "reshaped" else before.dtype
        words = f"{old} → {after.dtype} {brief(after.shape)}"
    else:
        words = f"{after.dtype} {brief(after.shape)}"
    if change.kind == "reshaped":
        return words
    return f"{words}: {_gap_words(change.gap, after)}"


def _gap_words(gap: Gap | None, tensor: Tensor) -> str:
    if gap is None:
        return "other bytes; the values were not compared"
    if not gap.differing:
        return "the same values"
    parts = [f"{gap.differing:,} of {tensor.elements:,} differ"]
    if gap.at is not None:
        parts.append(f"by at most {number(gap.max_abs)} at {tensor.place(gap.at)}")
        parts += [] if gap.relative is None else [f"{gap.relative:.3g} of the norm"]
        parts += [] if gap.norm_change is None else [f"norm {gap.norm_change:+.3g}"]
    if gap.not_compared:
        parts.append(f"{gap.not_compared:,} not finite")
    return ", ".join(parts)


def _print_tensors(out: Page, tensors: Iterable[Tensor]) -> None:
    out.blank()
    out.write(("tensors", "bold"))
    for tensor in tensors:
        out.write(f"{tensor.name}  {tensor.dtype} {brief(tensor.shape)}", indent=2, hang=4)
        out.line(f"sha256:{tensor.sha256}  {tensor.file}", indent=4)
        found = tensor.statistics
        if tensor.examined == "values" and found is not None:
            out.write(_statistics_words(found), indent=4, hang=6)


def _statistics_words(found: Statistics) -> str:
    ends = f"min {number(found.min)}, max {number(found.max)}, |max| {number(found.abs_max)}"
    share = "" if found.zero_share is None else f", zeros {found.zero_share * 100:.3g} %"
    bad = f", {found.non_finite:,} not finite" if found.non_finite else ""
    return f"{ends}, mean {number(found.mean)}, std {number(found.std)}{share}{bad}"


def number(value: float | None) -> str:
    """A number with five digits; `?` where there is none."""
    return "?" if value is None else f"{value:.5g}"
