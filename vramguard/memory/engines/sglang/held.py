"""Rows of the ledger for what SGLang takes beside weights and cache: one pass, captured graphs, tables, libraries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.engines.shards import shares
from vramguard.memory.ledger import Term, bound, measured
from vramguard.memory.runtime import MIB, runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Architecture, Tensor
    from vramguard.memory.engines.sglang.profiles import Defaults, Profile
    from vramguard.memory.engines.shards import Rank
    from vramguard.memory.runtime import Device

_GIB: Final = 1 << 30
_SOURCE: Final = "SGLang 0.5.10, srt/{}"
# What the logs in tests/memory/receipts/sglang/*.log show, rounded up.
LOADED_WITH_WEIGHTS: Final = 256 * MIB  # modules that come with the first kernels; 0.02 GiB in the logs
_LIBRARIES: Final = _GIB
_NCCL_INIT: Final = 2200 * MIB  # "Init torch distributed ends. mem usage=2.01 GB", 8 x H200
_NCCL_FORWARD: Final = 2048 * MIB
_GRAPH_LAYER: Final = 3_000_000  # of one layer in one decode graph; 2.77 MB in the log that has most
_PIECE_LAYER: Final = 1_048_576  # of one layer in one prefill graph; 0.93 MB in the log that has most
LIBRARY_SOURCE: Final = "start-up logs of SGLang, tests/memory/receipts/sglang/*.log"
NCCL_SOURCE: Final = "SGLang pull request 11716 (8 x H200); vLLM's on H100, which begins likewise"


class Pass(NamedTuple):
    """One forward pass of a card."""

    network: Architecture
    rank: Rank
    element_bytes: int
    tokens: int  # of a prefill pass, at most
    least: int  # of a prefill pass, at least
    sequences: int  # that one decode step or one prefill pass has at most
    pool: int  # tokens that the cache holds at most
    slots: int  # the same, were its numbers of 8 bits: fewer bits never need more

    @property
    def latent(self) -> int:
        """Width of the compressed keys; 0 for a network without."""
        return self.network.sizes.get("kv_lora_rank", 0)


def activations(run: Pass) -> tuple[Term, ...]:
    """The larger of two moments: in the middle of a layer, or when tokens are drawn; then what attention adds."""
    hidden, lower = run.network.hidden, "least * hidden * bytes"
    attention, rest, experts = _widths(run)
    inputs = {
        "tokens": run.tokens, "least": min(run.least, run.tokens), "hidden": hidden, "bytes": run.element_bytes,
        "attention": attention, "rest": rest,
        "routed": experts.routed, "width": experts.width, "experts": experts.number,
    }  # fmt: skip
    # the stream, its residual, a norm's and a sum's copies; what each Linear puts out, twice; a router's scores
    formula = (
        "tokens * bytes * (5 * hidden + 2 * max(attention, rest))"
        " + 2 * bytes * width * (tokens * routed + 128 * experts) + tokens * experts * 16 + tokens * 64"
    )
    layer = bound("activations/layer", formula, inputs, lower=lower, source=_SOURCE.format("models/, layers/"))
    drawn = bound(
        "activations/sampling",
        "sequences * vocab * 16 + 3 * tokens * hidden * bytes",
        {"sequences": run.sequences, "vocab": run.network.vocab, **_only(inputs, "tokens", "least", "hidden", "bytes")},
        lower=lower,
        source=_SOURCE.format("layers/logits_processor.py, _get_logits; layers/sampler.py, forward"),
    )
    return (max(layer, drawn, key=lambda term: term.upper_bytes), *_attention(run))


def _only(inputs: dict[str, int], *names: str) -> dict[str, int]:
    return {name: inputs[name] for name in names}


class _Experts(NamedTuple):
    routed: int  # experts of one token
    width: int  # what each puts out, inside and outside, of both its matrices
    number: int


def _widths(run: Pass) -> tuple[int, int, _Experts]:
    """Outputs of a layer's matrices on this card: the attention's, the others', and those of one expert."""
    whole = {tensor.name: tensor for tensor in run.network.tensors}
    attention = rest = width = routed = count = 0
    recurrent = any(cache.states for cache in run.network.caches)
    for share in shares(run.network, run.rank):
        tensor = whole[share.most.name]
        if not tensor.layers or _TOWER.search(tensor.name) or len(tensor.shape) < 2:  # noqa: PLR2004 - a matrix
            continue
        each = max(1, tensor.copies // len(tensor.layers))
        out = _output(share.most, run.network.hidden)
        if tensor.kind == "experts" or each > 1:
            count = max(count, each, tensor.shape[0] if tensor.kind == "experts" else 0)
            of = tensor.elements // tensor.copies
            stacked = tensor.shape[0] if tensor.kind == "experts" else each
            routed = max(routed, -(-stacked * (of - tensor.idle) // of))
            width += out
        elif tensor.kind in ("linear", "linear_subclass", "conv1d"):
            if _ATTENTION.search(tensor.name):
                attention += out
            else:
                rest += out
    # Recurrent layers convolve, split and gate what their matrices put out: two copies more.
    again = 2 if recurrent else 1
    return attention * again, rest * again, _Experts(routed, width, count)


def _output(tensor: Tensor, hidden: int) -> int:
    """Elements that a matrix puts out; of stacked experts either axis may be that one."""
    if tensor.kind == "experts":
        return (
            hidden if _SECOND.search(tensor.name) else max((n for n in tensor.shape[1:] if n != hidden), default=hidden)
        )
    return tensor.shape[1] if tensor.kind == "conv1d" else tensor.shape[0]


_ATTENTION: Final = re.compile(r"attn|attention")
_SECOND: Final = re.compile(r"down|w2|output")
_TOWER: Final = re.compile(r"vision|visual|image|video|audio|speech|tower|projector|encoder")


def _attention(run: Pass) -> Iterator[Term]:
    """Slots of every token that attention reads; expanded latents; states of recurrent layers."""
    yield bound(
        "activations/slots", "slots * 16", {"slots": run.slots}, source=_SOURCE.format("layers/attention/, kv_indices")
    )
    heads = max((group.heads for group in run.network.attention), default=0) // run.rank.tensor_parallel
    if run.latent:
        keys = run.network.sizes.get("qk_nope_head_dim", 0) + run.network.sizes.get("qk_rope_head_dim", 0)
        inputs = {
            "prefix": min(_PREFIX, run.slots), "tokens": run.tokens, "heads": heads, "latent": run.latent, "keys": keys,
            "values": run.network.sizes.get("v_head_dim", keys), "bytes": run.element_bytes,
        }  # fmt: skip
        yield bound(
            "activations/expanded_latents",
            "bytes * (prefix * (2 * heads * (keys + values) + 2 * (latent + keys))"
            " + tokens * heads * (2 * latent + keys))",
            inputs,
            source=_SOURCE.format("models/deepseek_common/attention_forward_methods/, get_max_chunk_capacity"),
        )
    whole = max((sum(state.elements for state in cache.states) for cache in run.network.caches), default=0)
    largest = -(-whole // run.rank.tensor_parallel)
    if largest:
        # in float32: a state for every 64 tokens and what comes of it, the state of every sequence before and after
        yield bound(
            "activations/states",
            "8 * state * (ceil_div(tokens, 64) + sequences)",
            {"state": largest, "tokens": run.tokens, "sequences": run.sequences},
            source=_SOURCE.format("layers/attention/fla/chunk_delta_h.py, layers/attention/mamba/"),
        )


_PREFIX: Final = 128 * 1024  # ForwardBatch.get_max_chunk_capacity


def graphs(run: Pass, read: Profile, made: Defaults, context: int) -> Iterator[Term]:
    """Captured passes: their nodes, a planner's buffer each, the logits they keep, tables for the longest context."""
    layers = run.rank.layers[1] - run.rank.layers[0]
    if made.graphs:
        kept = made.graphs[-1] if read.shared_logits else sum(made.graphs)
        # of every position a page in int32, a slot in int64 and a mask's byte, once more where some layers slide; of
        # every head the parts that eight blocks of keys leave, in float32
        group = max(run.network.attention, key=lambda group: group.heads * group.head_dim)
        inputs = {
            "graphs": len(made.graphs), "layers": layers, "node_bytes": _GRAPH_LAYER,
            "tables": 2 if run.network.windows else 1,
            "logits": kept, "vocab": run.network.vocab, "largest": made.graphs[-1], "context": context,
            "heads": group.heads // run.rank.tensor_parallel, "head_dim": max(group.head_dim, run.latent),
        }  # fmt: skip
        yield bound(
            "runtime/decode_graphs",
            "graphs * (layers * node_bytes + tables * 8388608) + logits * vocab * 4"
            " + largest * (context * 13 * tables + heads * (head_dim + 1) * 32)",
            inputs,
            source=_SOURCE.format("model_executor/cuda_graph_runner.py; ") + LIBRARY_SOURCE,
        )
    if made.prefill_graphs:
        yield bound(
            "runtime/prefill_graphs",
            "graphs * layers * piece_bytes",
            {"graphs": made.prefill_graphs, "layers": layers, "piece_bytes": _PIECE_LAYER},
            source=_SOURCE.format("model_executor/piecewise_cuda_graph_runner.py; ") + LIBRARY_SOURCE,
        )


def started(network: Architecture, rank: Rank, device: Device) -> tuple[Term, ...]:
    """What stands before the first weight: SGLang takes its fraction of the rest."""
    context = runtime(network, device, ())[0]
    if rank.tensor_parallel * rank.stages == 1:
        return (context,)
    return (context, measured("runtime/communication_start", 0, _NCCL_INIT, NCCL_SOURCE))


def libraries(run: Pass, device: Device) -> Iterator[Term]:
    """Workspaces, modules that come with the first kernels, what NCCL takes for its first messages."""
    yield runtime(run.network, device, ())[1]
    yield measured("runtime/kernel_modules", 0, _LIBRARIES, LIBRARY_SOURCE)
    # FlashInfer's and TensorRT-LLM's, the larger of both; four planners' integers
    yield bound(
        "runtime/attention_workspace",
        "workspace + planners * 8388608",
        {"workspace": 512 * MIB, "planners": 4},
        source=_SOURCE.format("layers/attention/flashinfer_backend.py, trtllm_mha_backend.py, workspace_buffer"),
    )
    if run.rank.tensor_parallel * run.rank.stages > 1:
        yield measured("runtime/communication", 0, _NCCL_FORWARD, NCCL_SOURCE)
        yield bound(
            "runtime/all_reduce_buffers",
            "2 * buffer",
            {"buffer": 16 * MIB},
            source=_SOURCE.format("distributed/device_communicators/custom_all_reduce.py, _MAX_CAR_SIZE"),
        )


def tables(run: Pass, context: int, requests: int | None) -> Iterator[Term]:
    """Which slot each token of each request has; lists of free slots, and of those that the prefix cache knows."""
    source = _SOURCE.format("mem_cache/memory_pool.py, ReqToTokenPool; model_runner_kv_cache_mixin.py")
    if requests is not None:
        inputs = {"requests": requests + 1, "context": context}
        yield bound("runtime/request_table", "requests * (context + 4) * 4", inputs, source=source)
    else:
        # 512 requests for each time that the pool holds the whole context, at least 2048 and at most 4096
        formula = "4 * min(4097 * (context + 4), max(2049 * (context + 4), 512 * pool + 16384 + 2 * (context + 4)))"
        yield bound("runtime/request_table", formula, {"pool": run.pool, "context": context}, source=source)
    yield bound(
        "runtime/slot_lists",
        "slots * 56",
        {"slots": run.slots},
        source=_SOURCE.format("mem_cache/allocator.py, swa_memory_pool.py, radix_cache.py"),
    )
