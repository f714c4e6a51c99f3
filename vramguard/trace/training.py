"""One step of training of transformers' own class, traced as `forward` traces a pass: fake tensors, no weights.

The step is the second one: the optimizer's states exist, and no gradients do. It runs as transformers' Trainer runs it:
a padded batch with labels, mixed precision by autocast around the forward pass, whose outputs accelerate converts to
float32 and the Trainer drops before the backward pass. Attention's dropout is left out of the fused kernels, where
CUDA's draws its numbers anew in the backward pass and PyTorch's CPU has no such kernel; elsewhere it is CUDA's, which
keeps a mask of one byte for each element.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from vramguard.trace.forward import _lenient, _quiet, _set
from vramguard.trace.living import Living
from vramguard.trace.model import build
from vramguard.trace.reading import _plain_token
from vramguard.trace.record import Trace, TraceError
from vramguard.trace.values import Values, know

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REASON: Final = 300
# What autocast runs in float32 on CUDA and not on the CPU (PyTorch 2.13, aten/src/ATen/autocast_mode.h: AT_FORALL_FP32,
# AT_FORALL_FP32_SET_OPT_DTYPE), by the names that a model calls them by.
_WIDENED: Final = frozenset({
    "layer_norm", "group_norm", "softmax", "log_softmax", "pow", "__pow__", "__rpow__", "rsqrt", "exp", "expm1", "log",
    "log10", "log2", "log1p", "reciprocal", "softplus", "logsumexp", "prod", "cumprod", "cumsum", "sum", "nll_loss",
    "mse_loss", "smooth_l1_loss", "cosine_similarity", "norm", "dist", "acos", "asin", "cosh", "sinh", "tan", "erfinv",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A step: what is run, over how much, and how."""

    tokens: int
    sequences: int = 2
    dtype: str = "float32"  # of the weights
    autocast: bool = False  # bf16=True of TrainingArguments
    checkpointing: bool = False
    implementation: str | None = None
    frozen: bool = False  # the model's own weights ask for no gradients; its embedding's output does
    optimizer: Callable[[list[Any]], Any] | None = None
    prepare: Callable[[Any], None] | None = None  # changes the model before it is trained: adapters


@dataclass(frozen=True, slots=True)
class Step:
    """A traced step. Gradients are the storages of `trace` whose `cache` is set: the number of their weight."""

    trace: Trace
    weights: tuple[str, ...]  # names of the weights that are trained
    forward_end: int  # operations that had ended: forward pass
    backward_end: int
    layers: tuple[tuple[int, int], ...]  # number of a layer and when the gradient of its output was there
    optimizer_bytes: int  # of states


class _Training(Living):
    """Numbers that nobody knows are one, not zero: an optimizer divides by what it makes of its count of steps."""

    def _guess(self, dtype: torch.dtype) -> bool | float:
        return 1.0 if dtype.is_floating_point else super()._guess(dtype)


@contextmanager
def _widened() -> Iterator[None]:
    """CUDA's autocast on the CPU: what it computes in float32, beside what both compute in half precision.

    The functions are replaced by name: a mode of PyTorch's is not asked while a checkpointed layer is computed anew.
    """
    holders: tuple[Any, ...] = (torch, torch.Tensor, torch.nn.functional)
    with ExitStack() as stack:
        for holder in holders:
            for name in _WIDENED:
                plain = getattr(holder, name, None)
                if callable(plain):
                    stack.enter_context(_set(holder, name, _widening(plain)))
        yield


def _widening(plain: Callable[..., Any]) -> Callable[..., Any]:
    def widened(*args: Any, **named: Any) -> Any:  # noqa: ANN401
        if not torch.is_autocast_enabled("cpu"):
            return plain(*args, **named)
        args, named = tree_map_only(torch.Tensor, _wide, (args, named))
        with torch.autocast("cpu", enabled=False):
            return plain(*args, **named)

    return widened


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def trace_step(config: Mapping[str, object], asked: Asked, class_name: str | None = None) -> Step:
    """Trace the second step. Raises TraceError for whatever transformers does not let through."""
    try:
        with ExitStack() as stack:
            for context in (_quiet(), FakeTensorMode(allow_non_fake_inputs=True), _undropped(), _lenient(), _widened()):
                stack.enter_context(context)
            with Values():
                model = build(config, asked.implementation, getattr(torch, asked.dtype), class_name)
                _prepare(model, asked)
            return _traced(model, asked)
    except TraceError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:_REASON]
        raise TraceError(f"{class_name or config.get('model_type')}: {type(error).__name__}: {reason}") from error


