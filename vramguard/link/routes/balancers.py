"""Balancers of a repository's own, and the GPUs that they share requests out among."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from vramguard.facts.outputs import Step
from vramguard.link.routes.parts import Balance, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.link.routes.targets import Targets


def parts(targets: Targets) -> Iterator[Balance]:
    """Every balancer by a CPU, in a repository that serves a model on a GPU or in a file that speaks of one."""
    for balancer in targets.cluster.configured("balancer"):
        target = _nearest(targets, balancer)
        if target:
            yield Balance(balancer.at, f"this choice in {balancer.at.path}", f"`{balancer.name}`", target)


def _nearest(targets: Targets, balancer: Manifest) -> Target | None:
    surfaces = targets.cluster.gpu_surfaces
    if surfaces:
        path = balancer.at.path
        near = max(surfaces, key=lambda one: (len(posixpath.commonprefix((one.at.path, path))), one.at))
        return targets.of_surface(near)
    if balancer.at.path.endswith(".py"):
        return Target("the GPUs that it speaks of", Step(balancer.at, "the file speaks of a model's servers"))
    return None
