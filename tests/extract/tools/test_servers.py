"""Truss, Ray Serve, Triton, llama-swap, LocalAI, Dynamo, BentoVLLM, Fly, Azure ML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.facts import Launch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Launch]]


def given(launch: Launch) -> dict[str, tuple[str, int]]:
    return {name: (word.text, word.at.line) for name, word in launch.given.items()}


def words(launch: Launch) -> list[str]:
    return [word.text for word in launch.command]


def test_a_build_of_truss(launches: Found) -> None:
    (found,) = launches(
        "chat/config.yaml",
        """
        model_name: Chat
        resources:
          accelerator: H100:2
          use_gpu: true
        trt_llm:
          build:
            checkpoint_repository: {repo: org/chat, source: HF, revision: main}
            max_seq_len: 8192
            max_batch_size: 32
            quantization_type: fp8_kv
            tensor_parallel_count: 2
          runtime:
            kv_cache_free_gpu_mem_fraction: 0.80
        """,
    )
    assert (found.form, found.name, found.at.line) == ("truss", "Chat", 5)
    assert (found.hardware.gpu, found.hardware.gpus) == ("H100", 2)
    built = found.given["unread"]  # what the builder makes is no release of TensorRT-LLM's
    expected = {
        "engine": ("tensorrt-llm", 5), "unread": (built.text, 5), "model": ("org/chat", 7),
        "revision": ("main", 7), "max_model_len": ("8192", 8), "max_num_seqs": ("32", 9), "quantization": ("fp8", 10),
        "kv_cache_dtype": ("fp8", 10), "tensor_parallel_size": ("2", 11), "gpu_memory_utilization": ("0.80", 13),
    }  # fmt: skip
    assert given(found) == expected


def test_the_newer_stack_of_truss_says_more_in_its_runtime(launches: Found) -> None:
    (found,) = launches(
        "config.yaml",
        """
        model_metadata: {}
        resources: {accelerator: B200}
        trt_llm:
          inference_stack: v2
          build: {checkpoint_repository: {repo: org/chat, source: HF}, quantization_type: no_quant}
          runtime:
            max_seq_len: 4096
            tensor_parallel_size: 1
            patch_kwargs: {kv_cache_config: {free_gpu_memory_fraction: 0.8}}
        """,
    )
    assert found.hardware.gpus == 1
    assert given(found) == {
        "engine": ("tensorrt-llm", 3),
        "model": ("org/chat", 5),
        "max_model_len": ("4096", 7),
        "tensor_parallel_size": ("1", 8),
        "gpu_memory_utilization": ("0.8", 9),
    }


def test_a_server_of_truss(launches: Found) -> None:
    (found,) = launches(
        "a/config.yaml",
        """
        base_image: {image: vllm/vllm-openai:v0.16.0}
        model_name: Chat
        docker_server:
          start_command: >-
            sh -c "HF_TOKEN=$(cat /secrets/t) vllm serve org/chat
            --max-model-len 4096"
        environment_variables: {VLLM_LOGGING_LEVEL: INFO, T: null}
        resources: {accelerator: L4, use_gpu: true, node_count: 2}
        """,
    )
    assert words(found)[:2] == ["sh", "-c"]
    assert found.command[2].place(1).line == 6
    assert found.command[2].known
    assert found.mounts["/app"].name == "a"
    assert (found.hardware.gpu, found.hardware.nodes) == ("L4", 2)
    assert found.joins == {}


@pytest.mark.parametrize(("written", "gpu"), [("A100:2", "A100-80GB"), ("A10G", "A10G"), ("H100_40GB", "H100_40GB")])
def test_a_card_of_truss_is_the_one_that_baseten_has(launches: Found, written: str, gpu: str) -> None:
    text = f"model_name: vllm\nrequirements: [vllm]\nresources: {{accelerator: {written}}}\n"
    (found,) = launches("a/config.yaml", text)
    assert found.hardware.gpu == gpu


def test_a_truss_in_python_has_only_its_cards(launches: Found) -> None:
    (found,) = launches("a/config.yaml", "model_name: vllm\nrequirements: [vllm]\nresources: {use_gpu: true}\n")
    assert (found.command, dict(found.given), found.joins) == ((), {}, {"module": "a/model/model.py"})
    assert found.hardware.places["gpus"].line == 3


@pytest.mark.parametrize("text", ["model_name: vllm\n", "model_name: vllm\nsecrets: {}\n", "resources: {vllm: 1}\n"])
def test_any_config_yaml_is_no_truss(launches: Found, text: str) -> None:
    assert launches("config.yaml", text) == []


SERVE = """
    applications:
      - name: llms
        import_path: ray.serve.llm:build_openai_app
        runtime_env: {env_vars: {A: b}}
        args:
          llm_configs:
            - models/other.yaml
            - model_loading_config: {model_id: chat, model_source: org/chat}
              accelerator_type: A100
              engine_kwargs:
                tensor_parallel_size: 2
                pipeline_parallel_size: 2
                enforce_eager: true
                enable_prefix_caching: false
                speculative_config: {method: eagle}
      - import_path: app:vllm
        deployments:
          - name: vllm
            ray_actor_options: {num_gpus: 0.5, accelerator_type: L4}
          - name: http
    """


def test_applications_of_ray_serve(launches: Found) -> None:
    chat, module = launches("serve.yaml", SERVE)
    assert (chat.form, chat.name, chat.at.line, chat.entrypoint) == ("ray", "llms", 8, False)
    assert given(chat) == {"engine": ("vllm", 8), "model": ("org/chat", 8)}
    assert words(chat) == [
        "--tensor-parallel-size=2",
        "--pipeline-parallel-size=2",
        "--enforce-eager",
        "--no-enable-prefix-caching",
        '--speculative-config={"method": "eagle"}',
    ]
    assert (chat.hardware.gpu, chat.hardware.gpus) == ("A100", 4)
    assert isinstance(value := chat.env["A"], Word)
    assert value.text == "b"
    assert (module.hardware.share, module.hardware.gpus, module.hardware.gpu) == ("0.5", None, "L4")
    assert module.joins == {"module": "app:vllm", "actor": "vllm"}


def test_a_models_own_file_for_ray(launches: Found) -> None:
    (new,) = launches(
        "chat.yaml",
        """
        llm_engine: VLLMEngine
        model_loading_config: {model_id: org/chat}
        accelerator_type: H100
        tensor_parallelism: {degree: 4}
        max_request_context_length: 8192
        """,
    )
    assert (new.given["engine"].text, new.hardware.gpus) == ("vllm", 4)
    assert words(new) == ["--tensor-parallel-size=4", "--max-model-len=8192"]
    (old,) = launches(
        "chat.yaml",
        """
        engine_config:
          type: VLLMEngine
          hf_model_id: org/chat
          engine_kwargs: {max_num_seqs: 64}
        scaling_config: {num_workers: 2, num_gpus_per_worker: 1}
        """,
    )
    assert words(old) == ["--max-num-seqs=64", "--tensor-parallel-size=2"]
    assert (old.given["model"].text, old.hardware.gpus) == ("org/chat", 2)


def test_models_of_triton(launches: Found) -> None:
    (built,) = launches(
        "repo/llm/config.pbtxt",
        """
        backend: "tensorrtllm"
        instance_group [ { count: 1 kind: KIND_CPU } ]
        parameters: { key: "gpt_model_path" value: { string_value: "${engine_dir}" } }
        parameters: { key: "kv_cache_free_gpu_mem_fraction" value: { string_value: "0.9" } }
        """,
    )
    assert (built.name, built.given["engine"].text, built.given["model"].known) == ("llm", "triton:tensorrt-llm", False)
    assert given(built)["gpu_memory_utilization"] == ("0.9", 4)
    assert "unread" in built.given
    (python,) = launches(
        "repo/chat/config.pbtxt",
        """
        name: "chat"
        backend: "python"
        instance_group [ { kind: KIND_GPU gpus: [ 0, 1 ] } ]
        parameters { key: "model_name" value { string_value: "org/chat" } }
        parameters { key: "max_model_len" value { string_value: "4096" } }
        parameters { key: "gpu_memory_utilization" value { string_value: "0.8" } }
        """,
    )
    assert given(python)["model"] == ("org/chat", 4)
    assert python.hardware.gpus == 2
    assert launches("tok/config.pbtxt", 'backend: "python"\nparameters { key: "model_name" value {} }') == []


def test_arguments_of_vllm_in_a_version_folder_of_triton(launches: Found) -> None:
    (found,) = launches("repo/chat/1/model.json", '{"model": "org/chat",\n "gpu_memory_utilization": 0.50}')
    assert (found.name, given(found)) == ("chat", {"engine": ("triton:vllm", 1), "model": ("org/chat", 1)})
    assert [(word.text, word.at.line) for word in found.command] == [("--gpu-memory-utilization=0.50", 2)]
    assert launches("repo/chat/1/model.json", '{"model": "huggingface", "layers": []}') == []


def test_commands_of_llama_swap(launches: Found) -> None:
    (found,) = launches(
        "config.yaml",
        """
        macros:
          server: llama-server --port ${PORT}
          context: 4096
        models:
          chat:
            macros: {context: 8192}
            env: [CUDA_VISIBLE_DEVICES=0]
            cmd: |
              # what to start
              ${server}
              --model /m/${MODEL_ID}.gguf --ctx-size ${context}
        """,
    )
    assert words(found) == ["llama-server", "--port", "${PORT}", "--model", "/m/chat.gguf", "--ctx-size", "8192"]
    assert [word.at.line for word in found.command] == [2, 2, 2, 11, 11, 11, 11]
    assert [word.known for word in found.command] == [True, True, False, True, True, True, True]


def test_a_macro_that_names_itself_ends(launches: Found) -> None:
    text = "macros: {a: '${a} ${a} ${a} ${a}'}\nmodels: {vllm: {cmd: '${a}'}}\n"
    (found,) = launches("config.yaml", text)
    assert set(words(found)) == {"${a}"}


def test_a_model_of_local_ai(launches: Found) -> None:
    (found,) = launches(
        "chat.yaml",
        "name: chat\nbackend: vllm\nparameters: {model: org/chat}\ngpu_memory_utilization: 0.5\nquantization: awq\n",
    )
    assert given(found) == {
        "engine": ("vllm", 2),
        "model": ("org/chat", 3),
        "gpu_memory_utilization": ("0.5", 4),
        "quantization": ("awq", 5),
    }
    assert launches("chat.yaml", "name: vllm\nbackend: piper\nparameters: {model: a}\n") == []


def test_a_graph_of_dynamo(launches: Found) -> None:
    prefill, decode = launches(
        "agg.yaml",
        """
        Common: {model: org/chat, block-size: 64, max-model-len: 8192}
        Frontend: {served_model_name: chat, endpoint: dynamo.Processor.chat}
        VllmWorker:
          ServiceArgs: {workers: 1, resources: {gpu: 2}}
          tensor-parallel-size: 2
          common-configs: [model, block-size]
        PrefillWorker:
          model: org/chat
          ServiceArgs: {resources: {gpu: '1'}}
        VllmPrefillWorker:
          model: org/other
          block-size: 16
        """,
    )
    assert (prefill.name, given(prefill)["model"], words(prefill)) == (
        "VllmWorker",
        ("org/chat", 1),
        ["--block-size=64", "--tensor-parallel-size=2"],
    )
    assert prefill.hardware.gpus == 2
    assert (decode.name, words(decode)) == ("VllmPrefillWorker", ["--block-size=16"])


def test_arguments_of_bento_vllm(launches: Found) -> None:
    (found,) = launches(
        "chat.yaml",
        "args:\n  gpu_type: nvidia-h100-80gb\n  tp: 2\n  model_id: org/chat\n  cli_args: ['--seed', 1]\n# vllm\n",
    )
    assert given(found) == {"model": ("org/chat", 4), "tensor_parallel_size": ("2", 3), "engine": ("vllm", 1)}
    assert (found.hardware.gpu, found.hardware.gpus, words(found)) == ("nvidia-h100-80gb", 2, ["--seed", "1"])


def test_an_app_of_fly(launches: Found) -> None:
    (found,) = launches(
        "fly.toml",
        """
        app = "chat"
        [build]
        image = "ollama/ollama"
        [env]
        OLLAMA_HOST = "0.0.0.0"
        [processes]
        app = "serve --port 80"
        [[vm]]
        gpu_kind = "a100-pcie-40gb"
        gpus = 2
        """,
    )
    assert (words(found), found.entrypoint) == (["serve", "--port", "80"], False)
    assert (found.hardware.gpu, found.hardware.gpus) == ("a100-pcie-40gb", 2)
    assert found.hardware.places["gpus"].line == 10


def test_an_online_deployment_of_azure_ml(launches: Found) -> None:
    (found,) = launches(
        "deployment.yml",
        """
        $schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
        name: blue
        environment: {image: acme.azurecr.io/vllm:1}
        environment_variables: {MODEL_NAME: org/chat}
        instance_type: Standard_NC24ads_A100_v4
        """,
    )
    assert (found.name, found.hardware.gpu, found.hardware.gpus) == ("blue", "Standard_NC24ads_A100_v4", None)
    assert Unknown not in map(type, found.env.values())
