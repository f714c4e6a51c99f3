"""Compose services: their words, cards and variables, each where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from vramguard.facts import Facts, Hardware, Launch, Texts, Unknown, Word
from vramguard.link.compose import completed
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Launch]]

CHAT = """
    x-cards: &cards
      deploy:
        resources:
          reservations:
            devices:
              - driver: nvidia
                count: ${CARDS:-2}
                capabilities: [gpu]
    services:
      cache:
        image: redis:7
      chat:
        <<: *cards
        image: vllm/vllm-openai:${TAG:-v0.16.0}
        environment:
          - HF_TOKEN
          - VLLM_LOGGING_LEVEL=INFO
        env_file: [shared/chat.env]
        volumes: ["./start.sh:/start.sh:ro", "cache:/root"]
        command: >
          --model ${MODEL:-org/small}
          --max-model-len 4096 ${EXTRA:-}
          --served-model-name "our chat"
    """


def test_a_service_with_a_folded_command(launches: Found) -> None:
    (chat,) = launches("deploy/compose.yaml", CHAT)
    assert (chat.form, chat.name, chat.at.line, chat.entrypoint) == ("compose", "chat", 12, False)
    assert [(word.text, word.at.line, word.at.column) for word in chat.command] == [
        ("--model", 21, 7),
        ("${MODEL:-org/small}", 21, 15),
        ("--max-model-len", 22, 7),
        ("4096", 22, 23),
        ("${EXTRA:-}", 22, 28),
        ("--served-model-name", 23, 7),
        ("our chat", 23, 28),
    ]
    assert chat.hardware.gpus == Unknown("${CARDS:-2}")
    assert chat.hardware.places["gpus"].line == 7
    assert {name: value.text for name, value in chat.env.items() if isinstance(value, Word)} == {
        "HF_TOKEN": "${HF_TOKEN}",
        "VLLM_LOGGING_LEVEL": "INFO",
    }
    assert chat.joins == {"variables": "deploy/.env", "env_file": "deploy/shared/chat.env"}
    assert {path: mount.name for path, mount in chat.mounts.items()} == {"/start.sh": "deploy/start.sh"}


def dotenv(path: str, **values: str) -> Texts:
    return Texts(Location(path), "dotenv", path, {name: Word(text, Location(path)) for name, text in values.items()})


def test_variables_have_the_value_of_the_project_else_their_default(launches: Found) -> None:
    service = launches("deploy/compose.yaml", CHAT)
    (bare,) = completed(service, Facts(service))
    assert [word.text for word in bare.command][:4] == ["--model", "org/small", "--max-model-len", "4096"]
    assert "" not in [word.text for word in bare.command]
    assert all(word.known for word in bare.command)
    assert bare.hardware.gpus == 2
    assert bare.image is not None
    assert (bare.image.text, bare.image.known) == ("vllm/vllm-openai:v0.16.0", True)

    files = [dotenv("deploy/.env", MODEL="org/large", EXTRA="--tp 4"), dotenv("deploy/shared/chat.env", A="b")]
    (full,) = completed(service, Facts([*service, *files, dotenv("other/.env", CARDS="8")]))
    assert [word.text for word in full.command][1:6] == ["org/large", "--max-model-len", "4096", "--tp", "4"]
    assert full.hardware.gpus == 2
    assert "A" in full.env


@pytest.mark.parametrize(
    ("text", "filled", "known"),
    [
        ("$$HOME", "$HOME", True),
        ("--m=${A}", "--m=${A}", False),
        ("${A-x}${B:-y}", "xset", True),
        ("${A:-${C:-deep}}", "deep", True),
        ("${EMPTY-x}", "", True),
        ("${EMPTY:-x}", "x", True),
        ("${B:+yes}${A:+no}", "yes", True),
        ("${A:?is needed}", "${A:?is needed}", False),
        ("${A} and ${B}", "${A} and set", False),
    ],
)
def test_interpolation(text: str, filled: str, *, known: bool) -> None:
    here = Location("compose.yaml", 3, 5, 3, 20)
    launch = Launch(here, "compose", env={"X": Word(text, here, known="$" not in text)}, joins={"variables": ".env"})
    facts = Facts([launch, dotenv(".env", B="set", EMPTY="")])
    (found,) = completed([launch], facts)
    assert found.env["X"] == Word(filled, here, known)


def test_what_a_shell_gets_is_a_script(launches: Found) -> None:
    service = launches(
        "compose.yaml",
        """
        services:
          a:
            image: vllm/vllm-openai
            entrypoint: ["bash", "-lc"]
            command:
              - |
                set -e
                exec vllm serve $$MODEL --max-model-len 8
        """,
    )
    (found,) = completed(service, Facts(service))
    assert found.entrypoint
    script = found.command[-1]
    assert (script.known, script.first) == (True, (7, 9))
    assert script.text == "set -e\nexec vllm serve $MODEL --max-model-len 8\n"
    assert script.place(1, 5).line == 8


@pytest.mark.parametrize(
    ("lines", "expected", "line"),
    [
        ("gpus: all", {"gpus": None}, 4),
        ("gpus: 2", {"gpus": 2}, 4),
        ("runtime: nvidia", {"gpus": None}, 4),
        ("runtime: habana", {"accelerator": "gaudi"}, 4),
        ("devices: ['/dev/kfd:/dev/kfd', '/dev/dri']", {"gpus": None}, 4),
        ("devices: ['nvidia.com/gpu=all']", {"gpus": None}, 4),
        ("devices: ['/dev/neuron0:/dev/neuron0']", {"accelerator": "neuron"}, 4),
        ("runtime: nvidia\n    environment: ['NVIDIA_VISIBLE_DEVICES=0,3']", {"gpus": 2}, 5),
        ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}", {"gpus": None}, 4),
        ("deploy: {resources: {reservations: {devices: [{count: all, capabilities: [[gpu]]}]}}}", {"gpus": None}, 4),
        (
            "deploy: {resources: {reservations: {devices: [{device_ids: ['0', '3'], capabilities: [gpu]}]}}}",
            {"gpus": 2},
            4,
        ),
        ("shm_size: 16g", {}, None),
        ("deploy: {resources: {reservations: {devices: [{capabilities: [tpm]}]}}}", {}, None),
    ],
)
def test_cards(launches: Found, lines: str, expected: dict[str, Any], line: int | None) -> None:
    (service,) = launches("docker-compose.yml", f"services:\n  a:\n    image: vllm/vllm-openai\n    {lines}\n")
    places = service.hardware.places
    assert service.hardware == Hardware(**expected, places=places)
    assert {place.line for place in places.values()} == ({line} if line else set())


def test_a_service_takes_what_it_extends(launches: Found) -> None:
    found = launches(
        "compose.yml",
        """
        services:
          base:
            image: lmsysorg/sglang:v0.5.5
            gpus: all
            environment: {A: "1", B: "2"}
          chat:
            extends: {service: base}
            environment: {B: "3"}
            command: python3 -m sglang.launch_server --model-path org/chat
        """,
    )
    chat = found[-1]
    assert chat.image is not None
    assert chat.image.text == "lmsysorg/sglang:v0.5.5"
    assert {name: getattr(value, "text", None) for name, value in chat.env.items()} == {"A": "1", "B": "3"}
    assert chat.hardware.places["gpus"].line == 4


def test_a_cycle_of_services_ends(launches: Found) -> None:
    found = launches("compose.yml", "services: {a: {extends: b, image: vllm/x}, b: {extends: a, image: vllm/y}}")
    assert [launch.name for launch in found] == ["a", "b"]


def test_an_overlay_brings_the_cards(launches: Found) -> None:
    base = launches("a/compose.yml", "services: {chat: {image: vllm/vllm-openai, command: [--model, org/chat]}}")
    overlay = launches("a/compose.gpu.yml", "# vllm\nservices: {chat: {gpus: all, environment: {}}}")
    elsewhere = launches("b/compose.gpu.yml", "# vllm\nservices: {chat: {gpus: 4, environment: {}}}")
    (chat, *_) = completed([*base, *overlay, *elsewhere], Facts([*base, *overlay, *elsewhere]))
    assert chat.hardware.places["gpus"].path == "a/compose.gpu.yml"


@pytest.mark.parametrize(
    "text",
    [
        "services: [vllm]",
        "services: {a: vllm}",
        "services: {a: {instance_type: gpu.h100, model: vllm}}",
        "apiVersion: v1\nkind: X\nservices: {a: {image: vllm/vllm-openai}}",
        "services: {vllm: {build: ., image: vllm}}",
        "services: {a: {image: redis}}\nx-note: not vllm",
        "- vllm",
        "vllm",
    ],
)
def test_what_is_no_service_of_an_engine(launches: Found, text: str) -> None:
    assert launches("compose.yaml", text) == []
