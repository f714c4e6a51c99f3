"""What an image says: the engine inside, its version, and hardware that is no GPU."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.launches.tables import Image, images

if TYPE_CHECKING:
    from vramguard.facts import Word

# Tags of variants that are for no GPU: vllm/vllm-openai:v0.11.0-cpu, text-generation-inference:3.3.5-intel-cpu.
_OTHER: Final = (
    (re.compile(r"(?:^|[-_.])(?:neuronx?|inferentia2?|trainium)(?:[-_.0-9]|$)", re.IGNORECASE), "neuron"),
    (re.compile(r"(?:^|[-_.])(?:gaudi[23]?|hpu)(?:[-_.]|$)", re.IGNORECASE), "gaudi"),
    (re.compile(r"(?:^|[-_.])tpu(?:[-_.]|$)", re.IGNORECASE), "tpu"),
    (re.compile(r"(?:^|[-_.])cpu(?:[-_.]|$)", re.IGNORECASE), "cpu"),
)
_VENDORS: Final = (
    (re.compile(r"(?:^|[-_./:])rocm", re.IGNORECASE), "AMD"),
    (re.compile(r"[-_.:](?:xpu|sycl|intel)(?:[-_.]|$)", re.IGNORECASE), "Intel"),
)
_NIM: Final = re.compile(r"(?:^|/)nvcr\.io/nim/([\w.-]+/[\w.-]+)|^nim/([\w.-]+/[\w.-]+)")
_ANY_MODEL: Final = ("nvidia/llm-nim", "nvidia/vllm-nim", "nvidia/sglang-nim")
_RELEASE: Final = re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+)?")
# Images of llama.cpp without a word for a GPU are for the CPU (ggml-org/llama.cpp, docs/docker.md).
_LLAMA_GPU: Final = ("cuda", "rocm", "musa", "intel", "vulkan", "sycl")


class Found(NamedTuple):
    """What is known of an image."""

    engine: str | None
    serves: bool
    version: str | None
    accelerator: str | None
    model: str | None = None  # of an image that is made for one
    vendor: str | None = None  # of cards that are not NVIDIA's


def found(image: Word | None) -> Found:
    """What an image's name and tag say."""
    if image is None:
        return Found(None, serves=False, version=None, accelerator=None)
    name, tag = parts(image.text)
    nim = _NIM.search(name)
    if nim is not None:
        release = _RELEASE.match(tag) if image.known else None
        made_for = nim[1] or nim[2]
        model = None if made_for in _ANY_MODEL else made_for
        return Found("nim", serves=True, version=release[0] if release else None, accelerator=None, model=model)
    row = _row(name)
    other = next(
        (kind for pattern, kind in _OTHER if pattern.search(tag) or pattern.search(name.rpartition("/")[2])), None
    )
    if row is None:
        return Found(None, serves=False, version=None, accelerator=other)
    version = _version(row, name, tag) if image.known else None
    kind = row.accelerator or other
    if row.engine == "llama.cpp" and image.known and not any(word in tag for word in _LLAMA_GPU):
        kind = kind or "cpu"
    serves = row.serves and not (row.engine == "llama.cpp" and tag.startswith(("full", "light")))
    vendor = next((vendor for pattern, vendor in _VENDORS if pattern.search(f"{name}:{tag}")), None)
    return Found(row.engine, serves, version, kind, vendor=vendor)


def parts(text: str) -> tuple[str, str]:
    """Name and tag of an image's reference, its digest left out."""
    plain = text.strip().removeprefix("docker://").partition("@")[0]
    head, slash, last = plain.rpartition("/")
    name, _, tag = last.partition(":")
    return head + slash + name, tag


def _version(row: Image, name: str, tag: str) -> str | None:
    """The engine's version, of the tag; of images that are named after it, of the name."""
    if row.tag is None:
        return None
    match = row.tag.search(tag) or (row.tag.search(name) if row.names[0].endswith("*") else None)
    return None if match is None else ".".join(part for part in match.groups() if part)


def _row(name: str) -> Image | None:
    """The row whose name the image's ends with, the longest of several."""
    fitting = ((len(ending), row) for row in images() for ending in row.names if _ends(name, ending))
    return max(fitting, key=lambda each: each[0], default=(0, None))[1]


def _ends(name: str, ending: str) -> bool:
    if ending.endswith("*"):
        return name.rpartition("/")[2].startswith(ending[:-1])
    return name == ending or name.endswith(("/" + ending, "/" + ending.replace("/", "-")))
