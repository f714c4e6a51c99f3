"""Command lines of the other engines, and of what carries them."""

from __future__ import annotations

from typing import Any

import pytest
from launched import AT, deployment, said, word

from vramguard.facts import Facts, Hardware, Launch, Unknown, Word
from vramguard.link.launches import launched
from vramguard.source import Location

SGLANG: list[tuple[str, dict[str, Any]]] = [
    ("--tp 8 --mem-fraction-static 0.85", {"tensor_parallel_size": 8, "gpu_memory_utilization": "0.85"}),
    ("--tp-size=8 --mem-frac 0.9", {"tensor_parallel_size": 8, "gpu_memory_utilization": "0.9"}),
    ("--tensor-parallel-size 2 --pp-size 2", {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}),
    ("--context-length 8192 --page-size 64", {"max_model_len": 8192, "block_size": 64}),
    ("--max-running-requests 64 --chunked-prefill-size 4096", {"max_num_seqs": 64, "max_num_batched_tokens": 4096}),
    ("--chunked-prefill-size -1", {"unread": ("--chunked-prefill-size -1",)}),
    ("--quantization fp8 --kv-cache-dtype fp8_e5m2", {"quantization": "fp8", "kv_cache_dtype": "fp8_e5m2"}),
    ("--tp 8 --ep 8", {"tensor_parallel_size": 8, "enable_expert_parallel": True}),
    ("--tp 8 --ep-size 4", {"tensor_parallel_size": 8, "unread": ("--ep-size 4",)}),
    ("--tp 8 --ep-size 1", {"tensor_parallel_size": 8}),
    ("--dp 2", {"data_parallel_size": 2}),
    ("--tp 8 --dp 8 --enable-dp-attention", {"tensor_parallel_size": 8, "unread": ("--enable-dp-attention",)}),
    ("--nnodes 2 --node-rank 0 --dist-init-addr x:1", {"nodes": 2}),
    ("--disable-cuda-graph", {"enforce_eager": True}),
    ("--attention-backend fa3", {"attn_implementation": "fa3"}),
    ("--cuda-graph-max-bs 64", {"unread": ("--cuda-graph-max-bs 64",)}),
    ("--speculative-algorithm EAGLE", {"unread": ("--speculative-algorithm EAGLE",)}),
    ("--lora-paths a=b c=d", {"unread": ("--lora-paths c=d",)}),
    ("--host 0.0.0.0 --port 30000 --max-total-tokens 9000 --log-requests", {}),
    ("--trust-remote-code", {"trust_remote_code": True}),
    ("--reasoning-parser deepseek-r1 --served-model-name n --chat-template c --api-key k", {}),
]
TGI: list[tuple[str, dict[str, Any]]] = [
    ("--num-shard 4 --max-total-tokens 8192", {"tensor_parallel_size": 4, "max_model_len": 8192}),
    ("--sharded false", {"tensor_parallel_size": 1}),
    ("--sharded true --num-shard 2", {"tensor_parallel_size": 2}),
    ("--quantize awq --dtype float16", {"quantization": "awq", "dtype": "float16"}),
    ("--max-batch-prefill-tokens=4096 -p 80", {"max_num_batched_tokens": 4096}),
    ("--max-concurrent-requests 64 --cuda-memory-fraction 0.9", {"max_num_seqs": 64, "gpu_memory_utilization": "0.9"}),
    ("--cuda-graphs 0", {"enforce_eager": True}),
    ("--cuda-graphs 1,2,4", {}),
    ("--cuda-graphs 64", {"unread": ("--cuda-graphs 64",)}),
    ("--speculate 0", {}),
    ("--speculate 2", {"unread": ("--speculate 2",)}),
    ("--max-total 4096", {"unread": ("--max-total 4096",)}),  # clap takes no beginnings
    ("--max-input-tokens 4000 --max-batch-total-tokens 99999 --json-output", {}),
    ("--lora-adapters a/b", {"unread": ("--lora-adapters a/b",)}),
]
TRTLLM: list[tuple[str, dict[str, Any]]] = [
    ("--tp_size 4 --pp_size 2", {"tensor_parallel_size": 4, "pipeline_parallel_size": 2}),
    ("--tensor_parallel_size 4 --ep_size 4", {"tensor_parallel_size": 4, "enable_expert_parallel": True}),
    ("--max_batch_size 64 --max_num_tokens 4096", {"max_num_seqs": 64, "max_num_batched_tokens": 4096}),
    ("--max_seq_len 8192 --backend pytorch", {"max_model_len": 8192}),
    ("--backend trt", {"unread": ("--backend trt",)}),
    ("--kv_cache_free_gpu_memory_fraction 0.8", {"gpu_memory_utilization": "0.8"}),
    ("--extra_llm_api_options x.yaml", {"unread": ("--extra_llm_api_options x.yaml",)}),
    ("--max_beam_width 1 --host 0.0.0.0", {}),
    ("--trust_remote_code", {"trust_remote_code": True}),
]
LLAMA: list[tuple[str, dict[str, Any]]] = [
    ("-c 8192", {"max_model_len": 8192}),
    ("-c 0", {}),
    ("-c 8192 -np 4", {"max_model_len": 2048, "concurrency": 4, "max_num_seqs": 4}),
    ("-c 8192 -np 4 --kv-unified", {"max_model_len": 8192, "max_num_seqs": 4}),
    ("--ctx-size 8192 --parallel 1", {"max_model_len": 8192, "max_num_seqs": 1}),
    ("-ngl 99", {"n_gpu_layers": 99}),
    ("-ngl all", {"n_gpu_layers": -1}),
    ("--n-gpu-layers auto", {}),
    ("-fa", {"attn_implementation": "on"}),
    ("-fa off", {"attn_implementation": "off"}),
    ("-fa --host 0.0.0.0", {"attn_implementation": "on"}),
    ("--flash-attn 1", {"attn_implementation": "on"}),
    ("-ctk q8_0 -ctv q8_0", {"kv_cache_dtype": "q8_0"}),
    ("-ctk q8_0", {"unread": ("-ctk q8_0",)}),
    ("-ub 1024 -b 4096", {"max_num_batched_tokens": 1024}),
    ("-md d.gguf", {"unread": ("-md d.gguf",)}),
    ("--mmproj p.gguf", {"unread": ("--mmproj p.gguf",)}),
    ("--n-cpu-moe 8 -ot x=CPU", {"unread": ("--n-cpu-moe 8", "-ot x=CPU")}),
    ("--device none", {"accelerator": "cpu"}),
    ("--no-mmap --jinja --no-warmup -t 8 --metrics -v -cb", {}),
]


