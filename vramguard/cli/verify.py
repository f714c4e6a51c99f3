"""`vramguard verify`: whether a certificate holds, by arithmetic of its own and by a proof done anew."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer asks for it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vramguard.cli.options import Budget, Config, Exit, Online, say, working

if TYPE_CHECKING:
    from collections.abc import Mapping


def verify(
    certificate: Annotated[Path, typer.Argument(help="What `prove --certificate` wrote.", metavar="CERTIFICATE")],
    *,
    model_config: Annotated[
        Path | None,
        typer.Option(help="The model's config.json, where it is not where the certificate says.", metavar="FILE"),
    ] = None,
    budget: Budget = None,
    config: Config = None,
    online: Online = False,
) -> None:
    """Verify a certificate: exit 0 if it holds, 1 with every reason if it does not, 2 if it is none.

    First a verifier that shares nothing with the prover computes every row, sum and answer anew, and holds them up to
    the config.json's digest and to the card's row in the catalogue. Then the proof is done again from the config.json
    or the deployment that the certificate names, and must be the same. An altered byte fails the first, a false number
    with every sum and digest mended fails the second. Without the files that it names nothing is verified.
    """
    from vramguard.certified import verify as judged
    from vramguard.target import Terms

    with working(f"verifying {certificate}"):
        value, reasons = judged(certificate, Terms(config, budget, online=online), model_config)
    for reason in reasons:
        say(f"{certificate}: refused: {reason}")
    if not reasons:
        say(_accepted(certificate, value))
    raise typer.Exit(Exit.FINDINGS if reasons else Exit.CLEAN)


def _accepted(path: Path, value: Mapping[str, Any]) -> str:
    from vramguard.units import gib

    device, totals, of = value["device"], value["totals"], next(iter(value["of"].items()))
    peak = f"{gib(totals['peak_lower_bytes'])} to {gib(totals['peak_upper_bytes'])} GiB"
    budget = f"{gib(device['budget_bytes'])} GiB of {device['name']}"
    rows = f"{len(value['ledger'])} rows, proved again from the {of[0]} `{of[1]}`"
    return f"{path}: accepted: {value['answer']}, {peak} against {budget}; {rows}"
