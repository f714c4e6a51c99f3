"""Rows of the ledger for vLLM's largest batch, and for what a process holds beside weights and cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.engines.activations import experts, widest
from vramguard.memory.engines.resident import rounding
from vramguard.memory.engines.vllm.profiles import (
    Measured,
    measured,
    symmetric_memory_bytes,
    v2_state_bytes,
)
from vramguard.memory.engines.vllm.specs import language
from vramguard.memory.ledger import Term, bound
from vramguard.memory.ledger import measured as measured_term

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.memory.architecture import Tensor
    from vramguard.memory.engines import Ask
    from vramguard.memory.engines.shards import Rank
    from vramguard.memory.engines.vllm.manager import KVCache
    from vramguard.memory.engines.vllm.variants import Sizes, Variant
    from vramguard.memory.runtime import Device
    from vramguard.memory.weights import Loaded

_RUN: Final = "vLLM, v1/worker/gpu_model_runner.py (profile_run, _dummy_sampler_run)"
_MEASURED_SIZES: Final = 51  # batch sizes that were captured where graphs were measured
_MEASURED_TOKENS: Final = 8192  # of the largest batch where activations were measured, beside 1024 sequences
_TRANSIENT: Final = ("mxfp4", "gptq", "awq", "compressed-tensors")  # Marlin's buffers are freed before sampling
_SHARED_FROM: Final = (0, 20)  # from this release on they too may come out of the process's workspace
_AMPERE, _HOPPER, _BLACKWELL = 8, 9, 10
_FLOAT32: Final = 4


class Step(NamedTuple):
    """The largest batch on one rank."""

    loaded: Loaded
    device: Device
    rank: Rank
    variant: Variant
    sizes: Sizes
    tensors: tuple[Tensor, ...]  # that stand on the rank
    context: int
    resident: tuple[Term, ...]
    eager: bool  # no CUDA graphs
    ask: Ask
    sees: bool  # the class takes pictures or sound
    packed_tower: bool  # a quantizer takes a matrix of the tower

    @property
    def ranks(self) -> str:
        """Which parallelism a measured row has to be of."""
        wide = self.rank.tensor_parallel > 1 or self.rank.data_parallel > 1  # replicas meet in layers of experts
        return "tp" if wide else "pp" if self.rank.stages > 1 else "1"


def activations(step: Step) -> tuple[Term, ...]:
    """Rows of the forward pass and of sampling, and what start-up logs show beyond them."""
    beyond = measured("activations_beyond_formula", "pp" if step.rank.stages > 1 else "1")
    forward = _step(step)
    text = (forward, _beyond(step, beyond))
    if not step.sees:
        return text
    from vramguard.memory.engines.vllm import encoders  # here and below: only where they are needed

    return (*text, *encoders.rows(step, transient(forward)))


def _beyond(step: Step, found: Measured) -> Term:
    """What start-up logs show beyond the formula, as much more as a batch is larger than theirs."""
    inputs = {"measured": found.upper_bytes, "batched": step.sizes.tokens, "seqs": step.sizes.sequences}
    formula = f"ceil_div(measured * max({_MEASURED_TOKENS}, batched, 8 * seqs), {_MEASURED_TOKENS})"
    return bound("activations/beyond_formula", formula, inputs, source=f"{found.source}; {found.what}")


def transient(forward: Term) -> int:
    """Bytes of the decoder's step that are free again after it, and may be an encoder's before it."""
    return forward.upper_bytes - forward.inputs["experts_kept"]


def encoder_outside(step: Step) -> int:
    """Bytes of the encoder's batches that come on top of the engine's share of the card."""
    if not step.sees:
        return 0
    from vramguard.memory.engines.vllm import encoders

    return encoders.outside_bytes(step, transient(_step(step)))


def encoder_assumption(step: Step) -> str | None:
    """What the size of an item rests on, in a sentence; None where a class takes text only."""
    if not step.sees:
        return None
    from vramguard.memory.engines.vllm import encoders

    return encoders.assumption(step)


def unprofiled(step: Step) -> tuple[Term, ...]:
    """Rows of what a running server may take and the profile run does not show: batches of the encoder, mixers."""
    profiled = transient(_step(step))
    if not step.sees:
        return _kernels(step, profiled)
    from vramguard.memory.engines.vllm import encoders

    return (*encoders.unprofiled(step, profiled), *_kernels(step, profiled))


def kernels(step: Step) -> tuple[Term, ...]:
    """The row of mixers' kernels beyond what the profile run takes at least, and the cache is certainly without."""
    return _kernels(step, _step(step).lower_bytes)


