"""Triton: a model's config.pbtxt, and the engine's arguments in the model.json beside it.

Read in triton-inference-server/vllm_backend (README, "using the vLLM backend") and tensorrtllm_backend
(docs/model_config.md, "TensorRT-LLM model").
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from vramguard.extract.tools.values import Node, flags
from vramguard.facts import Hardware, Launch, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_VLLM = frozenset(
    {"gpu_memory_utilization", "max_model_len", "enforce_eager", "tensor_parallel_size", "max_num_seqs", "dtype"}
)
_ENOUGH = 2  # names of vLLM's: one alone may be anybody's
_MODELS = ("model", "model_name", "model_id", "hf_model_id", "model_path")
# Parameters of the tensorrtllm backend, by the field that they are.
_OF_TRTLLM = {
    "kv_cache_free_gpu_mem_fraction": "gpu_memory_utilization",
    "max_num_sequences": "max_num_seqs",
}
_NOT_FLAGS = frozenset({"model", "disable_log_requests", "disable_log_stats"})


def config(document: Node) -> Iterator[Launch]:
    """A model of TensorRT-LLM's backend, or one in Python whose parameters are vLLM's."""
    backend = document.get("backend", 0)
    parameters = {
        node.get("key", 0).text: node.get("value", 0, "string_value", 0) for node in document.get("parameters")
    }
    words = {name: word for name, node in parameters.items() if name and (word := node.word()) is not None}
    if backend.value == "tensorrtllm" and "gpt_model_path" in words:
        given = {
            "engine": Word("triton:tensorrt-llm", backend.at),
            "unread": Word("a built TensorRT engine", words["gpt_model_path"].at),
            "model": words["gpt_model_path"],
        }
        fields = {_OF_TRTLLM[name]: word for name, word in words.items() if name in _OF_TRTLLM and word.text}
    elif backend.value == "python" and len(words.keys() & _OF_VLLM) >= _ENOUGH and words.keys() & {*_MODELS}:
        model = next(words[name] for name in _MODELS if name in words)
        given = {"engine": Word("triton:vllm", backend.at), "model": model, **_instances(document)}
        fields = {name: word for name, word in words.items() if name in _OF_VLLM and word.text}
    else:
        return
    folder = posixpath.dirname(document.document.path)
    name = document.get("name", 0).text or posixpath.basename(folder)
    yield Launch(document.at, "triton", name, hardware=_hardware(document), given={**given, **fields})


def _instances(document: Node) -> dict[str, Word]:
    """How many processes of a model in Python each card gets, where there is more than one."""
    for group in document.get("instance_group"):
        count = group.get("count", 0).word()
        if group.get("kind", 0).value != "KIND_CPU" and count is not None and count.text != "1":
            return {"processes_per_gpu": count}
    return {}


def _hardware(document: Node) -> Hardware:
    """The cards that an instance is put on by number, if it is."""
    for group in document.get("instance_group"):
        gpus = group.get("gpus")
        if group.get("kind", 0).value != "KIND_CPU" and isinstance(gpus.value, list):
            return Hardware(gpus=len(gpus.value), places={"gpus": gpus.get(0).at})
    return Hardware()


def model(document: Node) -> Iterator[Launch]:
    """The arguments of vLLM in the version folder of a model, `model.json`."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("model"), str) or not (value.keys() & _OF_VLLM):
        return
    *_, name, _, _ = ["", *document.document.path.split("/")]
    named = document.get("model")
    yield Launch(
        at=named.at,
        form="triton",
        name=name,
        command=flags(document, _NOT_FLAGS),
        entrypoint=False,
        given={"engine": Word("triton:vllm", named.key_at), "model": Word(value["model"], named.at)},
    )
