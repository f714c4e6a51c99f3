"""The command line: options in, text and an exit code out. The only module that prints or exits."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from enum import IntEnum, StrEnum
from fractions import Fraction
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer._click.exceptions import ClickException  # typer carries click under this name, and exports no base class

from vramguard import __version__
from vramguard.checks import Severity
from vramguard.schema import ConfigError, suggestion
from vramguard.scope import Scope, find_scope
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from vramguard.engine import Policy, Report


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
Level = StrEnum("Level", ["NOTE", "WARNING", "ERROR"])
Engine = StrEnum("Engine", ["transformers", "vllm", "sglang", "tgi", "tensorrt-llm", "llama.cpp"])
Attention = StrEnum("Attention", ["sdpa", "eager", "flash_attention_2"])
Mode = StrEnum("Mode", ["inference", "training"])
Method = StrEnum("Method", ["ANALYTIC", "TRACE"])


def _fraction(text: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"`{text}` is no number such as 0.80") from None
    if not 0 < value <= 1:
        raise typer.BadParameter(f"`{text}` is not above 0 and at most 1")
    return value


Config = Annotated[str | None, typer.Option("--config", help="Configuration file instead of the one found.")]
Gpu = Annotated[str | None, typer.Option(help="The card of a deployment that names none.", metavar="NAME")]
Budget = Annotated[
    Fraction | None,
    typer.Option(help="Share of the card that the peak may take.", parser=_fraction, metavar="FRACTION"),
]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Full-length sequences that must fit at once.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the chosen format here; the terminal gets text.")
]

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


@app.command()
def check(  # noqa: PLR0913 - one parameter per option
    paths: Annotated[
        list[Path] | None, typer.Argument(help="The repository to judge, or files and folders of it.")
    ] = None,
    *,
    select: Annotated[list[str] | None, typer.Option(help="Rule ids or prefixes to judge, such as VG1.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Rule ids or prefixes not to judge.")] = None,
    output_format: Annotated[Format | None, typer.Option(help="How to print what was found.")] = None,
    output: Output = None,
    diff_base: Annotated[
        str | None, typer.Option(help="Report what was added since this commit.", metavar="REV")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Accept the findings that this file lists.", metavar="FILE")
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Write today's findings to the baseline file.")
    ] = False,
    fail_on: Annotated[Level | None, typer.Option(help="Lowest severity that makes the exit code 1.")] = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 whatever is found.")] = False,
    gpu: Gpu = None,
    budget: Budget = None,
    concurrency: Concurrency = None,
    config: Config = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that read the files of a large repository.")] = 1,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also list suppressed findings.")] = False,
) -> None:
    """Judge a repository: exit 0 if it may be merged, 1 if not."""
    from vramguard import governance

    scope = find_scope(paths or [], diff_base)
    overrides = {
        "select": _words(select),
        "ignore": _words(ignore),
        "fail_on": Severity[fail_on.name] if fail_on else None,
        "gpu": gpu,
        "budget": budget,
        "concurrency": concurrency,
        "baseline": str(Path(baseline).absolute()) if baseline else None,
    }
    with _working(f"reading {scope.shown}"):
        asked = governance.Question(scope, diff_base, _named(scope, config), overrides, jobs)
        report, policy = governance.judge(asked, accepting=not write_baseline)
    threshold = policy.configuration.settings.fail_on
    if write_baseline:
        _write_baseline(scope, policy, report)
        return
    _print_report(scope, report, _chosen(output_format, output), output, threshold, verbose=verbose)
    failed = any(finding.severity >= threshold for finding in report.findings)
    raise typer.Exit(Exit.FINDINGS if failed and not exit_zero else Exit.CLEAN)


def _words(values: list[str] | None) -> tuple[str, ...] | None:
    """Options that may be repeated, and may hold several words parted by commas."""
    return (
        None if values is None else tuple(word.strip() for value in values for word in value.split(",") if word.strip())
    )


def _named(scope: Scope, config: str | None) -> str | None:
    """The configuration file that `--config` names from here, as its path from the repository's root."""
    return None if config is None else scope.below(Path(config))


def _write_baseline(scope: Scope, policy: Policy, report: Report) -> None:
    from vramguard import governance

    path = scope.root / (policy.configuration.baseline or governance.BASELINE_NAME)
    _write(path, governance.write_baseline(report))
    _say(f"{path.name}: {plural(len(report.findings), 'finding')} accepted as of today")


def _chosen(output_format: Format | None, output: Path | None) -> Format:
    """The format asked for; without one, what the output file's name says, else text."""
    if output_format or output is None:
        return output_format or Format.TEXT
    return {".json": Format.JSON, ".sarif": Format.SARIF}.get(output.suffix, Format.TEXT)


def _print_report(
    scope: Scope, report: Report, chosen: Format, output: Path | None, threshold: Severity, *, verbose: bool
) -> None:
    from vramguard.report import Context, render

    context = Context(prefix=scope.prefix, root=scope.shown, fail_on=threshold, verbose=verbose)
    if output is not None:
        _write(output, render(chosen.value, report, context))
    if output is not None or chosen is Format.TEXT:
        from vramguard.report.text import print_report

        print_report(report, context, _console())
    else:
        sys.stdout.write(render(chosen.value, report, context))


