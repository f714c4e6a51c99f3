"""vLLM's releases as data: each has one profile, each field its source, and the rules give what start-up logs show."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.vllm import profiles as vllm
from vramguard.memory.engines.vllm.profiles import Measured, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[3]
TABLE: Mapping[str, Any] = tomli.loads((ROOT / "vramguard" / "data" / "engines.toml").read_text("utf-8"))["vllm"]
CLASSES: Mapping[str, Any] = json.loads(
    (ROOT / "vramguard" / "memory" / "engines" / "vllm" / "classes.json").read_text("utf-8")
)
RELEASES: list[str] = CLASSES["releases"]
GIB = 1 << 30


def only(version: str) -> Profile:
    (profile,) = vllm.profiles(version)
    return profile


# The rows


def test_every_field_of_a_row_has_its_source() -> None:
    names = {field.name for field in fields(Profile)} - {"versions", "sources"}
    for row in TABLE["profile"]:
        stated = row.keys() - {"versions", "sources"}
        assert stated == row["sources"].keys(), row["versions"]
        assert stated <= names, row["versions"]
        assert all(
            ".py" in text or "distributed/" in text or "compilation/" in text for text in row["sources"].values()
        )
    assert TABLE["profile"][0].keys() - {"sources"} == names | {"versions"}, "the first row states everything"


def test_a_row_states_nothing_that_the_one_before_has_already() -> None:
    state: dict[str, object] = {}
    for row in TABLE["profile"]:
        kept = {key: value for key, value in row.items() if key not in {"versions", "sources"}}
        assert [key for key, value in kept.items() if key in state and state[key] == value] == [], row["versions"]
        state |= kept


def test_fields_have_the_types_that_they_are_declared_with() -> None:
    kinds = {"int": int, "str": str, "bool": bool}
    declared = {field.name: kinds[str(field.type)] for field in fields(Profile) if field.type in kinds}
    assert len(declared) > 40
    for profile in vllm.profiles(None):
        assert {name: type(getattr(profile, name)) for name in declared} == declared, profile.versions


def test_profiles_follow_each_other_without_gap() -> None:
    spans = [profile.span for profile in vllm.profiles(None)]
    assert [high for _, high in spans[:-1]] == [low for low, _ in spans[1:]]
    assert spans[0][0] == (0, 8)
    assert spans[-1][1] == (0, 34)


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_falls_in_one_profile(release: str) -> None:
    assert len(vllm.profiles(release)) == 1


def test_measured_rows_have_bounds_sources_and_days() -> None:
    for row in TABLE["measured"]:
        one = vllm.measured(row["name"], row["ranks"])
        assert one == Measured(**row)
        assert one.lower_bytes < one.upper_bytes
        assert one.source
        assert date.fromisoformat(one.date) <= date(2030, 1, 1)
    with pytest.raises(KeyError):
        vllm.measured("start", "nobody measured")


# Which profile


@pytest.mark.parametrize(
    ("written", "release"),
    [
        ("0.19.0+cu128", "0.19.0"),
        ("v0.19.0", "0.19.0"),
        ("0.8.5.post1", "0.8.5"),
        ("v0.11.2+cu129.local", "0.11.2"),
        ("0.10.1.1", "0.10.1"),
    ],
)
def test_exact_releases_however_written(written: str, release: str) -> None:
    assert vllm.profiles(written) == vllm.profiles(release)
    assert len(vllm.profiles(written)) == 1


@pytest.mark.parametrize(
    "written",
    [None, "", ">=0.17", "0.11.0rc2", "latest", "nightly", "0.19.*", "0.20.0.dev3", "~=0.9", "0.19.0 ", "x0.8"],
)
def test_what_is_no_release_may_be_any(written: str | None) -> None:
    assert len(vllm.profiles(written)) == len(TABLE["profile"])


def test_a_minor_number_is_any_of_its_releases() -> None:
    assert vllm.profiles("0.9") == tuple(dict.fromkeys((only("0.9.0"), only("0.9.2"))))
    assert vllm.profiles("v0.19") == (only("0.19.1"),)


@pytest.mark.parametrize("outside", ["0.7.3", "0.34.0", "1.0.0", "0.6", "0.34"])
def test_releases_that_were_not_read_are_refused(outside: str) -> None:
    with pytest.raises(UnprovenError, match=r"vllm .* is not supported, 0\.8 to 0\.33 are"):
        vllm.profiles(outside)
    with pytest.raises(UnprovenError, match="not supported"):
        vllm.supports("LlamaForCausalLM", outside)


# Defaults


@pytest.mark.parametrize(
    ("release", "card", "seqs", "server", "library"),
    [
        ("0.19.0", (79 * GIB, "NVIDIA H100 80GB HBM3", "9.0"), 1024, 8192, 16384),  # as the receipts ran
        ("0.19.0", (79 * GIB, "NVIDIA A100-SXM4-80GB", "8.0"), 256, 2048, 8192),
        ("0.8.5", (79 * GIB, "NVIDIA A100-SXM4-80GB", "8.0"), 1024, 8192, 16384),
        ("0.27.1", (178 * GIB, "NVIDIA B200", "10.0"), 1024, 8192, 16384),
        ("0.28.0", (178 * GIB, "NVIDIA B200", "10.0"), 1024, 16384, 16384),
        ("0.33.0", (22 * GIB, "NVIDIA L4", "8.9"), 256, 2048, 8192),
        ("0.33.0", (119 * GIB, "NVIDIA GB10", "12.1"), 256, 2048, 8192),
        ("0.32.0", (119 * GIB, "NVIDIA GB10", "12.1"), 1024, 8192, 16384),
    ],
)
def test_batch_defaults(release: str, card: tuple[int, str, str], seqs: int, server: int, library: int) -> None:
    assert only(release).batch_defaults(*card, server=True) == (seqs, server)
    assert only(release).batch_defaults(*card, server=False) == (seqs, library)


def test_batch_defaults_at_the_edge() -> None:
    batch = only("0.28.0").batch_defaults
    assert batch(160 * GIB, "", "10.0", server=True) == (1024, 16384)
    assert batch(160 * GIB - 1, "", "10.0", server=True) == (1024, 8192)
    assert batch(70 * GIB - 1, "", "9.0", server=True) == (256, 2048)


@pytest.mark.parametrize(
    ("release", "options", "count", "largest"),
    [
        ("0.8.5", {}, 67, 512),  # "67 graphs": vLLM's own log
        ("0.10.2", {}, 67, 512),
        ("0.10.2", {"seqs": 16}, 7, 32),
        ("0.19.0", {}, 51, 512),  # as those logs say
        ("0.19.0", {"gpt_oss": True}, 83, 1024),
        ("0.10.2", {"gpt_oss": True}, 83, 1024),
        ("0.11.0", {"gpt_oss": True}, 81, 992),
        ("0.27.1", {"blackwell": True}, 51, 512),
        ("0.28.0", {"blackwell": True}, 83, 1024),
        ("0.19.0", {"seqs": 3}, 3, 4),
        ("0.19.0", {"tokens": 100}, 15, 96),
        ("0.20.2", {"tokens": 100}, 16, 100),
        ("0.31.0", {"seqs": 100}, 29, 200),  # 100 itself, beside its neighbours 96 and 104
        ("0.12.0", {"seqs": 8, "drafts": 3}, 5, 16),
        ("0.13.0", {"seqs": 8, "drafts": 3}, 11, 64),
        ("0.28.0", {"seqs": 3, "drafts": 1}, 4, 8),
        ("0.29.0", {"seqs": 3, "drafts": 1}, 5, 8),  # 6 too: three sequences with their draft
        ("0.10.0", {"seqs": 1}, 3, 4),
        ("0.12.0", {"seqs": 1}, 2, 2),
    ],
)
def test_capture_sizes(release: str, options: dict[str, Any], count: int, largest: int) -> None:
    sizes = only(release).capture_sizes(**{"seqs": 1024, "tokens": 8192, **options})
    assert (len(sizes), sizes[-1]) == (count, largest)
    assert sizes == tuple(sorted(set(sizes)))


# What is counted


@pytest.mark.parametrize(
    ("release", "utilization", "baseline", "within"),
    [
        ("0.9.0", "0.90", "everything", (False, False)),
        ("0.9.1", "0.90", "context", (False, False)),
        ("0.11.0", "0.90", "distributed", (False, False)),
        ("0.19.1", "0.90", "distributed", (False, False)),
        ("0.20.0", "0.92", "distributed", (True, False)),
        ("0.28.0", "0.92", "distributed", (True, False)),
        ("0.29.0", "0.92", "distributed", (True, True)),
        ("0.33.0", "0.92", "libraries", (True, True)),
    ],
)
def test_what_utilization_covers(release: str, utilization: str, baseline: str, within: tuple[bool, bool]) -> None:
    profile = only(release)
    assert (profile.gpu_memory_utilization, profile.baseline) == (utilization, baseline)
    assert (profile.graphs_within_v1, profile.graphs_within_v2) == within


@pytest.mark.parametrize(
    ("release", "name", "traits", "runner"),
    [
        ("0.21.0", "Qwen3ForCausalLM", "", "v1"),
        ("0.22.0", "Qwen3ForCausalLM", "", "v2"),
        ("0.22.0", "Qwen3ForCausalLM", "quantized", "v1"),
        ("0.22.0", "LlamaForCausalLM", "", "v1"),
        ("0.24.0", "Qwen2MoeForCausalLM", "experts quantized", "v2"),
        ("0.25.0", "GemmaForCausalLM", "quantized", "v2"),
        ("0.25.0", "MixtralForCausalLM", "experts", "v1"),
        ("0.25.0", "FalconH1ForCausalLM", "recurrent", "v1"),
        ("0.28.0", "KimiK3ForConditionalGeneration", "experts recurrent", "v2"),
        ("0.29.0", "MixtralForCausalLM", "experts", "v2"),
    ],
)
def test_runner(release: str, name: str, traits: str, runner: str) -> None:
    is_ = {trait: trait in traits.split() for trait in ("experts", "quantized", "recurrent")}
    assert only(release).runners(name, **is_) == (runner,)
    both = ("v1", "v2") if runner == "v2" else ("v1",)
    assert only(release).runners(name, **is_, odd=True) == both


def test_models_that_do_not_generate_get_the_new_runner_last() -> None:
    def runner(release: str) -> tuple[str, ...]:
        return only(release).runners("LlamaModel", experts=False, quantized=False, recurrent=False, generates=False)

    assert runner("0.28.0") == ("v1",)
    assert runner("0.29.0") == ("v2",)


@pytest.mark.parametrize(
    ("release", "stages", "runner", "batches"),
    [
        ("0.19.0", 4, "v1", 1),
        ("0.25.1", 1, "v2", 1),
        ("0.26.0", 1, "v1", 2),
        ("0.26.0", 4, "v1", 4),
        ("0.33.0", 4, "v2", 5),
    ],
)
def test_batches_in_flight(release: str, stages: int, runner: str, batches: int) -> None:
    assert only(release).batches(stages, runner) == batches


@pytest.mark.parametrize(
    ("vocabulary", "hidden", "printed"),
    [(128_256, 4096, 4.76), (201_088, 2880, 7.38)],  # Llama 8B, gpt-oss-20b on 0.16: llm-d-benchmark
)
def test_the_sort_is_what_logs_show(vocabulary: int, hidden: int, printed: float) -> None:
    seqs, tokens = 1024, 8192
    peak = seqs * vocabulary * (2 + only("0.16.0").sampler_bytes(seqs)) + 2 * tokens * hidden * 2
    assert abs(peak / GIB - printed) <= 0.02


def test_the_sampler_by_rows() -> None:
    old, newer, newest = only("0.16.0"), only("0.17.0"), only("0.31.0")
    assert [old.sampler_bytes(rows) for rows in (1, 2, 127, 128)] == [36, 48, 48, 36]
    assert [newer.sampler_bytes(rows) for rows in (1, 7, 8, 1024)] == [36, 48, 12, 12]
    # 128 rows are sorted in 36 bytes each, but 127 of them, which come too, in 48
    assert [old.sampled_bytes(rows) for rows in (1, 127, 128, 170)] == [36, 127 * 48, 127 * 48, 170 * 36]
    assert [newer.sampled_bytes(rows) for rows in (7, 8, 28, 29)] == [7 * 48, 7 * 48, 7 * 48, 29 * 12]
    assert [newest.sampler_bytes(rows) for rows in (1, 7)] == [12, 12]
    assert [newer.sampler_buffer_rows(rows, 132) for rows in (7, 9, 100, 1024)] == [0, 16, 128, 132]
    assert old.sampler_buffer_rows(1024, 132) == 0


def test_what_the_second_runner_holds_for_each_sequence() -> None:
    assert vllm.v2_state_bytes(128_256, 1) == 4 * 128_256 + 4 * 4008 + 17_924
    assert vllm.v2_state_bytes(33, 2) == 2 * (132 + 8 + 17_924)


def test_symmetric_memory() -> None:
    assert vllm.symmetric_memory_bytes("9.0", 4) == 32 << 20
    assert vllm.symmetric_memory_bytes("8.0", 4) == 0
    assert vllm.symmetric_memory_bytes("9.0", 3) == 0


# Classes, quantizations, types of the cache


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("LlamaForCausalLM", "0.8.0", True),
        ("LlamaForCausalLM", None, True),
        ("LlamaForCausalLM", ">=0.9", True),
        ("NoSuchForCausalLM", None, False),
        ("GptOssForCausalLM", "0.10.0", False),
        ("GptOssForCausalLM", "0.10.1.1", True),
        ("GptOssForCausalLM", "0.10.1", None),  # between 0.10.0, which has none, and 0.10.1.1
        ("GptOssForCausalLM", "0.10", None),
        ("GptOssForCausalLM", "0.12.0", True),
        ("GptOssForCausalLM", None, None),
        ("Phi3SmallForCausalLM", "0.9.2", True),  # vLLM's own list of what it dropped: last in 0.9.2
        ("Phi3SmallForCausalLM", "0.10.0", False),
        ("LlamaForCausalLM", "0.8.3", True),
    ],
)
def test_classes(name: str, version: str | None, expected: object) -> None:
    assert vllm.supports(name, version) is expected


def test_how_a_class_is_served() -> None:
    assert vllm.implementations("GPTNeoXForCausalLM", "0.31.0") == {"generate"}
    assert vllm.implementations("GPTNeoXForCausalLM", "0.32.0") == {"transformers"}
    assert vllm.implementations("Qwen2_5_VLForConditionalGeneration", "0.19.0") == {"multimodal"}
    assert vllm.implementations("BertModel", "0.19.0") == {"pooling"}


@pytest.mark.parametrize(
    ("method", "last"), [("gguf", "0.23.0"), ("bitsandbytes", "0.27.1"), ("aqlm", "0.10.0"), ("ptpc_fp8", "0.18.1")]
)
def test_quantizations_that_went(method: str, last: str) -> None:
    following = RELEASES[RELEASES.index(last) + 1]
    assert method in vllm.quantizations(last)
    assert method not in vllm.quantizations(following)
    assert method not in vllm.quantizations(None)


def test_quantizations_of_every_release() -> None:
    assert {"awq", "fp8", "gptq", "compressed-tensors", "modelopt"} <= vllm.quantizations(None)


@pytest.mark.parametrize(
    ("method", "version", "least"),
    [
        ("fp8", "0.13.0", 80),
        ("fp8", "0.14.0", 75),
        ("fp8", None, 80),
        ("ipex", "0.8.5", None),
        ("gguf", "0.33.0", None),
    ],
)
def test_least_capability(method: str, version: str | None, least: int | None) -> None:
    assert vllm.least_capability(method, version) == least


def test_cache_types_and_drafting() -> None:
    assert "fp8_ds_mla" in vllm.cache_dtypes("0.33.0")
    assert "fp8_ds_mla" not in vllm.cache_dtypes("0.10.2")
    assert {"auto", "fp8"} <= vllm.cache_dtypes("0.19.0")
    assert "medusa" in vllm.drafting("0.32.0")
    assert "medusa" not in vllm.drafting("0.33.0")
    assert "eagle3" in vllm.drafting("0.33.0")


# The file that the script writes


def rows(section: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield from CLASSES[section].items()


@pytest.mark.parametrize("section", ["classes", "quantizations", "speculative", "kv_cache_dtypes"])
def test_spans_name_recorded_releases_and_do_not_overlap(section: str) -> None:
    for name, row in rows(section):
        said: list[int] = []
        for spans in row.values():
            for span in spans.split():
                first, _, last = span.partition("..")
                said += range(RELEASES.index(first), RELEASES.index(last or first) + 1)
        assert len(said) == len(set(said)), name


def test_the_script_reads_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = import_module("record_vllm_classes")
    package = tmp_path / "vllm-0.9.0" / "vllm"
    registry = package / "model_executor" / "models" / "registry.py"
    methods = package / "model_executor" / "layers" / "quantization"
    registry.parent.mkdir(parents=True)
    methods.mkdir(parents=True)
    (package / "envs.py").touch()
    registry.write_text(
        '_TEXT_GENERATION_MODELS = {"A": ("a", "A"), "B": ("b", "B")}\n_EMBEDDING_MODELS = {"B": ("b", "B")}\n'
        "_VLLM_MODELS = {**_TEXT_GENERATION_MODELS}\n"
    )
    (methods / "__init__.py").write_text(
        'QuantizationMethods = Literal["x", "y"]\n'
        'def f():\n    method_to_config: dict[str, type] = {"x": Near, "y": Odd}\n'
    )
    (methods / "x.py").write_text(
        "class Far:\n    def get_min_capability(cls):\n        return 75\nclass Near(Far):\n    pass\n"
        "class Odd:\n    def get_min_capability(cls):\n        return 75 if cls else 80\n"
    )
    release, root = script.package(tmp_path / "vllm-0.9.0")
    assert release == "0.9.0"
    assert script.classes(root) == {"A": "generate", "B": "generate"}
    assert script.quantizations(root) == {"x": "75", "y": "?"}
    assert script.spans(["0.9.0", "0.9.1", "0.10.0"], ["0.9.0", "0.9.1", "0.9.2", "0.10.0"]) == "0.9.0..0.9.1 0.10.0"
    registry.write_text('_NEW_MODELS = {"A": ("a", "A")}\n')
    with pytest.raises(SystemExit, match="_NEW_MODELS"):
        script.classes(root)
