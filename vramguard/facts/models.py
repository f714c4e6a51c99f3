"""Facts of models: their configs, where those come from, and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vramguard.facts.values import Unknown
from vramguard.source import Location
from vramguard.source.heads import StoredTensor


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A Hugging Face config.json: a file of the repository, or what is known elsewhere of a model that it names."""

    at: Location  # of the file; for one from elsewhere, of what names it
    config: Mapping[str, Any]
    sha256: str
    model: str | None = None  # the hub's id, of one from elsewhere
    revision: str | None = None  # as the deployment asks for it
    origin: str = "file"  # or lock, cache, hub, catalogue
    source: str = ""  # of one from elsewhere: its commit; of the catalogue's, where its numbers were read
    tensors: tuple[LockedTensor, ...] | None = None  # the lock's table of a network that no family knows


class LockedTensor(NamedTuple):
    """Weights of one shape: `copies` whose names differ only where `*` stands."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    copies: int = 1


@dataclass(frozen=True, slots=True)
class LockedModel:
    """One row of a vramguard.lock: what stands on the hub under a model's id at a revision, or in a folder.

    `at` is the row's place. Of a repository without a config.json (a diffusers pipeline) there is no config.
    """

    at: Location
    model: str
    revision: str | None  # as it was asked for; None for the default branch
    commit: str | None  # None for a folder
    source: str  # hub, cache, local
    config: Mapping[str, Any] | None
    config_sha256: str | None  # of the file, keys that the row leaves out included
    total_size: int | None = None  # bytes of all weights, as their index has it
    index_sha256: str | None = None
    tensors: tuple[LockedTensor, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelMissing:
    """A model that was asked for where models are kept, and not found: why, in words."""

    at: Location
    model: str
    revision: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class WeightFile:
    """The header of a file of weights; or of several, `parts`, that are one model's."""

    at: Location
    format: str  # safetensors, gguf
    tensors: tuple[StoredTensor, ...]
    values: Mapping[str, int | float | bool | str] = field(default_factory=dict)  # gguf: what it says of its model
    parts: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Elements of all tensors; packed ones count as they are stored."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def bytes(self) -> int:
        """Bytes of all tensors, without the headers."""
        return sum(tensor.bytes for tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class WeightIndex:
    """A `*.safetensors.index.json`: the file of each tensor. `files` are paths in the repository, there or not."""

    at: Location
    files: Mapping[str, str]
    total_size: int | None = None
    total_parameters: int | None = None
    places: Mapping[str, Location] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model, tokenizer, data set, adapter or code that is taken from elsewhere by its name when something runs.

    `at` is where it is named. `trusted`: whether code that lies beside it is run, None where nothing asks for that.
    """

    at: Location
    kind: str  # model, tokenizer, dataset, adapter, file, code
    form: str  # python, truss, yaml
    name: str | Unknown
    revision: str | Unknown | None = None  # as written; of MLflow's registry, a version, a stage or `@alias`
    loader: str = ""  # what loads it, as written: `AutoTokenizer.from_pretrained`, `model_cache`
    source: str = "hub"  # hub, torch-hub, mlflow, bucket
    trusted: bool | Unknown | None = None
    code_revision: str | Unknown | None = None  # of code that lies in another repository than the weights
    revision_at: Location | None = None
    trusted_at: Location | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A committed certificate of a proof: its text, and where each of its values stands by their keys."""

    at: Location
    text: str
    places: Mapping[tuple[str | int, ...], Location] = field(default_factory=dict)
