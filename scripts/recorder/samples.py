"""Configs of one structure and several sizes: what one trace cannot tell apart (hidden size or heads?), these can.

A sample multiplies as many of the config's integers as transformers and the structure allow, each by its own factor.
"""

from __future__ import annotations

import re
import sys
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import ACTIVATION_KEYS, architecture, recorded
from vramguard.trace.forward import trace
from vramguard.trace.record import Trace, TraceError

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "memory"))
from perturb import HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS, LEFT_ALONE

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping

Config = dict[str, Any]
Path_ = tuple[str, ...]

SAMPLES: Final = 4
# Layers that can hold every kind of layer; primes, so that a size which counts layers is told from a constant.
_LAYERS: Final = (2, 5, 7, 11, 13, 17, 23)
ELSEWHERE: Final = re.compile(r"(vision|audio|speech|image|video|qformer|perceiver|backbone|tower|codec|depth)\w*")
_FACTORS: Final[dict[str, tuple[int | Fraction, ...]]] = {
    "hidden": (12, 60, 24, 180),
    "heads": (2, 6, 4, 12),
    "kv_heads": (1, 2, 1, 2),
    "head_dim": (1, 2, Fraction(1, 2), Fraction(1, 4)),
    "chunk": (1, Fraction(1, 2), Fraction(1, 4)),  # a prompt fills several, so that code takes the same path
    "other": (1, 2, 3, 5, 7),
}
_CHUNK: Final = re.compile(r"\w*(chunk|block)_size")
_CHOSEN: Final = re.compile(r"num_experts_per_tok|moe_topk|top_k_experts|moe_k|moe_top_k")
_VALUE_HEADS: Final = re.compile(r"linear_num_value_heads")  # a multiple of the key heads
_KEY_HEADS: Final = re.compile(r"linear_num_key_heads")
_KINDS: Final = {
    HIDDEN: "hidden",
    HEADS: "heads",
    KV_HEADS: "kv_heads",
    HEAD_DIM: "head_dim",
    _CHUNK: "chunk",
    _VALUE_HEADS: "heads",
    _KEY_HEADS: "kv_heads",
}
_FIRST_ARE_DENSE: Final = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")
_TRIES: Final = 2
_SMALLER: Final = (2, 3, 4)
_RESIZED: Final = ((4, 2), (Fraction(1, 4), Fraction(1, 2)))
_TIED: Final = 10  # sizes that none could change alone, and are tried in pairs


class Run(NamedTuple):
    """How a config is run."""

    implementation: str
    tokens: int
    sequences: int


def reduced(config: Config) -> Config:
    """The config with the fewest layers that still have every kind of its layers, and those after the first too."""
    kinds = _kinds(config), _later_kinds(config)
    for count in _LAYERS:
        small = _with_layers(deepcopy(config), config["model_type"], count)
        try:
            if (_kinds(small), _later_kinds(small)) == kinds:
                return small
        except UnprovenError:
            continue
    return config


def doubled(config: Config) -> Config | None:
    """The config with its first layer twice, where no later layer is of that kind; None where it cannot say so."""
    first, later = _first_kind(config), _later_kinds(config)
    if first <= later:
        return None
    more = _doubled(deepcopy(config), config["model_type"])
    try:
        return more if first <= _later_kinds(more) else None
    except UnprovenError:
        return None


def _doubled(config: Config, kind: str) -> Config:
    row = recorded()["configs"][kind]
    fields = {**row["fields"], **config}
    depth = next((fields[key] for key in fields if LAYERS.fullmatch(key) and type(fields[key]) is int), None)
    for key, value in fields.items():
        if key in _FIRST_ARE_DENSE or (LAYERS.fullmatch(key) and key in row["fields"]):
            config[key] = value + 1 if type(value) is int and value else value
        elif isinstance(value, list) and value and len(value) == depth and key in row["fields"]:
            config[key] = [value[0], *value]
        elif key == "mlp_layer_types" and value is None and type(depth) is int:
            config[key] = ["dense"] * 2 + ["sparse"] * (depth - 1)
    for key, inner, kind_of in _parts(config, row):
        config[key] = _doubled(dict(inner), kind_of) | ({"model_type": kind_of} if row["parts"][key]["open"] else {})
    return config


def spelled(config: Config, accept: Callable[[Config], bool]) -> Config:
    """The config with its sizes that are null written out as they are derived, so that each can vary by itself."""
    current = deepcopy(config)
    for path, value in _integers(config, config["model_type"], architecture(config).sizes):
        if KV_HEADS.fullmatch(path[-1]) and "grouped" not in architecture(config).variant:
            continue
        changed = deepcopy(current)
        _set(changed, path, value)
        if changed != current and accept(changed):
            current = changed
    return current