@app.command()
def prove(  # noqa: PLR0913 - one parameter per option
    target: Annotated[str, typer.Argument(help="A config.json, its folder, or FILE:LINE of a deployment.")],
    *,
    gpu: Gpu = None,
    tensor_parallel_size: Annotated[int | None, typer.Option("--tensor-parallel-size", "-tp", min=1)] = None,
    pipeline_parallel_size: Annotated[int | None, typer.Option("--pipeline-parallel-size", "-pp", min=1)] = None,
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Longest context in tokens.")] = None,
    concurrency: Concurrency = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1)] = None,
    max_num_batched_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    dtype: Annotated[str | None, typer.Option(help="Data type of the weights.")] = None,
    quantization: Annotated[str | None, typer.Option(help="Quantization method.")] = None,
    kv_cache_dtype: Annotated[str | None, typer.Option(help="Data type of the KV cache.")] = None,
    gpu_memory_utilization: Annotated[
        Fraction | None, typer.Option(parser=_fraction, metavar="FRACTION", help="Share that the engine reserves.")
    ] = None,
    engine: Annotated[Engine | None, typer.Option(help="What serves the model.")] = None,
    engine_version: Annotated[str | None, typer.Option(help="Its exact version.")] = None,
    attn_implementation: Annotated[Attention | None, typer.Option(help="How attention is computed.")] = None,
    device_map: Annotated[str | None, typer.Option(help="transformers' device_map, such as auto.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="What the model does.")] = None,
    budget: Budget = None,
    method: Annotated[Method, typer.Option(help="Formulas of the config, or the real forward pass.")] = Method.ANALYTIC,
    output_format: Annotated[PlainFormat, typer.Option(help="How to print the proof.")] = PlainFormat.TEXT,
    output: Output = None,
    config: Config = None,
) -> None:
    """Prove the peak VRAM of one model: exit 0 if it fits the budget, 1 if it does not or cannot be proved."""
    from vramguard.report import proof as shown
    from vramguard.target import Terms, prove_target

    given = {
        "gpu": gpu,
        "tensor_parallel_size": tensor_parallel_size,
        "pipeline_parallel_size": pipeline_parallel_size,
        "max_model_len": max_model_len,
        "concurrency": concurrency,
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max_num_batched_tokens,
        "dtype": dtype,
        "quantization": quantization,
        "kv_cache_dtype": kv_cache_dtype,
        "gpu_memory_utilization": None if gpu_memory_utilization is None else str(float(gpu_memory_utilization)),
        "engine": engine and engine.value,
        "engine_version": engine_version,
        "attn_implementation": attn_implementation and attn_implementation.value,
        "device_map": device_map,
        "mode": mode and mode.value,
    }
    with _working(f"proving {target}"):
        proven = prove_target(target, Terms(config, budget, method.value), given)
    if output is not None:
        _write(output, shown.render(output_format.value, proven))
    if output is not None or output_format is PlainFormat.TEXT:
        shown.print_proof(proven, _console())
    else:
        sys.stdout.write(shown.render(output_format.value, proven))
    raise typer.Exit(Exit.CLEAN if proven.proof.answer.value == "FITS" else Exit.FINDINGS)


@app.command()
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
    with _working(f"reading {scope.shown}"):
        found = engine.facts_of(tree, engine.load_policy(tree, _named(scope, config)), scope.only)
    if output_format is PlainFormat.JSON:
        sys.stdout.write(shown.render(found, scope.prefix))
    else:
        shown.print_facts(found, scope.prefix, _console())


@app.command()
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
    known = engine.load_policy(WorkTree(scope.root), _named(scope, config)).words
    wanted = rule.upper() if rule else None
    matching = [item for item in known.values() if wanted in (None, item.id, item.name.upper())]
    if not matching:
        words = [word for item in known.values() for word in (item.id, item.name)]
        raise ConfigError(f"no rule `{rule}`{suggestion(rule or '', words)}")
    if output_format is PlainFormat.JSON:
        sys.stdout.write(shown.render(matching))
    elif wanted:
        shown.print_rule(matching[0], _console())
    else:
        shown.print_rules(matching, _console())


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The repository.", exists=True, file_okay=False)] = Path(),
    *,
    baseline: Annotated[
        bool | None, typer.Option("--baseline/--no-baseline", help="Accept today's findings; asked if not said.")
    ] = None,
) -> None:
    """Set up a repository: a commented vramguard.toml, the pre-commit hook, the workflow, and a baseline if wanted."""
    from vramguard import governance, scaffold

    for line in scaffold.write(folder):
        _say(line)
    scope = find_scope([folder])
    report, policy = governance.judge(governance.Question(scope), accepting=False)
    _say(f"today: {plural(len(report.findings), 'finding')} in {plural(report.files, 'file')}")
    if baseline is None and report.findings and sys.stdin.isatty():
        baseline = typer.confirm("Accept them as a baseline, so that only new ones block?", default=False)
    if baseline and not policy.configuration.baseline:
        _write_baseline(scope, policy, report)
        _say(scaffold.use_baseline(folder, governance.BASELINE_NAME))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write `{path}`: {error.strerror}") from error


def _say(line: str) -> None:
    from vramguard.report.escape import visible

    sys.stdout.write(f"{visible(line)}\n")


def _console() -> Console:
    """A console on standard output; one that is no terminal, and has no COLUMNS, gets lines of 120."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 120
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False, markup=False)


@contextmanager
def _working(what: str) -> Iterator[None]:
    """Show that work is going on, on a terminal that is watched."""
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(what)):
        yield


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
