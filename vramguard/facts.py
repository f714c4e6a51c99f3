"""The vocabulary: what a repository says, each fact with the place that says it.

A fact is a frozen dataclass with `.at`. A value that is absent is None; one that is written but not knowable
(`${VAR}`, `{{ … }}`) is `Unknown`, so that no check mistakes it for a literal, or for nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from vramguard.source import Location, Unreadable
from vramguard.source.heads import StoredTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Unknown:
    """Written, but not knowable from the text alone."""

    text: str


class PathClass(StrEnum):
    """What a file is for. Rules may treat the classes apart; everything not recognised is serving."""

    SERVING = "serving"
    TRAINING = "training"
    TEST = "test"
    EXAMPLE = "example"
    DOCS = "docs"
    VENDORED = "vendored"
    GENERATED = "generated"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One declared dependency.

    `pinned`: True for one `==`/`===` without wildcard, a VCS URL at a full commit, or a URL with a hash; None for a
    local path, which has no version to pin; Unknown for a line that cannot be read as a requirement.
    """

    at: Location
    name: str
    specifier: str  # as written: `>=2,<3`, `^1.2`, or the URL
    pinned: bool | Unknown | None
    hashed: bool
    form: str  # requirements, pyproject
    reason: str = ""  # why it is not pinned, in words that complete "… is not exact: "
    section: str = ""  # where in its file: project.dependencies, dependency-groups.dev, build-system.requires
    extras: tuple[str, ...] = ()
    marker: str = ""
    editable: bool = False


@dataclass(frozen=True, slots=True)
class Include:
    """A requirements file that takes in another; `target` is its path in the repository, Unknown if it is not there."""

    at: Location
    target: str | Unknown
    constraint: bool  # -c: pins what others install, installs nothing


@dataclass(frozen=True, slots=True)
class RequirementOption:
    """An option line of a requirements file, such as `--require-hashes`, or one that pip does not understand."""

    at: Location
    option: str
    value: str
    flaw: str = ""  # why pip ignores or refuses the line, "" for an option that it takes


class Declared(NamedTuple):
    """A requirement in the form in which a declaration and a lock can be compared."""

    section: str  # "" for the project's own, extra:NAME, group:NAME
    name: str  # normalised, with its extras sorted: `torch[cuda]`
    specifier: str | None  # its clauses sorted, its versions normalised; None where a source stands in their place


@dataclass(frozen=True, slots=True)
class Project:
    """A pyproject.toml: what a lock beside it must cover."""

    at: Location
    name: str | None
    tool: str | None  # the tool its tables speak of: poetry, uv, pdm; None where they name none
    dependencies: int  # declared dependencies that are no local path, those of [build-system] aside
    content_hash: frozenset[str] = frozenset()  # each value that poetry's released versions compute for this file
    declared: frozenset[Declared] | None = None  # as uv.lock repeats it; None where it cannot be told from the text
    members: tuple[str, ...] = ()  # globs of the workspace that this project is the root of
    excluded: tuple[str, ...] = ()  # globs of what is no member all the same


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a lock file. `hashes` has the best one of each artifact that has any, as `sha256:…`."""

    at: Location
    name: str
    version: str | None
    hashes: tuple[str, ...]
    artifacts: int  # files that the lock names for it
    local: str | None = None  # folder or file in the repository, which can have no hash: the project itself, a path
    commit: str | None = None  # of a version control source
    declared: frozenset[Declared] | None = None  # uv: what the pyproject.toml in `local` declared when it was locked


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file, and what it was made from."""

    at: Location
    form: str  # poetry, uv, pylock
    packages: tuple[LockedPackage, ...]
    content_hash: str | None = None  # poetry


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A Hugging Face config.json."""

    at: Location
    config: Mapping[str, Any]
    sha256: str


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
class Deployment:
    """A place where a model meets hardware. Field names are vLLM's; None where absent.

    `places` has the location of every value that was found.
    """

    at: Location
    declared: bool  # in our own configuration, as opposed to found in the repository
    config: str | None = None  # path of its config.json in the repository
    model: str | Unknown | None = None
    revision: str | Unknown | None = None
    engine: str | Unknown | None = None
    engine_version: str | Unknown | None = None
    mode: str | Unknown | None = None
    gpu: str | Unknown | None = None
    gpus: int | Unknown | None = None
    tensor_parallel_size: int | Unknown | None = None
    pipeline_parallel_size: int | Unknown | None = None
    max_model_len: int | Unknown | None = None
    concurrency: int | Unknown | None = None
    max_num_seqs: int | Unknown | None = None
    max_num_batched_tokens: int | Unknown | None = None
    dtype: str | Unknown | None = None
    quantization: str | Unknown | None = None
    kv_cache_dtype: str | Unknown | None = None
    gpu_memory_utilization: str | Unknown | None = None
    attn_implementation: str | Unknown | None = None
    data_parallel_size: int | Unknown | None = None
    enable_expert_parallel: bool | Unknown | None = None
    enforce_eager: bool | Unknown | None = None
    block_size: int | Unknown | None = None
    kv_cache_memory_bytes: int | Unknown | None = None
    num_gpu_blocks_override: int | Unknown | None = None
    disable_hybrid_kv_cache_manager: bool | Unknown | None = None
    max_loras: int | Unknown | None = None
    max_lora_rank: int | Unknown | None = None
    num_speculative_tokens: int | Unknown | None = None
    speculative_method: str | Unknown | None = None
    language_model_only: bool | Unknown | None = None
    cpu_offload_gb: str | Unknown | None = None
    swap_space: str | Unknown | None = None
    processes_per_gpu: int | Unknown | None = None
    n_gpu_layers: int | Unknown | None = None
    card: str | Unknown | None = None  # a name of ours: deployments of the same card share it
    device_map: str | Unknown | None = None
    places: Mapping[str, Location] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DuplicateKey:
    """A key that a file gives twice: readers differ on which one counts."""

    at: Location
    message: str


Fact = (
    Requirement
    | Include
    | RequirementOption
    | Project
    | Lock
    | ModelConfig
    | WeightFile
    | WeightIndex
    | Deployment
    | DuplicateKey
    | Unreadable
)
F = TypeVar("F")


class Facts:
    """All facts of one repository, by type, in the order of their places.

    `paths` are all of its files, those that nobody reads included.
    """

    def __init__(
        self,
        facts: Iterable[Fact],
        classify: Callable[[str], PathClass] = lambda _: PathClass.SERVING,
        paths: Iterable[str] = (),
    ) -> None:
        self.paths = frozenset(paths)
        self._by_type: dict[type, list[Any]] = defaultdict(list)
        for fact in facts:
            self._by_type[type(fact)].append(fact)
        for found in self._by_type.values():
            found.sort(key=lambda fact: fact.at)
        self.classify = classify

    def of(self, kind: type[F]) -> list[F]:
        """Every fact of this type, sorted by place."""
        return self._by_type[kind]

    def __iter__(self) -> Iterator[Fact]:
        return iter(sorted((fact for found in self._by_type.values() for fact in found), key=lambda fact: fact.at))
