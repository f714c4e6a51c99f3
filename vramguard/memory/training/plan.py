"""A training as a plan: weights, gradients, optimizer's states and the worst moment of a step, on one of its cards.

Modelled is transformers' Trainer, of PyTorch 2.13: see docs/memory-model.md, Training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Final

from vramguard.memory.activation import default_implementation
from vramguard.memory.architecture import Architecture, Tensor, UnprovenError
from vramguard.memory.engines import Ask, Deployed, stated
from vramguard.memory.engines.transformers import MODELED_VERSION, dtypes
from vramguard.memory.ledger import Ledger, Term, bound, dense
from vramguard.memory.runtime import MIB, runtime
from vramguard.memory.training import adapters, optimizers, sharding
from vramguard.memory.training.activations import Stepped, on_cuda, tensors, worst_moment
from vramguard.memory.training.adapters import Adapters
from vramguard.memory.training.optimizers import Optimizer
from vramguard.memory.training.recorded import Way
from vramguard.memory.training.sharding import Sharding
from vramguard.memory.weights import ELEMENT_BYTES, Loaded, buffers, load, quantizer_assumptions, scheme_of, weights

__all__ = ["Training", "dtypes", "plan", "refuse"]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.engines import Holding
    from vramguard.memory.verdict import Workload

BATCH: Final = 8  # per_device_train_batch_size of TrainingArguments
_SIDES: Final = 2  # of a matrix
_NUMBERS: Final = ("per_device_train_batch_size", "gradient_accumulation_steps", "lora_rank")
_SERVES: Final = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "processes_per_gpu")


def refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what is not modelled; the message names it."""
    if workload.engine not in (None, "transformers"):
        raise UnprovenError(f"engine {workload.engine} does not train: mode training is of transformers")
    if workload.engine_version is not None and workload.engine_version.partition(".")[0] != "5":
        raise UnprovenError(f"transformers {workload.engine_version} is not supported, 5 is")
    for name in _NUMBERS:
        value = getattr(workload, name)
        if value is not None and value < 1:
            raise UnprovenError(f"{name} {value} is not a positive number")
    for name in _SERVES:
        if getattr(workload, name) not in (None, 1):
            raise UnprovenError(f"{name} {getattr(workload, name)} is not supported for training")
    if workload.bf16 and workload.fp16:
        raise UnprovenError("bf16 and fp16 are both stated: the Trainer takes one of them")
    if workload.device_map is not None and (workload.gpus or 1) > 1:
        raise UnprovenError(f"device_map {workload.device_map} over several cards is not supported for training")
    stated.check_positions(network, workload)


def plan(ask: Ask, dtype: str) -> Training:
    """Fill in what the workload leaves open; raises UnprovenError."""
    workload, network = ask.workload, ask.network
    if ask.trace is not None:
        raise UnprovenError("method trace runs a forward pass: of training only the analytic method knows")
    if dtype not in ELEMENT_BYTES:
        raise UnprovenError(f"dtype {dtype} is not supported: {', '.join(ELEMENT_BYTES)} are")
    how = sharding.sharding(workload)
    if how.divides and dtype != "float32" and not (workload.bf16 or workload.fp16):
        raise UnprovenError(f"{how.kind} with weights in {dtype} needs bf16 or fp16: else what it divides is not known")
    if dtype == "float16" and workload.fp16 and how.kind != "zero" and workload.lora_rank is None:
        raise UnprovenError("fp16 with float16 weights: their gradients cannot be unscaled, which the Trainer refuses")
    scheme = scheme_of(ask.config, workload.quantization)
    if scheme is not None and (scheme.method != "bitsandbytes" or "compute_bytes" not in scheme.detail):
        raise UnprovenError(f"training with quantization {scheme.method} is not supported, bitsandbytes' 4 bits are")
    if scheme is not None and (workload.lora_rank is None or how.divides):
        raise UnprovenError("quantized weights are trained with adapters (lora_rank) and undivided, or not at all")
    loaded = load(network, dtype, scheme, ask.device.capability)
    if loaded.float32:
        raise UnprovenError(f"training of {network.name}, which keeps weights in float32 beside {dtype}, is not known")
    added = (
        None
        if workload.lora_rank is None
        else adapters.adapters(network, workload.lora_rank, workload.lora_target_modules)
    )
    return Training(ask, loaded, how, optimizers.named(workload.optim), added)


