"""A repository's own configuration: `[tool.vramguard]` in pyproject.toml, or the same keys in vramguard.toml.

The nearest file wins, looking from the judged folder upwards; `extends` inherits from another file, key by key.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from vramguard.checks import Severity
from vramguard.discover import WorkTree, is_pattern
from vramguard.facts import Deployment, PathClass, Protection
from vramguard.facts.outputs import ANSWERS, ASKS, MEANS, KnownCall
from vramguard.schema import (
    FILLED,
    NOT_BLANK,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    ConfigError,
    Limit,
    decode,
    json_schema,
    option,
)
from vramguard.source import Document, Location, Unreadable, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vramguard.source import KeyPath

NAMES = ("vramguard.toml", "pyproject.toml")


_RULE = Limit(
    lambda word: re.fullmatch(r"VG[0-9]{0,3}", word) is not None,
    "a rule id or the beginning of one, such as VG101 or VG1",
    {"pattern": r"^VG[0-9]{0,3}$"},
)
_PATTERN = Limit(lambda line: bool(line.strip()) and is_pattern(line), "a pattern as in .gitignore", NOT_BLANK.schema)
_CLASS = Limit(lambda name: name in list(PathClass), f"one of {', '.join(PathClass)}", {"enum": list(PathClass)})


@dataclass(frozen=True)
class Waiver:
    """`[[waiver]]`: findings that somebody has accepted, by rule and path, with a reason."""

    rules: tuple[str, ...] = option("Rule ids or prefixes, such as VG101 or VG1", limit=FILLED, each=_RULE)
    paths: tuple[str, ...] = option(
        "Patterns as in .gitignore, from the repository's root", limit=FILLED, each=_PATTERN
    )
    reason: str = option("Why this is accepted; required, and printed", limit=NOT_BLANK)
    until: date | None = option("The last day on which the waiver holds; required for VG118", None)
    advisories: tuple[str, ...] = option(
        "Of VG118, the advisories that are accepted; all where absent", (), each=NOT_BLANK
    )


@dataclass(frozen=True)
class EvidenceTable:
    """`[[evidence]]`: what a rule misses here is met elsewhere: a mesh, alerts or approvals of another repository.

    It speaks only for what is absent: a finding that names the surface that lacks something.
    """

    rules: tuple[str, ...] = option("Rule ids or prefixes, such as VG402 or VG6", limit=FILLED, each=_RULE)
    surface: str = option("Name of the surface as the finding gives it; `*` as a wildcard", limit=NOT_BLANK)
    where: str = option("Where it is met instead: a repository, a file and its commit", limit=NOT_BLANK)
    reviewer: str = option("Who looked at it there", limit=NOT_BLANK)
    until: date = option("The last day on which this holds")


@dataclass(frozen=True)
class GatesTable:
    """`[gates]`: where a person is asked before anything is deployed, as somebody has looked up."""

    environments: tuple[str, ...] = option(
        "Environments of the forge that have required reviewers; with this list, no other counts as a gate",
        limit=FILLED,
        each=NOT_BLANK,
    )


@dataclass(frozen=True)
class DeploymentTable:
    """`[[deployment]]`: a place where a model meets hardware, in vLLM's words."""

    needs: ClassVar = ("config", "model")
    config: str | None = option(
        "Path of the model's config.json, from the configuration's folder", None, limit=NOT_BLANK
    )
    model: str | None = option("Hub id of the model, or a folder that holds its config.json", None, limit=NOT_BLANK)
    revision: str | None = option("Full commit hash of the model", None)
    engine: str | None = option("transformers, vllm, sglang, tgi, tensorrt-llm or llama.cpp", None)
    engine_version: str | None = option("Exact version of the engine", None)
    mode: str | None = option("inference or training", None)
    gpu: str | None = option("The card, by a name or alias of the GPU catalogue", None, limit=NOT_BLANK)
    gpus: int | None = option("How many cards one replica gets", None, limit=POSITIVE)
    tensor_parallel_size: int | None = option("Cards that one layer is split across", None, limit=POSITIVE)
    pipeline_parallel_size: int | None = option("Stages that the layers are split into", None, limit=POSITIVE)
    max_model_len: int | None = option("Longest context in tokens; the config's own where absent", None, limit=POSITIVE)
    concurrency: int | None = option("Full-length sequences that must fit at once", None, limit=POSITIVE)
    max_num_seqs: int | None = option("Most sequences in one batch of the engine", None, limit=POSITIVE)
    max_num_batched_tokens: int | None = option("Most tokens in one batch of the engine", None, limit=POSITIVE)
    dtype: str | None = option("Data type of the weights; the config's own where absent", None)
    quantization: str | None = option("Quantization method", None)
    kv_cache_dtype: str | None = option("Data type of the KV cache; the weights' where absent", None)
    gpu_memory_utilization: Fraction | None = option("Share of the card that the engine reserves", None, limit=SHARE)
    attn_implementation: str | None = option("sdpa, eager or flash_attention_2", None)
    data_parallel_size: int | None = option("Replicas of the engine, each on cards of its own", None, limit=POSITIVE)
    enable_expert_parallel: bool | None = option("Whole experts on each card, instead of a share of each", None)
    enforce_eager: bool | None = option("No CUDA graphs", None)
    block_size: int | None = option("Tokens of one block of the cache", None, limit=POSITIVE)
    kv_cache_memory_bytes: int | None = option("Bytes of cache on each card, instead of a share", None, limit=POSITIVE)
    num_gpu_blocks_override: int | None = option("Blocks of cache, instead of a share", None, limit=POSITIVE)
    disable_hybrid_kv_cache_manager: bool | None = option("Sliding layers keep every token", None)
    enable_chunked_prefill: bool | None = option("Prompts may be split across batches", None)
    kv_connector: str | None = option("What hands the cache on to other engines: NixlConnector", None)
    kv_events: bool | None = option("What the cache holds is published to routers", None)
    max_loras: int | None = option("Adapters in one batch", None, limit=POSITIVE)
    max_lora_rank: int | None = option("Largest rank of an adapter", None, limit=POSITIVE)
    num_speculative_tokens: int | None = option("Tokens that are guessed ahead in one step", None, limit=POSITIVE)
    speculative_method: str | None = option("How they are guessed: ngram, mtp, eagle, eagle3, draft_model", None)
    language_model_only: bool | None = option("No picture and no sound is taken", None)
    cpu_offload_gb: Fraction | None = option("GiB of weights kept on the host, for each card", None, limit=NOT_NEGATIVE)
    swap_space: Fraction | None = option("GiB of cache kept on the host, for each card", None, limit=NOT_NEGATIVE)
    processes_per_gpu: int | None = option("Processes that load the model on each card", None, limit=POSITIVE)
    n_gpu_layers: int | None = option("llama.cpp: layers on the card, the output counted as one; -1 for all", None)
    card: str | None = option("Deployments that name the same one share that card", None, limit=NOT_BLANK)
    device_map: str | None = option("transformers' device_map, such as auto", None)
    optim: str | None = option("Training: the optimizer, by TrainingArguments' name: adamw_torch", None)
    per_device_train_batch_size: int | None = option("Training: sequences of a micro-batch", None, limit=POSITIVE)
    gradient_accumulation_steps: int | None = option("Training: micro-batches of a step", None, limit=POSITIVE)
    gradient_checkpointing: bool | None = option("Training: layers are computed anew in the backward pass", None)
    bf16: bool | None = option("Training: mixed precision with bfloat16", None)
    fp16: bool | None = option("Training: mixed precision with float16", None)
    lora_rank: int | None = option("Training: rank of the adapters that alone are trained", None, limit=POSITIVE)
    lora_target_modules: str | None = option("Training: their modules, by commas, or all-linear", None, limit=NOT_BLANK)
    zero_stage: int | None = option("Training: DeepSpeed's ZeRO, 1 to 3", None, limit=POSITIVE)
    fsdp: str | None = option("Training: how weights are sharded, such as full_shard auto_wrap", None, limit=NOT_BLANK)


