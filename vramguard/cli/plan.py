"""`vramguard plan`: what would fit, on each card of the catalogue; its options are those of `prove`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from vramguard.cli.options import Budget, Config, Exit, Online, Output, PlainFormat, console, following, write
from vramguard.cli.workload import plain, spell_out


def plan(  # noqa: PLR0913 - one parameter per option
    target: Annotated[str, typer.Argument(help="A config.json, its folder, FILE:LINE of a deployment, or a hub id.")],
    *,
    gpu: Annotated[
        list[str] | None, typer.Option(help="A card to plan for instead of all; may be repeated.", metavar="NAME")
    ] = None,
    budget: Budget = None,
    output_format: Annotated[PlainFormat, typer.Option(help="How to print the plan.")] = PlainFormat.TEXT,
    output: Output = None,
    config: Config = None,
    online: Online = False,
    **workload: Any,  # noqa: ANN401 - one for each key of a deployment
) -> None:
    """Say what would fit, card by card: exit 0 if the model fits as it stands on a card asked for, 1 if it does not."""
    from vramguard.report import plan as shown
    from vramguard.target import Terms, plan_target

    given = {name: plain(value) for name, value in workload.items() if value is not None}
    with following(f"planning {target}") as asked:
        planned = plan_target(target, Terms(config, budget, online=online), given, gpu or (), asked)
    if output is not None:
        write(output, shown.render(output_format.value, planned))
    if output is not None or output_format is PlainFormat.TEXT:
        shown.print_plan(planned, console())
    else:
        sys.stdout.write(shown.render(output_format.value, planned))
    raise typer.Exit(Exit.CLEAN if planned.fits else Exit.FINDINGS)


spell_out(plan, without=("gpu",))
