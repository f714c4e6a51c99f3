"""What the commands share: exit codes, options that several of them have, and the ways to say something."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from enum import IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from vramguard.scope import Scope


class Exit(IntEnum):
    """What the exit code says; the same in every output format."""

    CLEAN = 0
    FINDINGS = 1
    USAGE = 2  # an option, a configuration or a policy is wrong
    BUG = 3  # ours
    INTERRUPTED = 130  # 128 and the signal's number, as shells have it
    PIPE = 141


Format = StrEnum("Format", ["TEXT", "JSON", "GITHUB", "SARIF"])  # of `check`; the other commands have two
PlainFormat = StrEnum("PlainFormat", ["TEXT", "JSON"])
PageFormat = StrEnum("PageFormat", ["TEXT", "JSON", "MARKDOWN", "HTML"])  # of what has pictures
DRAWN = (PageFormat.MARKDOWN, PageFormat.HTML)
Level = StrEnum("Level", ["NOTE", "WARNING", "ERROR"])
Method = StrEnum("Method", ["ANALYTIC", "TRACE"])


def number(text: str) -> Fraction:
    """A number that is not negative, exactly as it is written."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"`{text}` is no number such as 0.80") from None
    if value < 0:
        raise typer.BadParameter(f"`{text}` is below 0")
    return value


def fraction(text: str) -> Fraction:
    """A share: above 0 and at most 1."""
    value = number(text)
    if not 0 < value <= 1:
        raise typer.BadParameter(f"`{text}` is not above 0 and at most 1")
    return value


Config = Annotated[str | None, typer.Option("--config", help="Configuration file instead of the one found.")]
Gpu = Annotated[str | None, typer.Option(help="The card of a deployment that names none.", metavar="NAME")]
Budget = Annotated[
    Fraction | None,
    typer.Option(help="Share of the card that the peak may take.", parser=fraction, metavar="FRACTION"),
]
Online = Annotated[
    bool, typer.Option("--online", help="Ask the hub for models without a lock, and GitHub who approves.")
]
DiffBase = Annotated[str | None, typer.Option(help="Report what was added since this commit.", metavar="REV")]
Baseline = Annotated[str | None, typer.Option(help="Accept the findings that this file lists.", metavar="FILE")]
WriteBaseline = Annotated[bool, typer.Option("--write-baseline", help="Write today's findings to the baseline file.")]
Fix = Annotated[
    bool, typer.Option("--fix", help="Pin what the lock holds, in the files themselves, and judge what is left.")
]
Audit = Annotated[
    bool, typer.Option("--audit", help="Ask OSV, through pip-audit, for advisories on the locked versions.")
]
OsvUrl = Annotated[
    str | None, typer.Option(help="A service that speaks OSV's protocol, asked instead of it.", metavar="URL")
]
Render = Annotated[
    bool | None, typer.Option("--render/--no-render", help="Let helm render the charts, where it is on PATH.")
]
Jobs = Annotated[
    int, typer.Option(min=0, help="Processes that read the files of a large repository; 0 for one on each core.")
]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Full-length sequences that must fit at once.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the chosen format here; the terminal gets text.")
]


def named(scope: Scope, config: str | None) -> str | None:
    """The configuration file that `--config` names from here, as its path from the repository's root."""
    return None if config is None else scope.below(Path(config))


def write(path: Path, content: str | bytes) -> None:
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise ConfigError(f"cannot write `{path}`: {error.strerror}") from error


def write_within(root: Path, path: Path, content: str | bytes) -> None:
    """Write a file of the repository; a link in its place, which may lead anywhere, is refused."""
    if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"`{path}` is a link, or leads out of the repository: nothing is written through it")
    write(path, content)


def say(line: str) -> None:
    from vramguard.report.escape import visible

    sys.stdout.write(f"{visible(line)}\n")


def console() -> Console:
    """A console on standard output; one that is no terminal, and has no COLUMNS, gets lines of 120."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 120
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False, markup=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that work is going on, on a terminal that is watched."""
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(what)):
        yield


@contextmanager
def following(what: str) -> Iterator[Callable[[str], None]]:
    """Show what is being worked on, on a terminal that is watched: what is yielded is told of each part."""
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield lambda _part: None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(what)) as status:
        yield lambda part: status.update(escape(f"{what}: {part}"))
