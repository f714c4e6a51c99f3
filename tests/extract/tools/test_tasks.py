"""SkyPilot's tasks and dstack's runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from vramguard.facts import Launch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Launch]]

SKY = """
    name: chat
    resources:
      accelerators: {accelerators}
      image_id: docker:vllm/vllm-openai:v0.16.0
    num_nodes: 2
    envs:
      MODEL: org/chat
    secrets: {{HF_TOKEN: null}}
    setup: pip install vllm==0.16.1
    run: |
      echo started
      vllm serve $MODEL --tensor-parallel-size $SKYPILOT_NUM_GPUS_PER_NODE
    """


def test_a_task_of_skypilot(launches: Found) -> None:
    (task,) = launches("sky.yaml", SKY.format(accelerators="H100:8"))
    assert (task.form, task.name, task.at.line) == ("skypilot", "chat", 10)
    assert (task.hardware.gpu, task.hardware.gpus, task.hardware.nodes) == ("H100", 8, 2)
    assert {name: place.line for name, place in task.hardware.places.items()} == {"gpu": 3, "gpus": 3, "nodes": 5}
    assert {name: value.text for name, value in task.env.items() if isinstance(value, Word)} == {
        "MODEL": "org/chat",
        "HF_TOKEN": "${HF_TOKEN}",
        "SKYPILOT_NUM_GPUS_PER_NODE": "8",
        "SKYPILOT_NUM_NODES": "2",
    }
    assert task.image is not None
    assert task.image.text == "vllm/vllm-openai:v0.16.0"
    assert task.script is not None
    assert task.script.place(1).line == 12
    assert task.given["engine_version"].text == "0.16.1"


@pytest.mark.parametrize(
    ("written", "gpu", "gpus", "accelerator"),
    [
        ("A100", "A100", 1, None),
        ("A100-80GB:4", "A100-80GB", 4, None),
        ("{H100: 8}", "H100", 8, None),
        ("{'H100:8'}", "H100", 8, None),
        ("{L4:8, A10G:8}", Unknown("L4:8, A10G:8"), 8, None),
        ("[L4:2, L4:4]", "L4", Unknown("L4:2, L4:4"), None),
        ("{L4, T4:4}", Unknown("L4:1, T4:4"), Unknown("L4:1, T4:4"), None),
        ("tpu-v6e-8", "tpu-v6e-8", 1, "tpu"),
        ("H100:some", "H100", Unknown("some"), None),
    ],
)
def test_accelerators(launches: Found, written: str, gpu: object, gpus: object, accelerator: str | None) -> None:
    (task,) = launches("sky.yaml", SKY.format(accelerators=written))
    assert (task.hardware.gpu, task.hardware.gpus, task.hardware.accelerator) == (gpu, gpus, accelerator)
    assert ("SKYPILOT_NUM_GPUS_PER_NODE" in task.env) == isinstance(gpus, int)


def test_any_of_several_resources(launches: Found) -> None:
    (task,) = launches(
        "serve.yaml",
        """
        resources:
          any_of:
            - accelerators: H100:2
            - accelerators: A100-80GB:2
        service: {replicas: 2}
        run: vllm serve org/chat
        """,
    )
    assert (task.hardware.gpu, task.hardware.gpus) == (Unknown("H100:2, A100-80GB:2"), 2)


@pytest.mark.parametrize(
    "text",
    [
        "run: vllm serve x",  # anybody's
        "resources: {gpu: 1}\nrun: vllm serve x\nsteps: []",
        "resources: {accelerators: H100}\nsetup: pip install vllm",
        "resources: {accelerators: H100}\nrun: [vllm, serve]",
        "resources: {accelerators: H100}\nrun: echo vLLM is elsewhere\nenvs: {A: b}\nkind: X",
    ],
)
def test_what_is_no_task(launches: Found, text: str) -> None:
    assert launches("task.yaml", text) == []


DSTACK = """
    type: {type}
    name: chat
    image: lmsysorg/sglang:v0.5.5
    env:
      - MODEL_ID=org/chat
      - HF_TOKEN
    commands:
      - export PORT=80
      - python3 -m sglang.launch_server
        --model-path $MODEL_ID
        --tp $DSTACK_GPUS_NUM
    resources:
      gpu: {gpu}
    """


def test_a_service_of_dstack(launches: Found) -> None:
    (service,) = launches("chat.dstack.yml", DSTACK.format(type="service", gpu="H100:2"))
    assert (service.form, service.name, service.at.line, service.entrypoint) == ("dstack", "chat", 7, True)
    assert service.script is not None
    assert service.script.text.split("\n")[2].strip() == "--model-path $MODEL_ID \\"
    assert service.script.place(2).line == 10
    assert {name: value.text for name, value in service.env.items() if isinstance(value, Word)} == {
        "MODEL_ID": "org/chat",
        "HF_TOKEN": "${HF_TOKEN}",
        "DSTACK_GPUS_PER_NODE": "2",
        "DSTACK_NODES_NUM": "1",
        "DSTACK_GPUS_NUM": "2",
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("H100:2", ("H100", 2, None)),
        ("A100:80GB:8", ("A100-80GB", 8, None)),
        ("80GB", (Unknown("80GB"), 1, None)),
        ("24GB..:2", (Unknown("24GB.."), 2, None)),
        ("H100,H200:4", (Unknown("H100, H200"), 4, None)),
        ("H100:1..8", ("H100", Unknown("1..8"), None)),
        ("amd:MI300X", ("MI300X", 1, None)),
        ("v5litepod-8", ("v5litepod-8", 1, "tpu")),
        ("intel:Gaudi3:8", ("Gaudi3", 8, "gaudi")),
        ("2", (None, 2, None)),
        ("{name: [A100], memory: 40GB, count: 4}", ("A100-40GB", 4, None)),
        ("{name: [A100, H100], count: {min: 2, max: 4}}", (Unknown("A100, H100"), Unknown("2..4"), None)),
    ],
)
def test_what_dstack_asks_for(launches: Found, written: str, expected: tuple[Any, ...]) -> None:
    (task,) = launches("x.yml", DSTACK.format(type="task", gpu=written))
    assert (task.hardware.gpu, task.hardware.gpus, task.hardware.accelerator) == expected


def test_a_development_environment_starts_nothing(launches: Found) -> None:
    assert launches("x.dstack.yml", DSTACK.format(type="dev-environment", gpu="1")) == []
    assert launches("x.yml", "type: service\nname: vllm\n") == []
