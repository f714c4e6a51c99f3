"""`vramguard plan`: what would fit, on each card of the catalogue; its options are those of `prove`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from vramguard.cli.options import (
    DRAWN,
    Budget,
    Config,
    Exit,
    Online,
    Output,
    PageFormat,
    console,
    following,
    write,
)
from vramguard.cli.workload import plain, spell_out


def plan(  # noqa: PLR0913 - one parameter per option
    target: Annotated[str, typer.Argument(help="A config.json, its folder, FILE:LINE of a deployment, or a hub id.")],
    *,
    gpu: Annotated[
        list[str] | None, typer.Option(help="A card to plan for instead of all; may be repeated.", metavar="NAME")
    ] = None,
    budget: Budget = None,
    output_format: Annotated[PageFormat, typer.Option(help="How to print the plan.")] = PageFormat.TEXT,
    output: Output = None,
    config: Config = None,
    online: Online = False,
    **workload: Any,  # noqa: ANN401 - one for each key of a deployment
) -> None:
    """Say what would fit, card by card: exit 0 if the model fits as it stands on a card asked for, 1 if it does not."""
    from vramguard.report import plan as shown
    from vramguard.target import Terms, draw_plan, plan_target

    given = {name: plain(value) for name, value in workload.items() if value is not None}
    with following(f"planning {target}") as asked:
        what = (target, Terms(config, budget, online=online), given, gpu or (), asked)
        planned, curves = draw_plan(*what) if output_format in DRAWN else (plan_target(*what), ())
    if output is not None:
        write(output, shown.render(output_format.value, planned, curves))
    if output is not None or output_format is PageFormat.TEXT:
        shown.print_plan(planned, console())
    else:
        sys.stdout.write(shown.render(output_format.value, planned, curves))
    raise typer.Exit(Exit.CLEAN if planned.fits else Exit.FINDINGS)


spell_out(plan, without=("gpu",))
