"""Cards for models that Python code loads: those of the container, service or task that runs the code.

A module is run by a launch whose words name its file (`python serve.py`) or itself (`-m shop.recommender`,
`uvicorn shop.recommender:app`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.launches.hardware import cards
from vramguard.link.launches.scripts import programs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.facts import Deployment, Facts, Launch
    from vramguard.link.launches.hardware import Cards

_MODULE: Final = re.compile(r"([A-Za-z_]\w{0,99}(?:\.[A-Za-z_]\w{0,99}){0,9})(?::[A-Za-z_][\w.]{0,99})?")
_WORDS: Final = 8  # of a command, in which the code that it runs is named


class House(NamedTuple):
    """What runs some code, and on which cards."""

    name: str
    cards: Cards


def housed(found: Iterable[Deployment], ran: Iterable[Launch], facts: Facts) -> Iterator[Deployment]:
    """Deployments of Python code on the cards of whatever runs them: one for each of several that do."""
    waiting = list(found)
    houses = _houses(ran, facts, {item.at.path for item in waiting}) if waiting else {}
    for item in waiting:
        own = item.gpu is not None or item.gpus is not None or item.accelerator is not None
        homes = () if own else houses.get(item.at.path, ())
        yield from (_moved(item, home) for home in homes) if homes else (item,)


def _moved(item: Deployment, house: House) -> Deployment:
    """A deployment with the cards of its house; `accelerate` and `device_map` spread over those that it has."""
    asked = house.cards
    return replace(
        item,
        name=f"{house.name}: {item.name}" if item.name else house.name,
        gpu=asked.gpu,
        gpus=asked.gpus,
        nodes=asked.nodes,
        accelerator=asked.accelerator,
        places={**asked.places, **item.places},
    )


def _houses(ran: Iterable[Launch], facts: Facts, paths: set[str]) -> Mapping[str, list[House]]:
    """What runs each of these files, where it names cards."""
    result: dict[str, list[House]] = {}
    for launch in ran:
        if not launch.hardware.places and launch.hardware.accelerator is None:
            continue
        for program in programs(launch, facts):
            named = {name for word in program.words[:_WORDS] if word.known for name in _files(word.text)}
            for path in _named(named, paths):
                house = House(program.name or launch.name, cards(program.hardware))
                if house not in result.setdefault(path, []):
                    result[path].append(house)
    return result


def _files(word: str) -> Iterator[str]:
    """The files that a word may name: itself, or those of a module."""
    if word.endswith(".py"):
        yield word
    elif (module := _MODULE.fullmatch(word)) is not None:
        path = module[1].replace(".", "/")
        yield from (f"{path}.py", f"{path}/__main__.py", f"{path}/__init__.py")


def _named(names: set[str], paths: set[str]) -> Iterator[str]:
    """The files of the repository that these names mean: the one that ends so, if only one does."""
    for name in sorted(names):
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        for start in range(len(parts)):  # `/app/shop/serve.py`: folders of the image stand before the repository's own
            tail = "/".join(parts[start:])
            found = [path for path in paths if path == tail or path.endswith(f"/{tail}")]
            if found:
                yield from found if len(found) == 1 else ()
                break
