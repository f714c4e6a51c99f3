"""Remedies for this repository's own surfaces: alerts, breakers and gates that our rules, and the real tools, accept.

`planned(facts, pack)` says what a pack writes, as text; `scaffold.write_packs` writes it. Every file is made of the
data beside this module and of what the graph of objects knows of each surface: its name, namespace, engine, Service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.packs.parts import File, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.facts import Facts

__all__ = ["FOLDER", "PACKS", "File", "Plan", "planned"]

FOLDER: Final = "ops/vramguard"
PACKS: Final = ("prometheus", "istio", "envoy-gateway", "github-environments")


def planned(facts: Facts, pack: str, beside: Sequence[str] = ()) -> Plan:
    """The files of a pack for the surfaces of a repository, and what a person still has to do.

    `beside`: the packs that are written together, so that two do not do the same.
    """
    from vramguard.packs import environments, envoy_gateway, istio, prometheus

    if pack == "istio":
        return istio.plan(facts, FOLDER, beside)
    planners = {
        "prometheus": prometheus.plan,
        "envoy-gateway": envoy_gateway.plan,
        "github-environments": environments.plan,
    }
    return planners[pack](facts, FOLDER)