@pytest.mark.parametrize(("words", "fields"), SGLANG, ids=lambda each: str(each)[:50])
def test_sglang(words: str, fields: dict[str, Any]) -> None:
    for start in ("sglang.launch_server --model-path a/b", "sglang serve --model a/b"):
        assert said(deployment(f"{start} {words}")) == {"engine": "sglang", "model": "a/b", **fields}


@pytest.mark.parametrize(("words", "fields"), TGI, ids=lambda each: str(each)[:50])
def test_tgi(words: str, fields: dict[str, Any]) -> None:
    command = f"text-generation-launcher --model-id a/b {words}"
    assert said(deployment(command)) == {"engine": "tgi", "model": "a/b", **fields}


@pytest.mark.parametrize(("words", "fields"), TRTLLM, ids=lambda each: str(each)[:50])
def test_tensorrt_llm(words: str, fields: dict[str, Any]) -> None:
    for start in ("trtllm-serve a/b", "trtllm-serve serve a/b", "trtllm-llmapi-launch trtllm-serve a/b"):
        assert said(deployment(f"{start} {words}")) == {"engine": "tensorrt-llm", "model": "a/b", **fields}


@pytest.mark.parametrize(("words", "fields"), LLAMA, ids=lambda each: str(each)[:50])
def test_llama_cpp(words: str, fields: dict[str, Any]) -> None:
    found = said(deployment(f"/app/llama-server -m /models/x.Q4_K_M.gguf {words}"))
    assert found == {"engine": "llama.cpp", "model": "/models/x.Q4_K_M.gguf", "quantization": "Q4_K_M", **fields}


