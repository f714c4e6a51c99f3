"""What the world is: tables of devices, engines and formats, each row with its source and the day it was read on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

import tomli


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of card. Bytes as CUDA reports them; `context` is what a process holds before its first tensor."""

    name: str
    aliases: tuple[str, ...]
    vendor: str  # nvidia, amd or intel
    compute_capability: str  # "9.0"
    multiprocessors: int
    capacity_bytes: int
    context_lower_bytes: int
    context_upper_bytes: int
    source: str
    context_source: str
    date: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One machine of a cloud and what cards it has: so many `gpus`, each the row `gpu` of the catalogue."""

    name: str
    gpu: str
    gpus: int
    source: str
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


@dataclass(frozen=True, slots=True)
class Advisory:
    """Releases that are bad together: what stands in one environment, on which cards, installed into what."""

    id: str
    kind: str  # memory-leak, import, wrong
    packages: Mapping[str, str]  # sets of versions (PEP 440) by the package's name
    what: str
    move: str  # what to move, and where to
    source: str
    date: str
    severity: str = "error"
    capabilities: Sequence[str] = ()  # compute capabilities of the cards; none for all
    forms: Sequence[str] = ()  # of what it is installed into: dockerfile, conda; none for all


class Release(NamedTuple):
    """From the first release to the last, both counted, what is said of them."""

    first: str
    last: str
    said: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What the releases of `package` need of the package `on`, as their wheels declare it: sets of versions."""

    package: str
    on: str
    releases: tuple[Release, ...]
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class CardBuilds:
    """Wheels of torch have code for cards of these compute capabilities from CUDA `least`, and below `end` if given."""

    capabilities: tuple[str, ...]
    generation: str
    least: str
    source: str
    date: str
    end: str | None = None


@dataclass(frozen=True, slots=True)
class CudaImage:
    """An image whose tags say their CUDA: `tag` finds it, `nvcc` stands in those that have a compiler."""

    name: str
    tag: str
    nvcc: str
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class BuildIndex:
    """An index that holds several builds of one version of its `packages`, apart by a label."""

    host: str
    packages: tuple[str, ...]
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model that is deployed often: the keys of its config.json that say what its network is.

    `repository`, `commit` and `path` name the public file that the numbers were read in, `note` what differs there.
    """

    id: str
    aliases: Mapping[str, str]  # other ids of the same network, each with its source
    config: Mapping[str, Any]
    repository: str
    commit: str
    path: str
    note: str = ""

    @property
    def branched(self) -> bool:
        """Whether it is of a kind that often has a branch for each way in which it is quantized."""
        return self.config.get("quantization_config", {}).get("quant_method") in ("gptq", "awq")

    @property
    def read_in(self) -> str:
        """The source in one line."""
        return f"{self.repository}@{self.commit[:12]}, {self.path}" + (f": {self.note}" if self.note else "")


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
    """Return the card that a flag, a label, a resource or a manifest names; None where no row has that name.

    Case, `_` and blanks do not count, nor does the domain of a resource (`nvidia.com/mig-1g.10gb`). A label's suffix
    `-SHARED` does: it says that the card has other tenants, which is for the caller to know.
    """
    return _cards().get(_plain(name.removeprefix("nvidia.com/")))


@cache
def _cards() -> Mapping[str, Gpu]:
    return MappingProxyType({_plain(word): row for row in gpus().values() for word in (row.name, *row.aliases)})


@cache
def instances() -> Mapping[str, Instance]:
    """Every machine of a cloud, by its name as the cloud spells it; other spellings are resolved by `instance`."""
    rows = load("gpus")["instance"]
    return MappingProxyType(
        {
            name: Instance(name, row["gpu"], count, row["source"], row["date"])
            for row in rows
            for name, count in row["names"].items()
        }
    )


def instance(name: str) -> Instance | None:
    """Return the machine of a cloud that a label names (`ml.` of SageMaker aside); None where no row has that name."""
    return _machines().get(_plain(name.removeprefix("ml.")))


@cache
def _machines() -> Mapping[str, Instance]:
    return MappingProxyType({_plain(name): row for name, row in instances().items()})


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")


@cache
def ggml_types() -> Mapping[int, GgmlType]:
    """Every type of tensor that GGUF files have, by its number there."""
    table = load("ggml")
    rows = (GgmlType(**{**table["default"], **row}) for row in table["type"])
    return MappingProxyType({row.number: row for row in rows})


@cache
def advisories() -> tuple[Advisory, ...]:
    """Every advisory."""
    rows = ({**row, "kind": row["class"]} for row in load("advisories")["advisory"])
    return tuple(Advisory(**{key: value for key, value in row.items() if key != "class"}) for row in rows)


@cache
def needs() -> tuple[Needs, ...]:
    """What releases of packages need of each other."""
    return tuple(Needs(**{**row, "releases": _releases(row)}) for row in load("cuda")["needs"])


@cache
def cuda_builds() -> Mapping[str, tuple[Release, ...]]:
    """The CUDA with which a package's wheels on PyPI were built, by the package's name."""
    return MappingProxyType({row["package"]: _releases(row) for row in load("cuda")["build"]})


@cache
def drivers() -> Mapping[int, int]:
    """The oldest driver for each major of CUDA."""
    return MappingProxyType({row["cuda"]: row["least"] for row in load("cuda")["driver"]})


@cache
def card_builds() -> tuple[CardBuilds, ...]:
    """Which builds have code for which cards."""
    return tuple(CardBuilds(**{**row, "capabilities": (*row["capabilities"],)}) for row in load("cuda")["card"])


@cache
def cuda_images() -> tuple[CudaImage, ...]:
    """Images whose tags say their CUDA."""
    return tuple(CudaImage(**row) for row in load("cuda")["image"])


@cache
def compiled() -> frozenset[str]:
    """Packages that are compiled against the CUDA of the machine that installs them."""
    return frozenset(name for row in load("cuda")["compiled"] for name in row["packages"])


@cache
def build_indexes() -> tuple[BuildIndex, ...]:
    """Indexes that hold several builds of one version."""
    return tuple(BuildIndex(**{**row, "packages": (*row["packages"],)}) for row in load("cuda")["index"])


@cache
def code() -> Mapping[str, list[dict[str, Any]]]:
    """What calls of Python libraries mean: the rows of every `code_*.toml`, by their kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(files(__name__).iterdir(), key=lambda one: one.name):
        if file.name.startswith("code_") and file.name.endswith(".toml"):
            table = load(file.name.removesuffix(".toml"))
            default = table.get("default", {})
            for kind, rows in table.items():
                if kind != "default":
                    found.setdefault(kind, []).extend({**default, **row} for row in rows)
    return MappingProxyType(found)


def _releases(row: Mapping[str, Any]) -> tuple[Release, ...]:
    return tuple(Release(first, last, said) for first, last, said in row["releases"])


@cache
def models() -> Mapping[str, CatalogueModel]:
    """Every model of the shipped catalogue, by its id and its aliases, in lower case: the hub compares without case."""
    table = json.loads((files(__name__) / "models.json").read_text(encoding="utf-8"))
    rows = [CatalogueModel(**{"aliases": {}, **row}) for row in table["models"]]
    return MappingProxyType({name.casefold(): row for row in rows for name in (row.id, *row.aliases)})


def model(name: str) -> CatalogueModel | None:
    """Return the catalogue's row of a model's id on the hub; None where it has none."""
    return models().get(name.casefold())
