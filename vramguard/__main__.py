"""`vramguard` and `python -m vramguard`: answers `--version` before anything heavy is imported, and guards the exit."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn


def main() -> None:
    """Run the command line; every way out has one of the exit codes of `cli.Exit`."""
    if sys.argv[1:] == ["--version"]:
        from vramguard import __version__

        sys.stdout.write(f"vramguard {__version__}\n")
        return
    gc.disable()  # a command is short, and what it reads lives to its end: to look for garbage is a third of the time
    from vramguard.cli import run

    _leave(run())


def _leave(code: int) -> NoReturn:
    """End at once. To take apart what was read, object by object, would cost seconds where that is much."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, gone, or not there at all
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
