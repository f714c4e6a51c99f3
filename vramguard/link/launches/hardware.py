"""What a place asks for, in the words of the catalogue of cards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard import data
from vramguard.facts import Unknown
from vramguard.link.launches.values import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Hardware
    from vramguard.source import Location

_COUNTED: Final = re.compile(r"(.+?)\s*[:x*]\s*([0-9]{1,4})")
_COUNTED_FIRST: Final = re.compile(r"([0-9]{1,2})\s*[x*]\s*(.+)")
# What labels and tools set around a card's name: GPU feature discovery's -SHARED, KubeAI's profiles, cloud prefixes.
_BEFORE: Final = (
    "nvidia-gpu-",
    "nvidia.com/gpu-",
    "gpu-",
    "nvidia-",
    "amd-gpu-",
    "nvidia.com/",
    "gpu_",
    "accelerator-",
)
_AFTER: Final = re.compile(r"[-_ ](?:shared|gpus?|vws|mps|spot|us-central1|us-east4)$", re.IGNORECASE)
_MIG: Final = re.compile(r"(?:mig-)?([0-9]g\.[0-9]{1,3}gb(?:\.me|\+me)?)", re.IGNORECASE)
_OTHER: Final = (
    (re.compile(r"\b(?:google\.com/)?tpu\b|\btpu[-_]?v[0-9]|^v[2-7][ep]?(?:-|$)|^ct[456]", re.IGNORECASE), "tpu"),
    (re.compile(r"neuron|inferentia|trainium|^(?:ml\.)?(?:inf[12]|trn[12])", re.IGNORECASE), "neuron"),
    (re.compile(r"gaudi|habana|^hl-?[0-9]|^(?:ml\.)?dl[12]", re.IGNORECASE), "gaudi"),
    (re.compile(r"^cpu(?:[-_:]|$)", re.IGNORECASE), "cpu"),
)


_LONGEST: Final = 200  # characters of a name; what is longer names no card


class Cards(NamedTuple):
    """Cards of a deployment: `gpus` of all its machines together."""

    gpu: str | Unknown | None
    gpus: int | Unknown | None
    nodes: int | Unknown | None
    accelerator: str | None
    share: str | None
    places: Mapping[str, Location]


def cards(hardware: Hardware) -> Cards:
    """The catalogue's words for what is asked for. A card that it does not know stays as written."""
    gpu, count, accelerator = _named(hardware.gpu)
    accelerator = hardware.accelerator or accelerator
    gpus = hardware.gpus if hardware.gpus is not None else count
    places = dict(hardware.places)
    if hardware.gpus is None and count is not None and "gpu" in places:
        places.setdefault("gpus", places["gpu"])
    if accelerator is not None:
        return Cards(None, None, hardware.nodes, accelerator, None, places)
    return Cards(gpu, gpus, hardware.nodes, None, hardware.share or _shared(hardware.gpu), places)


def _shared(gpu: str | Unknown | None) -> str | None:
    return "time-sliced" if isinstance(gpu, str) and gpu.lower().endswith("-shared") else None


def _named(gpu: str | Unknown | None) -> tuple[str | Unknown | None, int | None, str | None]:
    """A card, how many of it a text names, and what it is where it is no GPU."""
    if not isinstance(gpu, str):
        return gpu, None, None
    text = gpu.strip()
    if PLACEHOLDER.fullmatch(text):
        return Unknown(text), None, None
    if len(text) > _LONGEST:
        return gpu, None, None
    kind = next((kind for pattern, kind in _OTHER if pattern.search(text)), None)
    if kind is not None:
        return None, None, kind
    count = None
    if data.gpu(text) is None and data.instance(text) is None:
        text, count = _counted(text)
    machine = data.instance(text)
    if machine is not None:
        return machine.gpu, count or machine.gpus, None
    return named(text) or gpu, count, None


def _counted(text: str) -> tuple[str, int | None]:
    """A text without the number that stands beside the name: `H100:8`, `8x H100`."""
    after, before = _COUNTED.fullmatch(text), _COUNTED_FIRST.fullmatch(text)
    if after is not None and named(after[1]) is not None:
        return after[1], int(after[2])
    if before is not None and named(before[2]) is not None:
        return before[2], int(before[1])
    return text, None


def named(text: str) -> str | None:
    """The catalogue's name of a card that a label or a tool spells; None where it knows none like it."""
    tried = text.strip()
    for _ in range(3):  # a suffix, a prefix, and what is left
        found = data.gpu(tried) or data.gpu(tried.replace(":", "-"))
        if found is not None:
            return found.name
        shorter = _AFTER.sub("", tried)
        if shorter == tried:
            prefix = next((each for each in _BEFORE if tried.lower().startswith(each)), "")
            shorter = tried[len(prefix) :]
        if shorter == tried:
            break
        tried = shorter
    mig = _MIG.fullmatch(tried.removeprefix("nvidia.com/"))
    slice_ = data.gpu(f"mig-{mig[1]}") if mig is not None else None
    return slice_.name if slice_ is not None else None
