"""Files of an engine's options, and what only looks like one."""

from __future__ import annotations

import pytest

from vramguard.extract.options import extract
from vramguard.facts import Texts
from vramguard.source import Document, read


def found(text: str) -> dict[str, str] | None:
    document = read("conf/engine.yaml", text.encode(), kind="yaml")
    assert isinstance(document, Document)
    facts = [fact for fact in extract(document) if isinstance(fact, Texts)]
    if not facts:
        return None
    assert (facts[0].form, facts[0].name) == ("options", "conf/engine.yaml")
    return {key: word.text for key, word in facts[0].values.items()}


def test_flags_of_vllm() -> None:
    text = "model: a/b\ntensor_parallel_size: 2\ngpu-memory-utilization: 0.90\nenforce-eager: true\n"
    assert found(text) == {
        "model": "a/b", "tensor_parallel_size": "2", "gpu-memory-utilization": "0.90", "enforce-eager": "true",
    }  # fmt: skip


def test_keys_of_tensorrt_llm() -> None:
    text = "max_batch_size: 8\nkv_cache_config:\n  free_gpu_memory_fraction: 0.8\n  dtype: fp8\n"
    assert found(text) == {
        "max_batch_size": "8",
        "kv_cache_config": '{"free_gpu_memory_fraction": 0.8, "dtype": "fp8"}',
        "kv_cache_config.free_gpu_memory_fraction": "0.8",
        "kv_cache_config.dtype": "fp8",
    }


def test_places() -> None:
    document = read("conf/engine.yaml", b"model: a/b\nmax-model-len: 4096\n", kind="yaml")
    assert isinstance(document, Document)
    (fact,) = (fact for fact in extract(document) if isinstance(fact, Texts))
    at = fact.values["max-model-len"].at
    assert (at.path, at.line, at.column) == ("conf/engine.yaml", 2, 16)


@pytest.mark.parametrize(
    "text",
    [
        "", "model: a/b\nepochs: 3\n", "apiVersion: v1\nkind: Pod\nmodel: x\n", "- model: a/b\n", "model\n",
        "model: a/b\n---\nmodel: c/d\n", "max: {deep: {deeper: 1}}\nmax_tokens: 3\n", "{}\n",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert found(text) is None
