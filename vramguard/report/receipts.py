"""A receipt, for programs (`vramguard.receipts/1`) and as a table of predicted beside measured."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from vramguard.report.escape import to_json, visible
from vramguard.report.page import Page, written
from vramguard.units import gib, plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from rich.console import Console

    from vramguard.receipts import Line, Measured, Receipt, Row

SCHEMA: Final = "vramguard.receipts/1"
_VERDICTS: Final = {True: ("holds", "green"), False: ("fails", "bold red"), None: ("", "dim")}
_NARROW: Final = 76  # columns below which there is no table
_LINES: Final = 20  # lines of a log that are shown; JSON has them all


def render(name: str, receipt: Receipt, rows: Sequence[Row]) -> str:
    """The receipt as `json` or `text`, beside the rows of `receipts.compare`, of which there may be none."""
    if name == "json":
        return to_json(as_json(receipt, rows))
    return written(lambda console: print_receipt(receipt, rows, console))


def as_json(receipt: Receipt, rows: Sequence[Row]) -> dict[str, Any]:
    """The receipt in JSON's types: sizes as the range of bytes that would be printed so, decimals as text."""
    return {
        "schema": SCHEMA,
        "engine": receipt.engine,
        "version": receipt.version,
        "settings": dataclasses.asdict(receipt.settings),
        "ranks": {name: _measured(rank) for name, rank in receipt.ranks.items()},
        "terms": [_term(row) for row in rows],
        "holds": all(row.holds is not False for row in rows),
        "unknown_lines": [line._asdict() for line in receipt.unknown],
        "contradicting_lines": [line._asdict() for line in receipt.contradictions],
        "cut_lines": receipt.cut,
    }


def _measured(rank: Measured) -> dict[str, Any]:
    said = {item.name: getattr(rank, item.name) for item in dataclasses.fields(rank)}
    return {
        name: {"low_bytes": value[0], "high_bytes": value[1]} if isinstance(value, tuple) else value
        for name, value in said.items()
        if value is not None
    }


def _term(row: Row) -> dict[str, Any]:
    return {
        "term": row.term,
        "unit": row.unit,
        "measured": {"low": _number(row.low), "high": _number(row.high)} if row.measured is not None else None,
        "predicted": {"lower": _number(row.predicted_lower), "upper": _number(row.predicted_upper)},
        "slack": _number(row.slack),
        "holds": row.holds,
    }


def _number(value: int | Fraction | None) -> int | str | None:
    """A fraction as an exact decimal: what an engine prints ends."""
    if value is None or isinstance(value, int):
        return value
    return str(Decimal(value.numerator) / Decimal(value.denominator))


def print_receipt(receipt: Receipt, rows: Sequence[Row], console: Console) -> None:
    """What ran, the table, and every line that was not understood."""
    out = Page(console)
    _heading(out, receipt)
    out.blank()
    if receipt.ranks:
        _rows(out, rows or _alone(receipt), console)
    else:
        out.write("No line of this log says what memory an engine took.")
    _lines(out, receipt.unknown, "about memory in words that no known version uses")
    _lines(out, receipt.contradictions, "whose value disagrees with an earlier one, which stands")
    if receipt.cut:
        out.blank()
        out.write(f"{plural(receipt.cut, 'line')} too long to be read to the end.")


def _heading(out: Page, receipt: Receipt) -> None:
    said = receipt.settings
    utilization = said.gpu_memory_utilization or said.mem_fraction_static
    words = [
        f"{receipt.engine or 'unknown engine'} {receipt.version or ''}".strip(),
        f"tp {said.tensor_parallel_size}" if said.tensor_parallel_size else "",
        f"pp {said.pipeline_parallel_size}" if said.pipeline_parallel_size else "",
        said.dtype or "",
        said.quantization or "",
        f"cache {said.kv_cache_dtype}" if said.kv_cache_dtype else "",
        f"{said.max_model_len:,} tokens" if said.max_model_len else "",
        f"utilization {utilization}" if utilization else "",
        f"{said.max_num_seqs:,} sequences" if said.max_num_seqs else "",
        f"{said.max_num_batched_tokens:,} batched tokens" if said.max_num_batched_tokens else "",
        "eager" if said.enforce_eager else "",
        plural(sum(bool(rank.weights or rank.kv_cache) for rank in receipt.ranks.values()), "rank"),
    ]
    out.line((said.model or "a log that names no model", "bold"))
    out.write(", ".join(word for word in words if word), indent=2)


def _alone(receipt: Receipt) -> tuple[Row, ...]:
    """What was measured, where there is no proof to hold it against."""
    from vramguard.receipts import Row

    said = receipt.measured
    sized = ((item.name, getattr(said, item.name)) for item in dataclasses.fields(said))
    return tuple(
        Row(name.replace("_", " "), "bytes", value[0], value[1]) for name, value in sized if isinstance(value, tuple)
    )


def _rows(out: Page, rows: Sequence[Row], console: Console) -> None:
    """A table, or on a narrow console a paragraph for each row: no word is ever broken."""
    if out.width >= _NARROW:
        console.print(_table(rows), highlight=False)
        return
    for row in rows:
        low, high = (_shown(bound, row.unit) for bound in (row.predicted_lower, row.predicted_upper))
        said = (f"at least {low}" if low else "", f"at most {high}" if high else "")
        words, style = _VERDICTS[row.holds]
        out.write(f"{row.term}, {_unit(row)}: {_shown(row.measured, row.unit) or 'not printed'}", hang=2)
        predicted = ", ".join(word for word in said if word)
        if predicted:
            out.write(f"{predicted} ", (words, style), indent=2, hang=4)


def _unit(row: Row) -> str:
    return "GiB" if row.unit == "bytes" else row.unit


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("term")
    for name in ("measured", "at least", "at most", "slack"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        words, style = _VERDICTS[row.holds]
        values = (row.measured, row.predicted_lower, row.predicted_upper, row.slack)
        cells = [Text(_shown(value, row.unit)) for value in values]
        table.add_row(Text(f"{row.term}, {_unit(row)}"), *cells, Text(words, style=style))
    return table


def _shown(value: int | Fraction | None, unit: str) -> str:
    if value is None:
        return ""
    return gib(int(value)) if unit == "bytes" else f"{float(value):,.2f}" if unit == "requests" else f"{int(value):,}"


def _lines(out: Page, lines: Sequence[Line], what: str) -> None:
    if not lines:
        return
    out.blank()
    out.write((f"{plural(len(lines), 'line')} {what}", "bold"))
    for line in lines[:_LINES]:
        out.line(f"{line.number}: {visible(line.text)}", indent=2)
    if len(lines) > _LINES:
        out.write(f"... and {len(lines) - _LINES} more, in JSON", indent=2)
