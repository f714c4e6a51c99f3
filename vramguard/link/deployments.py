"""Every place where a model meets hardware, however it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts import Launch, PythonModule
from vramguard.link.tellable import tellable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Deployment, Facts


def deployments(facts: Facts) -> Iterator[Deployment]:
    """Every deployment that is found, as opposed to declared, in the order of their places."""
    if bool(facts.of(Launch)) or bool(facts.of(PythonModule)):
        yield from sorted(map(tellable, _found(facts)), key=lambda item: item.at)


def _found(facts: Facts) -> Iterator[Deployment]:
    from vramguard.link import python  # what reads commands and code is loaded for a repository that has some
    from vramguard.link.housed import Houses
    from vramguard.link.launches import Programs, launched, launches
    from vramguard.link.python.names import Repository

    ran = list(launches(facts))
    repository = Repository(facts)
    programs = Programs(facts)
    houses = Houses(repository, programs)
    houses.add(ran)
    started = list(python.launches(facts, repository, houses))
    houses.add(started)
    yield from launched([*ran, *started], facts, programs)
    yield from python.called(facts, repository, houses)