_MEANS = Limit(lambda word: word in MEANS, f"one of {', '.join(MEANS)}", {"enum": list(MEANS)})
_ANSWER = Limit(lambda word: word in ANSWERS, f"one of {', '.join(ANSWERS)}", {"enum": list(ANSWERS)})
_ASKS = Limit(lambda word: word in ASKS, f"one of {', '.join(ASKS)}", {"enum": list(ASKS)})


@dataclass(frozen=True)
class CallTable:
    """`[[call]]`: what a function means that the shipped tables do not know, the repository's own included."""

    call: str = option(
        "Its dotted name, `()` after what is called: shop.pricing.Client().price; `*` and `**` as wildcards",
        limit=NOT_BLANK,
    )
    means: str = option(
        "output: a model's answer; validator: it refuses bad ones; sink: it reaches people", limit=_MEANS
    )
    answer: str = option("Of an output: number, text, label, vector or media", "number", limit=_ANSWER)
    checks: tuple[str, ...] = option("Of a validator: finite, bounds, closed, schema", ("finite", "bounds"), each=_ASKS)


@dataclass(frozen=True)
class Settings:
    """What a repository asks of the gate."""

    extends: str | None = option("Another configuration file whose keys hold where this one is silent", None)
    policies: tuple[str, ...] = option("Further policy files, from the configuration's folder", ())
    select: tuple[str, ...] = option(
        "Rule ids or prefixes to judge; all where absent", ("VG",), limit=FILLED, each=_RULE
    )
    ignore: tuple[str, ...] = option("Rule ids or prefixes not to judge", (), each=_RULE)
    severity: Mapping[str, Severity] = option("Severity by rule id", factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = option("Parameters by rule id", factory=dict)
    fail_on: Severity = option("The lowest severity that makes the exit code 1", Severity.ERROR)
    exclude: tuple[str, ...] = option("Patterns of paths not to read, as in .gitignore", (), each=_PATTERN)
    budget: Fraction | None = option("Share of a card's capacity that the peak may take", None, limit=SHARE)
    gpu: str | None = option("The card of a deployment that names none", None)
    concurrency: int | None = option("Full-length sequences of a deployment that names no number", None, limit=POSITIVE)
    models: Mapping[str, str] = option(
        "What a path that deployments name holds: ID[@REVISION] of the hub, or a config.json's path here", factory=dict
    )
    catalogue: bool | None = option("Whether the shipped catalogue may say what a model is that no lock has", None)
    render: bool | None = option("Whether helm may render the charts, where it is on PATH", None)
    baseline: str | None = option("File of accepted findings, from the configuration's folder", None)
    classes: Mapping[str, tuple[str, ...]] = option("Patterns by path class", factory=dict, keys=_CLASS)
    waiver: tuple[Waiver, ...] = option("Accepted findings, with reasons", ())
    evidence: tuple[EvidenceTable, ...] = option("What is met in another repository, and who looked at it", ())
    gates: GatesTable | None = option("Where a person is asked before a deployment", None)
    deployment: tuple[DeploymentTable, ...] = option("Where models meet hardware", ())
    call: tuple[CallTable, ...] = option("Functions that are a model's, a validator's or a way to people", ())


@dataclass(frozen=True)
class Configuration:
    """Settings, the file they come from (None for the defaults) and where its keys stand.

    `parameters`: for each rule with a `[rules.ID]` table, the document and the keys of that table.
    """

    settings: Settings = dataclasses.field(default_factory=Settings)
    path: str | None = None
    deployments: tuple[Deployment, ...] = ()
    calls: tuple[KnownCall, ...] = ()
    places: Mapping[str, Location] = dataclasses.field(default_factory=dict)
    parameters: Mapping[str, tuple[Document, tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    online: bool = False  # whether the hub may be asked: the command line's to say, never a file's
    audit: bool = False  # whether a service may be asked for advisories; the command line's too
    osv_url: str | None = None  # which one, other than OSV's own

    def resolve(self, path: str) -> str:
        """A path given in the configuration, from the repository's root."""
        folder = posixpath.dirname(self.path) if self.path else ""
        return posixpath.normpath(posixpath.join(folder, path))

    @property
    def baseline(self) -> str | None:
        """Path of the baseline file from the repository's root, None where there is none."""
        return self.resolve(self.settings.baseline) if self.settings.baseline else None

    @property
    def gates(self) -> tuple[Protection, ...]:
        """The environments that have reviewers, as the configuration says."""
        names = self.settings.gates.environments if self.settings.gates else ()
        return tuple(Protection(self.at("gates"), name, reviewed=True, by="configuration") for name in names)

    def at(self, key: str) -> Location:
        """Where a top-level key stands; the file's first line if it is absent."""
        return self.places.get(key, Location(self.path or "vramguard.toml"))


def load(read_file: Callable[[str], bytes | None], path: str | None = None) -> Configuration:
    """The configuration of a repository whose files `read_file` gives (None for a file that is not there).

    `path` names the file; without it, vramguard.toml and then pyproject.toml at the root are tried.
    Raises `ConfigError`.
    """
    for name in [path] if path else NAMES:
        data = _bytes(read_file, name)
        if data is None:
            continue
        found = _table(name, data)
        if found is not None:
            return _configuration(*found, read_file)
    if path:
        raise ConfigError(f"no configuration in `{path}`: it needs a [tool.vramguard] table, or is not there")
    return Configuration()


def _bytes(read_file: Callable[[str], bytes | None], path: str) -> bytes | None:
    try:
        return read_file(path)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", Location(path)) from error


def has_configuration(folder: Path) -> bool:
    """Whether a configuration of ours stands in the folder itself."""
    tree = WorkTree(folder)
    if (folder / NAMES[0]).is_file():
        return True
    try:
        data = tree.read(NAMES[1])
    except OSError:
        return False
    return data is not None and b"vramguard" in data and _table(NAMES[1], data) is not None


def _table(path: str, data: bytes) -> tuple[Document, tuple[str, ...], Mapping[str, Any]] | None:
    """The document of a configuration file, the keys of our table in it, and the table; None if it has none."""
    document = read(path, data, kind="toml")
    if isinstance(document, Unreadable):
        if posixpath.basename(path) == "pyproject.toml" and b"vramguard" not in data:
            return None  # not our configuration: a broken pyproject.toml is finding VG001
        raise ConfigError(document.reason, document.at)
    if posixpath.basename(path) != "pyproject.toml":
        return document, (), document.value
    tool = document.value.get("tool")
    table = tool.get("vramguard") if isinstance(tool, Mapping) else None
    return None if table is None else (document, ("tool", "vramguard"), table)


def _configuration(
    document: Document, keys: tuple[str, ...], table: Mapping[str, Any], read_file: Callable[[str], bytes | None]
) -> Configuration:
    settings = decode(Settings, document, keys, table)
    deployments = _deployments(document, keys, settings)
    calls = _calls(document, keys, settings)
    _lapsing(document, keys, settings)
    for key in ("policies", "baseline"):
        _from_root(document, (*keys, key), getattr(settings, key))
    places = {key: document.key_at(*keys, key) for key in table}
    parameters = {rule: (document, (*keys, "rules", rule)) for rule in settings.rules}
    if settings.extends:
        base = _inherited(document, keys, settings.extends, read_file)
        settings = _merged(base.settings, settings, table)
        deployments = (*base.deployments, *deployments)
        calls = (*base.calls, *calls)
        parameters = {**base.parameters, **parameters}
    return Configuration(settings, document.path, deployments, calls, places, parameters)


def _lapsing(document: Document, keys: tuple[str, ...], settings: Settings) -> None:
    """Raises `ConfigError` for a waiver of advisories that would hold for ever."""
    for number, waiver in enumerate(settings.waiver):
        if waiver.until is None and (waiver.advisories or "VG118" in waiver.rules):
            at = document.at(*keys, "waiver", number)
            raise ConfigError("a waiver of VG118 needs `until`: an advisory is looked at again", at)


def _inherited(
    document: Document, keys: tuple[str, ...], extends: str, read_file: Callable[[str], bytes | None]
) -> Configuration:
    at = document.at(*keys, "extends")
    (target,) = _from_root(document, (*keys, "extends"), extends)
    data = _bytes(read_file, target)
    if data is None:
        raise ConfigError(f"`extends` names `{extends}`, which is not there", at)
    found = _table(target, data)
    if found is None:
        raise ConfigError(f"`{extends}` has no [tool.vramguard] table", at)
    if found[2].get("extends"):
        raise ConfigError(f"`{extends}` extends a file itself; one level is enough", at)
    return _rebased(_configuration(*found, read_file), posixpath.dirname(document.path))


def _from_root(document: Document, keys: KeyPath, given: str | tuple[str, ...] | None) -> list[str]:
    """Paths given in a configuration file, from the repository's root. Raises `ConfigError` for one outside of it."""
    result = []
    for number, path in enumerate([given] if isinstance(given, str) else given or ()):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(document.path), path))
        if not path.strip() or "\0" in path or target.startswith("/") or target.split("/")[0] == "..":
            where = keys if isinstance(given, str) else (*keys, number)
            raise ConfigError(f"`{path}` is no path below the repository's root", document.at(*where))
        result.append(target)
    return result


def _rebased(base: Configuration, folder: str) -> Configuration:
    """A configuration whose paths are read from another folder, that of the file that extends it."""

    def moved(path: str) -> str:
        return posixpath.relpath(base.resolve(path) or ".", folder or ".")

    settings = dataclasses.replace(
        base.settings,
        policies=tuple(moved(path) for path in base.settings.policies),
        baseline=moved(base.settings.baseline) if base.settings.baseline else None,
    )
    return dataclasses.replace(base, settings=settings)


def _merged(base: Settings, own: Settings, table: Mapping[str, Any]) -> Settings:
    """`own` where its file speaks, else `base`; tables of parameters are merged, lists of tables joined."""
    changes: dict[str, Any] = {key: getattr(own, key) for key in table}
    for key in ("severity", "rules", "classes", "models"):
        changes[key] = {**getattr(base, key), **getattr(own, key)}
    for key in ("waiver", "evidence", "deployment", "call"):
        changes[key] = (*getattr(base, key), *getattr(own, key))
    return dataclasses.replace(base, **changes)


def _deployments(document: Document, keys: tuple[str, ...], settings: Settings) -> tuple[Deployment, ...]:
    """The declared deployments as facts, their paths from the repository's root."""
    result = []
    for number, table in enumerate(settings.deployment):
        path: KeyPath = (*keys, "deployment", number)
        values = {name: value for name, value in vars(table).items() if value is not None}
        places = {name: document.at(*path, name) for name in values}
        values |= {name: str(float(value)) for name, value in values.items() if isinstance(value, Fraction)}
        if "config" in values:
            (values["config"],) = _from_root(document, (*path, "config"), values["config"])
        result.append(Deployment(at=document.at(*path), declared=True, places=places, **values))
    return tuple(result)


def _calls(document: Document, keys: tuple[str, ...], settings: Settings) -> tuple[KnownCall, ...]:
    """What the configuration says of functions, as facts."""
    return tuple(
        KnownCall(document.at(*keys, "call", number), table.means, table.call, table.answer, table.checks)
        for number, table in enumerate(settings.call)
    )


def published_schema() -> dict[str, Any]:
    """The JSON Schema of `vramguard.toml`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "vramguard configuration",
        **json_schema(Settings),
    }
