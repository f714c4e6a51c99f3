"""What a pull request may not decide for itself, and which of its findings are its own.

`against` judges base and head as whole repositories and keeps what the head adds. The base's policy, waivers and
declared hardware judge both; a change that weakens them is VG003 until it has been merged. A change that only
restores files to states that were merged before adds nothing, so that a revert always merges.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from vramguard.checks import Problem
from vramguard.discover import git
from vramguard.engine import Policy, Report, check, own_findings
from vramguard.schema import ConfigError
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.discover import GitTree, WorkTree
    from vramguard.facts import Deployment
    from vramguard.policy import Finding
    from vramguard.settings import Configuration

BASELINE_SCHEMA = "vramguard.baseline/1"
BASELINE_NAME = "vramguard-baseline.json"


def against(head: WorkTree, own: Policy, base: GitTree, policy: Policy, only: Iterable[str] = ()) -> Report:
    """The head's report, less what the base holds already. `own` is the head's policy; the base's `policy` judges."""
    judged_by = dataclasses.replace(policy, configuration=_with_base_hardware(own.configuration, policy.configuration))
    before = check(base, policy)
    after = _unsuppressed(check(head, judged_by, only))
    weakened = [("VG003", problem) for problem in weakenings(policy, own)]
    report = _less(after, _amounts([*before.findings, *(item.finding for item in before.suppressed)]), "the base")
    added = dataclasses.replace(report, findings=[*own_findings(policy, weakened), *report.findings])
    if added.findings and not weakened and restores(head, base):
        count = len(added.findings)
        note = f"a revert: every changed file returns to a state merged before, and {count} findings with it"
        return dataclasses.replace(added, findings=[], baselined=report.baselined + len(report.findings), notes=[note])
    return added


def _unsuppressed(report: Report) -> Report:
    """The report as if its files held no suppression comments: one that a change brings takes effect once merged."""
    findings = [*report.findings, *(item.finding for item in report.suppressed if item.written)]
    waived = [item for item in report.suppressed if not item.written]
    return dataclasses.replace(report, findings=sorted(findings, key=lambda found: found.order), suppressed=waived)


def _with_base_hardware(own: Configuration, base: Configuration) -> Configuration:
    """The base's configuration, and the head's deployments on the cards that the base declares for them."""
    known = dict(_deployment_keys(base.deployments))
    deployments = []
    for key, deployment in _deployment_keys(own.deployments):
        before = known.get(key)
        changes: dict[str, Any] = {"gpu": before.gpu, "gpus": before.gpus} if before else {}
        deployments.append(dataclasses.replace(deployment, **changes))
    return dataclasses.replace(base, deployments=tuple(deployments))


def _deployment_keys(deployments: Iterable[Deployment]) -> Iterator[tuple[tuple[str, int], Deployment]]:
    """Deployments by the model they name, numbered where several name the same."""
    seen: Counter[str] = Counter()
    for deployment in deployments:
        name = deployment.config or str(deployment.model)
        yield (name, seen[name]), deployment
        seen[name] += 1


def weakenings(base: Policy, head: Policy) -> Iterator[Problem]:
    """Every way in which the head's policy asks less than the base's."""
    for what, key in (*_weaker_rules(base, head), *_weaker_settings(base, head), *_weaker_hardware(base, head)):
        yield Problem(head.configuration.at(key), {"what": what}, subject=what)


def _weaker_rules(base: Policy, head: Policy) -> Iterator[tuple[str, str]]:
    own = {rule.id: rule for rule in head.rules}
    for rule in base.rules:
        if rule.id not in own:
            yield f"{rule.id} is no longer judged", "ignore" if head.configuration.settings.ignore else "select"
            continue
        if own[rule.id].severity < rule.severity:
            yield f"{rule.id} falls from {rule.severity.label} to {own[rule.id].severity.label}", "severity"
        for name, before in vars(rule.check).items():
            after = getattr(own[rule.id].check, name, None)
            if after != before and not (name == "budget" and after is not None and after < before):
                yield f"{rule.id}'s `{name}` changes from {_word(before)} to {_word(after)}", _key_of(name, head)


def _key_of(parameter: str, head: Policy) -> str:
    return parameter if parameter in head.configuration.places else "rules"


def _word(value: object) -> str:
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, tuple) else str(value)


def _weaker_settings(base: Policy, head: Policy) -> Iterator[tuple[str, str]]:
    before, after = base.configuration.settings, head.configuration.settings
    if after.fail_on > before.fail_on:
        yield f"`fail_on` rises from {before.fail_on.label} to {after.fail_on.label}", "fail_on"
    for pattern in sorted(set(after.exclude) - set(before.exclude)):
        yield f"`{pattern}` is excluded", "exclude"
    for waiver in after.waiver:
        if waiver not in before.waiver:
            yield f"{', '.join(waiver.rules)} is waived for {', '.join(waiver.paths)}", "waiver"
    if after.classes != before.classes:
        yield "the path classes change", "classes"
    if after.baseline != before.baseline:
        yield f"the baseline changes from {before.baseline or 'none'} to {after.baseline or 'none'}", "baseline"
    for name in sorted(set(before.policies) - set(after.policies)):
        yield f"the policy file `{name}` is no longer used", "policies"