@pytest.mark.parametrize(
    ("words", "model", "quantization"),
    [
        ("-hf a/b-GGUF:Q8_0", "a/b-GGUF", "Q8_0"), ("-hf a/b-GGUF", "a/b-GGUF", "Q4_K_M"),
        ("--hf-repo a/b --hf-file b-iq4_xs.gguf", "a/b", "IQ4_XS"), ("-m x-f16.gguf", "x-f16.gguf", "F16"),
        ("-m x-Q5_K_S-00001-of-00003.gguf", "x-Q5_K_S-00001-of-00003.gguf", "Q5_K_S"),
        ("-m gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("-m /models/model.gguf", "/models/model.gguf", Unknown("/models/model.gguf")),
        ("-m $FILE", Unknown("$FILE"), None),
    ],
)  # fmt: skip
def test_files_and_repositories_of_llama_cpp(words: str, model: object, quantization: object) -> None:
    found = deployment(f"llama-server {words}")
    assert found is not None
    assert (found.model, found.quantization) == (model, quantization)


def test_variables_of_tgi() -> None:
    env = {"MODEL_ID": "a/b", "NUM_SHARD": "2", "MAX_TOTAL_TOKENS": "4096", "QUANTIZE": "awq", "HF_TOKEN": "$T"}
    found = deployment(
        "--max-total-tokens 2048",
        env=env,
        image="ghcr.io/huggingface/text-generation-inference:2.2.0",
        entrypoint=False,
    )
    assert said(found) == {
        "engine": "tgi", "engine_version": "2.2.0", "model": "a/b", "tensor_parallel_size": 2, "max_model_len": 2048,
        "quantization": "awq",
    }  # fmt: skip


def test_variables_of_llama_cpp() -> None:
    env = {"LLAMA_ARG_HF_REPO": "a/b:Q8_0", "LLAMA_ARG_CTX_SIZE": "4096", "LLAMA_ARG_N_GPU_LAYERS": "-1"}
    found = deployment("", env=env, image="ghcr.io/ggml-org/llama.cpp:server-cuda-b7200", entrypoint=False)
    assert found is not None
    assert (found.model, found.quantization, found.max_model_len, found.n_gpu_layers) == ("a/b", "Q8_0", 4096, -1)
    assert (found.engine_version, found.accelerator) == ("b7200", None)
    cpu = deployment("", env=env, image="ghcr.io/ggml-org/llama.cpp:server", entrypoint=False)
    assert cpu is not None
    assert cpu.accelerator == "cpu"


@pytest.mark.parametrize(
    ("image", "engine", "version"),
    [
        ("lmsysorg/sglang:v0.4.6.post5-cu124", "sglang", "0.4.6.post5"),
        ("ghcr.io/huggingface/text-generation-inference:3.3.5", "tgi", "3.3.5"),
        ("ghcr.io/huggingface/text-generation-inference:sha-0123abc", "tgi", None),
        ("us-docker.pkg.dev/x/gcr.io/huggingface-text-generation-inference-cu124.2-3.ubuntu2204.py311", "tgi", "2.3"),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.4-gpu-py311",
         "tgi", "3.3.4"),
    ],
)  # fmt: skip
def test_versions_in_images(image: str, engine: str, version: str | None) -> None:
    starts = {"sglang": "sglang.launch_server --model-path a/b", "tgi": "text-generation-launcher --model-id a/b"}
    found = deployment(starts[engine], image=image)
    assert found is not None
    assert (found.engine, found.engine_version) == (engine, version)


def test_nim() -> None:
    found = deployment("", image="nvcr.io/nim/meta/llama-3.1-8b-instruct:1.3.3", entrypoint=False)
    assert said(found) == {
        "engine": "nim",
        "engine_version": "1.3.3",
        "model": "meta/llama-3.1-8b-instruct",
        "holds": "",
    }
    env = {"NIM_MODEL_NAME": "hf://a/b", "NIM_MAX_MODEL_LEN": "8192", "NIM_TENSOR_PARALLEL_SIZE": "2"}
    found = deployment("", env=env, image="nvcr.io/nim/nvidia/llm-nim:latest", entrypoint=False)
    assert said(found) == {"engine": "nim", "model": "a/b", "max_model_len": 8192, "tensor_parallel_size": 2}
    env = {"NIM_MODEL_PROFILE": "vllm-bf16-tp2"}
    found = deployment("", env=env, image="nvcr.io/nim/meta/llama-3.1-8b-instruct:1.3.3", entrypoint=False)
    assert found is not None
    assert found.engine == "nim:vllm"
    assert deployment("download-to-cache", image="nvcr.io/nim/meta/llama-3.1-8b-instruct:1.3.3") is None


def test_kserve() -> None:
    found = deployment("huggingfaceserver --model_name=n --model_id=a/b --max_model_len 4096 --tensor-parallel-size 2")
    assert said(found) == {"engine": "kserve", "model": "a/b", "max_model_len": 4096, "tensor_parallel_size": 2}
    found = deployment("--model_dir=/mnt/models --backend=huggingface", image="kserve/huggingfaceserver:v0.15.0",
                       entrypoint=False)  # fmt: skip
    assert said(found) == {"engine": "kserve:transformers", "engine_version": "0.15.0", "model": "/mnt/models"}


