"""VG201, VG202 and VG006 over facts: which workload is judged, on which card, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from llama import LLAMA_8B, LLAMA_70B

from vramguard.checks import Severity
from vramguard.checks.vram import NotALanguageModel, VramBudget, capacity, device
from vramguard.facts import Deployment, Facts, ModelConfig, PathClass, Unknown
from vramguard.memory import Answer
from vramguard.schema import ConfigError
from vramguard.source import Location
from vramguard.units import gib

ALL = VramBudget(answers=tuple(Answer), undeclared=Severity.WARNING)


def config(path: str = "config.json", **values: Any) -> ModelConfig:  # noqa: ANN401 - JSON
    return ModelConfig(Location(path), {**LLAMA_8B, **values}, "0" * 64)


def deployment(line: int = 2, **values: Any) -> Deployment:  # noqa: ANN401 - fields of Deployment
    places = {name: Location("vramguard.toml", line + number) for number, name in enumerate(values, 1)}
    return Deployment(Location("vramguard.toml", line), declared=True, places=places, **values)


def classify(path: str) -> PathClass:
    return PathClass.TEST if path.startswith("tests/") else PathClass.SERVING


def facts(*found: Any) -> Facts:  # noqa: ANN401 - any fact
    return Facts(found, classify)


def answers(*found: Any, check: VramBudget = ALL) -> list[tuple[str, str]]:  # noqa: ANN401 - any fact
    return [(problem.data["answer"], problem.at.path) for problem in check.find(facts(*found))]


def test_an_undeclared_config_is_judged_on_the_default_workload() -> None:
    ((proof, at, digest, model),) = ALL.proofs(facts(config()))
    assert (proof.answer, at.path, digest, model) == (Answer.FITS, "config.json", "0" * 64, None)
    assert (proof.workload.engine, proof.device.name, proof.workload.concurrency) == (
        "transformers",
        "h100-sxm5-80gb",
        1,
    )
    assert proof.workload.max_model_len == 131072


def test_one_in_a_test_folder_is_judged_only_where_it_is_declared() -> None:
    assert answers(config("tests/config.json")) == []
    assert answers(config("tests/config.json"), deployment(config="tests/config.json")) == [("FITS", "vramguard.toml")]


def test_a_declared_one_is_judged_once_for_each_deployment_and_not_by_default() -> None:
    both = deployment(config="config.json", gpu="a100-sxm4-40gb"), deployment(9, config="config.json")
    assert answers(config(), *both) == [("EXCEEDS", "vramguard.toml"), ("FITS", "vramguard.toml")]


def test_a_model_may_be_a_folder_of_the_repository() -> None:
    for name in ("models/llama", "./models/llama", "models/llama/"):
        assert answers(config("models/llama/config.json"), deployment(model=name)) == [("FITS", "vramguard.toml")]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"engine": "mlc"}, "engine mlc"),
        ({"quantization": "awq"}, "quantization awq"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size 2"),
        ({"pipeline_parallel_size": 4}, "pipeline_parallel_size 4"),
        ({"kv_cache_dtype": "fp8"}, "kv_cache_dtype fp8"),
        ({"mode": "training", "optim": "lomo"}, "optim lomo"),
        ({"dtype": "float8"}, "dtype float8"),
        ({"max_model_len": Unknown("${LEN}")}, "`max_model_len` is `${LEN}`, which only a renderer knows"),
    ],
)
def test_what_is_not_proved_yet_is_unknown_and_named(values: dict[str, Any], words: str) -> None:
    (problem,) = ALL.find(facts(config(), deployment(config="config.json", **values)))
    assert problem.data["answer"] == "UNKNOWN"
    assert words in problem.values["reason"]
    assert problem.severity is None, "declared: an error, as the rule says"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"config": "gone.json"}, "its config `gone.json` is not in the repository"),
        ({"config": "../config.json"}, "its config `../config.json` is not in the repository"),
        ({"model": "org/name"}, "no config.json of `org/name` is in the repository"),
        ({"model": Unknown("{{ .Values.model }}")}, "its model is `{{ .Values.model }}`"),
    ],
)
def test_a_deployment_without_its_config_is_unknown(values: dict[str, Any], words: str) -> None:
    (problem,) = ALL.find(facts(deployment(**values)))
    assert problem.data["answer"] == "UNKNOWN"
    assert words in problem.values["reason"]


def test_an_undeclared_unknown_is_a_warning() -> None:
    (problem,) = ALL.find(facts(config(model_type="novel", architectures=["NovelForCausalLM"])))
    assert problem.severity is Severity.WARNING
    (problem,) = ALL.find(facts(ModelConfig(Location("config.json"), LLAMA_70B, "")))
    assert problem.severity is None, "one that exceeds is as bad undeclared"


def test_the_bytes_that_device_map_would_spill_are_named() -> None:
    found = ModelConfig(Location("config.json"), LLAMA_70B, "")
    (problem,) = ALL.find(facts(found, deployment(config="config.json", gpu="a100-sxm4-40gb", device_map="auto")))
    # accelerate leaves 61 of the 80 layers, the norm and the head off the card (test_proof.py)
    layer, head, norm = 2 * (2 * 8192 * 9216 + 3 * 8192 * 28672 + 2 * 8192), 2 * 128256 * 8192, 2 * 8192
    spilt = 61 * layer + head + norm
    assert f'"auto" would not fail but place {gib(spilt)} GiB of weights on the CPU' in problem.values["spill"]
    (problem,) = ALL.find(facts(found, deployment(config="config.json", gpu="a100-sxm4-40gb")))
    assert problem.values["spill"] == ""


def test_the_guilty_line_and_the_chain_of_evidence() -> None:
    long = deployment(config="config.json", gpu="a100-sxm4-40gb", max_model_len=131072)
    (problem,) = ALL.find(facts(config(), long))
    assert problem.at == long.places["max_model_len"]
    assert [link.at for link in problem.evidence] == [long.at, Location("config.json")]
    found = ModelConfig(Location("config.json"), LLAMA_70B, "")
    (problem,) = ALL.find(facts(found, long))
    assert problem.at == long.places["gpu"], "no context fits: the card is too small"


def test_what_the_message_promises_holds() -> None:
    (problem,) = ALL.find(facts(config(), deployment(config="config.json", gpu="a100-sxm4-40gb")))
    longest = problem.proof.max_fitting_model_len if problem.proof else None
    assert longest
    assert f"`max_model_len: 131072 -> {longest}`" in problem.values["mend"]
    fits = deployment(config="config.json", gpu="a100-sxm4-40gb", max_model_len=longest)
    assert answers(config(), fits) == [("FITS", "vramguard.toml")]
    over = deployment(config="config.json", gpu="a100-sxm4-40gb", max_model_len=longest + 64)
    assert answers(config(), over) != [("FITS", "vramguard.toml")]


def test_the_policys_terms_fill_what_a_deployment_leaves_open() -> None:
    strict = VramBudget(answers=tuple(Answer), budget=Fraction(1, 5))
    assert answers(config(), check=strict) == [("EXCEEDS", "config.json")]
    busy = VramBudget(answers=tuple(Answer), concurrency=64)
    assert answers(config(), check=busy) == [("EXCEEDS", "config.json")]
    assert answers(config(), deployment(config="config.json", concurrency=1), check=busy) == [
        ("FITS", "vramguard.toml")
    ]


def test_a_card_that_nobody_knows_is_said_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"vramguard\.toml:4:1: unknown GPU `H1000`; did you mean `h100"):
        list(ALL.find(facts(config(), deployment(config="config.json", gpu="H1000"))))
    assert device("H100_SXM5_80GB").name == "h100-sxm5-80gb"
    assert capacity("h1000") == 0
    assert capacity(None) == capacity("h100-sxm5-80gb") > 0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"architectures": ["BertModel"], "model_type": "bert"}, "BertModel"),
        ({"architectures": ["CLIPModel"], "model_type": ["clip"]}, "CLIPModel"),
        ({"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel"),
        ({"peft_type": "LORA"}, "LORA"),
    ],
)
def test_another_kind_of_model_is_a_note_and_not_unproven(values: dict[str, Any], kind: str) -> None:
    found = facts(ModelConfig(Location("config.json"), values, ""))
    assert list(ALL.find(found)) == []
    assert [problem.values["kind"] for problem in NotALanguageModel().find(found)] == [kind]
    declared = facts(ModelConfig(Location("m/config.json"), values, ""), deployment(model="m"))
    assert list(NotALanguageModel().find(declared)) == [], "its deployment is judged, and unproven"
    assert [problem.data["answer"] for problem in ALL.find(declared)] == ["UNKNOWN"]


def test_json_that_is_no_model_is_not_judged() -> None:
    found = facts(ModelConfig(Location("package.json"), {"name": "x"}, ""))
    assert list(ALL.find(found)) == []
    assert list(NotALanguageModel().find(found)) == []


HOSTILE: list[object] = [
    None, True, -1, 0, 1.5, 10**30, "", "x" * 10_000, [], [1], {}, {"a": {"b": []}}, float("nan"), [[["x"]]], "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_no_value_in_a_config_crashes(value: object) -> None:
    for key in (*LLAMA_8B, "rope_scaling", "quantization_config", "text_config", "sliding_window", "head_dim", "dtype"):
        found = facts(ModelConfig(Location("config.json"), {**LLAMA_8B, key: value}, ""))
        assert len(ALL.proofs(found)) + len(list(NotALanguageModel().find(found))) == 1, key


def test_findings_carry_their_proof_and_json_can_show_it() -> None:
    (problem,) = ALL.find(facts(config()))
    assert problem.proof is not None
    json.dumps(dict(problem.data))


@pytest.mark.parametrize(
    ("values", "guilty"),
    [
        ({"model": "org/name", "gpus": 1}, "model"),
        ({"config": "config.json", "gpus": 1, "engine": "vllm", "engine_version": "0.0.1"}, "engine_version"),
        ({"config": "config.json", "gpus": 1, "quantization": "awq"}, "quantization"),
        ({"config": "config.json", "gpus": 1, "max_model_len": Unknown("${LEN}")}, "max_model_len"),
        ({"config": "config.json", "gpus": 1, "engine": "mlc"}, "engine"),
    ],
)
def test_what_is_unproven_stands_on_the_line_that_its_reason_is_about(values: dict[str, Any], guilty: str) -> None:
    asked = deployment(**values)
    found = [config()] if "config" in values else []
    (problem,) = ALL.find(facts(*found, asked))
    assert (problem.data["answer"], problem.at) == ("UNKNOWN", asked.places[guilty])


def test_a_word_that_no_proof_counts_stands_where_the_deployment_does() -> None:
    asked = deployment(config="config.json", gpus=1)
    (problem,) = ALL.find(facts(config(), replace(asked, unread=("--some-new-buffer 9",))))
    assert (problem.data["answer"], problem.at) == ("UNKNOWN", asked.at)


def test_two_bounds_are_said_in_the_unit_that_everybody_reads() -> None:
    vllm: dict[str, Any] = {"engine": "vllm", "gpu": "l4-24gb", "max_model_len": 8192}
    (problem,) = ALL.find(facts(config(), deployment(config="config.json", **vllm)))
    assert problem.data["answer"] == "UNKNOWN"
    assert "bytes" not in problem.values["reason"]
    assert f"{gib(problem.values['budget'])} GiB that are the budget of one l4-24gb" in problem.values["reason"]


def test_weights_within_the_budget_are_not_said_to_need_a_larger_card() -> None:
    huge = deployment(config="config.json", gpu="h100-sxm5-80gb", engine="vllm", gpu_memory_utilization="0.7")
    asked = replace(huge, engine_version="0.19.0", max_model_len=131072, max_num_seqs=8, concurrency=8)
    (problem,) = ALL.find(facts(config(), asked))
    small = deployment(config="config.json", gpu="a100-sxm4-40gb")
    (heavy,) = ALL.find(facts(ModelConfig(Location("config.json"), LLAMA_70B, ""), small))
    assert heavy.values["mend"].startswith("No context fits: the weights")
    assert problem.data["answer"] == "EXCEEDS"
    assert "the weights need" not in problem.values["mend"]


def test_kaito_adds_machines_so_that_no_excess_is_proved() -> None:
    found = ModelConfig(Location("config.json"), LLAMA_70B, "")
    vllm: dict[str, Any] = {"config": "config.json", "engine": "vllm", "gpu": "a100-sxm4-40gb"}
    (problem,) = ALL.find(facts(found, deployment(**vllm, form="kaito")))
    assert problem.data["answer"] == "UNKNOWN"
    assert "KAITO adds machines" in problem.values["reason"]
    (problem,) = ALL.find(facts(found, deployment(**vllm)))
    assert problem.data["answer"] == "EXCEEDS"


def test_kaito_asks_for_a_share_of_its_own_where_none_is_written() -> None:
    vllm: dict[str, Any] = {
        "config": "config.json",
        "engine": "vllm",
        "engine_version": "0.19.0",
        "max_model_len": 8192,
        "form": "kaito",
    }
    for card, share in (("h100-sxm5-80gb", "0.84"), ("a10-24gb", "0.82")):
        ((proof, *_),) = ALL.proofs(facts(config(), deployment(**vllm, gpu=card)))
        assert (proof.workload.gpu_memory_utilization, share in " ".join(proof.assumptions)) == (share, True)
    asked = deployment(**vllm, gpu_memory_utilization="0.5")
    ((proof, *_),) = ALL.proofs(facts(config(), asked))
    assert proof.workload.gpu_memory_utilization == "0.5"


def test_what_two_overlays_take_in_alike_is_one_problem() -> None:
    twice = deployment(model="org/name"), deployment(model="org/name")
    assert len(list(ALL.find(facts(*twice)))) == 1
