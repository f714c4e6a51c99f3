"""What a proof of an SGLang deployment rests on, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.engines.sglang.profiles import PROFILES, thousandths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.engines.sglang.plan import Serving

_NO_EFFECT: Final = ("kv_cache_memory_bytes", "num_gpu_blocks_override", "swap_space", "attn_implementation")


def assumptions(plan: Serving, tokens: int) -> Iterator[str]:
    """One sentence for each value that nobody stated, or that means less than it seems to; then what always is."""
    workload = plan.ask.workload
    if workload.engine_version is None:
        yield f"engine_version is not stated; the bounds cover sglang {PROFILES[0].name} to {PROFILES[-1].name}"
    elif len(plan.read) > 1:
        names = " or ".join(profile.name for profile in plan.read)
        yield f"sglang {workload.engine_version} was not read; it decides as {names}, between which it lies"
    if workload.dtype in (None, "auto"):
        yield f"dtype is not stated; {plan.loaded.dtype} is what sglang makes of the config's"
    yield from _load(plan, tokens)
    for name in _NO_EFFECT:
        if getattr(workload, name) is not None:
            yield f"{name} {getattr(workload, name)} has no effect on sglang"
    if plan.loaded.scheme is not None:
        yield from plan.loaded.scheme.assumptions
        yield "the kernels' own arrangement of packed weights is as large as the checkpoint's"
    yield from _ALWAYS


def _load(plan: Serving, tokens: int) -> Iterator[str]:
    workload, context = plan.ask.workload, plan.network.context
    if workload.max_model_len is None:
        yield f"max_model_len is not stated; the config's full context of {tokens} is assumed"
    elif 0 < context < tokens:
        longer = f"max_model_len {tokens} is above the config's {context}"
        yield f"{longer}: sglang starts only where SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN is set"
    if workload.concurrency is None:
        yield "concurrency is not stated; one sequence of that length at a time is assumed, the others wait"
    if workload.max_num_seqs is None:
        yield (
            f"max_running_requests is not stated: no more than {plan.at_once} sequences run at once, though sglang"
            f" admits up to 4096; each takes {plan.network.vocab * 16} bytes more while its token is drawn"
        )
    if workload.gpu_memory_utilization is None:
        least, most = (thousandths(share) for share in plan.fraction)
        yield f"mem_fraction_static is not stated; sglang makes it {least} to {most} on this card"
    if workload.block_size is None:
        yield f"page_size is not stated; 1 to {plan.page} tokens are assumed, as the attention backend decides"
    if (workload.data_parallel_size or 1) > 1:
        yield "data_parallel_size: each replica has cards of its own; --enable-dp-attention is not given"


_ALWAYS: Final = (
    "sole tenant of the card: no other process, display or MIG neighbour uses its memory",
    "no speculative decoding, LoRA, disaggregation, torch.compile, memory saver or hierarchical cache",
    "no --max-total-tokens, --enable-dp-attention, --cuda-graph-max-bs or deterministic inference",
    "layers are dealt evenly to the stages: SGLANG_PP_LAYER_PARTITION is not set",
    "requests that run at once have no more tokens together than the pool, shared prefixes counted for each",
    "the prefix cache's entries are of 64 tokens and more on average",
    "what the allocator keeps of earlier passes serves the later ones",
    "requests that ask for input logprobs have them computed for no more tokens at once than sequences run",
    "prompts are text: no picture and no sound passes a tower, whose weights are counted",
    "captured graphs, kernel modules and NCCL take no more than in the start-up logs that were read",
)
