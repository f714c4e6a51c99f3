"""Whether a text could name a place where a model is loaded: asked before anything dear is done with it."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

# One of these stands, in some case, in every launch of an engine and beside every loader of models. Plain words, as a
# search for each is many times faster than one expression that holds them all.
_WORDS = (
    *(
        "vllm",
        "sglang",
        "sgl-",
        "text-generation",
        "trtllm",
        "trt-llm",
        "trt_llm",
        "tensorrt",
        "llama-server",
        "llama.cpp",
    ),
    *(
        "llama_cpp",
        "llamacpp",
        "triton",
        "huggingface",
        "hf://",
        "from_pretrained",
        "transformers",
        "ollama",
        "nimservice",
    ),
    *("/nim/", "nim_", "kubeai", "kaito", "inferenceservice", "dynamo", "llm-d", "lmdeploy", "tgi", "aphrodite"),
    *("nvidia.com/", "amd.com/", "hf_model", "hf-model"),
    *("".join(parts) for parts in product(("model",), ("", "_", "-"), ("id", "name", "path", "uri", "repo", "url"))),
)


@lru_cache(maxsize=8)  # several readers ask of one file
def mentions(text: str) -> bool:
    """Whether a word of the text is one that a launch of an engine, or a loader of models, would have."""
    lower = text.lower()
    return any(word in lower for word in _WORDS)
