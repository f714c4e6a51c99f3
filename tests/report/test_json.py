"""`vramguard.report/1` and `vramguard.proof/1`: the contract that scripts hold on to."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import pytest
from jsonschema import Draft202012Validator

from vramguard.facts import Unknown
from vramguard.report import FORMATS, Context, proof, render
from vramguard.source import Location

if TYPE_CHECKING:
    from report.conftest import Make

TEXT: Final = {"type": "string"}
NUMBER: Final = {"type": "integer"}
PLACE: Final = {"type": "integer", "minimum": 1}
SIZE: Final = {"type": "integer", "minimum": 0}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _exactly(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


ROW: Final = _exactly(
    name={"type": "string", "pattern": "^(weights|kv_cache|activations|runtime|offload)/"},
    lower_bytes=SIZE,
    upper_bytes=SIZE,
    formula=TEXT,
    lower_formula=_maybe(TEXT),
    inputs={"type": "object", "additionalProperties": NUMBER},
    kind={"enum": ["exact", "bound", "measured"]},
    source=_maybe(TEXT),
)
WORKLOAD: Final = _exactly(
    **dict.fromkeys(("engine", "mode", "gpu", "dtype", "quantization", "kv_cache_dtype"), _maybe(TEXT)),
    **dict.fromkeys(("gpu_memory_utilization", "attn_implementation", "engine_version"), _maybe(TEXT)),
    **dict.fromkeys(("gpus", "tensor_parallel_size", "pipeline_parallel_size", "max_model_len"), _maybe(SIZE)),
    **dict.fromkeys(("concurrency", "max_num_seqs", "max_num_batched_tokens"), _maybe(SIZE)),
    # Beyond the contract's first fields
    **dict.fromkeys(
        ("data_parallel_size", "block_size", "kv_cache_memory_bytes", "num_gpu_blocks_override"), _maybe(SIZE)
    ),
    **dict.fromkeys(("max_loras", "max_lora_rank", "num_speculative_tokens", "processes_per_gpu"), _maybe(SIZE)),
    **dict.fromkeys(("enable_expert_parallel", "enforce_eager", "language_model_only"), _maybe({"type": "boolean"})),
    **dict.fromkeys(
        ("disable_hybrid_kv_cache_manager", "kv_events", "enable_chunked_prefill"), _maybe({"type": "boolean"})
    ),
    kv_connector=_maybe(TEXT),
    **dict.fromkeys(("speculative_method", "cpu_offload_gb", "swap_space"), _maybe(TEXT)),
    n_gpu_layers=_maybe(NUMBER),
    **dict.fromkeys(("optim", "lora_target_modules", "fsdp"), _maybe(TEXT)),
    **dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps"), _maybe(NUMBER)),
    **dict.fromkeys(("lora_rank", "zero_stage"), _maybe(NUMBER)),
    **dict.fromkeys(("gradient_checkpointing", "bf16", "fp16"), _maybe({"type": "boolean"})),
)
PROOF: Final = _exactly(
    schema={"const": "vramguard.proof/1"},
    answer={"enum": ["FITS", "EXCEEDS", "UNKNOWN"]},
    reason=_maybe(TEXT),
    method={"enum": ["analytic", "trace"]},
    model=_exactly(
        id=_maybe(TEXT),
        revision=_maybe(TEXT),
        model_type=_maybe(TEXT),
        architecture=_maybe(TEXT),
        config_sha256=_maybe({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
        at=_exactly(path={"type": "string", "pattern": "^[^/]"}, line=NUMBER),
    ),
    workload=WORKLOAD,
    parameters=_exactly(total=_maybe(SIZE), active=_maybe(SIZE)),
    model_weight_bytes=_maybe(SIZE),
    kv_cache_bytes_per_token=_maybe(SIZE),
    ledger=_list(ROW),
    totals=_maybe(
        _exactly(
            **dict.fromkeys(("weights_bytes", "kv_cache_bytes", "activation_bytes", "runtime_bytes"), SIZE),
            **dict.fromkeys(("gradient_bytes", "optimizer_bytes"), SIZE),
            **dict.fromkeys(("peak_lower_bytes", "peak_upper_bytes"), SIZE),
        )
    ),
    pool=_maybe(
        _exactly(
            **dict.fromkeys(("reserved_bytes", "kv_cache_bytes", "kv_cache_tokens"), SIZE),
            max_concurrency={"type": "string", "pattern": r"^\d+\.\d\d$"},
            within_budget={"type": "boolean"},
            largest_utilization=_maybe({"type": "string", "pattern": r"^[01]\.\d\d+$"}),
            starts=_maybe({"type": "boolean"}),
            refusal=_maybe(TEXT),
        )
    ),
    device=_exactly(
        name=TEXT,
        capacity_bytes=SIZE,
        budget_fraction={"type": "string", "pattern": r"^0\.\d\d+$"},
        budget_bytes=SIZE,
        assumed={"type": "boolean"},
    ),
    headroom_bytes=_maybe(NUMBER),
    max_fitting_model_len=_maybe(SIZE),
    min_fitting_gpus=_maybe(SIZE),
    assumptions=_list(TEXT),
)
FINDING: Final = _exactly(
    id={"type": "string", "pattern": r"^VG\d{3}$"},
    name=TEXT,
    demand={"enum": [*range(8)]},
    severity={"enum": ["error", "warning", "note"]},
    message=TEXT,
    path={"type": "string", "pattern": "^[^/]"},
    **dict.fromkeys(("line", "column", "end_line", "end_column"), PLACE),
    help=TEXT,
    evidence=_list(_exactly(path=TEXT, line=NUMBER, what=TEXT)),
    fingerprint={"type": "string", "pattern": "^[0-9a-f]{32}$"},
    fix={"type": "null"},
    data={"type": "object"},
)
REPORT: Final = _exactly(
    schema={"const": "vramguard.report/1"},
    version=TEXT,
    summary=_exactly(
        **dict.fromkeys(("error", "warning", "note", "suppressed", "files", "not_judged", "baselined"), SIZE)
    ),
    notes=_list(TEXT),
    findings=_list(FINDING),
    proofs=_list(PROOF),
)


def problems(document: object, schema: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(document)]


def test_contract(make: type[Make]) -> None:
    found = json.loads(render("json", make.full_report(), Context(prefix="examples/a")))
    assert problems(found, REPORT) == []
    assert found["summary"] == {
        "error": 3,
        "warning": 1,
        "note": 0,
        "suppressed": 2,
        "files": 12,
        "not_judged": 1,
        "baselined": 2,
    }
    assert [item["answer"] for item in found["proofs"]] == ["FITS", "EXCEEDS", "UNKNOWN"]
    assert found["findings"][0] == {
        "id": "VG101",
        "name": "unpinned-requirement",
        "demand": 1,
        "severity": "error",
        "message": "`torch>=2` is not exact: a range: >=2",
        "path": "examples/a/requirements.txt",
        "line": 3,
        "column": 1,
        "end_line": 3,
        "end_column": 9,
        "help": "Write `torch==VERSION`.",
        "evidence": [],
        "fingerprint": "f" * 32,
        "fix": None,
        "data": {"path_class": "serving"},
    }
    assert found["findings"][2]["evidence"] == [
        {"path": "examples/a/deploy.yaml", "line": 40, "what": "this Deployment holds the GPU"}
    ]
    assert found["proofs"][0]["model"]["at"] == {"path": "examples/a/models/llama/config.json", "line": 1}


def test_the_schema_rejects(make: type[Make]) -> None:
    found = json.loads(render("json", make.full_report(), Context()))
    found["findings"][0]["path"] = "/root/requirements.txt"
    found["proofs"][0]["more"] = 1
    assert len(problems(found, REPORT)) == 2


def test_proof(make: type[Make]) -> None:
    found = proof.as_json(make.proven(max_model_len=8192, gpu="h100"))
    assert problems(found, PROOF) == []
    assert found["parameters"] == {"total": 8_030_261_248, "active": 8_030_261_248}
    assert found["model_weight_bytes"] == 16_060_522_496
    assert found["kv_cache_bytes_per_token"] == 131_072
    assert found["totals"]["kv_cache_bytes"] == 1 << 30
    assert sum(row["upper_bytes"] for row in found["ledger"]) == found["totals"]["peak_upper_bytes"]
    assert found["device"]["assumed"] is False
    assert found["device"]["budget_bytes"] == 67_942_087_655
    assert proof.as_json(make.proven())["device"]["assumed"] is True


@pytest.mark.parametrize("values", [{"gpu_memory_utilization": "0.9"}, {"kv_cache_memory_bytes": 8 << 30}])
def test_a_pool(make: type[Make], values: dict[str, Any]) -> None:
    found = proof.as_json(make.proven(engine="vllm", engine_version="0.19.0", max_model_len=8192, **values))
    assert problems(found, PROOF) == []
    assert found["pool"]["kv_cache_bytes"] <= found["pool"]["reserved_bytes"]
    assert (found["pool"]["largest_utilization"] is None) is ("kv_cache_memory_bytes" in values)


def test_weights_on_the_host_are_a_row_of_their_own(make: type[Make]) -> None:
    found = proof.as_json(make.proven(engine="vllm", engine_version="0.19.0", max_model_len=8192, cpu_offload_gb="12"))
    assert not [row for row in found["ledger"] if row["name"].startswith("offload")], "not needed"
    assert problems(found, PROOF) == []


def test_unknown_proof_has_no_figures(make: type[Make]) -> None:
    found = proof.as_json(make.proven({"model_type": "no-such-model"}))
    assert problems(found, PROOF) == []
    assert (found["answer"], found["ledger"], found["totals"]) == ("UNKNOWN", [], None)
    assert found["reason"]


@pytest.mark.parametrize("name", ["json", "sarif"])
def test_hostile_text_stays_valid(make: type[Make], hostile: str, name: str) -> None:
    finding = make.finding(at=Location(hostile, 1, 1, 1, 2), message=hostile, data={hostile: hostile})
    text = render(name, make.report(finding), Context())
    assert text.isascii()
    json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")  # no lone surrogates


def test_data_of_any_kind(make: type[Make]) -> None:
    data = {"share": Fraction(4, 5), "names": {"b", "a"}, "value": Unknown("${X}"), "rate": float("nan")}
    (found,) = json.loads(render("json", make.report(make.finding(data=data)), Context()))["findings"]
    assert found["data"] == {"share": "4/5", "names": ["a", "b"], "value": {"unknown": "${X}"}, "rate": "nan"}


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_is_deterministic_and_ends_with_a_newline(make: type[Make], name: str) -> None:
    texts = {FORMATS[name](make.full_report(), Context()) for _ in range(2)}
    assert len(texts) == 1
    assert texts.pop().endswith("\n")
