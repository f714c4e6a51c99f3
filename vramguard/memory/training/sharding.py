"""Training on several cards: what each of them holds where weights, gradients and states are replicated or divided.

Written from the code of PyTorch 2.13 (DistributedDataParallel, fully sharded data parallel) and DeepSpeed 0.19.6
(runtime/zero: stage_1_and_2.py, stage3.py, config.py); no run on several cards stands behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.ledger import Term, bound, exact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.training.optimizers import Optimizer
    from vramguard.memory.verdict import Workload

_DDP: Final = "PyTorch 2.13, torch/csrc/distributed/c10d/reducer.cpp (initialize_buckets)"
_ZERO: Final = "DeepSpeed 0.19.6, runtime/zero/stage_1_and_2.py"
_ZERO_3: Final = "DeepSpeed 0.19.6, runtime/zero/stage3.py, partitioned_param_coordinator.py"
_FSDP: Final = "PyTorch 2.13, torch/distributed/fsdp; accelerate 1.15.0, utils/fsdp_utils.py"
BUCKET: Final = 500_000_000  # elements: reduce_bucket_size of DeepSpeed's config
LIVE: Final = 1_000_000_000  # elements: stage3_max_live_parameters
PREFETCH: Final = 50_000_000  # elements: stage3_prefetch_bucket_size
ALIGNED: Final = 4096  # elements by which partitions are padded, of all groups together
_FSDP_WORDS: Final = frozenset({"full_shard", "shard_grad_op", "auto_wrap"})


@dataclass(frozen=True, slots=True)
class Sizes:
    """Elements of what is divided: all weights, those that are trained, the largest of them, and of units of FSDP."""

    weights: int
    trained: int
    largest: int
    root: int  # outside of the layers
    layer: int  # the largest layer

    @property
    def inputs(self) -> dict[str, int]:
        """Under the names that formulas use."""
        return {"weights": self.weights, "trained": self.trained, "largest": self.largest}


@dataclass(frozen=True, slots=True)
class Sharding:
    """How `ranks` cards share the work: ddp, zero (of a stage) or fsdp; alone for one card."""

    kind: str
    ranks: int
    stage: int = 0
    words: frozenset[str] = frozenset()

    @property
    def divides(self) -> bool:
        """Whether anything is divided, so that the rows of single weights do not hold."""
        return self.kind in ("zero", "fsdp")

    def rows(self, sizes: Sizes, optimizer: Optimizer, half: bool) -> Iterator[Term]:  # noqa: FBT001 - private
        """Rows of weights, gradients and states of one card, where they are divided."""
        if optimizer.kind not in ("own", "float32"):
            raise UnprovenError(f"{self.kind} with an optimizer whose states are {optimizer.kind} is not known")
        yield from self._zero(sizes, optimizer, half) if self.kind == "zero" else self._fsdp(sizes, optimizer, half)

    def _zero(self, sizes: Sizes, optimizer: Optimizer, half: bool) -> Iterator[Term]:  # noqa: FBT001
        width = 2 if half else 4
        common = {**sizes.inputs, "ranks": self.ranks, "padding": ALIGNED, "bytes": width}
        part, source = "ceil_div(trained + padding, ranks)", _ZERO if self.stage < 3 else _ZERO_3  # noqa: PLR2004
        if self.stage == 3:  # noqa: PLR2004
            whole = "ceil_div(weights + padding, ranks)"
            yield exact("weights/partition", f"{whole} * bytes", _only(common, "weights", "ranks", "padding", "bytes"))
            gathered = {**_only(common, "weights", "largest", "bytes"), "live": LIVE, "prefetch": PREFETCH}
            formula = "min(weights, live + prefetch + largest) * bytes"
            yield bound("weights/gathered", formula, gathered, lower="largest * bytes", source=source)
        else:
            yield exact("weights/replica", "weights * bytes", _only(common, "weights", "bytes"))
        names = ("trained", "ranks", "padding")
        if half:
            yield exact("optimizer/master_weights", f"{part} * 4", _only(common, *names), source)
        states = {**_only(common, *names), "states": optimizer.states}
        yield exact("optimizer/states", f"states * {part} * 4", states, source)
        # A step holds its part in float32 beside the averaged gradients and their flat copy.
        kept = "trained * bytes" if self.stage == 1 else f"{part} * bytes"
        inputs = _only(common, "trained", "ranks", "padding", "bytes")
        yield bound(
            "gradients/partition", f"{kept} + {part} * (2 * bytes + 4)", inputs, lower=f"{part} * bytes", source=source
        )
        buckets = {"bucket": BUCKET, **_only(common, "trained", "largest", "bytes")}
        formula = "(2 * min(bucket, trained) + 2 * largest) * bytes"
        yield bound("gradients/reduce_buckets", formula, buckets, source=source)

    def _fsdp(self, sizes: Sizes, optimizer: Optimizer, half: bool) -> Iterator[Term]:  # noqa: FBT001
        """Weights, gradients and states in float32, each card its part; layers gathered in the dtype of computation."""
        wraps, width = "auto_wrap" in self.words, 2 if half else 4
        common = {**sizes.inputs, "ranks": self.ranks, "padding": ALIGNED}
        yield exact(
            "weights/shard", "ceil_div(weights + padding, ranks) * 4", _only(common, "weights", "ranks", "padding")
        )
        keeps = not wraps or "shard_grad_op" in self.words
        gathered = {"weights": sizes.weights, "root": sizes.root, "layer": sizes.layer, "bytes": width}
        formula = "weights * bytes" if keeps else "min(weights, root + 3 * layer) * bytes"
        lower = "min(weights, layer) * bytes"
        yield bound("weights/gathered", formula, gathered, lower=lower, source=_FSDP)
        part = "ceil_div(trained + padding, ranks) * 4"
        yield exact("gradients/shard", part, _only(common, "trained", "ranks", "padding"), _FSDP)
        whole = "weights" if not wraps else "min(weights, root + 2 * layer)"
        yield bound("gradients/unsharded", f"{whole} * (bytes + 4)", gathered, source=_FSDP)
        states = {**_only(common, "trained", "ranks", "padding"), "states": optimizer.states}
        yield exact("optimizer/states", f"states * {part}", states, _FSDP)


def buckets(gradient_bytes: int) -> Term:
    """What DistributedDataParallel reduces gradients in: as many bytes again."""
    return bound("gradients/reduce_buckets", "gradients", {"gradients": gradient_bytes}, source=_DDP)


def sharding(workload: Workload) -> Sharding:
    """How a workload says that its cards share the work; raises UnprovenError for what is not known."""
    ranks, fsdp, stage = workload.gpus or 1, _words(workload.fsdp), workload.zero_stage or 0
    if fsdp and stage:
        raise UnprovenError("zero_stage and fsdp are both stated: transformers takes one of them")
    if stage > 3:  # noqa: PLR2004 - ZeRO has three
        raise UnprovenError(f"zero_stage {stage} is none: 0, 1, 2 and 3 are")
    if stage:
        return Sharding("zero", ranks, stage)
    if fsdp:
        unknown = fsdp - _FSDP_WORDS
        if unknown:
            raise UnprovenError(
                f"fsdp {' '.join(sorted(unknown))} is not supported: {', '.join(sorted(_FSDP_WORDS))} are"
            )
        return Sharding("fsdp", ranks, words=fsdp)
    return Sharding("ddp" if ranks > 1 else "alone", ranks)


def _words(fsdp: str | None) -> frozenset[str]:
    """The words of `fsdp`; True alone is a full shard whose layers are units of their own (accelerate's default)."""
    words = frozenset((fsdp or "").replace(",", " ").lower().split())
    return frozenset({"full_shard", "auto_wrap"}) if words == {"true"} else words - {"false"}


def assumptions(how: Sharding) -> Iterator[str]:
    """What is supposed of the cards and of a configuration that is not read."""
    if how.kind == "ddp":
        yield f"{how.ranks} GPUs: a process for each (torchrun, accelerate), DistributedDataParallel between them"
    if how.kind == "zero":
        yield f"zero_stage {how.stage} over {how.ranks} cards as DeepSpeed 0.19.6 does it, nothing offloaded"
        yield f"DeepSpeed's buckets are no larger than by default ({BUCKET:,} elements), gradients in the model's dtype"
    if how.kind == "fsdp":
        yield f"fsdp over {how.ranks} cards as accelerate 1.15.0 sets it up: weights in float32, nothing offloaded"


def _only(inputs: dict[str, int], *names: str) -> dict[str, int]:
    return {name: inputs[name] for name in names}
