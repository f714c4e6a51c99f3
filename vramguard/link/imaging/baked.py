"""Weights that are made part of an image: fetched by a RUN of it, or copied from the repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final

from vramguard import data
from vramguard.facts import Deployment, LockedModel, WeightFile
from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import architecture
from vramguard.shell import commands
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.facts import Facts, Word
    from vramguard.facts.imaging import Copied
    from vramguard.link.imaging.recipes import Last
    from vramguard.shell import Command

_FETCHES: Final = re.compile(
    r"snapshot_download|huggingface-cli|\bhf\s+download|git\s+lfs|huggingface\.co|ollama|hf_hub_download|\.safetensors|\.gguf"
)
_CALL: Final = re.compile(r"(?:snapshot_download|hf_hub_download)\(\s*(?:repo_id\s*=\s*)?[\"']([\w./-]+)[\"']")
_HUB: Final = re.compile(r"https?://(?:www\.)?huggingface\.co/(?!datasets/|spaces/)([\w.-]+/[\w.-]+)")
_FILE: Final = re.compile(r"https?://\S+\.(?:safetensors|gguf)(?:$|\?)")
_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
# Models of which even the largest are some hundred megabytes, and files that are no weights.
_SMALL: Final = re.compile(
    r"sentence-transformers/|MiniLM|(?:^|[-_/])(?:tiny|mini|small|base|nano|micro|tokenizer)(?:[-_.]|$)|bge-(?:small|base)|e5-(?:small|base)|"
    r"distil|opt-125m|gpt2$|(?:^|[-_])\d{2,3}m(?:[-_]|$)",
    re.IGNORECASE,
)
_LOADED: Final = re.compile(r"[\w.-]+(?:/[\w.-]+)+\.(?:gguf|safetensors)")  # beside the program, by a relative path
_BYTES: Final = {"bfloat16": 2, "float16": 2, "float32": 4}
_PARTIAL: Final = ("--include", "--exclude", "allow_patterns", "ignore_patterns")


@dataclass(frozen=True)
class Baked:
    """Weights in an image. `bytes`: what they are at least; None where nothing here says it."""

    at: Location
    what: str
    bytes: int | None = None


def baked(facts: Facts, last: Last) -> Iterator[Baked]:
    """All weights that the last stage gets."""
    for stage in last.lineage:
        for script in stage.runs:
            if _FETCHES.search(script.text):
                yield from _fetched(facts, script)
    yield from _copied(facts, last)


def _fetched(facts: Facts, script: Word) -> Iterator[Baked]:
    cleaned = "rm -rf" in script.text and "snapshot_download" not in script.text
    for command in commands(script):
        found = _by_command(command)
        if found and not _SMALL.search(found) and not cleaned:
            at = command.words[0].at
            yield Baked(at, found, _size(facts, found))


def _by_command(command: Command) -> str:
    """The model that a command fetches; empty for none, and for one that takes single files."""
    words = [word.text for word in command.words]
    name = words[0].rpartition("/")[2] if words else ""
    read = _PROGRAMS.get("python" if name.startswith("python") else name)
    return read(words[1:]) if read else ""


def _by_hub(rest: list[str]) -> str:
    if rest[:1] != ["download"] or {*rest} & {*_PARTIAL, "--repo-type"}:
        return ""
    named = [word for word in rest[1:] if not word.startswith("-")]
    single = [word for word in named[1:2] if "." in word and "/" not in word]
    whole = not single or single[0].endswith((".safetensors", ".gguf"))
    return named[0] if named and whole else ""


def _by_git(rest: list[str]) -> str:
    if rest[:2] == ["lfs", "pull"]:
        return "what git lfs holds"
    match = _HUB.search(" ".join(rest)) if "clone" in rest else None
    return match[1].removesuffix(".git") if match else ""


def _by_url(rest: list[str]) -> str:
    return next((word.rpartition("/")[2].partition("?")[0] for word in rest if _FILE.match(word)), "")


def _by_python(rest: list[str]) -> str:
    text = " ".join(rest)
    match = _CALL.search(text) if "-c" in rest else None
    return match[1] if match and not any(word in text for word in _PARTIAL) else ""


def _by_ollama(rest: list[str]) -> str:
    return rest[1] if rest[:1] == ["pull"] and len(rest) > 1 else ""


_PROGRAMS: Final[Mapping[str, Callable[[list[str]], str]]] = {
    "huggingface-cli": _by_hub,
    "hf": _by_hub,
    "git": _by_git,
    "wget": _by_url,
    "curl": _by_url,
    "aria2c": _by_url,
    "python": _by_python,
    "ollama": _by_ollama,
}


def _size(facts: Facts, model: str) -> int | None:
    """Bytes of a model's weights: by the lock, or by the catalogue's config in the type that it names."""
    locked = next((one.total_size for one in facts.of(LockedModel) if one.model == model and one.total_size), None)
    known = data.model(model) if locked is None and _ID.fullmatch(model) else None
    if known is None or "quantization_config" in known.config:
        return locked
    wide = _BYTES.get(str(known.config.get("torch_dtype") or known.config.get("dtype")))
    try:
        tensors = architecture(dict(known.config)).tensors if wide else ()
    except UnprovenError:
        return None
    return sum(prod(one.shape) * one.copies for one in tensors) * (wide or 0) or None


def _copied(facts: Facts, last: Last) -> Iterator[Baked]:
    """Files of weights of the repository itself that a COPY takes along, where their headers say how large they are."""
    weights = [one for one in facts.of(WeightFile) if one.bytes]
    loaded = _loaded(facts)
    folder = last.path.rpartition("/")[0]
    for stage in last.lineage if weights or loaded else ():
        for copy in stage.copies:
            if copy.stage:
                continue
            inside = [one for one in weights if any(_within(one.at.path, folder, path) for path in copy.sources)]
            if inside:
                yield Baked(copy.at, inside[0].at.path, sum(one.bytes for one in inside))
            elif (path := next((path for path in loaded if _named(copy, path)), "")) and copy.target:
                yield Baked(copy.at, path)


def _loaded(facts: Facts) -> list[str]:
    """Files of weights that programs of the repository load, and that are put beside them before an image is built."""
    found = [one.model for one in facts.of(Deployment) if not one.declared and isinstance(one.model, str)]
    plain = [model.replace("\\", "/").removeprefix("./") for model in found]
    return sorted({path for path in plain if _LOADED.fullmatch(path) and not _SMALL.search(path)} - facts.paths)


def _named(copy: Copied, path: str) -> bool:
    """Whether a COPY names the folder of a file, or the file: one of all that there is says nothing of weights."""
    sources = [source.removeprefix("./").strip("/").rstrip("*").rstrip("/") for source in copy.sources]
    return any(source and source != "." and (path == source or path.startswith(f"{source}/")) for source in sources)


def _within(path: str, folder: str, source: str) -> bool:
    """Whether a COPY's source, from the Dockerfile's folder or from the root, takes a file along."""
    plain = source.removeprefix("./").strip("/").rstrip("*").rstrip("/")
    roots = (plain, f"{folder}/{plain}".strip("/"))
    return any(root in ("", ".", path) or path.startswith(root + "/") for root in roots)
