"""vLLM's command line: how each spelling becomes a field, what is left out, and what makes a proof impossible."""

from __future__ import annotations

import json
from typing import Any

import pytest
from launched import AT, deployment, said, word

from vramguard.facts import Launch, Reference, Texts, Unknown
from vramguard.source import Location

SERVE = "vllm serve a/b"

SPELLINGS: list[tuple[str, dict[str, Any]]] = [
    ("--max-model-len 8192", {"max_model_len": 8192}),
    ("--max-model-len=8192", {"max_model_len": 8192}),
    ("--max_model_len 8192", {"max_model_len": 8192}),
    ("--max-model 8192", {"max_model_len": 8192}),  # what begins one name only
    ("--max-model-len 32k", {"max_model_len": 32_000}),
    ("--max-model-len 32K", {"max_model_len": 32_768}),
    ("--max-model-len 25.6k", {"max_model_len": 25_600}),
    ("--max-model-len 25.6K", {"max_model_len": Unknown("25.6K")}),  # vLLM refuses it
    ("--max-model-len 8192 --max-model-len 4096", {"max_model_len": 4096}),
    ("--max-num-batched-token 16384", {"max_num_batched_tokens": 16_384}),
    ("--max-num-seqs 32k", {"max_num_seqs": Unknown("32k")}),  # a plain number, unlike the context
    ("--tensor-parallel-size 4", {"tensor_parallel_size": 4}),
    ("-tp 4", {"tensor_parallel_size": 4}),
    ("-tp=4", {"tensor_parallel_size": 4}),
    ("-tp4", {"tensor_parallel_size": 4}),
    ("--tensor-parallel-size=$TP", {"tensor_parallel_size": Unknown("$TP")}),
    ("--tensor-parallel-size $TP", {"tensor_parallel_size": Unknown("$TP")}),
    ("-pp 2 -dp 3", {"pipeline_parallel_size": 2, "data_parallel_size": 3}),
    ("--gpu-memory-utilization .95", {"gpu_memory_utilization": ".95"}),
    ("--gpu-memory-util 0.95", {"gpu_memory_utilization": "0.95"}),
    ("--gpu-memory-utilization ninety", {"gpu_memory_utilization": Unknown("ninety")}),
    ("--enforce-eager", {"enforce_eager": True}),
    ("--enforce-eager --no-enforce-eager", {}),
    ("--enforce-eager true --port 80", {"enforce_eager": True}),
    ("--enable-expert-parallel", {"enable_expert_parallel": True}),
    ("-q awq --dtype half", {"quantization": "awq", "dtype": "half"}),
    ("--kv-cache-dtype fp8_e4m3 --block-size 32", {"kv_cache_dtype": "fp8_e4m3", "block_size": 32}),
    ("--kv-cache-memory-bytes 4G", {"kv_cache_memory_bytes": 4 << 30}),
    ("--cpu-offload-gb 4 --swap-space 8", {"cpu_offload_gb": "4", "swap_space": "8"}),
    ("--revision 0123abc", {"revision": "0123abc"}),
    ("--served-model-name x y --port 8000 --api-key z", {}),
    ("--tokenizer c/d --chat-template t.jinja", {}),
    ("--enable-lora --max-loras 4 --max-lora-rank 64", {"max_loras": 4, "max_lora_rank": 64}),
    ("--enable-lora --lora-modules q=r/s t=u/v", {"max_loras": 1}),
    ("--max-loras 4 --max-lora-rank 64", {}),  # without --enable-lora there are no slots
    ("--limit-mm-per-prompt '{\"image\": 2}'", {}),
    ("--load-format dummy --optimization-level 3", {}),
    ("--load-format bitsandbytes", {"quantization": "bitsandbytes"}),
    ("--load-format tensorizer", {"unread": ("--load-format tensorizer",)}),
    ("--device cpu", {"accelerator": "cpu"}),
    ("--device cuda", {}),
    ("--nnodes 2", {"nodes": 2}),
    ("-dp 4 --data-parallel-rank 1", {"data_parallel_size": 4, "nodes": 4}),
    ("-dp 16 --data-parallel-size-local 8", {"data_parallel_size": 16, "nodes": 2}),
    ("-O3", {}),
    ("-O 3", {}),
    ("-O.level=3", {}),
    ("--compilation-config '{\"cudagraph_mode\": \"FULL_DECODE_ONLY\"}'", {}),
    ("--attention-backend FLASHINFER", {"attn_implementation": "flashinfer"}),
    ("--kv-events-config '{\"enable_kv_cache_events\": true}'", {"kv_events": True}),
    ("--kv-events-config null", {}),
    (
        "--kv-transfer-config '{\"kv_connector\": \"NixlConnector\", \"kv_role\": \"kv_both\"}'",
        {"kv_connector": "NixlConnector"},
    ),
    (
        "--kv-transfer-config.kv_connector NixlConnector --kv-transfer-config.kv_role kv_producer",
        {"kv_connector": "NixlConnector"},
    ),
    (
        "--kv-transfer-config '{\"kv_connector\": \"LMCacheConnectorV1\"}'",
        {"unread": ('--kv-transfer-config {"kv_connector": "LMCacheConnectorV1"}',)},
    ),
    (
        "--compilation-config '{\"cudagraph_capture_sizes\": [1024]}'",
        {"unread": ('--compilation-config {"cudagraph_capture_sizes": [1024]}',)},
    ),
]  # fmt: skip
DRAFTS: list[tuple[str, dict[str, Any]]] = [
    (
        '--speculative-config \'{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 4}\'',
        {"speculative_method": "ngram", "num_speculative_tokens": 5},
    ),
    (
        '--speculative_config=\'{"model": "[ngram]", "num_speculative_tokens": 5}\'',
        {"speculative_method": "ngram", "num_speculative_tokens": 5},
    ),
    (
        '--speculative-config \'{"model": "c/d", "num_speculative_tokens": 3}\'',
        {"speculative_method": "draft_model", "num_speculative_tokens": 3},
    ),
    (
        "--speculative-config.method mtp --speculative-config.num_speculative_tokens 2",
        {"speculative_method": "mtp", "num_speculative_tokens": 2},
    ),
    (
        '--speculative-config \'{"method": "mtp", "num_speculative_tokens": 1, "attention_backend": "X"}\'',
        {
            "speculative_method": "mtp",
            "num_speculative_tokens": 1,
            "unread": ("--speculative-config attention_backend: X",),
        },
    ),
    ("--speculative-config $DRAFT", {"speculative_method": Unknown("$DRAFT")}),
    ("--speculative-config '{broken'", {"speculative_method": Unknown("{broken")}),
]
UNREAD = [
    '--hf-overrides {"rope_theta":1}', "--kv-transfer-config {}", "--enable-sleep-mode", "--enable-eplb",
    "--decode-context-parallel-size 2", "--mamba-cache-dtype float32",
    "--async-scheduling", "--attention-backend TRITON_ATTN", "--worker-cls my.Worker", "--cudagraph-capture-sizes 1",
    "--rope-scaling {}", "--mm-processor-kwargs {}", "--not-a-flag-of-vllm 3",
]  # fmt: skip
HARMLESS = [
    "--hf-overrides {}", "--no-enable-eplb", "--decode-context-parallel-size 1", "--enable-chunked-prefill",
    "--no-async-scheduling",
    "--max-num-batched-tokens 8192 --no-enable-chunked-prefill", "--attention-backend FLASH_ATTN",
    "--mamba-cache-dtype auto", "--enable-prefix-caching",
    "--no-enable-prefix-caching", "--trust-remote-code", "--disable-log-requests", "--uvicorn-log-level info",
]  # fmt: skip


