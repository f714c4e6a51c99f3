"""Images of Dockerfiles: stages and scratch told apart, arguments filled in, places exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from timed import within

from vramguard.facts import Image, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Image]]

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def said(found: list[Image]) -> list[tuple[str, str, object, object]]:
    return [(image.use, image.name, image.tag, image.pinned) for image in found]


def test_stages_scratch_and_images(images: Found) -> None:
    text = f"""
        ARG CUDA=12.1.0
        FROM --platform=$BUILDPLATFORM nvidia/cuda:${{CUDA}}-devel AS Build
        RUN --mount=type=cache,target=/x --mount=type=bind,from=ghcr.io/astral-sh/uv:0.9.2,source=/uv,target=/uv uv sync
        FROM build as test
        FROM scratch
        COPY --link --from=BUILD /a /a
        COPY --from=1 /b /b
        COPY --chown=a:b --from=busybox@sha256:{HEX} /c /c
        COPY from=x /d
        """
    assert said(images("Dockerfile", text)) == [
        ("base", "nvidia/cuda", "12.1.0-devel", False),
        ("mount", "ghcr.io/astral-sh/uv", "0.9.2", False),
        ("base", "build", None, None),
        ("base", "scratch", None, None),
        ("copy", "BUILD", None, None),
        ("copy", "1", None, None),
        ("copy", "busybox", None, True),
    ]


def test_places(images: Found) -> None:
    text = "ARG BASE=python:3.11\nARG TAG=1\nFROM $BASE\nFROM a:${TAG}\nFROM \\\n  b:2 AS x\nCOPY --from=c:3 . .\n"
    assert [tuple(image.at)[1:] for image in images("Dockerfile", text)] == [
        (3, 6, 3, 11),
        (4, 6, 4, 14),
        (6, 3, 6, 6),
        (7, 13, 7, 16),
    ]


@pytest.mark.parametrize(
    ("argument", "used", "name", "tag"),
    [
        ("ARG A=x/y:1", "${A}", "x/y", "1"),
        ('ARG A="x/y:1"', "$A", "x/y", "1"),
        ("ARG T=2\nARG A=x:${T}", "${A}", "x", "2"),
        ("ARG A", "${A:-x:3}", "x", "3"),
        ("ARG A=", "x:4${A:+-gpu}", "x", "4"),
        ("ARG A=1", "x:4${A:+-gpu}", "x", "4-gpu"),
        ("ARG A=1 B=2", "x:$A.$B", "x", "1.2"),
    ],
)
def test_arguments_before_the_first_stage(images: Found, argument: str, used: str, name: str, tag: str) -> None:
    (found,) = images("Dockerfile", f"{argument}\nFROM {used}\n")
    assert (found.name, found.tag, found.pinned) == (name, tag, False)


@pytest.mark.parametrize("text", ["ARG A\nFROM $A\n", "FROM ${A}\n", "FROM a:${V}\n", "FROM {{ BASE }}\n"])
def test_what_nobody_says(images: Found, text: str) -> None:
    (found,) = images("Dockerfile", text)
    assert isinstance(found.pinned, Unknown)


def test_an_argument_inside_a_stage_says_nothing_of_the_next_base(images: Found) -> None:
    found = images("Dockerfile", "FROM a:1.0.0\nARG B=b:1\nFROM $B\n")
    assert found[1].pinned == Unknown("$B")


def test_a_stage_for_each_platform(images: Found) -> None:
    text = "FROM a:1.0.0 AS base-amd64\nFROM a:1.0.0 AS base-arm64\nFROM base-${TARGETARCH}\nFROM other-${TARGETARCH}\n"
    assert [image.pinned for image in images("Dockerfile", text)] == [
        False,
        False,
        None,
        Unknown("other-${TARGETARCH}"),
    ]


def test_comments_and_texts_are_no_images(images: Found) -> None:
    text = '# FROM a:1\nFROM scratch\nRUN echo "--from=b:1"\nRUN <<EOF\nFROM c:1\nEOF\nLABEL from=d:1\n'
    assert said(images("Dockerfile", text)) == [("base", "scratch", None, None)]


def test_hostile_files_are_quick(images: Found) -> None:
    with within(4):
        images("Dockerfile", "".join(f"ARG A{i}=$A{i - 1}$A{i - 1}\n" for i in range(200)) + "FROM $A199\n")
        images("Dockerfile", "FROM a AS b\n" * 3000)
        images(
            "Dockerfile", "FROM a\nCOPY " + "--from=x " * 20000 + "\nRUN " + "--mount=type=bind,from=y " * 10000 + "x\n"
        )
        images("Dockerfile", "FROM " + "--a=b " * 30000 + "\nFROM " + "{{a}}" * 30000 + "\n")


def test_mounts_over_continued_lines(images: Found) -> None:
    text = """
        FROM a:1 AS wheels
        RUN --mount=type=cache,target=/x \\
            --mount=type=bind,target=/wheels,from=wheels,source=/wheels \\
            --mount=type=bind,from=b:2,source=/y \\
            install
        """
    found = images("gpu_Dockerfile", text)
    assert [(one.name, one.pinned, one.at.line) for one in found] == [
        ("a", False, 1),
        ("wheels", None, 3),
        ("b", False, 4),
    ]
