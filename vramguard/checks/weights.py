"""Demand 2, from the other side: weights that stand in the repository must be those that the proof counts."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.facts import ModelConfig, PathClass, WeightIndex
from vramguard.link.models import deployed
from vramguard.link.tensors import WIDER, Difference, differences, is_packed, totals, wider
from vramguard.link.weights import beside, of_index, split_ggufs
from vramguard.memory import UnprovenError
from vramguard.memory.families import architecture
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, WeightFile
    from vramguard.link.weights import Checkpoint
    from vramguard.memory import Architecture
    from vramguard.source import Location

_UNJUDGED = (PathClass.TEST, PathClass.DOCS, PathClass.VENDORED)
# Either says that tensors are packed, so that their shapes are not those that the config builds.
_QUANTIZED = ("quantization_config", "compression_config")


class _Fault(NamedTuple):
    at: Location
    difference: Difference
    evidence: tuple[Evidence, ...] = ()


@check("weights-match-config")
@dataclass(frozen=True)
class WeightsMatchConfig:
    """What files of weights describe, what their index says of them and what the config beside them builds must agree.

    `wider` weighs weights of a wider type than the config names: whoever loads them by the config narrows them. Not
    judged in the `unjudged` path classes, unless a deployment names the config.
    """

    unjudged: tuple[PathClass, ...] = _UNJUDGED
    wider: Severity = Severity.ERROR

    def find(self, facts: Facts) -> Iterator[Problem]:
        folders = {posixpath.dirname(path) for path in deployed(facts)}
        for fault in _faults(facts):
            path = fault.at.path
            if facts.classify(path) not in self.unjudged or posixpath.dirname(path) in folders:
                subject, what = fault.difference
                severity = self.wider if subject == WIDER else None
                yield Problem(fault.at, {"what": what}, fault.evidence, severity, subject=subject)


def _faults(facts: Facts) -> Iterator[_Fault]:
    for index in facts.of(WeightIndex):
        yield from _of_index(index, of_index(index, facts))
    for checkpoint in split_ggufs(facts):
        evidence = tuple(Evidence(file.at, "this is another part of it") for file in checkpoint.files[1:])
        for found in (*_missing(checkpoint), *_of_gguf(checkpoint)):
            yield _Fault(checkpoint.at, found, evidence)
    for config in facts.of(ModelConfig):
        weights, network = beside(config, facts), _network(config)
        if weights is not None and network is not None:
            evidence = (Evidence(weights.at, "these are the weights beside it"),)
            yield from (_Fault(config.at, found, evidence) for found in _contradictions(weights, network))


def _missing(checkpoint: Checkpoint) -> Iterator[Difference]:
    """Files that are not in the repository although others are."""
    if checkpoint.missing:
        of = f"{len(checkpoint.missing):,} of its {plural(len(checkpoint.paths), 'file')}"
        yield Difference("missing", f"{of}, `{checkpoint.missing[0]}` first, not in the repository")


def _of_index(index: WeightIndex, checkpoint: Checkpoint) -> Iterator[_Fault]:
    """An index and the headers of the files that it names."""
    evidence = tuple(Evidence(file.at, "this is one of its files") for file in checkpoint.files)
    yield from (_Fault(index.at, found) for found in _missing(checkpoint))
    held = {file.at.path: {tensor.name for tensor in file.tensors} for file in checkpoint.files}
    lost = [name for name, path in index.files.items() if path in held and name not in held[path]]
    if lost:
        what = f"`{lost[0]}` is not in `{index.files[lost[0]]}`, where the index has it"
        yield _Fault(index.at, Difference(lost[0], what), evidence)
    joined = checkpoint.joined
    if joined and index.total_size not in (None, joined.bytes):
        what = f"total_size is {index.total_size:,}, and the tensors take {joined.bytes:,} bytes"
        yield _Fault(index.places.get("total_size", index.at), Difference("total_size", what), evidence)


def _of_gguf(checkpoint: Checkpoint) -> Iterator[Difference]:
    """What a GGUF file says of its model, and its tensors."""
    joined = checkpoint.joined
    if joined is None:
        return
    count = _number(joined, "split.tensors.count")
    if count not in (None, len(joined.tensors)):
        yield Difference("tensors", f"split.tensors.count is {count:,}, and there are {len(joined.tensors):,} tensors")
    yield from _last_block(joined)
    yield from _embedding(joined)


def _last_block(file: WeightFile) -> Iterator[Difference]:
    last = max((_block(tensor.name) for tensor in file.tensors), default=-1)
    count = _number(file, "block_count")
    # Layers that predict further tokens are counted as blocks, and left out by some converters.
    spare = _number(file, "nextn_predict_layers") or 0
    if count is not None and last >= 0 and not count - spare <= last + 1 <= count:
        yield Difference("block_count", f"block_count is {count:,}, and the last block is blk.{last}")


def _block(name: str) -> int:
    """The number of the block that a GGUF tensor belongs to, -1 for one of none."""
    first, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    return int(number) if first == "blk" and re.fullmatch(r"\d{1,6}", number, re.ASCII) else -1


def _embedding(file: WeightFile) -> Iterator[Difference]:
    width = _number(file, "embedding_length")
    shape = next((tensor.shape for tensor in file.tensors if tensor.name == "token_embd.weight"), ())
    # What embeds features and not tokens (wavtokenizer) has rows of their length.
    if shape and width not in (None, shape[-1]) and _number(file, "features_length") is None:
        what = f"embedding_length is {width:,}, and token_embd.weight has rows of {shape[-1]:,}"
        yield Difference("embedding_length", what)


def _number(file: WeightFile, key: str) -> int | None:
    """An integer that a GGUF file gives, by itself or of its architecture."""
    own = file.values.get(f"{file.values.get('general.architecture')}.{key}")
    value = file.values.get(key, own)
    return value if type(value) is int else None


def _network(config: ModelConfig) -> Architecture | None:
    """What the config builds; None where that is not known, or where its weights are packed."""
    if any(config.config.get(key) is not None for key in _QUANTIZED):
        return None
    try:
        return architecture(config.config)
    except UnprovenError:
        return None


def _contradictions(checkpoint: Checkpoint, network: Architecture) -> Iterator[Difference]:
    """Weights that cannot be those of the config: by the headers where all are at hand, else by the index alone."""
    joined, index = checkpoint.joined, checkpoint.index
    if any(is_packed(file.tensors) for file in checkpoint.files):
        return
    if joined is not None:
        yield from differences({tensor.name: tensor.shape for tensor in joined.tensors}, network)
        yield from wider(joined.tensors, network)
    elif index is not None:
        yield from differences(dict.fromkeys(index.files), network)
        yield from totals(index, network)
