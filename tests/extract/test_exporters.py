"""Python that tells Prometheus something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract.exporters import extract
from vramguard.source import Document, read

if TYPE_CHECKING:
    from vramguard.facts import PythonMetrics


def found(text: str) -> PythonMetrics | None:
    document = read("app.py", text.encode())
    assert isinstance(document, Document)
    return next(iter(extract(document)), None)


def test_a_module_that_says_nothing() -> None:
    assert found("import torch\nx = 1\n") is None


def test_where_metrics_are_answered() -> None:
    module = found("from prometheus_client import generate_latest\n\n\ndef metrics():\n    return generate_latest()\n")
    assert module is not None
    assert module.exposes is not None
    assert (module.exposes.line, module.exposes.column) == (5, 12)


def test_a_comment_answers_nothing() -> None:
    module = found("import prometheus_client\n# start_http_server(1)\nx = 1  # start_http_server(1)\n")
    assert module is not None
    assert module.exposes is None


def test_names_that_are_exported_and_names_that_are_spelt() -> None:
    module = found(
        'from prometheus_client import Gauge\ng = Gauge(\n    "vllm:mine", "x")\nread = "sglang:token_usage"\n'
    )
    assert module is not None
    assert module.exports == {"vllm:mine"}
    assert module.words == {"vllm:mine", "sglang:token_usage"}


def test_cards_and_their_allocator() -> None:
    assert found('import torch\nmodel.to("cuda:0")\n') == found('import torch\nmodel.to("cuda")\n')
    module = found("from torch import nn\nx = y.cuda()\nz = torch.cuda.memory_stats()\n")
    assert module is not None
    assert (module.card, module.allocator) == (True, True)


def test_what_is_imported() -> None:
    module = found(
        "import a.b\nfrom .c import d, e as f\nfrom prometheus_client import (\n    Gauge)\nstart_http_server(1)\n"
    )
    assert module is not None
    assert module.imports >= {"b", "c", "d", "e", "prometheus_client"}