@pytest.mark.parametrize(("words", "fields"), [*SPELLINGS, *DRAFTS], ids=lambda each: str(each)[:50])
def test_words_become_fields(words: str, fields: dict[str, Any]) -> None:
    found = said(deployment(f"{SERVE} {words}"))
    assert found.pop("assumed", ()) == ()
    assert found == {"engine": "vllm", "model": "a/b", **fields}


@pytest.mark.parametrize("words", UNREAD)
def test_what_no_field_holds_is_told(words: str) -> None:
    found = deployment([*SERVE.split(), *words.split()])
    assert found is not None
    assert found.unread == (words,)


@pytest.mark.parametrize("words", HARMLESS)
def test_what_changes_nothing_is_not_told(words: str) -> None:
    found = deployment([*SERVE.split(), *words.split()])
    assert found is not None
    assert found.unread == ()


@pytest.mark.parametrize(
    ("words", "split"),
    [
        ("--no-enable-chunked-prefill", False),
        ("--enable-chunked-prefill=false", False),
        ("--no-enable-chunked-prefill --max-num-batched-tokens 8192", None),  # what is stated holds
        ("--enable-chunked-prefill", None),
    ],
)
def test_prompts_that_are_not_split_are_a_field(words: str, split: object) -> None:
    found = deployment(f"{SERVE} {words}")
    assert found is not None
    assert (found.enable_chunked_prefill, found.unread) == (split, ())


