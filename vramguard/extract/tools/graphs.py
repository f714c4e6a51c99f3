"""Graphs of services in Python that one file configures: NVIDIA Dynamo's (`dynamo serve -f`), BentoML's.

Read in ai-dynamo/dynamo 0.2 and 0.3 (examples/llm/configs), bentoml/BentoVLLM, and docs.bentoml.com, "Configure
deployments".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.tools.values import flags
from vramguard.facts import Hardware, Launch, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.tools.values import Node

_WORKER = re.compile(r"(?:[A-Z][A-Za-z0-9]*)?Worker")
_ENGINES = (("vllm", "vllm"), ("sglang", "sglang"), ("tensorrtllm", "tensorrt-llm"), ("trtllm", "tensorrt-llm"))
_NO_FLAGS = frozenset({"ServiceArgs", "common-configs", "model", "model_path", "model-path", "served_model_name"})
_MODEL = ("model", "model-path", "model_path")


def dynamo(document: Node) -> Iterator[Launch]:
    """The workers of a graph: each a process with cards and the engine's arguments."""
    value = document.value
    if not isinstance(value, dict) or "Frontend" not in value or "apiVersion" in value:
        return
    common = document.get("Common")
    for name, worker in document.items():
        cards = worker.get("ServiceArgs", "resources", "gpu")
        if not _WORKER.fullmatch(name) or not isinstance(worker.value, dict):
            continue
        taken = {item.text for item in worker.get("common-configs")}
        model = worker.first(*_MODEL).word() or (common.first(*_MODEL).word() if taken & {*_MODEL} else None)
        said = name.lower() if name != "Worker" else document.document.text.lower()
        engine = next((engine for mark, engine in _ENGINES if mark in said), None)
        if model is None or engine is None:
            continue
        own = {flag.text.partition("=")[0]: flag for flag in flags(worker, _NO_FLAGS)}
        shared = {flag.text.partition("=")[0]: flag for flag in flags(common, _NO_FLAGS)}
        shared = {key: flag for key, flag in shared.items() if key.lstrip("-") in taken}
        yield Launch(
            at=worker.key_at,
            form="dynamo",
            name=name,
            command=tuple((shared | own).values()),
            entrypoint=False,
            hardware=Hardware(gpus=cards.integer, places={"gpus": cards.at} if cards.value is not None else {}),
            given={"engine": Word(engine, worker.key_at), "model": model},
        )


# Arguments of a service of BentoVLLM, by the field's name.
_ARGUMENTS = {
    "model": "model_id", "tensor_parallel_size": "tp", "max_model_len": "max_model_len",
    "kv_cache_dtype": "kv_cache_dtype", "data_parallel_size": "dp",
}  # fmt: skip


def bento(document: Node) -> Iterator[Launch]:
    """The arguments of BentoVLLM (`bentoml build --arg-file`, or in pyproject.toml): a model, a card, vLLM's flags."""
    build = document.get("tool", "bentoml", "build")
    args = (build if build.value is not None else document).get("args")
    if not isinstance(document.value, dict) or "apiVersion" in document.value or not isinstance(args.value, dict):
        return
    if not isinstance(args.value.get("model_id"), str) or not isinstance(args.value.get("gpu_type"), str):
        return
    given = {field: word for field, key in _ARGUMENTS.items() if (word := args.get(key).word()) is not None}
    card, cards = args.get("gpu_type"), args.get("tp")
    yield Launch(
        at=args.get("model_id").at,
        form="bentoml",
        name=args.get("name").text or "",
        command=args.get("cli_args").words(),
        entrypoint=False,
        env={**args.get("envs").variables()},
        hardware=Hardware(
            card.text,
            1 if cards.value is None else cards.integer,
            places={"gpu": card.at, "gpus": cards.at if cards.value is not None else card.at},
        ),
        given={**given, "engine": Word("vllm", args.key_at)},
    )
