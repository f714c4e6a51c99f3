"""`vramguard` and `python -m vramguard`: answers `--version` before anything heavy is imported, and guards the exit."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line; every way out has one of the exit codes of `cli.Exit`."""
    if sys.argv[1:] == ["--version"]:
        from vramguard import __version__

        sys.stdout.write(f"vramguard {__version__}\n")
        return
    # What is read lives to the end: looking for garbage in it again and again takes a quarter of the time.
    gc.set_threshold(200_000, 20, 20)
    from vramguard.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
