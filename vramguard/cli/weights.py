"""`vramguard weights`: what files of weights hold, value by value, and what has changed in them."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from vramguard.cli.options import Exit, Output, PlainFormat, console, working, write


def weights(
    target: Annotated[Path, typer.Argument(help="A safetensors or GGUF file, an index, or a folder of them.")],
    *,
    against: Annotated[
        Path | None, typer.Option(help="The weights as they were: say what has changed.", metavar="PATH")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every tensor and every change.")] = False,
    output_format: Annotated[PlainFormat, typer.Option(help="How to print it.")] = PlainFormat.TEXT,
    output: Output = None,
) -> None:
    """Read weights from end to end: exit 1 on any NaN or Inf, and on what cannot be read. Never opens a pickle."""
    from vramguard.report import weights as shown
    from vramguard.weights import review

    with working(f"reading {target}"):
        found = review(target, against)
    if output is not None:
        write(output, shown.render(output_format.value, found, every=every))
    if output is not None or output_format is PlainFormat.TEXT:
        shown.print_review(found, console(), every=every)
    else:
        sys.stdout.write(shown.render(output_format.value, found))
    raise typer.Exit(Exit.FINDINGS if found.problems else Exit.CLEAN)