def _kernels(step: Step, profiled: int) -> tuple[Term, ...]:
    latent = _latent(step)
    if not latent and not any(cache.states for cache in step.loaded.network.caches):
        return ()
    from vramguard.memory.engines.vllm import mixers

    return mixers.unprofiled(step, profiled, latent)


def _step(step: Step) -> Term:
    network, sizes, profile = step.loaded.network, step.sizes, step.variant.profile
    rows = sizes.sequences * (1 + sizes.drafts) if step.rank.last else 0
    inputs = {
        "logits": rows,
        "vocab": -(-network.vocab // profile.vocab_padding) * profile.vocab_padding,
        "bytes": step.loaded.element_bytes,
        "beside": profile.sampled_bytes(rows),
        "batched": sizes.tokens,
        "hidden": network.hidden,
        "widest": widest(step.tensors).elements,
        "experts_kept": 0,
        "experts_freed": 0,
    }
    inputs |= {"streams": _streams(step)}
    # The profile run sets the worst size of a context that is projected up again aside.
    latent = _latent(step)
    inputs |= {"projected": latent["pieces"] * latent["up"] * step.loaded.element_bytes if latent else 0}
    inputs |= _experts(step)
    sampling = "vocab * (logits * bytes + beside) + 2 * batched * hidden * bytes"
    # Beside a module stand hidden states and residual, its result, and that once more as it is summed over ranks.
    states = 4 if step.rank.tensor_parallel > 1 else 3
    layers = (
        f"({states} * hidden + streams) * batched * bytes + max(batched * widest * bytes + experts_freed, projected)"
    )
    # Logits, in float32 a second time, and probabilities; of words without padding, and none of drafted tokens.
    certain = 8 if step.variant.runner == "v1" or profile.v2_samples_at_profile else 0
    certain -= 4 if certain and step.loaded.element_bytes == _FLOAT32 else 0
    inputs |= {"sampled": sizes.sequences if rows else 0, "words": network.vocab}
    lower = f"sampled * words * (bytes + {certain}) + batched * hidden * bytes"
    return bound("activations/step", f"max({sampling}, {layers}) + experts_kept", inputs, lower=lower, source=_RUN)


def _streams(step: Step) -> int:
    """Elements of a token that stay beside hidden states from layer to layer, or are made of them anew (gemma3n.py).

    Embeddings for each layer, what is projected for them, and their sum; four hidden states at once, what is predicted
    of them, and what that is corrected to.
    """
    tensors = step.loaded.network.tensors
    layered = sum(tensor.shape[1] for tensor in tensors if "embed_tokens_per_layer" in tensor.name)
    alternating = any(".altup." in tensor.name for tensor in tensors)
    return 3 * layered + 12 * alternating * step.loaded.network.hidden


def _experts(step: Step) -> Mapping[str, int]:
    """Bytes of the buffers of a layer of experts, and whether the process keeps them."""
    layer = experts(step.loaded.network, step.tensors)
    if layer is None:
        return {}
    profile, hidden, size = step.variant.profile, step.loaded.network.hidden, step.loaded.element_bytes
    # A layer of experts gets the tokens of all replicas (fused_moe: dispatch), and gives back as many.
    batched, data = step.sizes.tokens * step.rank.data_parallel, step.rank.data_parallel
    tokens = min(batched, profile.moe_chunk_tokens or batched)
    rows, half = layer.intermediate, -(-layer.intermediate // 2)
    first, second = max(half, hidden), max(rows, hidden)
    method = step.loaded.scheme.method if step.loaded.scheme else None
    freed = method in _TRANSIENT and profile.span[0] < _SHARED_FROM
    buffers = max(tokens * layer.per_token * first, tokens * hidden) + tokens * layer.per_token * second
    kept = profile.shared_workspace and not freed
    gathered = 3 if data > 1 else 1
    routed = batched * (layer.number * (size + _FLOAT32) + (layer.shared + gathered * hidden) * size)
    return (
        {"experts_kept": buffers * size, "experts_freed": routed}
        if kept
        else {"experts_freed": routed + buffers * size}
    )


def _latent(step: Step) -> Mapping[str, int]:
    """Sizes of what latent attention keeps of a context that it reads in pieces; empty for other attention."""
    network = step.loaded.network
    rank = network.sizes.get("kv_lora_rank")
    if not rank or language(network) not in step.variant.manager.latent_types:
        return {}
    heads = -(-max(group.heads for group in network.attention) // step.rank.tensor_parallel)
    # Of at least one block for each sequence: of CUTLASS on Blackwell 128 tokens, of the others 64 at most.
    page = 128 if step.device.generation >= _BLACKWELL else 64
    pieces = max(min(max(8 * step.context, 4 * page * step.sizes.sequences), 65536), page * step.sizes.sequences)
    return {
        "pieces": pieces,
        "latent": rank + network.sizes.get("qk_rope_head_dim", 0),
        "up": heads * (network.sizes.get("qk_nope_head_dim", 0) + network.sizes.get("v_head_dim", 0)),
    }


def runtime(step: Step, cache: KVCache) -> Iterator[Term]:
    """Rows of what the process holds beside weights, cache and the batch."""
    yield from (_start(step), row("runtime/non_torch", measured("non_torch", step.ranks)))
    yield from _buffers(step, cache)
    yield from _communication(step)
    yield from _flashinfer(step, cache)
    yield from rounding(step.resident, sum(count for group in cache.groups for _, count in group.members))
    if step.ask.workload.kv_connector is not None:
        yield _received(step, cache)
    graphs = _graphs(step)
    if graphs is not None:
        yield graphs


def _received(step: Step, cache: KVCache) -> Term:
    """What NIXL's connector makes of a request's blocks that came in the other side's size or order, layer by layer.

    They are picked, turned twice and put back (0.33.0, distributed/kv_transfer/kv_connector/v1/nixl/base_worker.py,
    post_process_device_kv_on_receive; kv_connector/utils.py). The transfer itself takes nothing on the card: NIXL
    reads and writes the cache in place (src/plugins/ucx/ucx_utils.cpp: ucp_get_nbx, ucp_put_nbx, RNDV_THRESH inf), and
    UCX stages such an operation only where UCX_RMA_PPLN_ENABLE is set or on NVIDIA's Vera (1.22,
    src/ucp/rma/rma_rndv.c, ucp_proto_rma_rndv_probe_check). Its buffers are the host's where kv_buffer_device is cpu.
    """
    page = max((spec.page for group in cache.groups for spec, _ in group.members), default=0)
    inputs = {"blocks": cache.needed(step.context), "page": page}
    source = "vLLM, distributed/kv_transfer/kv_connector/v1/nixl (post_process_device_kv_on_receive)"
    return bound("runtime/kv_connector", "4 * blocks * page + 8 * blocks", inputs, lower="0", source=source)


def _start(step: Step) -> Term:
    found = measured("start", step.ranks)
    upper = max(found.upper_bytes, step.device.context_upper_bytes)
    return measured_term("runtime/start", step.device.context_lower_bytes, upper, f"{found.source}; {found.what}")


def row(name: str, found: Measured) -> Term:
    """A measured row, of which nothing is certain on another card or release."""
    return measured_term(name, 0, found.upper_bytes, f"{found.source}; {found.what}")


def _buffers(step: Step, cache: KVCache) -> Iterator[Term]:
    network, sizes, profile = step.loaded.network, step.sizes, step.variant.profile
    groups = max(len(cache.groups), 1)
    block = min((group.spec.block_size for group in cache.groups if group.spec.block_size), default=16)
    inputs = {
        "batched": sizes.tokens,
        "hidden": network.hidden,
        "bytes": step.loaded.element_bytes,
        "seqs": sizes.sequences,
        "blocks": -(-step.context // block),
        "groups": groups,
        "between_stages": 2 if step.rank.stages > 1 else 0,
    }
    formula = "batched * ((1 + between_stages) * hidden * bytes + 64) + 8 * seqs * blocks * groups"
    yield bound(
        "runtime/model_runner_buffers", formula, inputs, source="vLLM, v1/worker/gpu_model_runner.py and block_table.py"
    )
    rows = profile.sampler_buffer_rows(sizes.sequences, step.device.multiprocessors) if step.rank.last else 0
    if rows:
        inputs = {"rows": rows, "vocab": network.vocab}
        yield bound(
            "runtime/sampler_buffer", "rows * vocab * 4", inputs, source="vLLM, v1/sample/ops/topk_topp_triton.py"
        )
    latent = _latent(step)
    if latent:
        # Sparse attention has one of its own, of five contexts (flashmla_sparse.py, get_prefill_workspace_size).
        rows = max(latent["pieces"], 5 * step.context if any(cache.series for cache in network.caches) else 0)
        inputs = {"pieces": rows, "latent": latent["latent"], "bytes": step.loaded.element_bytes}
        source = "vLLM, model_executor/layers/attention/mla_attention.py (determine_chunked_prefill_workspace_size)"
        yield bound("runtime/latent_workspace", "pieces * latent * bytes", inputs, source=source)
    if step.variant.runner == "v2":
        inputs = {"state": v2_state_bytes(network.vocab, sizes.sequences)}
        yield bound("runtime/sampler_state", "state", inputs, source="vLLM, v1/worker/gpu/sample")


def _communication(step: Step) -> Iterator[Term]:
    """Buffers of all-reduce that releases after the measured one have, and FlashInfer's workspace."""
    profile, parallel, capability = step.variant.profile, step.rank.tensor_parallel, step.device.compute_capability
    if parallel > 1:
        symmetric = symmetric_memory_bytes(capability, parallel) if profile.symmetric_memory else 0
        fused = _FUSED if profile.fused_all_reduce or profile.flashinfer_all_reduce else 0
        inputs = {"custom": profile.custom_all_reduce_bytes, "symmetric": symmetric, "fused": fused}
        yield bound(
            "runtime/all_reduce", "custom + symmetric + fused", inputs, source="vLLM, distributed/device_communicators"
        )


def _flashinfer(step: Step, cache: KVCache) -> Iterator[Term]:
    """FlashInfer's buffers, where it may be the backend of attention: one set for each group of layers.

    Each has its workspace, a wrapper with 8 MiB of its own for prefill, decode, both levels of a cascade and every
    captured size, and a table of pages (0.19.0, v1/attention/backends/flashinfer.py, FlashInferMetadataBuilder;
    flashinfer 0.3.1, decode.py and prefill.py, _int_workspace_buffer).
    """
    if not _may_serve(step):
        return
    profile, sizes = step.variant.profile, step.sizes
    block = min((group.spec.block_size for group in cache.groups if group.spec.block_size), default=16)
    inputs = {
        "workspace": max(profile.flashinfer_workspace_bytes, profile.mla_flashinfer_workspace_bytes),
        "wrappers": 5 + (0 if step.eager else captured(step)),
        "groups": max(len(cache.groups), 1),
        "seqs": sizes.sequences,
        "blocks": -(-step.context // block),
    }
    formula = "groups * (workspace + wrappers * 8388608 + 4 * seqs * blocks)"
    source = "vLLM, v1/attention/backends/flashinfer.py; envs.py, VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE"
    yield bound("runtime/flashinfer_workspace", formula, inputs, source=source)


def _may_serve(step: Step) -> bool:
    """Whether FlashInfer is asked for, or FlashAttention is not the first that takes the cache and the card.

    It reads a cache of one byte on Hopper alone, runs on no Turing, and comes second on Blackwell (platforms/cuda.py,
    _get_backend_priorities; v1/attention/backends/flash_attn.py, supports_kv_cache_dtype, supports_compute_capability).
    """
    workload, generation = step.ask.workload, step.device.generation
    if workload.attn_implementation == "flashinfer":
        return True
    if generation == _HOPPER:
        return False
    asked = step.loaded.scheme is not None and step.loaded.scheme.cache_bits == 8  # noqa: PLR2004 - bits of fp8
    whole = workload.kv_cache_dtype in ("bfloat16", "float16", "half")
    small = asked if workload.kv_cache_dtype in (None, "auto") else not whole
    return small or not _AMPERE <= generation < _BLACKWELL


# compilation/passes/fusion/allreduce_rms_fusion.py: at most 64 MiB of payload; the workspace holds three of them.
_FUSED: Final = 192 << 20


def captured(step: Step) -> int:
    """Batch sizes that graphs are captured for; 0 in eager mode."""
    sizes, network = step.sizes, step.loaded.network
    found = step.variant.profile.capture_sizes(
        sizes.sequences,
        sizes.tokens,
        drafts=sizes.drafts,
        blackwell=step.device.generation >= _BLACKWELL,
        gpt_oss=network.model_type == "gpt_oss",
    )
    return len(found)


def _graphs(step: Step) -> Term | None:
    if step.eager:
        return None
    found = measured("graphs", step.ranks)
    inputs = {"measured": found.upper_bytes, "sizes": captured(step), "measured_sizes": _MEASURED_SIZES}
    formula = "max(measured, ceil_div(measured * sizes, measured_sizes))"
    return bound("runtime/cuda_graphs", formula, inputs, source=f"{found.source}; {found.what}")
