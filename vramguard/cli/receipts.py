"""`vramguard receipts`: a serving engine's own start-up log beside what the proof says of the same workload."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer asks for it
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vramguard.cli.options import Config, Exit, Gpu, Output, PlainFormat, console, working, write
from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.receipts import Receipt, Row

_LONGEST: Final = 64 << 20  # bytes of a log that are read


def receipts(
    log: Annotated[Path, typer.Argument(help="A start-up log of vLLM or SGLang.", exists=True, dir_okay=False)],
    *,
    model: Annotated[
        str | None, typer.Option(help="The model's config.json or its folder; without it nothing is predicted.")
    ] = None,
    gpu: Gpu = None,
    output_format: Annotated[PlainFormat, typer.Option(help="How to print the comparison.")] = PlainFormat.TEXT,
    output: Output = None,
    config: Config = None,
) -> None:
    """Print predicted beside measured, term by term: exit 1 where a bound does not hold."""
    from vramguard.receipts import parse
    from vramguard.report import receipts as shown

    with log.open("rb") as file:
        receipt = parse(file.read(_LONGEST).decode("utf-8", "replace"))
    if receipt.engine is None:
        raise ConfigError(f"`{log}` has no line of a start-up of vLLM or SGLang")
    with working(f"proving {receipt.settings.model or model or log}"):
        rows = _compared(receipt, model, gpu, config) if model else ()
    if output is not None:
        write(output, shown.render(output_format.value, receipt, rows))
    if output is not None or output_format is PlainFormat.TEXT:
        shown.print_receipt(receipt, rows, console())
    else:
        sys.stdout.write(shown.render(output_format.value, receipt, rows))
    raise typer.Exit(Exit.FINDINGS if any(row.holds is False for row in rows) else Exit.CLEAN)


def _compared(receipt: Receipt, model: str, gpu: str | None, config: str | None) -> Sequence[Row]:
    from vramguard.receipts import compare, workload
    from vramguard.target import Terms, prove_target

    asked = {**asdict(workload(receipt)), **({"gpu": gpu} if gpu else {})}
    proven = prove_target(model, Terms(config, None), asked)
    if proven.proof.totals is None:
        raise ConfigError(f"nothing is predicted for `{model}`: {proven.proof.reason}")
    return compare(receipt, proven.proof)
