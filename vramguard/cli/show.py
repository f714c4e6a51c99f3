"""`vramguard inspect` and `rules`: what was read, and what is demanded."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from vramguard.cli.options import Config, PlainFormat, console, named, working
from vramguard.schema import ConfigError, suggestion
from vramguard.scope import find_scope


def inspect(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="The repository to read, or files and folders of it.")
    ] = None,
    *,
    output_format: Annotated[PlainFormat, typer.Option(help="How to print the facts.")] = PlainFormat.TEXT,
    config: Config = None,
) -> None:
    """List what was read: requirements, locks, models and deployments, each with its line."""
    from vramguard import engine
    from vramguard.discover import WorkTree
    from vramguard.report import facts as shown

    scope = find_scope(paths or [])
    tree = WorkTree(scope.root)
    with working(f"reading {scope.shown}"):
        found = engine.facts_of(tree, engine.load_policy(tree, named(scope, config)), scope.only)
    if output_format is PlainFormat.JSON:
        sys.stdout.write(shown.render(found, scope.prefix))
    else:
        shown.print_facts(found, scope.prefix, console())


def rules(
    rule: Annotated[
        str | None, typer.Argument(help="The rule whose page to show, such as VG101.", metavar="ID")
    ] = None,
    *,
    output_format: Annotated[PlainFormat, typer.Option(help="How to print the rules.")] = PlainFormat.TEXT,
    config: Config = None,
) -> None:
    """List the rules, or show the page of one: what it demands, why, and how to satisfy it."""
    from vramguard import engine
    from vramguard.discover import WorkTree
    from vramguard.report import rules as shown

    scope = find_scope([])
    known = engine.load_policy(WorkTree(scope.root), named(scope, config)).words
    wanted = rule.upper() if rule else None
    matching = [item for item in known.values() if wanted in (None, item.id, item.name.upper())]
    if not matching:
        words = [word for item in known.values() for word in (item.id, item.name)]
        raise ConfigError(f"no rule `{rule}`{suggestion(rule or '', words)}")
    if output_format is PlainFormat.JSON:
        sys.stdout.write(shown.render(matching))
    elif wanted:
        shown.print_rule(matching[0], console())
    else:
        shown.print_rules(matching, console())