@pytest.mark.parametrize(
    ("connector", "read"),
    [
        ({"kv_connector": "NixlConnector", "kv_buffer_device": "cpu"}, True),
        ({"kv_connector": "NixlConnector", "kv_connector_extra_config": {"backends": ["UCX"]}}, True),
        ({"kv_connector": "NixlConnector", "kv_connector_extra_config": {"backends": ["GDS"]}}, False),
        ({"kv_connector": "NixlConnector", "kv_connector_module_path": "mine"}, False),
        ({"kv_connector": "MultiConnector", "kv_connector_extra_config": {"connectors": []}}, False),
        ({"kv_role": "kv_both"}, False),
    ],
)
def test_a_connector_is_read_where_it_takes_what_the_proof_counts(connector: dict[str, Any], *, read: bool) -> None:
    text = json.dumps(connector)
    for words in ([text], [f"'{text}'"]):  # as KServe's VLLM_ADDITIONAL_ARGS has it
        found = deployment([*SERVE.split(), "--kv-transfer-config", *words])
        assert found is not None
        assert (found.kv_connector, bool(found.unread)) == ("NixlConnector" if read else None, not read)


@pytest.mark.parametrize(
    ("words", "version", "told"),
    [
        ("--guided-decoding-backend outlines", "0.8.5", True),
        ("--guided-decoding-backend xgrammar", "0.8.5", False),
        ("--guided-decoding-backend outlines", "0.19.0", False),
        ("--otlp-traces-endpoint http://a:4317", "0.9.2", True),
        ("--otlp-traces-endpoint http://a:4317", None, False),
        ("--load-format sharded_state", "0.10.2", True),
        ("--load-format sharded_state", "0.11.0", False),
        ("--scheduling-policy fcfs --max-num-partial-prefills 1", "0.8.5", False),
    ],
)
def test_what_an_older_release_leaves_to_its_v0_engine_is_told(words: str, version: str | None, *, told: bool) -> None:
    image = f"vllm/vllm-openai:v{version}" if version else "vllm/vllm-openai:latest"
    found = deployment(f"{SERVE} {words}", image=image)
    assert found is not None
    assert bool(found.unread) == told


def test_the_last_of_several_counts_for_what_is_unread() -> None:
    found = deployment(f"{SERVE} --enable-eplb --no-enable-eplb --async-scheduling")
    assert found is not None
    assert found.unread == ("--async-scheduling",)


@pytest.mark.parametrize(
    "command",
    [
        "vllm serve a/b", "/opt/venv/bin/vllm serve a/b", "vllm serve --model a/b", "vllm serve --port 80 a/b",
        "vllm serve --api-key k --served-model-name n --port 80 -- a/b", "vllm serve hf://a/b",
        "vllm.entrypoints.openai.api_server --model=a/b", "vllm.entrypoints.api_server --model a/b",
        "vllm.entrypoints.cli.main serve a/b", "vllm serve c/d --model e/f a/b",
    ],
)  # fmt: skip
def test_programs_and_the_model(command: str) -> None:
    expected = "c/d" if "c/d" in command else "a/b"
    assert said(deployment(command)) == {"engine": "vllm", "model": expected}


@pytest.mark.parametrize(
    "command",
    [
        "vllm bench serve --model a/b", "vllm chat", "vllm --version", "python serve.py a/b", "vllm serve $@",
        "vllm serve", "vllm serve --port 80", "echo vllm serve a/b", "vllm.entrypoints.openai.api_server",
    ],
)  # fmt: skip
def test_what_is_no_deployment(command: str) -> None:
    assert deployment(command) is None


def test_what_somebody_else_fills_in() -> None:
    found = deployment("vllm serve $MODEL $EXTRA_ARGS --dtype=$DTYPE")
    assert found is not None
    assert (found.model, found.dtype) == (Unknown("$MODEL"), Unknown("$DTYPE"))
    assert found.assumed == ("`$EXTRA_ARGS` adds no flags",)


