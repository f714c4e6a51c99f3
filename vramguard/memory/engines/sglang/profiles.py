"""What SGLang decides by itself, version by version: its fraction of the card, its chunk, its graphs.

Five versions were read. One between two of them is taken to be either, one that nobody states to be any: of several
values the bounds are made of the largest and the smallest. SGLang measures a card in MiB of nvidia-smi's total, which
is more than CUDA reports, by up to 4 % (a T4: 15360 MiB of 14.56 GiB); every value is worked out at both ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MIB: Final = 1 << 20
_SMI: Final = Fraction(104, 100)  # of CUDA's total, at most what nvidia-smi reports (see above)
_LARGEST_PREFILL_GRAPH_MLA: Final = 8192


class Card(NamedTuple):
    """What the defaults depend on. `mib` is the card's memory as nvidia-smi tells it."""

    mib: int
    tensor_parallel: int = 1
    stages: int = 1
    latent: bool = False  # multi-head latent attention


class Asked(NamedTuple):
    """What a deployment says of it, None where it says nothing."""

    chunk: int | None = None  # --chunked-prefill-size
    requests: int | None = None  # --max-running-requests
    eager: bool = False  # --disable-cuda-graph


class Defaults(NamedTuple):
    """What SGLang makes of it."""

    fraction: Fraction  # --mem-fraction-static, before the correction for a vision model
    chunk: int  # tokens that one prefill pass reads at most
    graphs: tuple[int, ...]  # sequences of each captured decode step
    prefill_graphs: int  # how many prefill passes are captured


@dataclass(frozen=True, slots=True)
class Profile:
    """One version of SGLang, where it differs from the others."""

    version: tuple[int, ...]
    rule: str  # which of the rules below gives the fraction
    tiers: tuple[tuple[int, int, int, int], ...]  # card below so many MiB: chunk, largest graph, the same at tp >= 4
    beyond: tuple[int, int, int]  # of a larger card
    prefill_graphs: bool = False  # captures prefill passes too, unless told not to
    shared_logits: bool = True  # all decode graphs write their logits into one buffer
    clamps_requests: bool = False  # --max-running-requests counts only up to what the pool is good for
    source: str = ""

    @property
    def name(self) -> str:
        """As pip writes it."""
        return ".".join(map(str, self.version[:3])) + "".join(f".post{n}" for n in self.version[3:])


_TIERS_055: Final = (
    (20 * 1024, 2048, 8, 8), (35 * 1024, 2048, 24, 80), (60 * 1024, 4096, 32, 160), (160 * 1024, 8192, 256, 512),
)  # fmt: skip
_ARGS: Final = "SGLang {}, srt/server_args.py, {}; srt/model_executor/cuda_graph_runner.py"

PROFILES: Final = (
    Profile(
        version=(0, 4, 6, 5),
        rule="steps",
        tiers=((25_000, 2048, 8, 80), (96 * 1024 + 1, 8192, 160, 160)),
        beyond=(8192, 256, 256),
        shared_logits=False,
        source=_ARGS.format("0.4.6.post5", "__post_init__") + ", get_batch_sizes_to_capture",
    ),
    Profile(
        version=(0, 4, 10),
        rule="reserves",
        tiers=((35 * 1024, 2048, 8, 80), (90 * 1024 + 1, 8192, 160, 160), (160_001, 8192, 256, 256)),
        beyond=(16384, 512, 512),
        shared_logits=False,
        source=_ARGS.format("0.4.10", "__post_init__") + ", get_batch_sizes_to_capture",
    ),
    Profile(
        version=(0, 5, 5),
        rule="sums",
        tiers=_TIERS_055,
        beyond=(16384, 512, 512),
        source=_ARGS.format("0.5.5", "_handle_gpu_memory_settings"),
    ),
    Profile(
        version=(0, 5, 10),
        rule="sums",
        tiers=_TIERS_055,
        beyond=(16384, 512, 512),
        prefill_graphs=True,
        clamps_requests=True,
        source=_ARGS.format("0.5.10", "_handle_gpu_memory_settings"),
    ),
    Profile(
        version=(0, 5, 23),
        rule="sums",
        tiers=(_TIERS_055[0], (35 * 1024, 4096, 48, 160), *_TIERS_055[2:]),
        beyond=(16384, 512, 512),
        prefill_graphs=True,
        clamps_requests=True,
        source="SGLang 0.5.23, srt/arg_groups/memory_hook.py, handle_gpu_memory_settings",
    ),
)


def profiles(version: str | None) -> tuple[Profile, ...]:
    """The version's own, the two beside it, or all; raises UnprovenError for one outside what was read."""
    if version is None:
        return PROFILES
    wanted = _numbers(version)
    below = [profile for profile in PROFILES if profile.version <= wanted]
    above = [profile for profile in PROFILES if profile.version >= wanted]
    if not below or not above:
        raise UnprovenError(f"sglang {version} was not read, {PROFILES[0].name} to {PROFILES[-1].name} are supported")
    return tuple(dict.fromkeys((below[-1], above[0])))


def _numbers(version: str) -> tuple[int, ...]:
    plain = version.removeprefix("v").replace(".post", ".").replace("rc", ".-").partition("+")[0]
    try:
        return tuple(int(part) for part in plain.replace("..", ".").split("."))
    except ValueError:
        raise UnprovenError(f"sglang {version} is no version that is known") from None


