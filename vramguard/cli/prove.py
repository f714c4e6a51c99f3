"""`vramguard prove`: its options are the keys of a `[[deployment]]` table, under the names that the engines use."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer asks for it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vramguard.cli.options import (
    DRAWN,
    Budget,
    Config,
    Exit,
    Method,
    Online,
    Output,
    PageFormat,
    console,
    working,
    write,
)
from vramguard.cli.workload import plain, spell_out

if TYPE_CHECKING:
    from vramguard.engine import Proven


def prove(  # noqa: PLR0913 - one parameter per option
    target: Annotated[str, typer.Argument(help="A config.json, its folder, FILE:LINE of a deployment, or a hub id.")],
    *,
    budget: Budget = None,
    method: Annotated[Method, typer.Option(help="Formulas of the config, or the real forward pass.")] = Method.ANALYTIC,
    output_format: Annotated[PageFormat, typer.Option(help="How to print the proof.")] = PageFormat.TEXT,
    output: Output = None,
    config: Config = None,
    online: Online = False,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Write the proof here, for `verify` and `check` to hold it up to.", metavar="FILE"),
    ] = None,
    **workload: Any,  # noqa: ANN401 - one for each key of a deployment
) -> None:
    """Prove the peak VRAM of one model: exit 0 if it fits the budget, 1 if it does not or cannot be proved."""
    from vramguard.report import proof as shown
    from vramguard.target import Terms, draw_target, prove_target

    given = {name: plain(value) for name, value in workload.items() if value is not None}
    with working(f"proving {target}"):
        terms = Terms(config, budget, method.value, online)
        drawn = output_format in DRAWN
        proven, curves = draw_target(target, terms, given) if drawn else (prove_target(target, terms, given), ())
    if certificate is not None:
        _certify(target, proven, given, certificate)
    if output is not None:
        write(output, shown.render(output_format.value, proven, curves))
    if output is not None or output_format is PageFormat.TEXT:
        shown.print_proof(proven, console())
    else:
        sys.stdout.write(shown.render(output_format.value, proven, curves))
    raise typer.Exit(Exit.CLEAN if proven.proof.answer.value == "FITS" else Exit.FINDINGS)


def _certify(target: str, proven: Proven, given: dict[str, Any], path: Path) -> None:
    from vramguard.certified import certificate_of
    from vramguard.report.escape import visible
    from vramguard.source import kind_of

    write(path, certificate_of(target, proven, given, path))
    if kind_of(path.name) != "certificate":
        name = f"{path.stem}.certificate.json"
        hint = f"`check` knows a certificate by its name: call it `{name}` to have it judged (VG206)"
        sys.stderr.write(f"vramguard: {visible(hint)}\n")


spell_out(prove)
