"""What a pull request may not decide for itself, and which of its findings are its own.

With a base, base and head are judged as whole repositories, and what the head adds is reported. The base's policy,
waivers and declared hardware judge both; a change that weakens them is VG003 until it has been merged. A change that
undoes what was merged adds nothing, so that a revert always merges.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard.checks import Problem
from vramguard.discover import GitTree, WorkTree
from vramguard.engine import Policy, check, load_policy, own_findings
from vramguard.governance import baseline, revert, weakening
from vramguard.governance.baseline import BASELINE_NAME, write_baseline
from vramguard.governance.moves import Moved
from vramguard.schema import ConfigError
from vramguard.source import Location
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vramguard.discover import Tree
    from vramguard.engine import Report
    from vramguard.facts import Deployment
    from vramguard.policy import Finding
    from vramguard.scope import Scope
    from vramguard.settings import Configuration

__all__ = ["BASELINE_NAME", "Question", "judge", "write_baseline"]


class Question(NamedTuple):
    """What is to be judged: which folder, against which revision, by which configuration file and options."""

    scope: Scope
    revision: str | None = None
    config: str | None = None
    overrides: Mapping[str, Any] = {}
    jobs: int = 0  # processes that read, 0 for one on each core; with a revision one: base and head share what was read


def judge(asked: Question, *, accepting: bool = True) -> tuple[Report, Policy]:
    """The report, and the policy that made it: the base's, where there is a base. Raises `ConfigError`.

    `accepting`: leave out what the baseline file accepts.
    """
    tree = WorkTree(asked.scope.root)
    own = load_policy(tree, asked.config, **asked.overrides)
    holder: Tree = tree
    if asked.revision is None:
        report, policy = check(tree, own, asked.scope.only, asked.jobs), own
    else:
        base = GitTree(asked.scope.root, asked.revision)
        report, policy = _against(asked, tree, own, base)
        holder = base
    path = policy.configuration.baseline
    if path is None or not accepting:
        return report, policy
    data = baseline.content(holder, asked.scope.root, path)
    if data is None:
        raise ConfigError(
            f"no baseline `{path}`; --write-baseline writes it", policy.configuration.places.get("baseline")
        )
    return baseline.less(report, baseline.accepted(path, data)), policy


def _against(asked: Question, head: WorkTree, own: Policy, base: GitTree) -> tuple[Report, Policy]:
    """What the head adds to the base, judged by the base's policy."""
    moved = Moved(base, head)
    try:
        policy = moved.policy(_base_policy(asked, base))
        before = check(moved, policy)
        weakened, notes = _weakened(asked, head, own, base, policy), []
    except ConfigError as error:  # a base that nobody can judge must not keep out the change that mends it
        policy = moved.policy(own)
        before = check(moved, policy)
        weakened, notes = [], [f"the base cannot be judged by its own policy ({error}), so the head's judges both"]
    after = check(head, _with_base_hardware(policy, own), asked.scope.only)
    report = baseline.less(_unsuppressed(after), baseline.amounts(before))
    findings = sorted([*own_findings(policy, after.facts, weakened), *report.findings], key=lambda item: item.order)
    report = dataclasses.replace(report, findings=findings, notes=[*report.notes, *notes])
    return _forgiven(report, head, base), policy


def _base_policy(asked: Question, base: GitTree) -> Policy:
    there = asked.config is not None and base.read(asked.config) is not None
    return load_policy(base, asked.config if there else None, **asked.overrides)


def _weakened(asked: Question, head: WorkTree, own: Policy, base: GitTree, policy: Policy) -> list[tuple[str, Problem]]:
    problems = [*weakening.weakenings(policy, own), *_more_accepted(asked.scope.root, head, own, base, policy)]
    if asked.scope.nearer is not None:
        what = f"a configuration in `{asked.scope.nearer}` takes the place of the one that judges it now"
        problems.append(Problem(Location(f"{asked.scope.nearer}/vramguard.toml"), {"what": what}, subject=what))
    return [("VG003", problem) for problem in problems]


def _more_accepted(root: Path, head: WorkTree, own: Policy, base: GitTree, policy: Policy) -> list[Problem]:
    """A problem where the head's baseline file accepts what the base's does not."""
    sides = []
    for tree, by in ((base, policy), (head, own)):
        path = by.configuration.baseline
        data = None if path is None else baseline.content(tree, root, path)
        sides.append({} if path is None or data is None else baseline.accepted(path, data))
    count = sum(amount > sides[0].get(fingerprint, 0) for fingerprint, amount in sides[1].items())
    if not count:
        return []
    what = f"the baseline accepts {plural(count, 'finding')} more"
    place = Location(own.configuration.baseline or BASELINE_NAME)
    return [Problem(place, {"what": what}, subject=what)]


def _forgiven(report: Report, head: WorkTree, base: GitTree) -> Report:
    """The report as it is, or empty where the change undoes what was merged before.

    Restored debt is forgiven by what the files hold. A restored weaker policy is forgiven only where the commits say
    that they are reverts as well: else deleting the configuration would undo the change that once added it.
    """
    if not report.findings:
        return report
    undone = revert.find(head, base)
    weaker = [found for found in report.findings if found.id == "VG003"]
    if undone is None or (weaker and not undone.declared):
        return report
    count = len(report.findings) - len(weaker)
    note = f"a revert: {undone.what}, and {plural(count, 'finding')} with it"
    notes = [*report.notes, note, *(f"the revert: {found.message}" for found in weaker)]
    return dataclasses.replace(report, findings=[], baselined=report.baselined + count, notes=notes)


def _unsuppressed(report: Report) -> Report:
    """The report as if its files held no suppression comments: one that a change brings takes effect once merged."""
    written: list[Finding] = [item.finding for item in report.suppressed if item.written]
    waived = [item for item in report.suppressed if not item.written]
    findings = sorted([*report.findings, *written], key=lambda found: found.order)
    return dataclasses.replace(report, findings=findings, suppressed=waived)


def _with_base_hardware(policy: Policy, own: Policy) -> Policy:
    """The base's policy, and the head's deployments on the cards that the base declares, where those are smaller."""
    deployments: list[Deployment] = []
    for before, after in weakening.pairs(policy.configuration.deployments, own.configuration.deployments):
        if after is None:
            continue
        if before is not None and weakening.is_bigger(before, after, policy, own):
            deployments.append(dataclasses.replace(after, gpu=before.gpu, gpus=before.gpus))
        else:
            deployments.append(after)
    configuration: Configuration = dataclasses.replace(policy.configuration, deployments=tuple(deployments))
    return dataclasses.replace(policy, configuration=configuration)