def cards(capacity_bytes: int, tensor_parallel: int, stages: int, *, latent: bool) -> tuple[Card, Card]:
    """The card as SGLang may see it: with the memory that CUDA reports, and with the most that nvidia-smi adds."""
    least = capacity_bytes // _MIB
    return Card(least, tensor_parallel, stages, latent), Card(int(least * _SMI), tensor_parallel, stages, latent)


def defaults(profile: Profile, card: Card, asked: Asked) -> Defaults:
    """What this version decides for a card."""
    chunk, few, many = next((tier[1:] for tier in profile.tiers if card.mib < tier[0]), profile.beyond)
    largest = few if card.tensor_parallel < 4 else many  # noqa: PLR2004 - as each version has it
    chunk = asked.chunk or chunk
    if profile.version >= (0, 5, 23) and asked.requests is not None:
        largest = min(largest, asked.requests)
    graphs = () if asked.eager else tuple(_captured(profile, largest))
    if graphs and asked.requests is not None and asked.requests < graphs[-1]:
        graphs = (*(size for size in graphs if size < asked.requests), asked.requests)
    most = chunk if not card.latent else min(_LARGEST_PREFILL_GRAPH_MLA, chunk)
    prefill = _prefill_captured(most) if profile.prefill_graphs else 0
    return Defaults(_FRACTION[profile.rule](card, chunk, largest, prefill), chunk, graphs, prefill)


def _captured(profile: Profile, largest: int) -> Iterator[int]:
    """Sizes of the decode graphs, ascending."""
    if profile.version < (0, 5):
        sizes = {1, 2, 4, 8, *range(16, 161, 8), *range(160, 257, 8), *range(256, 513, 16)}
    else:
        sizes = {1, 2, 4, 8, 12, *range(16, 257, 8), *range(272, 512, 16), *range(512, largest + 1, 32)}
    yield from sorted(size for size in {*sizes, largest} if size <= largest)


def _prefill_captured(most: int) -> int:
    """Number of prefill graphs: one for each of these sizes, in tokens, up to `most`."""
    ranges = (
        range(4, 33, 4), range(48, 257, 16), range(288, 513, 32), range(576, 1025, 64), range(1280, 4097, 256),
        range(4608, most + 1, 512),
    )  # fmt: skip
    return sum(max(0, (min(sizes.stop, most + 1) - sizes.start + sizes.step - 1) // sizes.step) for sizes in ranges)


def _steps(card: Card, _chunk: int, _graph: int, _prefill: int) -> Fraction:
    """0.4.6.post5: a table."""
    ranks = card.tensor_parallel * card.stages
    table = ((16, 79), (8, 81), (4, 85), (2, 87))
    small = card.mib <= 81_920  # noqa: PLR2004
    share = next((Fraction(percent, 100) for least, percent in table if small and ranks >= least), Fraction(88, 100))
    if card.mib > 96 * 1024:
        raised = share + 48 * 1024 * (1 - share) / card.mib
        share = min(raised, Fraction(card.mib - 18 * 1024, card.mib))
    return share


def _reserves(card: Card, _chunk: int, _graph: int, _prefill: int) -> Fraction:
    """0.4.10: what is left after a reserve for cards of that size."""
    ranks = card.tensor_parallel * card.stages
    table = (
        (35 * 1024, Fraction(28, 10) + Fraction(ranks, 10)),
        (90 * 1024, Fraction(95, 10) + Fraction(ranks, 2)),
        (160 * 1024, 12 + Fraction(ranks, 2)),
    )
    reserve = next((gib for below, gib in table if card.mib < below), Fraction(32))
    return _without(reserve * 1024, card)


def _sums(card: Card, chunk: int, graph: int, prefill: int) -> Fraction:
    """Since 0.5.5: the reserve is summed up from chunk, graphs and ranks."""
    reserve = 512 + max(chunk, 2048) * Fraction(3, 2) + graph * 2 + card.tensor_parallel * card.stages * 128
    if prefill:
        reserve += 1536 if card.latent else prefill * 8
    if card.mib > 60 * 1024:
        reserve = max(reserve, Fraction(10 * 1024))
    return _without(Fraction(reserve), card)


def _without(reserve: Fraction, card: Card) -> Fraction:
    """What is left, in thousandths, rounded as SGLang rounds it: in floating point, where halves go either way."""
    reserve = min(reserve, Fraction(2 * card.mib))  # what is above the card leaves nothing in any case
    return Fraction(round((card.mib - float(reserve)) / card.mib, 3)).limit_denominator(1000)


_FRACTION: Final = {"steps": _steps, "reserves": _reserves, "sums": _sums}


def thousandths(share: Fraction) -> str:
    """Three places, rounded up."""
    return f"{-(-share.numerator * 1000 // share.denominator) / 1000:.3f}"


@cache
def _classes() -> Mapping[str, tuple[int, ...]]:
    """The first version read that has each class."""
    table = json.loads((files(__package__) / "classes.json").read_text(encoding="utf-8"))
    since = {name: _numbers(version) for version, names in table["since"].items() for name in names}
    return since | {name: _numbers(version) for name, version in table["renamed"].items()}


def implemented(name: str, read: tuple[Profile, ...]) -> bool:
    """Whether each of these versions has a class of its own for the network."""
    since = _classes().get(name)
    return since is not None and all(since <= profile.version for profile in read)
