"""What is asked of the hub, and what each of its answers comes to."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hub.server import TOKEN

from vramguard.hub import client
from vramguard.hub.client import Hub, resolve_all
from vramguard.hub.found import Asked, Found, HubError

if TYPE_CHECKING:
    from hub.server import HubServer

CONFIG: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
INDEX = b'{"metadata": {"total_size": 1.6e10}, "weight_map": {}}'


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(client, "sleep", waited.append)
    return waited


def refusal(model: str, revision: str | None = None) -> str:
    with pytest.raises(HubError) as caught:
        Hub().resolve(Asked(model, revision))
    said = str(caught.value)
    assert model in said
    assert "\n" not in said
    return said


def test_commit_config_and_bytes_of_the_weights(server: HubServer) -> None:
    held = server.publish("acme/a", CONFIG, files={"model.safetensors.index.json": INDEX})
    found = Hub().resolve(Asked("acme/a"))
    assert (found.commit, found.source, found.config) == (held.commit, "hub", CONFIG)
    assert found.total_size == 16_000_000_000
    assert set(server.asked) == {
        "/api/models/acme/a",
        f"/acme/a/resolve/{held.commit}/config.json",
        f"/acme/a/resolve/{held.commit}/model.safetensors.index.json",
    }, "the files are those of the commit that was named, whatever the branch holds by then"


def test_bytes_of_a_single_file_are_what_the_hub_read_in_its_header(server: HubServer) -> None:
    server.publish("acme/a", CONFIG, safetensors={"parameters": {"BF16": 10, "F32": 3}, "total": 13})
    assert Hub().resolve(Asked("acme/a")).total_size == 10 * 2 + 3 * 4
    server.publish("acme/b", CONFIG, safetensors={"parameters": {"BF16": 10, "NF3": 3}, "total": 13})
    assert Hub().resolve(Asked("acme/b")).total_size is None, "a type whose width nobody knows"


@pytest.mark.parametrize("revision", ["main", "refs/pr/1", None])
def test_a_revision_is_asked_for_as_one_word(server: HubServer, revision: str | None) -> None:
    held = server.publish("acme/a", CONFIG, branches=("main", "refs/pr/1"))
    assert Hub().resolve(Asked("acme/a", revision)).commit == held.commit
    assert Hub().resolve(Asked("acme/a", held.commit)).commit == held.commit


def test_a_model_that_was_renamed_is_followed(server: HubServer) -> None:
    held = server.publish("acme/new", CONFIG)
    server.faults.moved["acme/old"] = "acme/new"
    assert Hub().resolve(Asked("acme/old")).commit == held.commit


def test_a_token_opens_what_is_gated_and_private(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish("acme/gated", CONFIG, gated=True)
    server.publish("acme/private", CONFIG, private=True)
    assert refusal("acme/gated").endswith(
        f"is gated: accept its terms at {server.url}/acme/gated and set HF_TOKEN to a token that may read it"
    )
    assert "not on the hub, or private" in refusal("acme/private")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert Hub().resolve(Asked("acme/gated")).config == CONFIG
    assert Hub().resolve(Asked("acme/private")).config == CONFIG
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "with the account of the token in use" in refusal("acme/gated")


def test_what_is_not_there(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish("acme/a", CONFIG)
    assert "not on the hub, or private" in refusal("acme/none")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "not on the hub, or private" in refusal("acme/none")
    assert "has no revision `v9`" in refusal("acme/a", "v9")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("model_index.json", "unet/config.json"), "a pipeline of diffusers"),
        (("adapter_config.json",), "an adapter"),
        (("onnx/config.json",), "but `onnx/config.json`"),
        (("model.Q4_K_M.gguf",), "holds GGUF files"),
        (("README.md",), "no config.json: not a model that transformers loads"),
    ],
)
def test_a_repository_without_a_config_is_called_what_it_is(
    server: HubServer, files: tuple[str, ...], words: str
) -> None:
    server.publish("acme/a", None, files=dict.fromkeys(files, b"{}"))
    assert words in refusal("acme/a")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b'{"model_type": "lla', "its config.json cannot be read: not valid JSON"),
        (b"[1, 2]", "its config.json is no JSON object"),
        (b"\xff\xfe\xfa", "its config.json cannot be read"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a": "' + b"x" * (5 << 20) + b'"}', "config.json is larger than 4 MiB"),
    ],
)
def test_a_config_that_is_none(server: HubServer, config: bytes, words: str) -> None:
    server.publish("acme/a", config)
    assert words in refusal("acme/a")


def test_a_busy_hub_is_waited_for_as_long_as_it_asks(server: HubServer, pauses: list[float]) -> None:
    server.publish("acme/a", CONFIG)
    server.faults.status["acme/a"] = [(429, {"Retry-After": "7"}), (429, {"Retry-After": "3"})]
    assert Hub().resolve(Asked("acme/a")).config == CONFIG
    assert pauses == [7.0, 3.0]


def test_a_hub_that_asks_for_too_long_is_not_waited_for(server: HubServer, pauses: list[float]) -> None:
    server.publish("acme/a", CONFIG)
    server.faults.status["acme/a"] = [(429, {"Retry-After": "600"})]
    assert "answers 429 and asks to wait 600 s" in refusal("acme/a")
    assert pauses == []


def test_an_error_of_the_hub_is_tried_again_and_then_said(server: HubServer, pauses: list[float]) -> None:
    server.publish("acme/a", CONFIG)
    server.faults.status["acme/a"] = [(500, {}), (503, {})]
    assert Hub().resolve(Asked("acme/a")).config == CONFIG
    assert pauses == [0.25, 0.5]
    server.faults.status["acme/a"] = [(502, {})] * 9
    assert "the hub answers 502" in refusal("acme/a")
    assert len(server.faults.status["acme/a"]) == 9 - 4, "four tries and no more"


def test_an_answer_that_breaks_off(server: HubServer, pauses: list[float]) -> None:
    server.publish("acme/a", CONFIG)
    server.faults.truncated.add("/resolve/")
    assert "the hub's answer breaks off" in refusal("acme/a")
    assert len(pauses) == 3


def test_an_answer_that_does_not_come(server: HubServer, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish("acme/a", CONFIG)
    server.faults.slow["acme/a"] = 0.5
    hub = Hub()
    monkeypatch.setattr(hub, "_timeout", 0.05)
    started = time.monotonic()
    with pytest.raises(HubError, match="`acme/a`: the hub does not answer in time"):
        hub.resolve(Asked("acme/a"))
    assert time.monotonic() - started < 2
    assert len(pauses) == 3


def test_an_answer_that_drips_is_not_read_for_ever(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish("acme/a", CONFIG)
    monkeypatch.setattr(client, "_MAX_TIME", -1.0)
    monkeypatch.setattr(client, "_TRIES", 1)
    assert "no whole answer in -1 s" in refusal("acme/a")


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "the hub cannot be reached" in refusal("acme/a")
    assert pauses


def test_a_hub_without_sense(server: HubServer) -> None:
    server.publish("acme/a", CONFIG, commit="main")
    assert "names no commit" in refusal("acme/a")


def test_many_are_asked_at_once_and_answered_in_order(server: HubServer) -> None:
    names = [f"acme/m{number}" for number in range(6)]
    for name in names[:-1]:
        server.publish(name, CONFIG)
    server.faults.slow["/api/"] = 1.0
    done: list[Asked] = []
    started = time.monotonic()
    answers = list(resolve_all([Asked(name) for name in names], jobs=6, done=done.append))
    assert time.monotonic() - started < 6 * 1.0
    assert [asked.model for asked, _ in answers] == names
    assert [isinstance(answer, Found) for _, answer in answers] == [True] * 5 + [False]
    assert sorted(done) == [Asked(name) for name in names]


def test_without_the_client_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", None)
    with pytest.raises(HubError, match=r'pip install "vramguard\[hub\]"'):
        Hub()


def test_offline_mode_is_kept(server: HubServer) -> None:
    server.publish("acme/a", CONFIG)
    script = (
        "from vramguard.hub.client import Hub; from vramguard.hub.found import Asked, HubError\n"
        "try: Hub().resolve(Asked('acme/a'))\n"
        "except HubError as error: print(error)"
    )
    environment = {"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "`acme/a`: HF_HUB_OFFLINE is set, and the cache does not hold it\n"
    assert not server.asked
