"""Servers that start engines on this machine by a list of models: llama-swap, LocalAI.

Read in llama-swap's config.example.yaml (v160) and LocalAI's core/config/model_config.go (v3).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.tools.values import FILLED
from vramguard.facts import Launch, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.extract.tools.values import Node

_MACRO = re.compile(r"\$\{([A-Za-z0-9_.-]{1,64})\}")
_NESTED_MACROS = 4  # how often one may stand in another
_MAX_WORDS = 2000


def llama_swap(document: Node) -> Iterator[Launch]:
    """The models of a llama-swap file: each a command that is started when it is asked for."""
    models = document.get("models")
    if not isinstance(document.value, dict) or "apiVersion" in document.value or not isinstance(models.value, dict):
        return
    for name, model in models.items():
        if not isinstance(model.get("cmd").value, str):
            continue
        macros = {key: node for holder in (document, model) for key, node in holder.get("macros").items()}
        words = list(_without_comments(model.get("cmd").words()))
        for _ in range(_NESTED_MACROS):
            words = [filled for word in words for filled in _filled(word, macros, name)]
        if len(words) < _MAX_WORDS:
            yield Launch(
                at=model.key_at,
                form="llama-swap",
                name=name,
                command=tuple(words),
                env={**model.get("env").variables()},
            )


def _without_comments(words: tuple[Word, ...]) -> Iterator[Word]:
    """The words of the lines that do not begin with `#`."""
    line, comment = 0, False
    for word in words:
        if word.at.line != line:
            line, comment = word.at.line, word.text.startswith("#")
        if not comment:
            yield word


def _filled(word: Word, macros: Mapping[str, Node], model: str) -> Iterator[Word]:
    """A word with its macros: one that is nothing but a macro becomes all the words of it."""
    whole = _MACRO.fullmatch(word.text)
    if whole and whole[1] in macros and isinstance(macros[whole[1]].value, str):
        yield from macros[whole[1]].words()
        return

    def value(match: re.Match[str]) -> str:
        macro = macros.get(match[1])
        return model if match[1] == "MODEL_ID" else (macro.text if macro else None) or match[0]

    text = _MACRO.sub(value, word.text)
    yield word if text == word.text or len(text) > _MAX_WORDS else Word(text, word.at, FILLED.search(text) is None)


_ENGINES = {
    "vllm": "vllm", "sglang": "sglang", "transformers": "transformers", "llama-cpp": "llama.cpp", "llama": "llama.cpp",
    "cuda12-llama-cpp": "llama.cpp", "cuda12-vllm": "vllm", "cuda13-vllm": "vllm", "rocm-vllm": "vllm",
}  # fmt: skip
_OF_VLLM = (
    *("gpu_memory_utilization", "tensor_parallel_size", "max_model_len", "quantization", "dtype", "enforce_eager"),
    *("swap_space", "kv_cache_dtype"),
)


def local_ai(document: Node) -> Iterator[Launch]:
    """A model's file of LocalAI, if its backend is one of ours."""
    model, backend = document.get("parameters", "model"), document.get("backend")
    engine = _ENGINES.get(str(backend.value))
    named = model.word()
    if engine is None or named is None or document.get("name").text is None:
        return
    given = {"engine": Word(engine, backend.at), "model": named}
    fields = [*((name, name) for name in _OF_VLLM)] if engine == "vllm" else []
    if engine == "llama.cpp":
        fields = [("max_model_len", "context_size"), ("n_gpu_layers", "gpu_layers")]
    for field, key in fields:
        if (word := document.get(key).word()) is not None:
            given[field] = word
    yield Launch(at=backend.at, form="localai", name=document.get("name").text or "", given=given)