@dataclass(frozen=True)
class Training(Deployed):
    """One step after another, each of `gradient_accumulation_steps` micro-batches."""

    ask: Ask
    loaded: Loaded
    how: Sharding
    optimizer: Optimizer
    added: Adapters | None

    @property
    def sequences(self) -> int:
        """Sequences of a micro-batch on one card."""
        return self.ask.workload.per_device_train_batch_size or BATCH

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the weights as they are loaded."""
        return sum(term.lower_bytes for term in weights(self.loaded))

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Nothing is cached."""
        return 0

    @property
    def _autocast(self) -> bool:
        """DeepSpeed turns the weights themselves into half precision instead."""
        return bool(self.ask.workload.bf16 or self.ask.workload.fp16) and self.how.kind != "zero"

    @property
    def _dtype(self) -> str:
        """Of the weights while they compute, as the recorded ways name it."""
        half = self.ask.workload.bf16 or self.ask.workload.fp16
        if self.how.divides and half:
            return "bfloat16"
        if self.loaded.scheme is not None:
            return "float32"  # what is not packed may be widened (prepare_model_for_kbit_training)
        return "float32" if self.loaded.dtype == "float32" else "bfloat16"

    @property
    def _implementation(self) -> str:
        network = self.loaded.network
        return self.ask.workload.attn_implementation or network.attn_implementation or default_implementation(network)

    @cached_property
    def _trained(self) -> tuple[Tensor, ...]:
        network = self.loaded.network
        return network.tensors if self.added is None else self.added.tensors

    @property
    def _width(self) -> int:
        """Bytes of an element of what is trained."""
        return self.loaded.element_bytes if self.added is None else adapters.ELEMENT_BYTES

    def _run(self, tokens: int) -> Stepped:
        workload = self.ask.workload
        packed = self.loaded.scheme is not None
        way = Way(
            kernel=self._implementation,
            dtype=self._dtype,
            autocast=self._autocast
            and not packed,  # no packed weight is cast: activations as wide as can be, and no copies
            checkpointing=bool(workload.gradient_checkpointing),
            frozen=self.added is not None,
        )
        return Stepped(
            self.loaded.network,
            self.ask.config,
            way,
            tokens,
            self.sequences,
            halved=self._autocast,
            stated=workload.max_model_len is not None,
        )

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """One card's: all of them hold as much."""
        run = self._run(tokens)
        held = tuple(self._divided() if self.how.divides else self._whole())
        gradients = sum(term.upper_bytes for term in held if term.group == "gradients")
        moments = (*self._moments(run, gradients), *on_cuda(run), *self._beside(run))
        return (Ledger((*held, *moments, *self._runtime(run, held))),)

    def _whole(self) -> Iterator[Term]:
        """Weights, gradients and states, each row one weight's."""
        yield from weights(self.loaded)
        if self.added is not None:
            for tensor in self.added.tensors:
                yield dense(tensor, adapters.ELEMENT_BYTES)
        if self.loaded.scheme is not None:
            yield self._widened()
        gradients = [dense(tensor, self._width, "gradients") for tensor in self._trained]
        yield from gradients
        if self.how.kind == "ddp":
            yield sharding.buckets(sum(term.upper_bytes for term in gradients))
        yield from optimizers.states(self.optimizer, self._trained, [self._width] * len(self._trained))

    def _widened(self) -> Term:
        """What is not packed, in float32: peft's prepare_model_for_kbit_training casts it, where it is called."""
        plain = {f"weights/{tensor.name}": tensor.elements for tensor in self.loaded.network.tensors}
        elements = sum(plain.get(term.name, 0) for term in weights(self.loaded))
        inputs = {"elements": elements, "bytes": self.loaded.element_bytes}
        return bound("weights/widened", "elements * (4 - bytes)", inputs, source="peft 0.18, utils/other.py")

    def _divided(self) -> Iterator[Term]:
        network, half = self.loaded.network, bool(self.ask.workload.bf16 or self.ask.workload.fp16)
        all_ = (*network.tensors, *(self.added.tensors if self.added else ()))
        layered = sum(t.elements for t in all_ if t.copies == network.layers and network.layers > 1)
        whole = sum(t.elements for t in all_)
        sizes = sharding.Sizes(
            weights=whole,
            trained=sum(t.elements for t in self._trained),
            largest=max(t.elements // t.copies for t in all_),
            root=whole - layered,
            layer=-(-layered // network.layers),
        )
        yield from self.how.rows(sizes, self.optimizer, half)

    def _moments(self, run: Stepped, gradients: int) -> Iterator[Term]:
        """The worst moment of the two passes or the optimizer's step, whichever needs more."""
        arriving = None
        accumulates = (self.ask.workload.gradient_accumulation_steps or 1) > 1
        if self.how.divides or accumulates or self.added is not None:  # no moment counts an adapter's gradients
            arriving = 2 * self._largest * self._width
        moment = worst_moment(run, gradients, arriving)
        step = optimizers.step(self.optimizer, self._stepped, self._largest)
        yield max(moment, step, key=lambda term: term.upper_bytes)
        if self.added is not None:
            layers = run.network.layers if run.way.checkpointing else 0
            yield from self.added.kept(run.sizes, layers, autocast=self._autocast)

    @property
    def _largest(self) -> int:
        return max(prod(tensor.shape) for tensor in self._trained)

    @property
    def _stepped(self) -> int:
        """Bytes of what one card's optimizer goes over."""
        elements = sum(tensor.elements for tensor in self._trained)
        return -(-elements // self.how.ranks) * 4 if self.how.divides else elements * self._width

    def _beside(self, run: Stepped) -> Iterator[Term]:
        yield bound("activations/inputs", "sequences * tokens * 64", run.sizes, source="ids, mask, labels in int64")
        if self.loaded.scheme is None:
            return
        plain = {f"weights/{tensor.name}": tensor for tensor in self.loaded.network.tensors}
        left = [plain[term.name] for term in weights(self.loaded) if term.name in plain]
        packed = [t.shape for t in plain.values() if t.kind in ("linear", "conv1d") and len(t.shape) == _SIDES]
        rows, columns = max((shape for shape in packed if shape[0] != run.network.vocab), key=prod)
        sizes = {**run.sizes, "rows": rows, "columns": columns}
        # The weight in the dtype of the computation and in float32, its scales, and both activations cast.
        formula = "rows * columns * 8 + ceil_div(rows * columns, 64) * 8 + sequences * tokens * (rows + columns) * 6"
        source = "bitsandbytes 0.50.2, autograd/_functions.py (MatMul4Bit)"
        yield bound("activations/bitsandbytes", formula, sizes, source=source)
        if self._autocast:  # of what is not packed, autocast's copies
            yield bound("activations/cast", "elements * 2", {"elements": sum(tensor.elements for tensor in left)})

    def _runtime(self, run: Stepped, held: tuple[Term, ...]) -> Iterator[Term]:
        """The context, workspaces, and what blocks hold beyond their tensors, those of activations included."""
        counted = [term for term in held if "copies" in term.inputs]
        yield from runtime(self.loaded.network, self.ask.device, counted)
        yield from buffers(self.loaded.network)
        alive = {"tensors": tensors(run), "mib": MIB}
        yield bound(
            "runtime/activation_rounding",
            "tensors * mib",
            alive,
            source="PyTorch, c10/cuda/CUDACachingAllocator.cpp: kRoundLarge, kSmallSize",
        )

    def holding(self, _tokens: int) -> Holding | None:
        """Nothing is reserved."""
        return None

    def resolved(self, tokens: int) -> Workload:
        """The workload with every default filled in."""
        workload = self.ask.workload
        return replace(
            workload,
            engine="transformers",
            mode="training",
            gpu=self.ask.device.name,
            gpus=workload.gpus or 1,
            tensor_parallel_size=1,
            pipeline_parallel_size=1,
            dtype=self.loaded.dtype,
            quantization=self.loaded.scheme.method if self.loaded.scheme else None,
            max_model_len=tokens,
            concurrency=self.sequences,
            per_device_train_batch_size=self.sequences,
            gradient_accumulation_steps=workload.gradient_accumulation_steps or 1,
            gradient_checkpointing=bool(workload.gradient_checkpointing),
            bf16=bool(workload.bf16),
            fp16=bool(workload.fp16),
            optim=workload.optim or optimizers.DEFAULT,
            attn_implementation=self._implementation,
            engine_version=workload.engine_version or MODELED_VERSION,
        )

    def assumptions(self, tokens: int) -> Iterator[str]:
        """One sentence for each value that nobody stated; then what always is supposed."""
        workload = self.ask.workload
        if workload.max_model_len is None:
            yield f"max_model_len is not stated; sequences of the config's full context of {tokens} are assumed"
        for name, default in _DEFAULTS:
            if getattr(workload, name) is None:
                yield f"{name} is not stated; {default} is assumed, as TrainingArguments does"
        if self.added is not None and workload.lora_target_modules is None:
            family = self.ask.network.model_type
            chosen = adapters.default_targets(family)
            yield f"lora_target_modules is not stated; {chosen} is assumed, as peft does for {family}"
        if workload.dtype in (None, "auto") and self.loaded.network.dtype is not None:
            yield f"dtype is not stated; the config's {self.loaded.dtype} is assumed"
        if workload.attn_implementation is None:
            yield f"attn_implementation is not stated; {self._implementation} is assumed"
        if workload.concurrency is not None:
            yield f"concurrency {workload.concurrency} has no effect on training"
        yield from quantizer_assumptions(self.loaded)
        yield from adapters.ASSUMPTIONS if self.added is not None else ()
        yield from sharding.assumptions(self.how)
        yield from _ASSUMPTIONS


_DEFAULTS: Final = (
    ("optim", optimizers.DEFAULT),
    ("per_device_train_batch_size", BATCH),
    ("gradient_accumulation_steps", 1),
    ("gradient_checkpointing", False),
)
_ASSUMPTIONS: Final = (
    "sole tenant of the card: no other process, display or MIG neighbour uses its memory",
    "transformers' Trainer trains, with the model's own loss over all logits and without kernels that replace modules",
    "a micro-batch may be padded to its longest sequence, which is no longer than max_model_len",
    "no evaluation between the steps needs more than a step does, and no second model is on the card",
    "fragmentation: free memory that PyTorch's allocator caches between blocks is reusable and not counted",
    "one process on the card, one CUDA stream, no torch.compile; cuDNN's attention needs no more than others",
)
