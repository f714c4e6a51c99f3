"""`vramguard attest`: what an installed environment holds, for the last step of an image's build."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vramguard.cli.options import Exit, Output, PlainFormat, console, working, write
from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from vramguard.attest import LockFile

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def attest(  # noqa: PLR0913 - one parameter per option
    *,
    env: Annotated[
        Path | None,
        typer.Option(help="A venv, a prefix or a site-packages [default: $VIRTUAL_ENV, else the running Python's]."),
    ] = None,
    lock: Annotated[
        list[Path] | None, typer.Option(help="The lock to compare with [default: the one in this folder].")
    ] = None,
    no_lock: Annotated[bool, typer.Option("--no-lock", help="Compare versions with no lock.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A distribution that may be there beside the lock, or be editable.", metavar="NAME"),
    ] = None,
    expect: Annotated[
        list[str] | None, typer.Option(help="Digest of the files or of the bytecode.", metavar="sha256:...")
    ] = None,
    output_format: Annotated[PlainFormat, typer.Option(help="How to print it.")] = PlainFormat.TEXT,
    output: Output = None,
) -> None:
    """Compare an installed environment, file by file, with its lock and RECORDs: exit 1 on any difference."""
    from packaging.utils import canonicalize_name

    from vramguard.attest import attest as attested
    from vramguard.attest import find
    from vramguard.report import attest as shown

    for digest in expect or ():
        if not _DIGEST.fullmatch(digest):
            raise ConfigError(f"`{digest}` is no digest such as sha256:… with 64 digits")
    environment = find(env or Path(os.environ.get("VIRTUAL_ENV") or sys.prefix))
    locks, others = _locks(lock or [], none=no_lock)
    with working(f"reading {environment.shown}"):
        names = [str(canonicalize_name(name)) for name in allow or ()]
        found = attested(environment, locks, names, expect or ())
    if output is not None:
        write(output, shown.render(output_format.value, found, others))
    if output is not None or output_format is PlainFormat.TEXT:
        shown.print_attestation(found, others, console())
    else:
        sys.stdout.write(shown.render(output_format.value, found, others))
    raise typer.Exit(Exit.FINDINGS if found.differences else Exit.CLEAN)


def _locks(named: list[Path], *, none: bool) -> tuple[list[LockFile] | None, list[str]]:
    """The locks that are named, or the one that is here; and others that are here and were not taken."""
    from vramguard.attest import locks

    if none and named:
        raise ConfigError("--lock and --no-lock exclude each other")
    if none:
        return None, []
    paths, others = (named, list[str]()) if named else locks.found_in(Path())
    return [locks.load(path) for path in paths], others
