"""Which files of weights make one model, and which config.json they stand beside."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.facts import ModelConfig, WeightFile, WeightIndex
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts

# In the order in which transformers looks; a config may name another.
_NAMES = ("model.safetensors", "model.safetensors.index.json")
_EXPLICIT = "transformers_weights"
_SPLIT = re.compile(r"(?P<name>.*)-\d{5}-of-(?P<count>\d{5})\.gguf", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights of one model: `paths` are all of its files, `files` those whose header was read.

    `missing` are those that are not in the repository although another one is. A file in whose place a pointer stands
    is neither read nor missing.
    """

    at: Location
    paths: tuple[str, ...]
    files: tuple[WeightFile, ...]
    missing: tuple[str, ...] = ()
    index: WeightIndex | None = None

    @property
    def joined(self) -> WeightFile | None:
        """All of it as one; None unless the header of every file was read."""
        if not self.files or len(self.files) < len(self.paths):
            return None
        tensors = tuple(tensor for file in self.files for tensor in file.tensors)
        return WeightFile(self.at, self.files[0].format, tensors, self.files[0].values, self.paths)


def weights_of(config: ModelConfig, facts: Facts) -> WeightFile | None:
    """The weights beside a config, exactly as they are stored; None where not all of them are in the repository."""
    found = beside(config, facts)
    return found.joined if found else None


def beside(config: ModelConfig, facts: Facts) -> Checkpoint | None:
    """What transformers would load from the folder of a config.json, as far as that is in the repository."""
    folder, name = posixpath.split(config.at.path)
    if name != "config.json":
        return None  # of several configs in one folder nobody knows whose the weights are
    explicit = config.config.get(_EXPLICIT)
    names = (explicit,) if isinstance(explicit, str) else _NAMES
    candidates = [posixpath.normpath(posixpath.join(folder, name)) for name in names]
    path = next((path for path in candidates if path in facts.paths), None)
    index = next((index for index in facts.of(WeightIndex) if index.at.path == path), None)
    if index is not None:
        return of_index(index, facts)
    return next((Checkpoint(file.at, (file.at.path,), (file,)) for file in _files(facts, (path,))), None)


def of_index(index: WeightIndex, facts: Facts) -> Checkpoint:
    """The files that an index names."""
    return _checkpoint(index.at, sorted(set(index.files.values())), facts, index)


def split_ggufs(facts: Facts) -> Iterator[Checkpoint]:
    """Every model in GGUF: a file alone, or those that `gguf-split` made of one."""
    parts: dict[tuple[str, str], WeightFile] = {}
    for file in facts.of(WeightFile):
        match = _SPLIT.fullmatch(file.at.path)
        if match:
            parts.setdefault((match["name"], match["count"]), file)
        elif file.format == "gguf":
            yield Checkpoint(file.at, (file.at.path,), (file,))
    for (name, count), first in parts.items():
        paths = [f"{name}-{number:05}-of-{count}.gguf" for number in range(1, int(count) + 1)]
        yield _checkpoint(first.at, paths, facts)


def _checkpoint(at: Location, paths: list[str], facts: Facts, index: WeightIndex | None = None) -> Checkpoint:
    missing = tuple(path for path in paths if path not in facts.paths)
    alone = len(missing) == len(paths)  # weights are often kept elsewhere, and their index in the repository
    return Checkpoint(at, tuple(paths), tuple(_files(facts, paths)), () if alone else missing, index)


def _files(facts: Facts, paths: Iterable[str | None]) -> list[WeightFile]:
    """Those of the files whose headers were read, in the order of `paths`."""
    known = {file.at.path: file for file in facts.of(WeightFile)}
    return [known[path] for path in paths if path in known]
