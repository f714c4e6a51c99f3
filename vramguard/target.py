"""What `prove TARGET` names: a config.json, a folder that holds one, or a deployment at FILE:LINE."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vramguard import engine
from vramguard.checks.vram import VramBudget
from vramguard.discover import WorkTree
from vramguard.facts import Deployment
from vramguard.schema import ConfigError
from vramguard.scope import Scope, find_scope
from vramguard.source import Location

if TYPE_CHECKING:
    from fractions import Fraction

    from vramguard.engine import Proven


def prove_target(target: str, config: str | None, budget: Fraction | None, given: dict[str, Any]) -> Proven:
    """Prove what `target` names, with the workload's values in `given`. Raises `ConfigError`."""
    place = re.fullmatch(r"(.+):(\d+)", target)
    path = Path(target)
    if place and Path(place[1]).is_file():
        file, line = Path(place[1]), int(place[2])
    else:
        file, line = path / "config.json" if path.is_dir() else path, None
    if not file.is_file():
        raise ConfigError(f"`{target}` is no config.json, no folder that holds one, and no FILE:LINE of a deployment")
    scope = find_scope([file])
    named = None if config is None else scope.below(Path(config))
    if line is None or file.suffix == ".json":
        proven = _config(scope, file, named, budget, given)
    else:
        proven = _deployment(scope, file, line, named, budget, given)
    shown = posixpath.normpath(posixpath.join(scope.prefix, proven.at.path))
    return proven._replace(at=proven.at._replace(path=shown))


def _config(scope: Scope, file: Path, config: str | None, budget: Fraction | None, given: dict[str, Any]) -> Proven:
    name = scope.below(file)
    deployment = Deployment(at=Location(name), declared=True, config=name, **given)
    return _proven(scope.root, (deployment,), config, budget)


def _deployment(
    scope: Scope, file: Path, line: int, config: str | None, budget: Fraction | None, given: dict[str, Any]
) -> Proven:
    """The deployment that stands at, or nearest above, the line."""
    name = scope.below(file)
    found = engine.load_policy(WorkTree(scope.root), config or name).configuration.deployments
    above = [item for item in found if item.at.path == name and item.at.line <= line]
    if not above:
        raise ConfigError(f"no deployment at `{file}:{line}`; `vramguard inspect` lists them")
    chosen = max(above, key=lambda item: item.at.line)
    return _proven(scope.root, (dataclasses.replace(chosen, **given),), config, budget)


def _proven(root: Path, deployments: tuple[Deployment, ...], config: str | None, budget: Fraction | None) -> Proven:
    tree = WorkTree(root)
    policy = engine.load_policy(tree, config, budget=budget)
    configuration = dataclasses.replace(policy.configuration, deployments=deployments)
    judge = next((rule.check for rule in policy.rules if isinstance(rule.check, VramBudget)), VramBudget(()))
    return engine.prove_deployment(tree, configuration, judge, deployments[0])
