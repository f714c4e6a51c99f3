"""Which shells stay above their last command: what was measured (data/images.toml), script by script."""

from __future__ import annotations

import pytest

from vramguard.facts import Word
from vramguard.link.imaging.shells import family, held, idles, serves, started
from vramguard.source import Location

UBUNTU, ALPINE, UNKNOWN = "nvidia/cuda:12.9.1-base-ubuntu22.04", "python:3.12-alpine", "registry.acme.io/llm/server:4"


def words(*texts: str) -> tuple[Word, ...]:
    return tuple(Word(text, Location("a.yaml", 1, 1, 1, 2)) for text in texts)


@pytest.mark.parametrize(
    ("image", "whose"),
    [
        (UBUNTU, "dash"),
        ("python:3.12-slim-bookworm", "dash"),
        ("docker.io/vllm/vllm-openai:v0.19.0", "dash"),
        ("mirror.acme.io/cache/vllm-openai:v0.19.0", "dash"),
        ("debian@sha256:" + "0" * 64, "dash"),
        (ALPINE, "busybox"),
        ("alpine:3.22", "busybox"),
        ("registry.access.redhat.com/ubi9/python-311:1", "bash"),
        ("nvidia/cuda:12.9.1-runtime-ubi9", "bash"),
        ("nvidia/cuda:12.9.1-runtime-rockylinux9", "bash"),
        (UNKNOWN, ""),
        ("acme/debian-like:1", ""),
    ],
)
def test_whose_shell_an_image_has(image: str, whose: str) -> None:
    assert family(image) == whose


@pytest.mark.parametrize(
    ("script", "shell", "image"),
    [
        ("vllm serve m", "sh", UBUNTU),
        ("cd /app && vllm serve m", "sh", UBUNTU),
        ("vllm serve \\\n  --port 80 m\n", "sh", UBUNTU),
        ("pip install x; vllm serve m", "sh", UNKNOWN),
        ("pip install x && vllm serve m", "sh", UNKNOWN),
        ("vllm serve m\n", "sh", ALPINE),
        ("vllm serve m\n\n", "bash", UNKNOWN),
        ("vllm serve m 2>&1", "bash", UBUNTU),
        ("vllm serve m | tee log", "bash", UNKNOWN),
        ("exec vllm serve m | tee log", "bash", UNKNOWN),
        ("(vllm serve m)", "bash", UNKNOWN),
        ("vllm serve m || sleep 60", "bash", UNKNOWN),
        ("while true; do vllm serve m; done", "bash", UNKNOWN),
        ('if [ -n "$A" ]; then vllm serve a; else vllm serve b; fi', "bash", UNKNOWN),
        ("vllm serve m &\nwait", "bash", UNKNOWN),
        ("python3 server.py & tail -f /dev/null", "bash", UNKNOWN),
    ],
)
def test_a_shell_stays(script: str, shell: str, image: str) -> None:
    found = held(script, shell, image)
    assert found is not None
    assert found.why
    assert "vllm serve" in found.program or "server.py" in found.program


@pytest.mark.parametrize(
    ("script", "shell", "image"),
    [
        ("exec vllm serve m", "sh", UBUNTU),
        ("cd /app && exec vllm serve m", "sh", UBUNTU),
        ("exec vllm serve m > /log 2>&1", "sh", UBUNTU),
        ('if [ -n "$A" ]; then exec vllm serve a; else exec vllm serve b; fi', "sh", UBUNTU),
        ("vllm serve m", "bash", UBUNTU),
        ("pip install x; vllm serve m", "bash", UBUNTU),
        ("pip install x && vllm serve m\n", "bash", UBUNTU),
        ("cd /app\nHF_HOME=/m vllm serve m", "bash", UBUNTU),
        ("vllm serve m", "sh", "registry.access.redhat.com/ubi9/python-311:1"),
        ("pip install x; vllm serve m", "sh", ALPINE),
        ("vllm serve m", "sh", UNKNOWN),
        ("trap 'kill $P' TERM\nvllm serve m & P=$!\nwait $P", "bash", UNKNOWN),
        ("tini -- vllm serve m", "sh", UBUNTU),
        ("$COMMAND", "sh", UBUNTU),
        ('"$@"', "sh", UBUNTU),
        ("{{ .Values.command }}", "sh", UBUNTU),
        ("set -e", "sh", UBUNTU),
        ("# nothing", "sh", UBUNTU),
        ("", "sh", UBUNTU),
    ],
)
def test_a_shell_goes_or_is_not_known(script: str, shell: str, image: str) -> None:
    assert held(script, shell, image) is None


def test_the_shell_of_a_file_stays_whatever_it_is() -> None:
    assert held("cd /app\nvllm serve m\n", "bash", UBUNTU, file=True) is not None
    assert held("cd /app\nexec vllm serve m\n", "bash", UBUNTU, file=True) is None


@pytest.mark.parametrize(
    ("line", "text", "file"),
    [
        (("sh", "-c", "vllm serve m"), "vllm serve m", ""),
        (("/bin/bash", "-lc", "vllm serve m"), "vllm serve m", ""),
        (("bash", "-e", "-c", "vllm serve m", "name"), "vllm serve m", ""),
        (("bash", "/app/start.sh", "x"), None, "/app/start.sh"),
        (("./start.sh",), None, "./start.sh"),
        (("/entrypoint.sh", "serve"), None, "/entrypoint.sh"),
    ],
)
def test_what_a_command_line_starts(line: tuple[str, ...], text: str | None, file: str) -> None:
    found = started(words(*line))
    assert found is not None
    assert (found.text.text if found.text else None, found.file) == (text, file)


@pytest.mark.parametrize("line", [("vllm", "serve", "m"), ("tini", "--", "sh", "-c", "x"), ("bash",), ("sh", "-c"), ()])
def test_no_shell_is_started(line: tuple[str, ...]) -> None:
    assert started(words(*line)) is None


@pytest.mark.parametrize(
    ("line", "does"),
    [
        ("vllm serve m", True),
        ("/opt/venv/bin/vllm serve m", True),
        ("python3 -m vllm.entrypoints.openai.api_server --port 80", True),
        ("python server.py", True),
        ("python -m acme.serving", True),
        ("uv run uvicorn app:app", True),
        ("bash run_server.sh", True),
        ("python train.py", False),
        ("python finetune.py --serve-later", False),
        ("jupyter lab", False),
        ("pip install x", False),
        ("", False),
    ],
)
def test_what_serves(line: str, does: bool) -> None:  # noqa: FBT001
    assert serves(line.split()) is does


def test_what_only_waits() -> None:
    assert idles("sleep infinity")
    assert idles("python benchmark.py")
    assert not idles("python3 server.py")


def test_a_hostile_script_ends() -> None:
    assert held("(" * 50_000, "sh", UBUNTU) is None
    held("a && " * 20_000 + "vllm serve m", "sh", UBUNTU)
