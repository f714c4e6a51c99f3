"""The lines of a log that name memory, in the words of each version of an engine.

A row's groups are fields of `Measured` or of `Settings`; `name__1` adds to `name`. Every pattern begins with literal
words and repeats nothing without bound, so that a search is linear in the line, whatever the line holds.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Row(NamedTuple):
    """One known line: whose it is, and whether what it says adds to what was said before (two pools, two graphs)."""

    engine: str
    pattern: re.Pattern[str]
    adds: bool = False


_NUMBER: Final = r"-?\d{1,9}(?:\.\d{1,9})?"
_COUNT: Final = r"\d[\d,]{0,20}"
_SIZE: Final = rf"{_NUMBER} ?[GM]i?B"
_FORMS: Final = {"%s": _SIZE, "%f": _NUMBER, "%d": _COUNT}


def _compile(template: str) -> re.Pattern[str]:
    """`weights=%s` within a sentence is a size named weights, %f a decimal, %d a count; a bare %s is not kept."""

    def group(match: re.Match[str]) -> str:
        form = _FORMS[match[2]]
        return f"(?P<{match[1]}>{form})" if match[1] else form

    return re.compile(re.sub(r"(?:<(\w+)>)?(%[sfd])", group, re.escape(template).replace("\\ ", r"\s{1,40}")))


def _rows(engine: str, text: str, *, adds: bool = False) -> tuple[Row, ...]:
    return tuple(Row(engine, _compile(line.strip()), adds) for line in text.strip().splitlines())


# vLLM 0.6 to 0.33: worker/worker.py and executor/executor_base.py of the V0 engine (until 0.10), and of V1
# v1/worker/gpu_worker.py, gpu_model_runner.py and gpu/model_runner.py, v1/core/kv_cache_utils.py, utils/mem_utils.py
# and model_executor/model_loader/base_loader.py. "Actual usage:" is that of vLLM's plug-in for Ascend; the last row is
# PyTorch's, c10/cuda/CUDACachingAllocator.cpp.
_VLLM: Final = """
Loading model weights took <weights>%s
Model loading took <weights>%s
Peak GPU memory after loading weights: <loading_peak>%s
total_gpu_memory=<total>%s
initial_memory_usage=<initial>%s
peak_torch_memory=<torch_peak>%s
memory_usage_post_profile=%s non_torch_memory=<non_torch>%s
kv_cache_size=<kv_cache>%s gpu_memory_utilization=<gpu_memory_utilization>%f
total_gpu_memory <total>%s
total_gpu_memory (<total>%s
the current vLLM instance can use <requested>%s
gpu_memory_utilization (<gpu_memory_utilization>%f) = <requested>%s
gpu_memory_utilization <gpu_memory_utilization>%f
model weights take <weights>%s
] non_torch_memory <non_torch>%s
; non_torch_memory takes <non_torch>%s
PyTorch activation peak memory <activation>%s
PyTorch activation peak memory takes <activation>%s
the rest of the memory reserved for KV Cache is <kv_cache>%s
available_kv_cache_memory <kv_cache>%s
# GPU blocks: <kv_cache_blocks>%d
# CUDA blocks: <kv_cache_blocks>%d
# cuda blocks: <kv_cache_blocks>%d
free_memory=<free>%s, total_memory=<total>%s
cuda_memory=<initial>%s
worker requested memory: <requested>%s
Initial free memory: <free>%s; Requested memory: %f (util), <requested>%s
Initial free memory <free>%s, reserved <kv_cache>%s memory for KV Cache
Total non KV cache memory: <non_kv_cache>%s
torch peak memory increase: <activation>%s
non-torch forward increase memory: <non_torch>%s
total consumed (from mem_get_info): <consumed>%s
weights memory: <weights>%s
Available KV cache memory: <kv_cache>%s
KV cache size: <kv_cache_tokens>%d tokens
Maximum concurrency for <concurrency_tokens>%d tokens per request: <concurrency>%fx
num_gpu_blocks is: <kv_cache_blocks>%d
Estimated CUDA graph memory: <graphs_estimated>%s total
Graph capturing finished in %f secs, took <graphs>%s
Encoder graph capturing finished in %f secs, took <encoder_graphs>%s
CUDA graph pool memory: <graphs>%s (actual), <graphs_estimated>%s (estimated)
Desired GPU memory utilization is (<gpu_memory_utilization>%f, <requested>%s)
desired GPU memory utilization (<gpu_memory_utilization>%f, <requested>%s)
/<total>%s) on startup
larger than the available KV cache memory (<kv_cache>%s)
that can be stored in KV cache (<kv_cache_tokens>%d)
Actual usage is <weights>%s for weight, <activation>%s for peak activation, <non_torch>%s for non-torch memory
Actual usage: <weights>%s for weights, <activation>%s for peak activation, <non_torch>%s for non-torch memory
Actual usage is <consumed>%s for consumed memory (weights + non-torch), <activation>%s for peak activation
and <graphs>%s for CUDAGraph memory
, <graphs>%s for NPU graph memory
Current kv cache memory in use is <kv_cache>%s
Chunked prefill is enabled with max_num_batched_tokens=<max_num_batched_tokens>%d
Using max model len <max_model_len>%d
Setting attention block size to <block_size>%d tokens
has a total capacity of <total>%s
"""

# SGLang 0.4 to 0.5.10: model_executor/model_runner.py, mem_cache/memory_pool.py, managers/scheduler.py.
_SGLANG: Final = """
Load weight begin. avail mem=<free>%s
max_total_num_tokens=<kv_cache_tokens>%d
chunked_prefill_size=<max_num_batched_tokens>%d, max_prefill_tokens=%d
max_running_requests=<max_num_seqs>%d, context_len=<max_model_len>%d
"""

# A draft model is loaded, cached and captured after the model that it drafts for, in the same words; the pools of a
# hybrid model each have a line.
_SGLANG_SUMS: Final = """
Load weight end
#tokens: <kv_cache_tokens>%d,
Init torch distributed ends. mem usage=<initial>%s
K size: <kv_cache>%s, V size: <kv_cache__1>%s
, KV size: <kv_cache>%s
conv_state size: <state_cache>%s
ssm_state size: <state_cache>%s
intermediate_ssm_state_cache size: <state_cache>%s
intermediate_conv_window_cache size: <state_cache>%s
"""

# These name the bytes behind words that vary, so they are written out.
_SGLANG_ENDS: Final = (
    Row(
        "sglang",
        re.compile(rf"Load weight end\.[^\n]{{1,300}}?\bmem usage=(?P<weights>{_SIZE})"),
        adds=True,
    ),
    Row(
        "sglang",
        re.compile(rf"Init torch distributed ends\. elapsed={_NUMBER} s, mem usage=(?P<initial>{_SIZE})"),
        adds=True,
    ),
    Row(
        "sglang",
        re.compile(rf"graph end\. Time elapsed: {_NUMBER} s\. mem usage=(?P<graphs>{_SIZE})"),
        adds=True,
    ),
)

ROWS: Final = (
    *_rows("vllm", _VLLM),
    *_rows("sglang", _SGLANG),
    *_rows("sglang", _SGLANG_SUMS, adds=True),
    *_SGLANG_ENDS,
)

# Lines about bytes that say nothing of what a start takes: room that is left, hints, other memory than the card's.
KNOWN: Final = tuple(
    re.compile(words)
    for words in (
        r"Free memory after profiling: ",
        r"Free memory on device \(",  # its parts are rows above
        r"Memory profiling takes ",  # likewise, on the lines of V1
        r"Estimated [\w ]{1,30} CUDA graph memory: ",  # of one kind of graph, which the total holds
        r"Estimated encoder CUDA graph memory: ",
        r"\bavail[ _]mem=",  # SGLang: what is left at this moment
        r"\bavailable_[gc]pu_mem=",
        r"SWAKVPool mem usage: ",  # the sum of two pools that have lines of their own
        r"Calculated size of ",
        r"Flashinfer max size: ",  # from what message size on a collective is not fused
        r"Checkpoint size: ",
        r"checkpoint page cache",
        r"\bhost memory\b",
        r"\bCPU (?:swap|memory|blocks)\b",
        r"Tried to allocate ",
        r"\bsafetensors\b",
        r"pytorch_model[\w.-]{0,40}\.bin",
    )
)

# A line that may be about memory: bytes with a unit, but no rate of them.
BYTES: Final = re.compile(r"\d ?[GM]i?B\b(?!/)")

# Any line that ROWS, KNOWN or the settings can match holds one of these; most lines of a log hold none.
TELLING: Final = re.compile(
    r"[GM]i?B\b|tokens|blocks|oncurrency|engine|args|version|GPU memory|gpu_memory|max model len|scheduling|_num_"
)