def _prepare(model: Any, asked: Asked) -> None:  # noqa: ANN401 - a torch module
    model.train()
    model.config.use_cache = False
    if asked.frozen:
        for weight in model.parameters():
            weight.requires_grad_(False)
        model.enable_input_require_grads()
    if asked.prepare is not None:
        asked.prepare(model)
    if asked.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def _traced(model: Any, asked: Asked) -> Step:  # noqa: ANN401
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimizer = asked.optimizer(list(trained.values())) if asked.optimizer and trained else None
    if optimizer is not None:
        with _Training(asked.tokens * asked.sequences, asked.tokens):
            _run(model, asked, _inputs(model, asked))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    living = _Training(asked.tokens * asked.sequences, asked.tokens)
    states = [] if optimizer is None else [s for each in optimizer.state.values() for s in each.values()]
    states = [state for state in states if isinstance(state, torch.Tensor)]
    inputs = _inputs(model, asked)
    living.ignore([*model.parameters(), *model.buffers(), *states])
    layers: list[tuple[int, int]] = []
    with living, living.naming(model), _noted(model, living, layers):
        forward_end = _run(model, asked, inputs, living)
        backward_end = living.clock
        for number, weight in enumerate(trained.values()):
            if weight.grad is not None:
                living.hold(number, weight.grad)
        if optimizer is not None:
            torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
            optimizer.step()
    held = sum(state.untyped_storage().nbytes() for state in states)
    return Step(living.finished(), tuple(trained), forward_end, backward_end, tuple(layers), held)


def _run(model: Any, asked: Asked, inputs: Mapping[str, torch.Tensor], living: Living | None = None) -> int:  # noqa: ANN401
    """Forward and backward pass; returns the clock between them."""
    casting = torch.autocast("cpu", torch.bfloat16) if asked.autocast else nullcontext()
    with casting:
        output = model(**inputs)
    if asked.autocast:
        output["logits"] = output["logits"].float()  # accelerate 1.15, utils/operations.py (convert_outputs_to_fp32)
    loss = output["loss"]
    del output
    ended = 0 if living is None else living.clock
    loss.backward()
    return ended


def _inputs(model: Any, asked: Asked) -> dict[str, torch.Tensor]:  # noqa: ANN401
    size = (asked.sequences, asked.tokens)
    ids = know(torch.zeros(size, dtype=torch.long), _plain_token(model.config))
    mask = torch.ones(size, dtype=torch.long)
    mask.known = None
    return {"input_ids": ids, "attention_mask": mask, "labels": ids, "use_cache": False}


@contextmanager
def _noted(model: Any, living: Living, layers: list[tuple[int, int]]) -> Iterator[None]:  # noqa: ANN401
    """Write down when the gradient of each layer's output is there."""

    def note(number: int) -> Callable[[Any, Any, Any], None]:
        def passed(_module: Any, _inputs: Any, output: Any) -> None:  # noqa: ANN401
            hidden = output[0] if isinstance(output, tuple) else output
            if not in_backward and hidden.requires_grad:
                hidden.register_hook(lambda _: layers.append((number, living.clock)))

        return passed

    in_backward: list[bool] = []
    blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    handles = [block.register_forward_hook(note(number)) for number, block in enumerate(blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _undropped() -> Iterator[None]:
    plain = torch.nn.functional.scaled_dot_product_attention

    def attention(*args: Any, dropout_p: float = 0.0, **named: Any) -> torch.Tensor:  # noqa: ANN401
        del dropout_p
        return plain(*args, **named)

    def dropout(
        input: torch.Tensor,  # noqa: A002 - torch's name
        p: float = 0.5,
        training: bool = True,  # noqa: FBT001, FBT002
        inplace: bool = False,  # noqa: FBT001, FBT002
    ) -> torch.Tensor:
        del inplace
        return torch.native_dropout(input, p, True)[0] if training and p else input

    functions = torch.nn.functional
    with _set(functions, "scaled_dot_product_attention", attention), _set(functions, "dropout", dropout):
        yield