def test_dynamo() -> None:
    found = deployment("dynamo.vllm --model a/b --tensor-parallel-size 2 --connector none --endpoint e")
    assert said(found) == {"engine": "vllm", "model": "a/b", "tensor_parallel_size": 2}
    found = deployment("dynamo.sglang --model-path a/b --tp 2 --disaggregation-mode prefill")
    assert said(found) == {
        "engine": "sglang", "model": "a/b", "tensor_parallel_size": 2, "unread": ("--disaggregation-mode prefill",),
    }  # fmt: skip
    assert deployment("dynamo.frontend --http-port 80") is None


@pytest.mark.parametrize(
    ("command", "engine"),
    [
        ("lmdeploy serve api_server a/b --tp 2", "lmdeploy"), ("ollama run llama3", "ollama"),
        ("aphrodite run a/b", "aphrodite"), ("text-embeddings-router --model-id a/b", "tei"),
        ("fastchat.serve.model_worker --model-path a/b --num-gpus 2", "fastchat"),
        ("tritonserver --model-repository=/models --http-port 80", "triton"),
    ],
)  # fmt: skip
def test_engines_that_are_only_recognised(command: str, engine: str) -> None:
    found = deployment(command)
    assert found is not None
    assert found.engine == engine


@pytest.mark.parametrize(
    "command", ["trtllm-serve disaggregated -c x.yaml", "ollama serve", "lmdeploy chat a/b", "tritonserver"]
)
def test_what_loads_no_model_of_its_own(command: str) -> None:
    assert deployment(command) is None


def test_what_a_place_states() -> None:
    given = {"engine": "VLLM", "model": "hf://a/b", "tensor_parallel_size": "2", "revision": "$REV"}
    found = deployment("--max-model-len=8192", given=given, entrypoint=False)
    assert said(found) == {
        "engine": "vllm", "model": "a/b", "tensor_parallel_size": 2, "revision": Unknown("$REV"), "max_model_len": 8192,
    }  # fmt: skip
    found = deployment("--tensor-parallel-size 4", given=given, entrypoint=False)
    assert found is not None
    assert found.tensor_parallel_size == 4  # a flag is above what is stated
    assert said(deployment("./start.sh", given={"engine": "FasterWhisper", "model": "a/b"})) == {
        "engine": "fasterwhisper", "model": "a/b",
    }  # fmt: skip
    assert deployment("./start.sh", given={"engine": "VLLM"}) is None


@pytest.mark.parametrize(
    ("hardware", "fields"),
    [
        (Hardware("nvidia-l4", 2), {"gpu": "l4-24gb", "gpus": 2}),
        (Hardware("NVIDIA-A100-SXM4-80GB-SHARED", 1), {"gpu": "a100-sxm4-80gb", "gpus": 1,
                                                       "unread": ("a share of a card (time-sliced)",)}),
        (Hardware("H100:8"), {"gpu": "h100-sxm5-80gb", "gpus": 8}),
        (Hardware("8x H100"), {"gpu": "h100-sxm5-80gb", "gpus": 8}),
        (Hardware("A100:80GB"), {"gpu": "a100-sxm4-80gb"}),
        (Hardware("A100-80GB:4"), {"gpu": "a100-sxm4-80gb", "gpus": 4}),
        (Hardware("nvidia-gpu-h100:2"), {"gpu": "h100-sxm5-80gb", "gpus": 2}),
        (Hardware("g5.12xlarge"), {"gpu": "a10g-24gb", "gpus": 4}),
        (Hardware("g5.12xlarge", 1), {"gpu": "a10g-24gb", "gpus": 1}),
        (Hardware("ml.g5.2xlarge"), {"gpu": "a10g-24gb", "gpus": 1}),
        (Hardware("Standard_NC24ads_A100_v4"), {"gpu": "a100-pcie-80gb", "gpus": 1}),
        (Hardware("nvidia.com/mig-3g.40gb", 1), {"gpu": "h100-80gb-mig-3g.40gb", "gpus": 1}),
        (Hardware("<your-card>", 1), {"gpu": Unknown("<your-card>"), "gpus": 1}),
        (Hardware("weird-card", 1), {"gpu": "weird-card", "gpus": 1}),
        (Hardware(Unknown("$GPU"), Unknown("$N")), {"gpu": Unknown("$GPU"), "gpus": Unknown("$N")}),
        (Hardware("H100", 8, 2), {"gpu": "h100-sxm5-80gb", "gpus": 16, "nodes": 2}),
        (Hardware("L4", 8, Unknown("$N")), {"gpu": "l4-24gb", "gpus": Unknown("8 x $N"), "nodes": Unknown("$N")}),
        (Hardware("inf2.xlarge"), {"accelerator": "neuron"}),
        (Hardware("tpu-v5-lite-podslice", 4), {"accelerator": "tpu"}),
        (Hardware("TPU-v5p-8"), {"accelerator": "tpu"}),
        (Hardware(None, 1, accelerator="gaudi"), {"accelerator": "gaudi"}),
        (Hardware("L4", 1, share="0.5"), {"gpu": "l4-24gb", "gpus": 1, "unread": ("a share of a card (0.5)",)}),
        (Hardware("cpu"), {"accelerator": "cpu"}),
    ],
    ids=lambda each: str(each)[:60],
)  # fmt: skip
def test_hardware(hardware: Hardware, fields: dict[str, Any]) -> None:
    found = said(deployment("vllm serve a/b", hardware=hardware))
    assert found == {"engine": "vllm", "model": "a/b", **fields}


