"""What one Python file, or notebook, says: its names, constants and calls.

Only files that could load a model, or hold a setting of one, are parsed at all: the others are most of a repository.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.extract.python import serving, training
from vramguard.extract.python.modules import module_of
from vramguard.source import Location, Unreadable
from vramguard.source.program import Inside
from vramguard.source.python import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact, Word
    from vramguard.source import Document
    from vramguard.source.program import PythonModule

_LOADERS = (
    "from_pretrained", "from_quantized", "vllm", "sglang", "tensorrt_llm", "llama_cpp", "pipeline(",
    "FastLanguageModel", "LlamaCpp", "text-generation-launcher", "trtllm-serve", "llama-server",
    "HuggingFaceModel", "from_model_id", "HuggingFaceLLM", "LLMConfig",
)  # fmt: skip
# A settings module: a name that is about a model gets a literal, a default or a field, at most one level deep.
_SETTINGS = re.compile(
    r"^(?: {4}|\t)?\w*(?:model|llm|ckpt|checkpoint|repo|hub|gpu|max_|context|quant|dtype|device|parallel)\w{0,40}"
    r"[ ]?(?::[^=\n]{1,80})?=[ ]?(?:[\"'\d(\[{TF]|os\.|getenv|Field|field|config\(|env)",
    re.MULTILINE | re.IGNORECASE,
)
_MAX_SETTINGS = 100_000  # characters of a module that only holds settings


# A program's beginning: what it calls and imports is of the modules that load.
_STARTS = re.compile(
    r"__main__|\b(?:FastAPI|Flask|Starlette|Quart|LitServer|Celery|Blocks|ChatInterface|Typer)\(|uvicorn\.run|st\.title"
    r"|\.bind\("
)


_FILES = re.compile(r"""["']([\w./-]{1,100}\.(?:ya?ml|toml|json))["']""")


def extract(document: Document) -> Iterator[Fact]:
    """The module, if it could matter, and what of training is left in it if it serves."""
    text = document.text
    loads = any(word in text for word in _LOADERS)
    answers = serving.may_serve(text) and (training.WORDS.search(text) or _FILES.search(text)) is not None
    holds = len(text) <= _MAX_SETTINGS and _SETTINGS.search(text) is not None
    starts = len(text) <= _MAX_SETTINGS and _STARTS.search(text) is not None
    if not loads and not holds and not answers and not starts:
        return
    source: Source = document.value
    if source.tree is None:
        if loads and document.kind == "python":
            yield Unreadable(Location(document.path), "it is no Python 3, so that nobody can tell what it loads", True)
        return
    place = serving.serves(document.path, source) if answers else None
    if loads or holds or starts or place is not None:
        module = module_of(document.path, source, loads=loads)
        yield replace(module, serves=place, files=frozenset(_FILES.findall(text))) if place else module
    if place is not None and training.WORDS.search(text):
        yield from training.training_modes(document.path, source, place)


def embedded(text: Word, name: str, key: str) -> PythonModule | None:
    """The module that an object of another file holds under a key; None for one that loads nothing, or is none."""
    if "{{" in text.text or not any(word in text.text for word in _LOADERS):
        return None
    source = Source(text.text)
    if source.tree is None:
        return None
    return replace(module_of(text.at.path, source, loads=True), at=text.at, inside=Inside(name, key, text.first))
