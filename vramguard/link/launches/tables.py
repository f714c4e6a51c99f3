"""What engines are called, what they are started with, and what each flag means: `data/launchers.toml`, as objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from vramguard.data import load

TAKES: Final = ("one", "none", "switch", "many", "maybe")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of an engine, by all of its names.

    `takes`: one value, none, a switch (none, and `--no-…` is its opposite), many, or maybe one. At most one of these:
    `field`, of a Deployment; `special`, what `meaning` reads; `unread`, that no field holds what it asks for, but for
    the values in `unless`. One that has none of them changes no byte on a card.
    """

    names: tuple[str, ...]
    takes: str
    field: str | None = None
    special: str | None = None
    unread: bool = False
    unless: tuple[str, ...] = ()
    because: str = ""


@dataclass(frozen=True, slots=True)
class Engine:
    """How one engine is started, and how it reads its words."""

    name: str
    syntax: str  # argparse (prefixes of names), click, clap, own
    programs: tuple[tuple[str, ...], ...]
    flags: Mapping[str, Flag]  # by each name
    variables: Mapping[str, str]  # environment: name -> the flag that it stands for
    prefixes: tuple[str, ...]  # of variables that spell a flag: SM_VLLM_MAX_MODEL_LEN
    harmful: tuple[str, ...]  # variables that may change the peak
    unless: Mapping[str, tuple[str, ...]]  # values of these that do not
    positional: str | None = None  # field of the word that no flag takes
    nested: Mapping[str, str] = field(default_factory=dict)  # keys of its file of options -> field
    ignored: tuple[str, ...] = ()  # keys of that file that change nothing
    proved: bool = True  # whether its flags are told apart: no proof speaks of the others
    others: tuple[str, ...] = ()  # first words with which the program does something else
    source: str = ""
    date: str = ""

    @property
    def abbreviates(self) -> bool:
        """Whether the beginning of a name that no other has stands for it."""
        return self.syntax == "argparse"


@dataclass(frozen=True, slots=True)
class Image:
    """One family of images. `engine` is None where what it runs is for its command to say."""

    names: tuple[str, ...]  # the last parts of a repository's path
    engine: str | None
    serves: bool  # its entry point is the server: arguments alone are the server's
    tag: re.Pattern[str] | None  # the engine's version in a tag, as group 1
    accelerator: str | None
    source: str
    date: str


def engines() -> Mapping[str, Engine]:
    """Every engine, by name."""
    return _engines()


@cache
def _engines() -> Mapping[str, Engine]:
    found: dict[str, Engine] = {}
    for row in load("launchers")["engine"]:
        base = found.get(row.get("like", ""))
        found[row["name"]] = _engine(row, base)
    return MappingProxyType(found)


def _engine(row: Mapping[str, Any], base: Engine | None) -> Engine:
    flags = dict(base.flags) if base else {}
    for flag in _flags(row):
        flags |= dict.fromkeys(flag.names, flag)
    return Engine(
        name=row["name"],
        syntax=row.get("syntax", base.syntax if base else "argparse"),
        programs=tuple(tuple(program.split()) for program in row["programs"]),
        flags=MappingProxyType(flags),
        variables=MappingProxyType({**(base.variables if base else {}), **row.get("variables", {})}),
        prefixes=tuple(row.get("prefixes", base.prefixes if base else ())),
        harmful=(*(base.harmful if base else ()), *row.get("harmful", ())),
        unless=_words({**(base.unless if base else {}), **row.get("harmless_values", {})}),
        positional=row.get("positional", base.positional if base else None),
        nested=MappingProxyType(row.get("nested", {})),
        ignored=tuple(row.get("ignored", ())),
        proved=row.get("proved", True),
        others=tuple(row.get("others", "").split()),
        source=row["source"],
        date=str(row["date"]),
    )


def _words(table: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({k: tuple(v.split()) if isinstance(v, str) else tuple(v) for k, v in table.items()})


def _flags(row: Mapping[str, Any]) -> list[Flag]:
    found = [
        Flag(tuple(one["names"].split()), one["takes"], one.get("field"), one.get("special"))
        for one in row.get("flags", ())
    ]
    for kind in ("unread", "harmless"):
        for group in row.get(kind, ()):
            unless = _words(group.get("unless", {}))
            for takes in TAKES:
                for name in group.get(takes, "").split():
                    because, values = group["because"], unless.get(name, ())
                    found.append(Flag((name,), takes, unread=kind == "unread", unless=values, because=because))
    return found


@cache
def images() -> tuple[Image, ...]:
    """Every family of images; of several that fit a name, the one with the longest counts."""
    return tuple(
        Image(
            names=tuple(row["names"].split()),
            engine=row.get("engine"),
            serves=row.get("serves", True),
            tag=re.compile(row["tag"]) if "tag" in row else None,
            accelerator=row.get("accelerator"),
            source=row["source"],
            date=str(row["date"]),
        )
        for row in load("launchers")["image"]
    )
