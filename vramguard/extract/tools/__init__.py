"""Tools that deploy from a file of their own: compose, SkyPilot, dstack, Truss, Ray Serve, Triton, CI and others.

One module for each family. A reader is a function of one `Node`, the top of a document, and yields launches; it yields
nothing for what is not its tool's. Which file is whose is told by its name and its shape together.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.extract.tools.values import top

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Launch
    from vramguard.source import Document

# Which files, by syntax and by path -> the module and its function that reads them.
READERS: tuple[tuple[str, re.Pattern[str], str, str], ...] = (
    ("yaml", re.compile(""), "compose", "services"),
    ("yaml", re.compile(""), "skypilot", "task"),
    ("yaml", re.compile(""), "dstack", "run"),
    ("yaml", re.compile(r"(?:^|/)config\.ya?ml$"), "truss", "truss"),
    ("yaml", re.compile(""), "serve", "config"),
    ("yaml", re.compile(""), "graphs", "dynamo"),
    ("yaml", re.compile(""), "graphs", "bento"),
    ("toml", re.compile(r"(?:^|/)pyproject\.toml$"), "graphs", "bento"),
    ("yaml", re.compile(""), "swap", "llama_swap"),
    ("yaml", re.compile(""), "swap", "local_ai"),
    ("yaml", re.compile(r"(?:^|/)(?:\.github/workflows/[^/]+|action)\.ya?ml$"), "workflows", "github"),
    ("yaml", re.compile(r"(?:^|/)(?:[^/]*gitlab-ci[^/]*|\.gitlab/.+)\.ya?ml$"), "workflows", "gitlab"),
    ("yaml", re.compile(r"(?:^|/)(?:[^/]*azure-pipelines[^/]*|\.azure[^/]*/.+)\.ya?ml$"), "workflows", "azure"),
    ("yaml", re.compile(""), "cloud", "azure_ml"),
    ("toml", re.compile(r"(?:^|/)fly(?:\.[^/]+)?\.toml$"), "cloud", "fly"),
    ("pbtxt", re.compile(""), "triton", "config"),
    ("json", re.compile(r"/[0-9]/model\.json$"), "triton", "model"),
)
# What tells an engine's arguments where no engine is named.
_ARGUMENTS = re.compile(
    r"trt_llm|llm_configs|model_loading_config|gpu_memory_utilization|tensor_parallel_size|max_model_len"
)


def extract(document: Document) -> Iterator[Launch]:
    """Every launch that a tool's file describes."""
    if not (mentions(document.text) or _ARGUMENTS.search(document.text)):
        return
    for kind, pattern, module, function in READERS:
        if kind == document.kind and pattern.search(document.path):
            reader = getattr(import_module(f"{__name__}.{module}"), function)
            for node in top(document):
                yield from reader(node)
