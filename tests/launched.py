"""Programs as the linker gets them, from command lines."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from vramguard.facts import Deployment, Facts, Hardware, Launch, Word
from vramguard.link.launches import engines
from vramguard.link.launches.scripts import Program
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

AT = Location("deploy.yaml", 3, 1, 3, 9)
_ALWAYS = ("at", "declared", "form", "places", "name")


def word(text: str, column: int = 1) -> Word:
    """A word of the fourth line, not known where it has a variable."""
    return Word(text, Location("deploy.yaml", 4, column, 4, column + len(text)), known="$" not in text)


def program(
    command: str | Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    image: str | None = None,
    hardware: Hardware | None = None,
    entrypoint: bool = True,
) -> Program:
    """A program started with this command line."""
    words = shlex.split(command) if isinstance(command, str) else command
    return Program(
        words=tuple(word(text, 10 * number + 1) for number, text in enumerate(words)),
        env={name: word(text) for name, text in (env or {}).items()},
        image=word(image) if image else None,
        hardware=hardware or Hardware(),
        at=AT,
        entrypoint=entrypoint,
        form="kubernetes",
    )


def deployment(
    command: str | Sequence[str],
    *,
    given: Mapping[str, str] | None = None,
    facts: Iterable[Any] = (),
    launch: Launch | None = None,
    **rest: Any,  # noqa: ANN401 - what `program` takes
) -> Deployment | None:
    """The deployment that a command line is."""
    made = program(command, **rest)
    stated = {name: word(text) for name, text in (given or {}).items()}
    launch = launch or Launch(at=AT, form="kubernetes", given=stated, image=made.image, hardware=made.hardware)
    return next(engines.every(iter([made]), launch, Facts(facts)), None)


def said(found: Deployment | None) -> dict[str, Any]:
    """The fields that are not empty."""
    if found is None:
        return {}
    fields = {name: getattr(found, name) for name in found.__dataclass_fields__ if name not in _ALWAYS}
    return {name: value for name, value in fields.items() if value not in (None, (), False)}
