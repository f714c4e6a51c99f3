"""`vramguard init`: how to begin, and remedies for what this repository serves."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vramguard.cli.check import accept
from vramguard.cli.options import say, working
from vramguard.packs import PACKS
from vramguard.schema import ConfigError
from vramguard.scope import find_scope
from vramguard.units import plural

if TYPE_CHECKING:
    from vramguard.packs import Plan

Pack = StrEnum("Pack", [(name, name) for name in PACKS])  # type: ignore[misc] # typer reads its members


def init(
    folder: Annotated[Path, typer.Argument(help="The repository.", exists=True, file_okay=False)] = Path(),
    *,
    baseline: Annotated[
        bool | None, typer.Option("--baseline/--no-baseline", help="Accept today's findings; asked if not said.")
    ] = None,
    pack: Annotated[
        list[Pack] | None, typer.Option(help="Write these remedies for what the repository serves, and nothing else.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the files of a pack that are there.")] = False,
) -> None:
    """Set up a repository: a commented vramguard.toml, the pre-commit hook, the workflow, and a baseline if wanted."""
    if pack:
        return _packs(folder, [str(one) for one in dict.fromkeys(pack)], force=force)
    if force:
        raise ConfigError("--force is for the files of a --pack")
    return _begin(folder, baseline=baseline)


def _begin(folder: Path, *, baseline: bool | None) -> None:
    from vramguard import governance, scaffold

    for line in scaffold.write(folder):
        say(line)
    scope = find_scope([folder])
    report, policy = governance.judge(governance.Question(scope), accepting=False)
    say(f"today: {plural(len(report.findings), 'finding')} in {plural(report.files, 'file')}")
    if baseline is None and report.findings and sys.stdin.isatty():
        baseline = typer.confirm("Accept them as a baseline, so that only new ones block?", default=False)
    if baseline and not policy.configuration.baseline:
        accept(scope, policy, report)
        say(scaffold.use_baseline(folder, governance.BASELINE_NAME))


def _packs(folder: Path, packs: list[str], *, force: bool) -> None:
    """Write the packs, and say what is left for a person."""
    from vramguard import engine, scaffold, settings
    from vramguard.discover import WorkTree
    from vramguard.packs import planned

    root = find_scope([folder]).root
    tree = WorkTree(root)
    with working(f"reading {folder}"):
        _, facts = engine.gather(tree, settings.load(tree.read), jobs=0, without=frozenset(("code",)))
        plans: list[Plan] = [planned(facts, pack, packs) for pack in packs]
    for plan in plans:
        for line in scaffold.write_files(root, plan.files, force=force):
            say(line)
        for note in plan.notes:
            say(f"note: {note}")
