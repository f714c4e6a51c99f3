"""Every place where a model meets hardware, however it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts import Launch, PythonModule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Deployment, Facts


def deployments(facts: Facts) -> Iterator[Deployment]:
    """Every deployment that is found, as opposed to declared, in the order of their places."""
    if bool(facts.of(Launch)) or bool(facts.of(PythonModule)):
        yield from sorted(_found(facts), key=lambda item: item.at)


def _found(facts: Facts) -> Iterator[Deployment]:
    from vramguard.link import python  # what reads commands and code is loaded for a repository that has some
    from vramguard.link.housed import housed
    from vramguard.link.launches import launched, launches

    ran = [*launches(facts), *python.launches(facts)]
    yield from launched(ran, facts)
    yield from housed(python.called(facts), ran, facts)
