"""Python that exports metrics, by words of its text: such a module need not be taken apart to be seen."""

from __future__ import annotations

import re
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
    allocator = "mem" in text and any(word in text for word in _ASKED) and _ALLOCATOR.search(text) is not None
    card = "cuda" in text and _TORCH.search(text) is not None and _CUDA.search(text) is not None
    words = frozenset(_WORDS.findall(text) if any(word in text for word in _PREFIXES) else ())
    if not (client or allocator or card or words):
        return
    exposed = _EXPOSES.search(text) if client else None
    place = Location(document.path, *Ruler(text).span(*exposed.span(1))) if exposed else None
    exports = frozenset(_EXPORTS.findall(text))
    yield PythonMetrics(
        document.at(), place, allocator, card, exports, words, _imports(text) if exposed else frozenset()
    )


def _imports(text: str) -> frozenset[str]:
    """The last name of every module and attribute that is imported."""
    found: set[str] = set()
    for module, names, plain in _IMPORT.findall(text):
        found.add((module or plain).rpartition(".")[2])
        found.update(name.split()[0] for name in names.split(",") if name.split())
    return frozenset(found)
