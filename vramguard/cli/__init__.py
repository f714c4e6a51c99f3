"""The command line: options in, text and an exit code out. The only part that prints or exits."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer
from typer._click.exceptions import ClickException  # typer carries click under this name, and exports no base class

from vramguard import __version__
from vramguard.cli import attest, check, init, lock, plan, prove, receipts, show, verify, weights
from vramguard.cli.options import Exit
from vramguard.schema import ConfigError, suggestion

__all__ = ["Exit", "app", "run"]

app = typer.Typer(
    name="vramguard",
    help="Reads a repository as text and answers: merge, or do not merge, with evidence.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        sys.stdout.write(f"vramguard {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(f"{context.get_help().rstrip()}\n")
        raise typer.Exit(Exit.USAGE)


app.command()(check.check)
app.command()(prove.prove)
app.command()(plan.plan)
app.command()(verify.verify)
app.command()(lock.lock)
app.command()(receipts.receipts)
app.command()(attest.attest)
app.command()(weights.weights)
app.command()(show.inspect)
app.command()(show.rules)
app.command()(init.init)


def run(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code. The one place where exceptions become words."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without our characters gets escapes, no crash
    try:
        outcome = typer.main.get_command(app).main(arguments, prog_name="vramguard", standalone_mode=False)
        sys.stdout.flush()
    except ClickException as error:
        return _complain(_usage(error), Exit.USAGE)
    except ConfigError as error:
        return _complain(str(error), Exit.USAGE)
    except (typer.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except (BrokenPipeError, SystemExit):  # the reader of a pipe has seen enough; typer then asks to exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return Exit.PIPE
    except Exception:  # noqa: BLE001 - a bug is said with its traceback and an exit code of its own
        import traceback

        traceback.print_exc()
        return _complain("this is a bug in vramguard; please report it with the lines above", Exit.BUG)
    return int(outcome or 0)


def _usage(error: ClickException) -> str:
    """What is wrong with the command line, in one line, with the option that was meant."""
    message = " ".join(error.format_message().split())
    wrong, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if wrong is None or context is None:
        return message
    known = [name for parameter in context.command.params for name in parameter.opts]
    return message.partition(" (Possible")[0] + suggestion(wrong, known)


def _complain(message: str, code: Exit) -> Exit:
    from vramguard.report.escape import visible

    sys.stderr.write(f"vramguard: error: {visible(message)}\n")
    return code
