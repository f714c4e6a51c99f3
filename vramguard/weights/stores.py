"""Which files hold the weights that are meant, and where in them each tensor stands.

A folder is all of its files of weights, whatever names them; an index is all that it names; a file is itself. Only
headers are read here. A link is followed, as the hub's cache is made of them; what an index names outside of its
folder is not.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.extract import weights as headers
from vramguard.facts import WeightFile, WeightIndex
from vramguard.schema import ConfigError
from vramguard.source import MAX_BYTES, Document, ParseError, Unreadable, heads, read
from vramguard.units import plural
from vramguard.weights.results import File, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from io import FileIO

    from vramguard.source.heads import Head, StoredTensor

INDEX: Final = ".safetensors.index.json"
_SUFFIXES: Final = {".safetensors": "safetensors", ".gguf": "gguf"}
_SHOWN: Final = 10  # names in one line
# What torch, joblib, Lightning and their like write: a pickle, or a zip of one.
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
_FORMATS: Final = frozenset(
    {".h5", ".hdf5", ".keras", ".msgpack", ".npz", ".npy", ".onnx", ".onnx_data", ".ot", ".pb", ".tflite"}
    | {".pdparams", ".nemo", ".engine", ".plan", ".mar", ".distcp", ".ggml"}
)
# A trainer's own state beside its weights: transformers 5.23, trainer.py, TRAINING_ARGS_NAME and the lines below it,
# and its `_save_rng_state`.
_STATE: Final = re.compile(
    r"(?:training_args|optimizer)\.bin|(?:optimizer|scheduler|scaler)\.pt|rng_state(?:_\d+)?\.pth"
)
_PART: Final = re.compile(r"(?P<name>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.safetensors|\.gguf)", re.S)
_OPEN: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_BINARY", "O_CLOEXEC"))


class Piece(NamedTuple):
    """A tensor and where its bytes begin; `swapped` where the highest byte of a number comes first."""

    tensor: StoredTensor
    file: str
    begin: int
    swapped: bool = False


@dataclass
class Store:
    """Weights whose headers were read. `pieces` by the tensors' names, in the order in which the files hold them."""

    target: str
    folder: Path
    files: list[File] = field(default_factory=list)
    pieces: dict[str, Piece] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)  # files that were read, or of which it was said why not
    _repeated: dict[tuple[str, str], str] = field(default_factory=dict)  # two files, and a tensor that both hold

    def open(self, name: str) -> FileIO:
        """A regular file, to be read; a pipe or a device is never waited for. Raises `OSError`."""
        descriptor = os.open(self.folder / name, _OPEN)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "no regular file")
            return os.fdopen(descriptor, "rb", buffering=0)
        except BaseException:
            os.close(descriptor)
            raise

    def take(self, name: str) -> None:
        """Read one file's header and note its tensors; or say why that is not done. Once for each name."""
        if name in self._seen:
            return
        self._seen.add(name)
        found = _refusal(name) or _read(self, name)
        if isinstance(found, Problem):
            (self.notes if found.kind == "state" else self.problems).append(found)
            return
        file, pieces = found
        self.files.append(file)
        for piece in pieces:
            other = self.pieces.setdefault(piece.tensor.name, piece)
            if other is not piece:
                self._repeated.setdefault((other.file, name), piece.tensor.name)

    def miss(self, name: str, message: str) -> None:
        """Say that a file is not there; of a split model that may have been said."""
        if name not in self._seen:
            self._seen.add(name)
            self.problems.append(Problem("missing", message, name))

    def judge_repeated(self, indexes: Iterable[Iterable[str]]) -> None:
        """A tensor in two files of one index is a fault of theirs; else these are several models."""
        models = [set(files) for files in indexes]
        for (one, other), tensor in self._repeated.items():
            if not any({one, other} <= files for files in models):
                raise ConfigError(
                    f"`{one}` and `{other}` in `{self.folder}` both hold {tensor!r}: these are several models; "
                    "name one file, or one index"
                )
            self.problems.append(Problem("index", f"holds {tensor!r}, and so does {one}", other))