def test_cards_that_a_program_sees() -> None:
    one = deployment("vllm serve a/b", env={"CUDA_VISIBLE_DEVICES": "1"}, hardware=Hardware("H100", 8))
    assert one is not None
    assert one.gpus == 1
    two = deployment("vllm serve a/b", env={"CUDA_VISIBLE_DEVICES": "0,3"})
    assert two is not None
    assert two.gpus == 2
    all_ = deployment("vllm serve a/b", env={"CUDA_VISIBLE_DEVICES": "$X"}, hardware=Hardware("H100", 8))
    assert all_ is not None
    assert all_.gpus == 8


def test_an_image_for_other_cards() -> None:
    image = "rocm/vllm:rocm6.3.1_vllm_0.8.5"
    found = deployment("vllm serve a/b", image=image)
    assert found is not None
    assert found.unread == (f"{image} (for cards of AMD)",)
    found = deployment("vllm serve a/b", image=image, hardware=Hardware("MI300X", 8))
    assert found is not None
    assert (found.gpu, found.unread) == ("mi300x-192gb", ())


def test_a_file_that_the_script_itself_writes() -> None:
    body = (
        "cat <<EOF > /tmp/extra.yaml\nkv_cache_config:\n  free_gpu_memory_fraction: 0.7\n  dtype: fp8\n"
        "cuda_graph_config: null\nmoe_config:\n  backend: CUTLASS\nEOF\n"
    )
    script = Word(body, AT, first=(10, 5))
    launch = Launch(at=AT, form="kubernetes", script=script)
    found = deployment("trtllm-serve a/b --extra_llm_api_options /tmp/extra.yaml", launch=launch)
    assert found is not None
    assert (found.gpu_memory_utilization, found.kv_cache_dtype) == ("0.7", "fp8")
    assert found.unread == ("moe_config.backend: CUTLASS",)
    at = found.places["gpu_memory_utilization"]
    assert (at.path, at.line, at.column) == ("deploy.yaml", 12, 33)


PATTERN = Launch(
    at=Location("runtimes/hf.yaml", 3),
    form="kserve",
    name="ServingRuntime/hf",
    command=(word("--model_name=n"),),
    entrypoint=False,
    image=word("kserve/huggingfaceserver:v0.15.0"),
    runtime=True,
    joins={"runtime": "hf", "formats": "huggingface"},
)


def test_a_pattern_has_the_model_of_a_service() -> None:
    (found,) = launched([], Facts([PATTERN]))
    assert (found.engine, found.model, found.name) == ("kserve", Unknown("/mnt/models"), "ServingRuntime/hf")


def test_every_program_of_a_script_is_one_deployment() -> None:
    text = Word("vllm serve a/b --port 1 &\npip install vllm\nvllm serve c/d --port 2\n", AT, first=(20, 1))
    launch = Launch(at=AT, form="shell", script=text)
    found = list(launched([launch], Facts([launch])))
    assert [(each.model, each.at.line) for each in found] == [("a/b", 20), ("c/d", 22)]


def test_a_command_of_too_many_words_is_read_in_part() -> None:
    words = ["vllm", "serve", "a/b", *["--nothing-known"] * 100_000]
    found = deployment(words)
    assert found is not None
    assert len(found.unread) < 3000