def _weaker_hardware(base: Policy, head: Policy) -> Iterator[tuple[str, str]]:
    own = dict(_deployment_keys(head.configuration.deployments))
    for key, before in _deployment_keys(base.configuration.deployments):
        after = own.get(key)
        if after is None:
            yield f"the deployment of `{key[0]}` is no longer declared", "deployment"
        elif _hardware_bytes(after, head) > _hardware_bytes(before, base):
            yield (
                f"the deployment of `{key[0]}` moves to a bigger card: {_hardware(before)} to {_hardware(after)}",
                "deployment",
            )


def _hardware(deployment: Deployment) -> str:
    count = f"{deployment.gpus} x " if isinstance(deployment.gpus, int) else ""
    return f"{count}{deployment.gpu or 'the default card'}"


def _hardware_bytes(deployment: Deployment, policy: Policy) -> int:
    """Capacity of all cards of a deployment; 0 for a card that the catalogue does not know."""
    from vramguard.checks.vram import capacity

    name = deployment.gpu if isinstance(deployment.gpu, str) else policy.configuration.settings.gpu
    count = deployment.gpus if isinstance(deployment.gpus, int) else 1
    return capacity(name) * count


def _amounts(findings: Iterable[Finding]) -> dict[str, int]:
    return {finding.fingerprint: finding.amount for finding in findings}


def _less(report: Report, known: Mapping[str, int], holder: str) -> Report:
    """The report without the findings that `known` holds in at least the same amount."""
    kept = [found for found in report.findings if found.amount > known.get(found.fingerprint, 0)]
    dropped = len(report.findings) - len(kept)
    notes = [f"{dropped} findings stand in {holder} already and are not reported"] if dropped else []
    return dataclasses.replace(
        report, findings=kept, baselined=report.baselined + dropped, notes=[*report.notes, *notes]
    )


def write_baseline(report: Report) -> str:
    """The text of a baseline file that accepts every finding of the report."""
    entries = [
        {"fingerprint": found.fingerprint, "id": found.id, "path": found.at.path, "amount": found.amount}
        for found in report.findings
    ]
    return json.dumps({"schema": BASELINE_SCHEMA, "findings": entries}, indent=1) + "\n"


def with_baseline(report: Report, configuration: Configuration, data: bytes | None) -> Report:
    """The report without what the configured baseline file, whose bytes are `data`, accepts. Raises `ConfigError`."""
    path = configuration.baseline
    if path is None:
        return report
    if data is None:
        raise ConfigError(
            f"the baseline `{path}` is not there; `--write-baseline` writes it", _baseline_key(configuration)
        )
    try:
        table = json.loads(data)
        known = {str(entry["fingerprint"]): int(entry["amount"]) for entry in table["findings"]}
        if table["schema"] != BASELINE_SCHEMA:
            raise ValueError(f"its schema is {table['schema']}, not {BASELINE_SCHEMA}")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"not a baseline file: {error!s}", Location(path)) from error
    return _less(report, known, "the baseline")


def _baseline_key(configuration: Configuration) -> Location | None:
    return configuration.places.get("baseline")


def restores(head: WorkTree, base: GitTree) -> bool:
    """Whether every file that differs from the base returns to a content that the base's history held at its path."""
    changed = [(path, blob) for path in _candidates(base) if (blob := _blob(head, path)) != base.blobs.get(path)]
    return bool(changed) and all(blob in _history(base, path) for path, blob in changed)


def _candidates(base: GitTree) -> list[str]:
    """Paths that may differ between the base and the working tree, untracked files included."""
    arguments = ("diff-index", "--name-only", "--no-renames", "--no-ext-diff", "--relative", "-z", base.commit)
    tracked = git(base.root, *arguments) or b""
    untracked = git(base.root, "ls-files", "-z", "--others", "--exclude-standard") or b""
    return sorted({os.fsdecode(path) for path in (tracked + untracked).split(b"\0") if path})


def _blob(tree: WorkTree, path: str) -> str | None:
    """The object name that git gives a file's content, None if it is not there."""
    try:
        data = tree.read(path)
    except OSError:
        return None
    if data is None:
        return None
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _history(base: GitTree, path: str) -> set[str | None]:
    """The object names (None for absence) that a path has had on the way to the base commit."""
    arguments = ("log", "--format=", "--raw", "--no-abbrev", "--no-renames", "-z", "-m", "--first-parent")
    output = git(base.root, *arguments, base.commit, "--", f":(top,literal){_prefix(base)}{path}") or b""
    heads = [entry.split() for entry in output.split(b"\0") if entry.startswith(b":")]
    names = {name.decode() for head in heads for name in head[2:4]}
    return {None if set(name) == {"0"} else name for name in names}


def _prefix(base: GitTree) -> str:
    return (git(base.root, "rev-parse", "--show-prefix") or b"").decode().strip()
