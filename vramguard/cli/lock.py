"""`vramguard lock`: the commit and the config of every model that is deployed, in a file that a proof can stand on."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer asks for it
from typing import TYPE_CHECKING, Annotated

import typer

from vramguard.cli.options import Config, Exit, named, say, working, write_within
from vramguard.schema import ConfigError
from vramguard.scope import Scope, find_scope
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.hub import Asked, Found
    from vramguard.hub.locking import Outcome, Plan

_YES = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads HF_HUB_OFFLINE


def lock(  # noqa: PLR0913 - one parameter per option
    paths: Annotated[list[Path] | None, typer.Argument(help="The repository, or a folder of it.")] = None,
    *,
    model: Annotated[
        list[str] | None, typer.Option(help="A model to lock as well, with the deployed ones.", metavar="ID[@REVISION]")
    ] = None,
    upgrade: Annotated[
        list[str] | None, typer.Option(help="A model whose branch is resolved again.", metavar="MODEL")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing: exit 1 if the lock is out of date.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask the Hugging Face cache, not the hub.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Models asked for at once.")] = 8,
    config: Config = None,
) -> None:
    """Write vramguard.lock: for each deployed model the resolved commit and the config that the proof reads."""
    from vramguard.hub import HubError, locking
    from vramguard.report.escape import visible

    scope = find_scope(paths or [])
    given = [locking.asked_for(text) for text in model or []]
    with working(f"reading {scope.shown}"):
        todo = _plan(scope, given, upgrade or [], config)
    if check:
        raise typer.Exit(_report_stale(todo))
    asked_offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES
    try:
        with _progress(len(todo.wanted)) as done:
            outcome = locking.resolve(todo, offline=asked_offline, jobs=jobs, done=done)
    except HubError as error:  # no client: nothing can be asked at all
        raise ConfigError(f"{error}; `--offline` takes what the Hugging Face cache holds") from error
    _write(scope, todo, outcome)
    _say_changes(todo, outcome)
    for note in outcome.notes:
        sys.stderr.write(f"vramguard: note: {visible(note)}\n")
    for failure in outcome.failed:
        sys.stderr.write(f"vramguard: error: {visible(str(failure))}\n")
    raise typer.Exit(Exit.FINDINGS if outcome.failed else Exit.CLEAN)


def _plan(scope: Scope, given: list[Asked], upgrade: list[str], config: str | None) -> Plan:
    from vramguard import engine
    from vramguard.discover import WorkTree
    from vramguard.hub import locking

    tree = WorkTree(scope.root)
    policy = engine.load_policy(tree, named(scope, config), frozenset())
    _, facts = engine.gather(tree, policy.configuration, without=engine.CODE)
    return locking.plan(facts, given, upgrade)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Asked], None]]:
    """Count the models that are answered, on a terminal that is watched."""
    if not sys.stderr.isatty() or total == 0:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("resolving models", total=total)
        yield lambda _: shown.advance(task)


def _write(scope: Scope, todo: Plan, outcome: Outcome) -> None:
    """Write the file where it changes; none is begun for nothing."""
    from vramguard.hub.lockfile import NAME, render

    path = scope.root / NAME
    if outcome.rows or path.exists():
        text = render(outcome.rows)
        if path.is_symlink() or not path.is_file() or path.read_text("utf-8", "replace") != text:
            write_within(scope.root, path, text)
    elif not todo.wanted:
        say("no deployment here names a model of the hub; `--model ID` locks one")


def _say_changes(todo: Plan, outcome: Outcome) -> None:
    before = {row.asked.key: row for row in todo.replaced}
    for row in outcome.resolved:
        old = before.get(row.asked.key)
        if old is None:
            say(f"Added {_named(row)}")
        elif old.commit != row.commit:
            say(f"Updated {row.asked} {_short(old)} -> {_short(row)}")
    for row in todo.dropped:
        say(f"Removed {_named(row)}")
    if outcome.rows:
        say(f"vramguard.lock: {plural(len(outcome.rows), 'model')}")


def _named(row: Found) -> str:
    return f"{row.asked} ({_short(row)})"


def _short(row: Found) -> str:
    return row.commit[:12] if row.commit else row.source


def _report_stale(todo: Plan) -> Exit:
    """Say what `lock` would change. Nobody is asked what a branch holds today."""
    for asked in todo.wanted:
        say(f"not in vramguard.lock: {asked}")
    for row in todo.dropped:
        say(f"in vramguard.lock, and deployed nowhere: {_named(row)}")
    if todo.wanted or todo.dropped:
        say("vramguard.lock is out of date: run `vramguard lock`")
        return Exit.FINDINGS
    say(f"vramguard.lock is up to date: {plural(len(todo.kept), 'model')}")
    return Exit.CLEAN
