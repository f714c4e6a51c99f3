"""What the world is: tables of devices, engines and formats, each row with its source and the day it was read on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import tomli

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of card. Bytes as CUDA reports them; `context` is what a process holds before its first tensor."""

    name: str
    aliases: tuple[str, ...]
    compute_capability: str  # "9.0"
    multiprocessors: int
    capacity_bytes: int
    context_lower_bytes: int
    context_upper_bytes: int
    source: str
    context_source: str
    date: str


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One type of tensor in a GGUF file: `bytes` for each block of so many `elements`."""

    name: str
    number: int
    elements: int
    bytes: int
    source: str
    date: str


@cache
def load(name: str) -> Mapping[str, Any]:
    """Tables of `data/<name>.toml`; raises FileNotFoundError where there is none."""
    return MappingProxyType(tomli.loads((files(__name__) / f"{name}.toml").read_text(encoding="utf-8")))


@cache
def gpus() -> Mapping[str, Gpu]:
    """Every card by its name; aliases are resolved by `gpu`."""
    table = load("gpus")
    rows = (Gpu(**{**table["default"], **row, "aliases": (*row["aliases"],)}) for row in table["gpu"])
    return MappingProxyType({row.name: row for row in rows})


def gpu(name: str) -> Gpu | None:
    """Return the card that a flag, a label or a manifest names, whatever its case; None where no row has that name."""
    wanted = _plain(name)
    return next((row for row in gpus().values() if wanted in map(_plain, (row.name, *row.aliases))), None)


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")


@cache
def ggml_types() -> Mapping[int, GgmlType]:
    """Every type of tensor that GGUF files have, by its number there."""
    table = load("ggml")
    rows = (GgmlType(**{**table["default"], **row}) for row in table["type"])
    return MappingProxyType({row.number: row for row in rows})
