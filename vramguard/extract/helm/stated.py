"""Keys of values that state a field of a deployment, whatever chart they belong to: `vllm.maxModelLen: 8192`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.facts import HelmKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts.nodes import Node

# Names of vLLM's flags, by which charts call their keys too; of others only those that no other thing is called.
_FIELDS = frozenset(
    (
        *("max_model_len", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
        *("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype", "enforce_eager"),
        *("dtype", "quantization", "cpu_offload_gb", "swap_space", "max_loras", "max_lora_rank", "block_size"),
        "enable_expert_parallel",
    )
)
_OTHERS = {
    "max_model_length": "max_model_len",
    "tensor_parallel": "tensor_parallel_size",
    "tensor_parallelism": "tensor_parallel_size",
    "pipeline_parallel": "pipeline_parallel_size",
    "gpu_memory_util": "gpu_memory_utilization",
}
# What a block of values is called that holds an engine's settings -> the engine.
ENGINE_KEYS = {
    "vllm": "vllm",
    "sglang": "sglang",
    "tgi": "tgi",
    "text-generation-inference": "tgi",
    "llamacpp": "llama.cpp",
}
_MAX_DEPTH = 12
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def snake(key: str) -> str:
    """`maxModelLen` and `max-model-len` as `max_model_len`."""
    return _CAMEL.sub("_", key).replace("-", "_").lower()


def field_of(key: str) -> str | None:
    """The field of a deployment that a key states; a name in capitals is a variable's."""
    name = "" if key.isupper() else snake(key)
    return name if name in _FIELDS else _OTHERS.get(name)


def stated(node: Node, keys: tuple[str, ...] = ()) -> Iterator[HelmKey]:
    """Every key with a value that states a field, by the keys that lead to it; lists are the templates' to walk."""
    if len(keys) > _MAX_DEPTH:
        return
    for key, child in node.items():
        path = (*keys, key)
        field = field_of(key)
        if isinstance(child.value, dict):
            yield from stated(child, path)
        elif field and child.text:
            yield HelmKey(child.at, path, field)