def test_a_placeholder_is_to_be_filled_in() -> None:
    for command in ("vllm serve <your-model>", "vllm serve --model=<your-model>"):
        found = deployment(command.split())
        assert found is not None
        assert found.model == Unknown("<your-model>")


def test_values_have_places() -> None:
    found = deployment("vllm serve a/b --max-model-len 8192 --dtype=half")
    assert found is not None
    assert found.at == AT
    assert {name: at.column for name, at in found.places.items()} == {"model": 21, "max_model_len": 41, "dtype": 51}


def test_the_longest_that_fits_is_not_known_before() -> None:
    for text in ("auto", "-1"):
        found = deployment(f"vllm serve a/b --max-model-len {text}")
        assert found is not None
        assert found.max_model_len == Unknown(text)
        assert found.assumed


def test_the_image_starts_the_server() -> None:
    found = deployment("--model a/b", image="docker.io/vllm/vllm-openai:v0.8.5.post1", entrypoint=False)
    assert said(found) == {"engine": "vllm", "model": "a/b", "engine_version": "0.8.5.post1"}
    assert deployment("", image="vllm/vllm-openai:v0.8.5", entrypoint=False) is None
    assert deployment("sleep 3", image="vllm/vllm-openai:v0.8.5") is None


@pytest.mark.parametrize(
    ("image", "version", "accelerator"),
    [
        ("vllm/vllm-openai:latest", None, None), ("vllm/vllm-openai", None, None),
        ("vllm/vllm-openai:v0.10.2-x86_64", "0.10.2", None), ("mirror.local/vllm/vllm-openai:v0.9.1", "0.9.1", None),
        ("vllm/vllm-openai:nightly-0123456789", None, None), ("vllm/vllm-openai@sha256:00", None, None),
        ("public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.9.1", "0.9.1", "cpu"),
        ("vllm/vllm-tpu:nightly", None, "tpu"), ("opea/vllm-gaudi:1.2", None, "gaudi"),
    ],
)  # fmt: skip
def test_what_an_image_says(image: str, version: str | None, accelerator: str | None) -> None:
    found = deployment("--model a/b", image=image, entrypoint=False)
    assert found is not None
    assert (found.engine_version, found.accelerator) == (version, accelerator)


def test_variables_that_matter() -> None:
    env = {"VLLM_USE_V1": "0", "VLLM_LOGGING_LEVEL": "INFO", "VLLM_ATTENTION_BACKEND": "FLASH_ATTN", "HF_TOKEN": "$T"}
    found = deployment(SERVE, env=env)
    assert found is not None
    assert found.unread == ("VLLM_USE_V1=0",)


def test_variables_of_sagemaker_and_precedence() -> None:
    env = {"SM_VLLM_MODEL": "a/b", "SM_VLLM_MAX_MODEL_LEN": "4096", "SM_VLLM_TENSOR_PARALLEL_SIZE": "2"}
    found = deployment("--max-model-len 2048", env=env, image="vllm/vllm-openai:v0.11.0", entrypoint=False)
    assert found is not None
    assert (found.model, found.max_model_len, found.tensor_parallel_size) == ("a/b", 2048, 2)


def test_a_file_of_options_below_the_command() -> None:
    values = {"model": word("c/d"), "max_model_len": word("4096"), "tensor-parallel-size": word("4")}
    texts = Texts(Location("conf/serving.yaml"), "options", "conf/serving.yaml", values)
    found = deployment("vllm serve --config /etc/vllm/serving.yaml --max-model-len 2048", facts=[texts])
    assert found is not None
    assert (found.model, found.max_model_len, found.tensor_parallel_size) == ("c/d", 2048, 4)
    assert found.unread == ()
    missing = deployment("vllm serve a/b --config other.yaml", facts=[texts])
    assert missing is not None
    assert missing.unread == ("--config other.yaml",)


def test_a_file_of_options_in_a_config_map() -> None:
    text = word("model: c/d\nmax-model-len: 4096\nenforce-eager: true\n")
    texts = Texts(Location("cm.yaml"), "configmap", "settings", {"serving.yaml": text})
    mounts = {"/etc/vllm": Reference(AT, "ConfigMap", "settings")}
    launch = Launch(at=AT, form="kubernetes", mounts=mounts)
    found = deployment("vllm serve --config /etc/vllm/serving.yaml", facts=[texts], launch=launch)
    assert found is not None
    assert (found.model, found.max_model_len, found.enforce_eager) == ("c/d", 4096, True)
