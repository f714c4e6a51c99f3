"""`vramguard check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vramguard.checks import Severity
from vramguard.cli.options import (
    Audit,
    Baseline,
    Budget,
    Concurrency,
    Config,
    DiffBase,
    Exit,
    Fix,
    Format,
    Gpu,
    Jobs,
    Level,
    Online,
    OsvUrl,
    Output,
    Render,
    WriteBaseline,
    console,
    named,
    say,
    working,
    write,
    write_within,
)
from vramguard.report.escape import visible
from vramguard.schema import ConfigError
from vramguard.scope import Scope, find_scope
from vramguard.units import plural

if TYPE_CHECKING:
    from vramguard.engine import Policy, Report
    from vramguard.policy import Edit


_ROUNDS = 3  # of mending: what is pinned may then be given its hash


def check(  # noqa: PLR0913 - one parameter per option
    paths: Annotated[
        list[Path] | None, typer.Argument(help="The repository to judge, or files and folders of it.")
    ] = None,
    *,
    select: Annotated[list[str] | None, typer.Option(help="Rule ids or prefixes to judge, such as VG1.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Rule ids or prefixes not to judge.")] = None,
    output_format: Annotated[Format | None, typer.Option(help="How to print what was found.")] = None,
    output: Output = None,
    diff_base: DiffBase = None,
    baseline: Baseline = None,
    write_baseline: WriteBaseline = False,
    fail_on: Annotated[Level | None, typer.Option(help="Lowest severity that makes the exit code 1.")] = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 whatever is found.")] = False,
    gpu: Gpu = None,
    budget: Budget = None,
    concurrency: Concurrency = None,
    config: Config = None,
    online: Online = False,
    fix: Fix = False,
    audit: Audit = False,
    osv_url: OsvUrl = None,
    render: Render = None,
    jobs: Jobs = 0,
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
        "online": online,
        "audit": audit,
        "osv_url": osv_url,
        "render": render,
    }
    with working(f"reading {scope.shown}"):
        asked = governance.Question(scope, diff_base, named(scope, config), overrides, jobs)
        report, policy = governance.judge(asked, accepting=not write_baseline)
        for _ in range(_ROUNDS if fix else 0):
            if not fix_files(scope, report):
                break
            report, policy = governance.judge(asked, accepting=not write_baseline)
    threshold = policy.configuration.settings.fail_on
    if write_baseline:
        accept(scope, policy, report)
        return
    _print_report(scope, report, _chosen(output_format, output), output, threshold, verbose=verbose)
    failed = any(finding.severity >= threshold for finding in report.findings)
    raise typer.Exit(Exit.FINDINGS if failed and not exit_zero else Exit.CLEAN)


def fix_files(scope: Scope, report: Report) -> bool:
    """Make the edits of every finding that has some, and say so; False where there is nothing to edit."""
    from vramguard import fixing
    from vramguard.discover import WorkTree

    edits: dict[str, list[Edit]] = {}
    for finding in report.findings:
        for edit in finding.fix.edits if finding.fix else ():
            edits.setdefault(edit.at.path, []).append(edit)
    tree = WorkTree(scope.root)
    mended = False
    for path, found in edits.items():
        try:
            write_within(scope.root, scope.root / path, fixing.rewritten(tree.read(path) or b"", found))
        except (ConfigError, UnicodeError) as error:  # a link, or no text any more: the other files are mended still
            sys.stderr.write(f"vramguard: {visible(path)}: not mended: {visible(str(error))}\n")
            continue
        mended = True
        sys.stderr.write(f"vramguard: {visible(path)}: {plural(len(set(found)), 'line')} mended\n")
    return mended


def _words(values: list[str] | None) -> tuple[str, ...] | None:
    """Options that may be repeated, and may hold several words parted by commas."""
    return (
        None if values is None else tuple(word.strip() for value in values for word in value.split(",") if word.strip())
    )


def accept(scope: Scope, policy: Policy, report: Report) -> None:
    """Write the findings to the baseline file, and say so."""
    from vramguard import governance

    path = scope.root / (policy.configuration.baseline or governance.BASELINE_NAME)
    by_user = policy.configuration.baseline is not None and "baseline" not in policy.configuration.places
    text = governance.write_baseline(report)
    if by_user:  # the command line may name a file anywhere
        write(path, text)
    else:
        write_within(scope.root, path, text)
    say(f"{path.name}: {plural(len(report.findings), 'finding')} accepted as of today")


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
        write(output, render(chosen.value, report, context))
    if output is not None or chosen is Format.TEXT:
        from vramguard.report.text import print_report

        print_report(report, context, console())
    else:
        sys.stdout.write(render(chosen.value, report, context))
