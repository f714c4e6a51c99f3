"""Carriers: which engine runs inside, and what must be said where that is open."""

from __future__ import annotations

import pytest
from memory.engines.serving import device

from vramguard.memory import UnprovenError, Workload
from vramguard.memory.engines import carriers


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("ray-serve", "vllm"),
        ("ray-serve:sglang", "sglang"),
        ("kserve", "vllm"),
        ("kserve:transformers", "transformers"),
        ("nim:tensorrt-llm", "tensorrt-llm"),
        ("triton:vllm", "vllm"),
        ("vllm", "vllm"),
    ],
)
def test_the_engine_inside(name: str, inside: str) -> None:
    resolved = carriers.resolve(Workload(engine=name, max_model_len=4096))
    assert (resolved.engine, resolved.max_model_len) == (inside, 4096)


def test_no_engine_is_no_carrier() -> None:
    assert carriers.resolve(Workload()) == Workload()
    assert list(carriers.assumptions(Workload())) == []


@pytest.mark.parametrize(
    ("name", "named"),
    [("nim", "NIM_MODEL_PROFILE"), ("triton", "config.pbtxt"), ("triton:onnxruntime", "it runs vllm, tensorrt-llm")],
)
def test_what_is_open_must_be_said(name: str, named: str) -> None:
    with pytest.raises(UnprovenError, match=named):
        carriers.resolve(Workload(engine=name))


def test_a_carriers_version_is_not_the_engines() -> None:
    assert carriers.resolve(Workload(engine="kserve", engine_version="0.15")).engine_version is None
    assert carriers.resolve(Workload(engine="kserve:vllm", engine_version="0.19.0")).engine_version == "0.19.0"
    said = list(carriers.assumptions(Workload(engine="kserve", engine_version="0.15")))
    assert any("0.15 is the carrier's" in sentence for sentence in said)


def test_triton_takes_a_pool_and_a_context_beside_its_backend() -> None:
    pool, context = carriers.beside(Workload(engine="triton:vllm"), device())
    assert pool.upper_bytes == 64 << 20
    assert context.upper_bytes == device().context_upper_bytes
    assert not list(carriers.beside(Workload(engine="kserve"), device()))


def test_every_carrier_has_its_source_and_runs_known_engines() -> None:
    known = {"vllm", "sglang", "tensorrt-llm", "transformers"}
    for name, carrier in carriers.CARRIERS.items():
        assert carrier.source
        assert set(carrier.engines) <= known
        assert carrier.missing.startswith(name)
        assert carrier.default in (None, *carrier.engines)
