"""References of images: what they are made of, and what is none."""

from __future__ import annotations

import pytest
from timed import within

from vramguard.extract.images.reference import image, is_moving, reference
from vramguard.facts import Unknown
from vramguard.source import Location

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
AT = Location("a")


@pytest.mark.parametrize(
    ("text", "name", "tag"),
    [
        ("python", "python", None),
        ("python:3.11", "python", "3.11"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b", "c"),
        ("registry.example.com:5000/llm", "registry.example.com:5000/llm", None),
        ("docker://alpine:3.20", "alpine", "3.20"),
        ("oci://ghcr.io/org/model:v1", "ghcr.io/org/model", "v1"),
        ("docker:vllm/vllm-openai:v0.11.0", "vllm/vllm-openai", "v0.11.0"),
        ("docker:27-dind", "docker", "27-dind"),
        ("docker:dind", "docker", "dind"),
        ("nvcr.io/nvidia/pytorch:24.08-py3", "nvcr.io/nvidia/pytorch", "24.08-py3"),
        (" spaces.example.com/a__b/c--d:X_1 ", "spaces.example.com/a__b/c--d", "X_1"),
        ("HOST.example.com/a:1", "HOST.example.com/a", "1"),
    ],
)
def test_name_and_tag(text: str, name: str, tag: str | None) -> None:
    found = reference(text)
    assert found is not None
    assert (found.name, found.tag, found.digest, found.pinned) == (name, tag, None, False)
    assert found.reason


@pytest.mark.parametrize(
    "text",
    [
        f"a@sha256:{HEX}",
        f"r.example.com:1/a/b:v1@sha256:{HEX}",
        f"a@sha512:{HEX}{HEX}",
        f"${{REGISTRY}}/a@sha256:{HEX}",
    ],
)
def test_a_digest_is_a_pin(text: str) -> None:
    found = reference(text)
    assert found is not None
    assert found.pinned is True
    assert found.digest == text.partition("@")[2]


@pytest.mark.parametrize(
    "text",
    [
        f"a@sha256:{HEX[:-1]}",
        "a@sha256:abc",
        f"a@md5:{HEX}",
        f"a@sha256:{HEX.upper()}",
        f"a@sha256:{HEX}:v1",
        "a@latest",
    ],
)
def test_what_is_no_digest_is_no_pin(text: str) -> None:
    found = reference(text)
    assert found is not None
    assert found.pinned is False


@pytest.mark.parametrize(
    "text",
    [
        "${IMAGE}", "$IMAGE", "a:$(TAG)", "a:${TAG}", "a@${DIGEST}", "{{ .Values.image }}", "${{ matrix.image }}",
        "{{ .A }}/b:{{ .C }}", "<your-image>", "IMAGE", "REGISTRY/a:1", "r.example.com/PROJECT/a:1", "YOUR_REGISTRY/a",
        "a:IMAGE_TAG", "<< parameters.image >>", "%IMAGE%", "a:", "a:1:2", "ko://example.com/a/cmd",
    ],
)  # fmt: skip
def test_what_somebody_fills_in_is_not_known(text: str) -> None:
    found = reference(text)
    assert found is not None
    assert found.pinned == Unknown(text)
    assert found.reason


def test_a_default_holds_where_nobody_sets_the_variable() -> None:
    found = reference("${REGISTRY:-org}/a:${TAG:-${OTHER-latest}}")
    assert found is not None
    assert (found.name, found.tag, found.pinned) == ("org/a", "latest", False)


@pytest.mark.parametrize("text", ["", "   ", "run the thing", "...", "1", "a" * 2000])
def test_what_is_none(text: str) -> None:
    assert reference(text) is None


@pytest.mark.parametrize("text", ["logo.png", "assets/logo", "a", "{value}:1", "Image"])
def test_what_is_none_where_anything_may_stand(text: str) -> None:
    assert image(text, AT, "helm", "container", certain=False) is None


def test_what_looks_like_one_where_anything_may_stand() -> None:
    assert image("ghcr.io/org/a", AT, "helm", "container", certain=False)
    assert image("a:1", AT, "helm", "container", certain=False)


def test_a_comment_behind_a_pinned_one_is_kept() -> None:
    pinned = image(f"a@sha256:{HEX}", AT, "helm", "container", behind="v1.2.3")
    moving = image("a:1", AT, "helm", "container", behind="v1.2.3")
    assert pinned is not None
    assert pinned.comment == "v1.2.3"
    assert moving is not None
    assert "v1.2.3" not in moving.reason


@pytest.mark.parametrize(
    "tag", ["latest", "main", "nightly", "3", "v1", "alpine", "cpu-1.7", "3.11-slim", "stable-1.2.x", "python-3.10"]
)
def test_tags_that_move(tag: str) -> None:
    assert is_moving(tag)


@pytest.mark.parametrize(
    "tag",
    [
        "v0.11.0",
        "1.2.3-cuda12",
        "24.08-py3",
        "20251102_1045",
        "main-20231215",
        "nightly-dcf6ee8592b4",
        "v0.9",
        "25.10-cuda13.0-devel-ubuntu24.04",
    ],
)
def test_tags_that_name_a_release(tag: str) -> None:
    assert not is_moving(tag)


def test_hostile_text_is_quick() -> None:
    with within(1):
        for text in (
            "a." * 490,
            "a-" * 490,
            "a/" * 490,
            "${" * 490,
            "{{" * 490,
            "a__" * 330,
            "$(" * 490,
            "${a:-" * 190,
            "<" * 990,
        ):
            reference(text)
