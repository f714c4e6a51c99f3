"""An attestation, for programs (`vramguard.attestation/1`) and as text."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from vramguard.attest import KINDS
from vramguard.extract.masking import masked
from vramguard.report.escape import to_json
from vramguard.report.page import Page, written
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from vramguard.attest import Attestation, Difference, Held
    from vramguard.attest.environment import Environment

SCHEMA: Final = "vramguard.attestation/1"
_SHOWN: Final = 20  # lines of one kind; JSON has them all


def render(name: str, found: Attestation, others: Sequence[str] = ()) -> str:
    """The attestation as `json` or `text`; `others` are locks that were there and not taken."""
    if name == "json":
        return to_json(as_json(found, others))
    return written(lambda console: print_attestation(found, others, console))


def as_json(found: Attestation, others: Sequence[str] = ()) -> dict[str, Any]:
    """The attestation in JSON's types; paths run from the root of the environment."""
    return {
        "schema": SCHEMA,
        "environment": _environment(found.environment),
        "digest": found.digests.content,
        "bytecode_digest": found.digests.bytecode,
        "files": found.digests.files,
        "bytecode_files": found.digests.bytecode_files,
        "locks": [
            {"path": lock.path, "form": lock.form, "sha256": lock.sha256, "packages": len(lock.packages)}
            for lock in found.locks
        ],
        "other_locks": list(others),
        "distributions": [_held(held) for held in found.distributions],
        "differences": [_difference(item) for item in found.differences],
        "notes": [_difference(item) for item in found.notes],
    }


def _environment(environment: Environment) -> dict[str, Any]:
    python = environment.python
    return {
        "path": environment.shown,
        "implementation": python.implementation,
        "python": python.full or python.version,
        "sites": list(environment.sites),
    }


def _held(held: Held) -> dict[str, Any]:
    item = held.distribution
    return {
        "name": item.name,
        "version": item.version or None,
        "form": item.form,
        "installer": item.installer,
        "path": item.folder,
        "url": masked(item.direct_url.url) if item.direct_url else None,
        "editable": item.editable,
        "files": held.files,
        "digest": held.digest,
    }


def _difference(item: Difference) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "distribution": item.distribution,
        "path": item.path,
        "message": item.what,
        "data": dict(item.data),
    }


def print_attestation(found: Attestation, others: Sequence[str], console: Console) -> None:
    """What was walked, its digests, and every difference and note by its kind."""
    out = Page(console)
    python = found.environment.python
    out.line((found.environment.shown, "bold"))
    counted = [
        f"{python.implementation} {python.full or python.version or 'of an unknown version'}",
        plural(len(found.distributions), "distribution"),
        plural(found.digests.files, "file"),
        f"{found.digests.bytecode_files:,} of bytecode",
    ]
    out.write(", ".join(counted), indent=2)
    out.line(f"files     {found.digests.content}", indent=2)
    out.line(f"bytecode  {found.digests.bytecode}", indent=2)
    for lock in found.locks:
        out.line(f"lock      {lock.path}, {plural(len(lock.packages), 'package')}", indent=2)
    if others:
        out.write(f"not taken for the lock: {', '.join(others)}", indent=2)
    out.blank()
    if found.differences:
        out.write((plural(len(found.differences), "difference"), "bold red"))
        _listed(out, found.differences, "bold red")
    else:
        out.write(("no difference", "bold green"))
    if found.notes:
        out.blank()
        out.write((plural(len(found.notes), "note"), "bold"))
        _listed(out, found.notes, "cyan")


def _listed(out: Page, items: Sequence[Difference], style: str) -> None:
    for kind, group in groupby(items, key=lambda item: item.kind):
        same = list(group)
        count = f" ({len(same):,})" if len(same) > 1 else ""
        meaning = f": {KINDS[kind]}" if style == "bold red" and kind in KINDS else ""
        out.write((f"{kind}{count}", style), meaning, indent=2, hang=4)
        for item in same[:_SHOWN]:
            where = ", ".join(part for part in (item.distribution, item.path) if part)
            out.write(f"{where}: {item.what}" if where else item.what, indent=4, hang=6)
        if len(same) > _SHOWN:
            out.write(f"... and {len(same) - _SHOWN:,} more, in JSON", indent=4)