def find(target: Path) -> Store:
    """The weights at a path. Raises `ConfigError` where there is nothing that could be meant, or too much."""
    try:
        mode = target.stat().st_mode
    except (OSError, ValueError) as error:
        raise ConfigError(f"`{target}`: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(mode):
        return _folder(target)
    store = Store(str(target), target.parent)
    if target.name.endswith(INDEX):
        store.judge_repeated([_indexed(store, target.name)])
        return store
    store.take(target.name)
    part = _PART.fullmatch(target.name)
    if part and int(part["count"]) > 1:
        message = f"one of {int(part['count']):,} parts; the others were not read"
        store.notes.append(Problem("part", message, target.name))
    return store


def _folder(folder: Path) -> Store:
    """Every file of weights that lies in a folder; those in folders below are not its own."""
    store = Store(str(folder), folder)
    files, folders = _listed(folder)
    for name in files:
        if Path(name).suffix.lower() in _SUFFIXES or _refusal(name):
            store.take(name)
    _miss_parts(store, files)
    store.judge_repeated([_indexed(store, name) for name in files if name.endswith(INDEX)])
    below = [name for name in folders if _holds_weights(folder / name)]
    shown = ", ".join(below[:_SHOWN]) + (", ..." if len(below) > _SHOWN else "")
    if not store.files and not store.problems:
        raise ConfigError(f"`{folder}` holds no weights" + (f"; there are some in {shown}" if below else ""))
    if below:
        store.notes.append(Problem("folders", f"there are weights in {shown} too, which were not read"))
    return store


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders in a folder, without those that are hidden."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        raise ConfigError(f"`{folder}`: {error.strerror}") from error
    return sorted(files), sorted(folders)


def _holds_weights(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(Path(entry.name).suffix.lower() in {*_SUFFIXES, *_PICKLES} for entry in entries)
    except OSError:  # one that does not let us look
        return False


def _refusal(name: str) -> Problem | None:
    """Why a file is never opened, by its name."""
    suffix = Path(name).suffix.lower()
    if _STATE.fullmatch(name):
        return Problem("state", "a pickle of the trainer's own state by its name; not opened", name)
    if suffix in _PICKLES:
        return Problem("pickle", "not opened, so nothing vouches for what it holds", name)
    if suffix in _FORMATS:
        return Problem("format", f"a file of {suffix[1:]}: not read, so nothing vouches for what it holds", name)
    return None


def _miss_parts(store: Store, names: Iterable[str]) -> None:
    """Say which parts of a split model are not there, by the numbers in the others' names."""
    found: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        part = _PART.fullmatch(name)
        if part:
            numbers = found.setdefault((part["name"], part["count"], part["suffix"]), set())
            if 1 <= int(part["number"]) <= int(part["count"]):
                numbers.add(int(part["number"]))
    for (name, count, suffix), numbers in found.items():
        first = next(number for number in range(1, len(numbers) + 2) if number not in numbers)
        if first <= int(count):
            message = f"not there; {int(count) - len(numbers):,} of {int(count):,} parts are missing"
            store.miss(f"{name}-{first:05}-of-{count}{suffix}", message)


def _indexed(store: Store, index: str) -> Iterable[str]:
    """Read the files that an index names, and hold it against them; the names of these files."""
    wanted: dict[str, list[str]] = {}
    for tensor, file in (_index(store, index) or {}).items():
        wanted.setdefault(file, []).append(tensor)
    for file in sorted(wanted):
        if file.startswith("../") or file == ".." or os.path.isabs(file):  # noqa: PTH117 - a text, as the index has it
            store.problems.append(Problem("index", f"names {file!r}, which is outside of its folder; not read", index))
        elif not os.path.lexists(store.folder / file):
            store.miss(file, f"not there, and {index} names it for {plural(len(wanted[file]), 'tensor')}")
        else:
            store.take(file)
    _compare(store, index, wanted)
    return wanted


def _index(store: Store, index: str) -> Mapping[str, str] | None:
    try:
        with store.open(index) as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        store.problems.append(Problem("unreadable", error.strerror or str(error), index))
        return None
    document = read(index, data, kind="json")
    found = _fact(document)
    if isinstance(found, WeightIndex):
        return found.files
    pointer = isinstance(document, Document) and document.kind == "pointer"
    store.problems.append(Problem("pointer" if pointer else "unreadable", _why(found), index))
    return None


def _fact(document: Document | Unreadable) -> WeightFile | WeightIndex | Unreadable | None:
    """What a header or an index says; None where only a pointer is here."""
    if isinstance(document, Unreadable):
        return document
    return None if document.kind == "pointer" else next(iter(headers.extract(document)))


def _why(found: object) -> str:
    return found.reason if isinstance(found, Unreadable) else "only a pointer to it is here; fetch the file"


def _compare(store: Store, index: str, wanted: Mapping[str, list[str]]) -> None:
    """What the index says of the files that were read, against what they hold."""
    held: dict[str, set[str]] = {file.path: set() for file in store.files}
    for name, piece in store.pieces.items():
        held[piece.file].add(name)
    for file, tensors in wanted.items():
        names = held.get(file)
        if names is None:
            continue
        absent = [name for name in tensors if name not in names]
        if absent:
            store.problems.append(
                Problem("missing", f"does not hold {_some(absent)}, which {index} places there", file)
            )
        more = sorted(names.difference(tensors))
        if more:
            store.notes.append(Problem("index", f"holds {_some(more)}, which {index} does not name", file))


def _some(names: list[str]) -> str:
    """`tensor 'a'`, `3 tensors such as 'a'`."""
    return f"tensor {names[0]!r}" if len(names) == 1 else f"{len(names):,} tensors such as {names[0]!r}"


def _read(store: Store, name: str) -> tuple[File, list[Piece]] | Problem:
    try:
        with store.open(name) as stream:
            size = os.fstat(stream.fileno()).st_size
            head = heads.take(stream, size)
    except OSError as error:
        return Problem("unreadable", error.strerror or str(error), name)
    kind = _SUFFIXES.get(Path(name).suffix.lower()) or (
        "gguf" if head.data.startswith(heads.GGUF_MAGIC) else "safetensors"
    )
    document = heads.read_head(name, head, kind)
    found = _fact(document)
    if not isinstance(found, WeightFile) or not isinstance(document, Document):
        pointer = isinstance(document, Document) and document.kind == "pointer"
        return Problem("pointer" if pointer else "unreadable", _why(found), name)
    try:
        pieces = _pieces(document, found, head, name)
    except ParseError as error:
        return Problem("unreadable", str(error), name)
    return File(name, kind, size, len(pieces)), pieces


def _pieces(document: Document, found: WeightFile, head: Head, name: str) -> list[Piece]:
    """The tensors of a file whose header has been found good, in the order of their bytes."""
    if document.kind == "gguf":
        start = head.size - document.value.data
        swapped = not int.from_bytes(head.data[4:6], "little")  # of the version, a small number
        offsets = [start + tensor.offset for tensor in document.value.tensors]
    else:
        start = heads.LENGTH_BYTES + int.from_bytes(head.data[: heads.LENGTH_BYTES], "little")
        swapped = False
        # The reader has judged these offsets, and does not hand them on.
        entries = json.loads(head.data[heads.LENGTH_BYTES : start])
        offsets = [start + entries[tensor.name]["data_offsets"][0] for tensor in found.tensors]
    pieces = [Piece(tensor, name, begin, swapped) for tensor, begin in zip(found.tensors, offsets, strict=True)]
    return sorted(pieces, key=lambda piece: piece.begin)