def varied(config: Config, seed: int, accept: Callable[[Config], bool], refused: Counter[Path_]) -> Config:
    """The config with as many integers changed as `accept` lets through; how often each was `refused` alone.

    One that was refused grows by less the next time (more experts for a token than there are, say), and is then left.
    """
    random = Random(f"{config['model_type']} {seed}")  # noqa: S311 - reproducible, not secret
    sizes = architecture(config).sizes
    fields = [field for field in _integers(config, config["model_type"], sizes) if refused[field[0]] < _TRIES]
    random.shuffle(fields)
    factors = {path: _factor(path[-1], seed, random, again=bool(refused[path])) for path, _ in fields}
    changes = {path: max(1, int(value * factors[path])) for path, value in fields}
    _keep_equal(changes, dict(fields))
    current = deepcopy(config)

    def attempt(paths: list[Path_]) -> None:
        nonlocal current
        changed = deepcopy(current)
        for path in paths:
            _set(changed, path, changes[path])
        if accept(changed):
            current = changed
        elif len(paths) > 1:
            attempt(paths[: len(paths) // 2])
            attempt(paths[len(paths) // 2 :])
        elif not (HEADS.fullmatch(paths[0][-1]) or _is_bounded(paths[0])):
            refused[paths[0]] += 1

    attempt([path for path, _ in fields])
    attempt([path for path, _ in fields if _is_bounded(path)])  # of which there is room for more only now
    given = dict(_integers(config, config["model_type"], sizes))
    left = _integers(current, config["model_type"], sizes)
    alone = [path for path, value in left if value == given.get(path) and not _CHUNK.fullmatch(path[-1])]
    pairs = [*combinations(sorted(alone), 2)] if len(alone) <= _TIED else []
    random.shuffle(pairs)
    for one, other in pairs:
        factor = random.choice(_FACTORS["other"][1:])
        if refused[*one, *other] or factor * min(given[one], given[other]) < _TIED:
            continue
        changed = deepcopy(current)
        for path in (one, other):
            _set(changed, path, int(given[path] * factor))
        if accept(changed):
            return changed
        refused[*one, *other] += 1
    return current


def _is_bounded(path: Path_) -> bool:
    """Whether a size can be no larger than another one, which grows by itself."""
    return bool(KV_HEADS.fullmatch(path[-1]) or _CHOSEN.fullmatch(path[-1]))


def _keep_equal(changes: dict[Path_, int], fields: Mapping[Path_, int]) -> None:
    """As many key heads as query heads stay as many: fewer are another variant."""
    for more, fewer in ((HEADS, KV_HEADS), (_VALUE_HEADS, _KEY_HEADS)):
        heads = {path[:-1]: path for path in fields if more.fullmatch(path[-1])}
        for path in fields:
            queries = heads.get(path[:-1])
            if fewer.fullmatch(path[-1]) and queries is not None and fields[path] == fields[queries]:
                changes[path] = changes[queries]


def switched(config: Config) -> Iterator[Config]:
    """The config with each switch turned over, and each size that may be null made so, one at a time."""
    for path, value in _switches(config, config["model_type"]):
        changed = deepcopy(config)
        _set(changed, path, value)
        yield changed


def resized(config: Config) -> Iterator[tuple[str, Config]]:
    """Each size of the config, and the config with that one alone made larger and smaller.

    Formulas must know a size that matters, and no size in another's place.
    """
    for path, value in _integers(config, config["model_type"], architecture(config).sizes):
        for factors in _RESIZED:
            for factor in factors:
                changed = deepcopy(config)
                _set(changed, path, max(1, int(value * factor)))
                yield f"{'.'.join(path)} x {factor}", changed


def with_activation(config: Config, name: str) -> Config:
    """The config with another activation function wherever a prompt of text passes one."""
    changed = deepcopy(config)
    for path in _texts(config, config["model_type"]):
        _set(changed, path, name)
    return changed


def _texts(config: Config, kind: str, path: Path_ = ()) -> Iterator[Path_]:
    row = recorded()["configs"][kind]
    yield from ((*path, key) for key in ACTIVATION_KEYS if key in row["fields"])
    for key, inner, kind_of in _parts(config, row):
        yield from _texts(inner, kind_of, (*path, key))


def run(config: Config, how: Run) -> Trace:
    """Trace a config, with its class's own default kernel where `how` names none."""
    return trace(config, how.tokens, how.sequences, implementation=how.implementation)


def runs(config: Config, how: Run) -> Trace | None:
    """The trace of a config that we know and that transformers runs, else None."""
    try:
        architecture(config)
        return run(config, how)
    except (UnprovenError, TraceError):
        return None


def _factor(key: str, seed: int, random: Random, *, again: bool) -> int | Fraction:
    factors = _FACTORS[next((kind for pattern, kind in _KINDS.items() if pattern.fullmatch(key)), "other")]
    if KV_HEADS.fullmatch(key):
        return factors[seed % len(factors)]  # of which there are two: chance would often leave it as it is
    return random.choice(_SMALLER if again else factors)


def _integers(config: Config, kind: str, sizes: Mapping[str, int], path: Path_ = ()) -> Iterator[tuple[Path_, int]]:
    """Every integer that may be a size, with where it stands; one that is derived where it is null is spelled out.

    Configs of towers are left out.
    """
    row = recorded()["configs"][kind]
    for key, default in row["fields"].items():
        value = config.get(key, default)
        value = sizes.get(key) if value is None else value
        if type(value) is int and value > 0 and not LEFT_ALONE.fullmatch(key) and not LAYERS.fullmatch(key):
            yield (*path, key), value
    for key, inner, kind_of in _parts(config, row):
        yield from _integers(inner, kind_of, sizes, (*path, key))


def _switches(config: Config, kind: str, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    row = recorded()["configs"][kind]
    for key, default in row["fields"].items():
        value = config.get(key, default)
        if isinstance(value, bool) and not LEFT_ALONE.fullmatch(key):
            yield (*path, key), not value
        elif KV_HEADS.fullmatch(key):
            heads = next((config.get(k, v) for k, v in row["fields"].items() if HEADS.fullmatch(k)), None)
            yield from (((*path, key), n) for n in (heads, (heads or 0) // 2) if n)
        elif type(value) is int and key in row["null"] and not LEFT_ALONE.fullmatch(key):
            yield (*path, key), None
    for key, inner, kind_of in _parts(config, row):
        yield from _switches(inner, kind_of, (*path, key))


def _parts(config: Config, row: Any) -> Iterator[tuple[str, Config, str]]:  # noqa: ANN401 - a row of JSON
    """Configs inside this one that a prompt of text passes, each with its class."""
    for key, spec in row.get("parts", {}).items():
        if not (ELSEWHERE.fullmatch(key) or (spec.get("optional") and key not in config)):
            inner = config.get(key) or spec.get("defaults", {})
            yield key, inner, inner.get("model_type", spec["type"]) if spec["open"] else spec["type"]


def _set(config: Config, path: Path_, value: Any) -> None:  # noqa: ANN401 - a value of JSON
    *outer, key = path
    kind = config["model_type"]
    for name in outer:
        spec = recorded()["configs"][kind]["parts"][name]
        given = config.get(name) or dict(spec.get("defaults", {}))
        kind = given.get("model_type", spec["type"]) if spec["open"] else spec["type"]
        config[name] = dict(given) | ({"model_type": kind} if spec["open"] else {})
        config = config[name]
    config[key] = value


def _with_layers(config: Config, kind: str, count: int) -> Config:
    row = recorded()["configs"][kind]
    fields = {**row["fields"], **config}
    depth = next((fields[key] for key in fields if LAYERS.fullmatch(key) and type(fields[key]) is int), None)
    for key, value in fields.items():
        if LAYERS.fullmatch(key) and type(value) is int and key in row["fields"]:
            config[key] = min(value, count)
        elif key == "num_kv_shared_layers" and type(value) is int:
            config[key] = min(value, count // 2)
        elif isinstance(value, list) and len(value) == depth and key in row["fields"]:
            config[key] = value[:count]
    for key, spec in row.get("parts", {}).items():
        if spec.get("optional") and not config.get(key):
            continue
        inner = dict(config.get(key) or spec.get("defaults", {}))
        kind_of = inner.get("model_type", spec["type"]) if spec["open"] else spec["type"]
        config[key] = _with_layers(inner, kind_of, count) | ({"model_type": kind_of} if spec["open"] else {})
    return config


def _kinds(config: Config) -> set[object]:
    """Kinds of layers by their weights and caches, whatever their number."""
    network = architecture(config)
    roles = {replace(role, layers=1) for role in network.attention}
    kept = {replace(role, layers=1) for role in network.caches}
    return {*_weights(config, 0), *roles, *kept}


def _later_kinds(config: Config) -> set[object]:
    """Kinds of layers after the first, which keep a residual stream beside the embeddings."""
    return {*_weights(config, 1)}


def _first_kind(config: Config) -> set[object]:
    return {*_weights(config, 0, 1)}


def _weights(config: Config, first: int, end: int | None = None) -> Iterator[object]:
    by_layer: dict[tuple[str, int], set[object]] = {}
    for tensor in architecture(config).tensors:
        for number in tensor.layers:
            if number >= first and (end is None or number < end):
                by_layer.setdefault((tensor.name.partition("*")[0], number), set()).add((tensor.name, tensor.shape))
    yield from map(frozenset, by_layer.values())
