"""Python that exports metrics, by words of its text: such a module need not be taken apart to be seen."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from vramguard.facts.telemetry import PythonMetrics
from vramguard.source import Location, Ruler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

_CLIENTS: Final = (
    r"prometheus_client|prometheus_fastapi_instrumentator|starlette_exporter|starlette_prometheus|aioprometheus"
)
_IMPORTS_CLIENT: Final = re.compile(rf"^[ \t]*(?:from|import)[ \t]+(?:{_CLIENTS})\b", re.MULTILINE)
_EXPOSES: Final = re.compile(
    r"^(?![ \t]*(?:#|from\b|import\b))[^#\n]*?\b(make_asgi_app|make_wsgi_app|start_http_server|generate_latest"
    r"|Instrumentator|PrometheusMiddleware|handle_metrics)\(",
    re.MULTILINE,
)
_EXPORTS: Final = re.compile(r"\b(?:Gauge|Counter|Histogram|Summary)\(\s*(?:name\s*=\s*)?[rf]?[\"']([\w:]+)")
_PREFIXES: Final = ("vllm:", "sglang:", "tgi_", "nv_inference_", "DCGM_FI_", "DCGM_EXP_")
_LOOSE: Final = ("nv_", "vllm_", "triton_", "nvidia_")  # of metrics in a module that speaks of metrics
_LOOSE_WORDS: Final = re.compile(rf"\b(?:{'|'.join(_LOOSE)})\w+")
_SPEAKS: Final = re.compile(r"prometheus|metric|exporter|# TYPE", re.IGNORECASE)
_NAMED: Final = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
_MOST_NAMED: Final = 4000
# A name that is no plain text, what stands before names, and clients that have other ways to give them.
_MADE: Final = re.compile(
    r"\b(?:Gauge|Counter|Histogram|Summary|Info|Enum|\w+MetricFamily)\(\s*(?:name\s*=\s*)?(?:[rb]?f[\"']|[^\s\"'rb)]|[rb][^\"'])"
    r"|\b(?:metric_)?(?:namespace|subsystem)\s*=|\bcreate_(?:up_down_)?(?:observable_)?(?:counter|gauge|histogram)\b|\bstatsd\b"
)
_WORDS: Final = re.compile(rf"\b(?:{'|'.join(_PREFIXES)})\w+")
_ASKED: Final = ("memory_stats", "memory_reserved", "memory_allocated", "mem_get_info", "memory_summary")
_ALLOCATOR: Final = re.compile(rf"\b(?:{'|'.join(_ASKED)})\b")
_TORCH: Final = re.compile(r"^[ \t]*(?:from|import)[ \t]+torch\b", re.MULTILINE)
_CUDA: Final = re.compile(r"[\"']cuda[\"':]|\.cuda\b")
_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+([\w, \t]+|\()|import[ \t]+([\w.]+))", re.MULTILINE
)


def extract(document: Document) -> Iterator[PythonMetrics]:
    """What a module tells Prometheus; nothing for one that tells it nothing and runs nothing on a card."""
    text = document.text
    client = "prometheus" in text and _IMPORTS_CLIENT.search(text) is not None
    allocator = any(word in text for word in _ASKED) and _ALLOCATOR.search(text) is not None
    card = "cuda" in text and _TORCH.search(text) is not None and _CUDA.search(text) is not None
    words = _words(text)
    made = "etric" in text and not client and "opentelemetry" in text and _MADE.search(text) is not None
    if not (client or allocator or card or words or made):
        return
    exposed = _EXPOSES.search(text) if client else None
    place = Location(document.path, *Ruler(text).span(*exposed.span(1))) if exposed else None
    exports = frozenset(_EXPORTS.findall(text))
    imports = _imports(text) if exposed else frozenset()
    named = frozenset(found[0] for found in islice(_NAMED.finditer(text), _MOST_NAMED)) if client else frozenset()
    made = made or (client and _MADE.search(text) is not None)
    yield PythonMetrics(document.at(), place, allocator, card, exports, words, imports, made, named)


def _words(text: str) -> frozenset[str]:
    """Names under an engine's prefix, or DCGM's, and those like them where metrics are spoken of."""
    found = set(_WORDS.findall(text) if any(word in text for word in _PREFIXES) else ())
    if any(word in text for word in _LOOSE) and _SPEAKS.search(text):
        found.update(_LOOSE_WORDS.findall(text))
    return frozenset(found)


def _imports(text: str) -> frozenset[str]:
    """The last name of every module and attribute that is imported."""
    found: set[str] = set()
    for module, names, plain in _IMPORT.findall(text):
        found.add((module or plain).rpartition(".")[2])
        found.update(name.split()[0] for name in names.split(",") if name.split())
    return frozenset(found)
