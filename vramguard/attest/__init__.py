"""What an installed environment holds, and how it differs from its lock and from what its installers recorded.

`attest` walks it as files: nothing of it is imported, executed or compiled, and no link out of it is followed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vramguard.attest import bytecode, contents, digests, locks, startup
from vramguard.attest.difference import KINDS, Difference, Findings
from vramguard.attest.digests import Digests
from vramguard.attest.distributions import Distribution, distributions
from vramguard.attest.environment import Environment, Python, find
from vramguard.attest.files import Files
from vramguard.attest.locks import LockFile
from vramguard.attest.requires import Markers, Requirements

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["KINDS", "Attestation", "Difference", "Held", "LockFile", "attest", "find"]

_BUILT_FOR: Final = re.compile(r"\.cpython-3(\d+)t?[.-]")


@dataclass(frozen=True, slots=True)
class Held:
    """One distribution, the number of its files, and their digest: `Digests.content` over those that are its own."""

    distribution: Distribution
    files: int
    digest: str


@dataclass(frozen=True, slots=True)
class Attestation:
    """What an environment holds, and how it differs."""

    environment: Environment
    distributions: tuple[Held, ...]
    locks: tuple[LockFile, ...]
    digests: Digests
    differences: tuple[Difference, ...]
    notes: tuple[Difference, ...]


def attest(
    environment: Environment,
    lock_files: Sequence[LockFile] | None = (),
    allowed: Collection[str] = (),
    expected: Sequence[str] = (),
) -> Attestation:
    """Attest an environment that `find` found.

    `lock_files`: those to compare with, None where none is wanted. `allowed`: normalised names that may be installed
    beside the lock, or as editable. `expected`: digests, each of which must be one of the environment's.
    """
    findings = Findings()
    files = Files(environment)
    environment = files.environment = _informed(environment, files, findings)
    installed = distributions(files)
    held = contents.Contents(files, installed, findings)
    held.compare()
    _report_metadata(environment, installed, findings)
    startup.report(held, allowed, findings)
    bytecode.report(held, findings)
    markers = Markers(environment)
    requirements = Requirements(installed, markers, locks.extras(lock_files or ()))
    requirements.report(findings)
    requirements.report_pythons(findings)
    if lock_files:
        locks.Comparison(lock_files, requirements, markers).report(installed, allowed, findings)
    elif lock_files is not None:
        findings.add(Difference("no-lock", f"none of {', '.join(locks.NAMES)} is here"))
    found = digests.of(held.hashes, environment.sites)
    for digest in expected:
        if digest not in (found.content, found.bytecode):
            findings.add(Difference("digest", f"{digest} was expected", data={"expected": digest}))
    return Attestation(
        environment,
        _held(held),
        tuple(lock_files or ()),
        found,
        tuple(sorted(findings.differences, key=lambda item: item.order)),
        tuple(sorted(findings.notes, key=lambda item: item.order)),
    )


def _informed(environment: Environment, files: Files, findings: Findings) -> Environment:
    """An environment whose folder does not say its Python: by what its files were built for, else nobody knows."""
    if environment.python.version is not None:
        return environment
    built = Counter(match[1] for path in files.entries if (match := _BUILT_FOR.search(path)))
    if built:
        minor = built.most_common(1)[0][0]
        return replace(environment, python=Python(environment.python.implementation, f"3.{minor}"))
    what = "nothing says which Python this is for: markers are read for the one that runs vramguard"
    findings.add(Difference("unknown-python", what), note=True)
    return environment


def _report_metadata(environment: Environment, installed: list[Distribution], findings: Findings) -> None:
    by_key: dict[str, list[Distribution]] = defaultdict(list)
    for item in installed:
        by_key[item.key].append(item)
        for flaw in item.flaws:
            findings.add(Difference("broken-metadata", flaw, item.shown, item.folder))
    for items in by_key.values():
        if len(items) > 1:
            what = ", ".join(f"{item.version or 'no version'} in {item.folder}" for item in items)
            findings.add(Difference("duplicate", what, items[0].name, items[0].folder))
    for path in environment.astray:
        findings.add(Difference("link", "a folder of packages that lies outside the environment", None, path))
    for path in environment.others:
        findings.add(Difference("other-python", "packages of another Python, not looked at", None, path), note=True)


def _held(held: contents.Contents) -> tuple[Held, ...]:
    paths: dict[str, list[str]] = defaultdict(list)
    sites = held.files.environment.sites
    for path, claims in held.claims.items():
        if path in held.hashes and not path.endswith(".pyc") and not digests.is_mark(path, sites):
            for folder in {claim.by.folder for claim in claims}:
                paths[folder].append(path)
    return tuple(
        Held(item, len(own), digests.digest((path, held.hashes[path].canonical) for path in own))
        for item in held.installed
        for own in [paths[item.folder]]
    )
