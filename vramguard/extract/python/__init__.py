"""What one Python file, or notebook, says: its names, constants and calls.

Only files that could load a model, or serve one, are parsed at all: the others are most of a repository. Those that may
hold a setting of a model, or call what loads it, are kept as text until somebody in `link/python` needs them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from vramguard.extract.python import serving, training
from vramguard.extract.python.modules import module_of
from vramguard.source import Location, Unreadable
from vramguard.source.notebook import Notebook
from vramguard.source.program import Inside, PythonText
from vramguard.source.python import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact, Word
    from vramguard.source import Document
    from vramguard.source.program import PythonModule

_LOADERS = (
    "from_pretrained", "from_quantized", "vllm", "sglang", "tensorrt_llm", "llama_cpp",
    "FastLanguageModel", "LlamaCpp", "text-generation-launcher", "trtllm-serve", "llama-server",
    "HuggingFaceModel", "from_model_id", "HuggingFaceLLM", "LLMConfig",
    "snapshot_download", "hf_hub_download", "load_dataset", "hub.load(", "SentenceTransformer", "CrossEncoder",
    "hf-hub:", "hf_hub:", "models:/", "HuggingFaceEmbeddings", "load_lora_weights",
)  # fmt: skip
_PIPELINES = ("transformers", "modelscope", "optimum")  # whose `pipeline(…)` loads a model; many others have one
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
    loads = may_load(text)
    answers = serving.may_serve(text) and (training.WORDS.search(text) or _FILES.search(text)) is not None
    if not loads and not answers:
        if len(text) <= _MAX_SETTINGS:
            yield PythonText(Location(document.path), document.kind, text)
        return
    source: Source = document.value
    if source.tree is None:
        if loads and document.kind == "python":
            yield Unreadable(Location(document.path), "it is no Python 3, so that nobody can tell what it loads", True)
        return
    place = serving.serves(document.path, source) if answers else None
    if loads or place is not None:
        module = module_of(document.path, source, loads=loads)
        yield replace(module, serves=place, files=frozenset(_FILES.findall(text))) if place else module
    elif len(text) <= _MAX_SETTINGS:
        yield PythonText(Location(document.path), document.kind, text)
    if place is not None and training.WORDS.search(text):
        yield from training.training_modes(document.path, source, place)


def may_load(text: str) -> bool:
    """Whether a module names a loader of models."""
    return any(word in text for word in _LOADERS) or ("pipeline(" in text and any(word in text for word in _PIPELINES))


def is_of_use(text: str) -> bool:
    """Whether a module that loads no model may hold a setting of one, or begins a program."""
    return _SETTINGS.search(text) is not None or _STARTS.search(text) is not None


@lru_cache(maxsize=4096)  # base and head of a pull request share nearly every module
def parsed(found: PythonText) -> PythonModule | None:
    """The module that a text is; None where it is no Python 3."""
    source = Notebook(found.text) if found.kind == "notebook" else Source(found.text)
    return None if source.tree is None else module_of(found.at.path, source, loads=False)


def embedded(text: Word, name: str, key: str) -> PythonModule | None:
    """The module that an object of another file holds under a key; None for one that loads nothing, or is none."""
    if "{{" in text.text or not may_load(text.text):
        return None
    source = Source(text.text)
    if source.tree is None:
        return None
    return replace(module_of(text.at.path, source, loads=True), at=text.at, inside=Inside(name, key, text.first))
