"""Truss: Baseten's config.yaml, in whose folder a server's command stands, or a TensorRT-LLM build, or Python.

Read in docs.baseten.co: "Configuration" and "Engine builder: build configuration"; names of `runtime` as in the
examples of "inference stack v2" (basetenlabs/truss-examples).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Hardware, Launch, Reference, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.extract.tools.values import Node

_MARKS = (
    *("model_name", "model_metadata", "python_version", "base_image", "docker_server", "trt_llm", "model_cache"),
    *(
        "requirements",
        "secrets",
        "environment_variables",
        "external_package_dirs",
        "system_packages",
        "model_class_name",
    ),
)
_ENOUGH = 2
# Where the build, or the runtime of the newer stack, says a field of ours.
_FIELDS = (
    ("tensor_parallel_size", ("build", "tensor_parallel_count")),
    ("tensor_parallel_size", ("runtime", "tensor_parallel_size")),
    ("pipeline_parallel_size", ("build", "pipeline_parallel_count")),
    ("max_model_len", ("build", "max_seq_len")),
    ("max_model_len", ("runtime", "max_seq_len")),
    ("max_num_seqs", ("build", "max_batch_size")),
    ("max_num_seqs", ("runtime", "max_batch_size")),
    ("max_num_batched_tokens", ("build", "max_num_tokens")),
    ("max_num_batched_tokens", ("runtime", "max_num_tokens")),
    ("gpu_memory_utilization", ("runtime", "kv_cache_free_gpu_mem_fraction")),
    ("gpu_memory_utilization", ("runtime", "patch_kwargs", "kv_cache_config", "free_gpu_memory_fraction")),
    ("kv_cache_dtype", ("runtime", "patch_kwargs", "kv_cache_config", "dtype")),
    ("speculative_method", ("build", "speculator", "speculative_decoding_mode")),
    ("speculative_method", ("runtime", "patch_kwargs", "speculative_config", "decoding_type")),
    ("num_speculative_tokens", ("build", "speculator", "num_draft_tokens")),
    ("num_speculative_tokens", ("runtime", "patch_kwargs", "speculative_config", "num_nextn_predict_layers")),
)
# `quantization_type` of the build: the weights' format, and the cache's dtype.
_QUANTIZATION = {
    "fp8": ("fp8", None), "fp8_kv": ("fp8", "fp8"), "fp4": ("nvfp4", None), "fp4_kv": ("nvfp4", "fp8"),
    "smooth_quant": ("smoothquant", None), "weights_int8": ("int8", None), "weights_int4": ("int4", None),
}  # fmt: skip
_WHOLE = ("", "no_quant", "no_quantization")  # as the checkpoint is


def truss(document: Node) -> Iterator[Launch]:
    """The deployment of one config.yaml."""
    value = document.value
    if not isinstance(value, dict) or "apiVersion" in value or sum(mark in value for mark in _MARKS) < _ENOUGH:
        return
    if not isinstance(value.get("resources"), dict) and "trt_llm" not in value and "docker_server" not in value:
        return
    folder = posixpath.dirname(document.document.path)
    start, build = document.get("docker_server", "start_command"), document.get("trt_llm")
    joins = {} if start.value is not None or build.value is not None else {"module": f"{folder}/model/model.py"}
    yield Launch(
        at=next((node for node in (start, build) if node.value is not None), document.get("resources")).key_at,
        form="truss",
        name=document.get("model_name").text or "",
        command=start.words(),
        env={**document.get("environment_variables").variables()},
        mounts={"/app": Reference(document.at, "file", folder)},
        image=document.get("base_image", "image").word(),
        hardware=_hardware(document.get("resources")),
        given=_given(build) if isinstance(build.value, dict) else {},
        joins={key: name.lstrip("/") for key, name in joins.items()},
    )


_CARDS: Final = {"A100": "A100-80GB"}  # basetenlabs/truss-examples, llama/llama-7b-exllama/README.md: it has 80 GB


def _hardware(resources: Node) -> Hardware:
    accelerator, nodes = resources.get("accelerator"), resources.get("node_count")
    name, _, number = (accelerator.text or "").partition(":")
    if not name:
        used = resources.get("use_gpu")
        return Hardware(places={"gpus": used.at} if used.value is True else {})
    count = int(number) if re.fullmatch(r"[0-9]{1,4}", number) else Unknown(number) if number else 1
    places = {"gpu": accelerator.at, "gpus": accelerator.at}
    return Hardware(gpu=_CARDS.get(name, name), gpus=count, nodes=nodes.integer, places=places)


def _given(trt_llm: Node) -> Mapping[str, Word]:
    """What a TensorRT-LLM build states. The older stack builds an engine, whose memory is fixed by the builder."""
    given = {"engine": Word("tensorrt-llm", trt_llm.key_at)}
    if trt_llm.get("inference_stack").value != "v2":
        given["unread"] = Word("an engine of Baseten's builder", trt_llm.key_at)
    target = trt_llm.get("target") if trt_llm.get("target", "build").value is not None else trt_llm
    checkpoint = target.get("build", "checkpoint_repository")
    for field, key in (("model", "repo"), ("revision", "revision")):
        if (word := checkpoint.get(key).word()) is not None:
            given[field] = word
    for field, keys in _FIELDS:
        if (word := target.get(*keys).word()) is not None:
            given[field] = word
    return given | _quantized(target.get("build", "quantization_type"))


def _quantized(kind: Node) -> dict[str, Word]:
    word = kind.word()
    if word is None or word.text in _WHOLE:
        return {}
    weights, cache = _QUANTIZATION.get(word.text, (word.text, None))
    found = {"quantization": weights} | ({"kv_cache_dtype": cache} if cache else {})
    return {field: Word(text, word.at, word.known) for field, text in found.items()}
