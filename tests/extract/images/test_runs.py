"""Images that commands start: told from options and arguments, and never from what is only printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from timed import within

from vramguard.facts import Image, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Image]]

WORKFLOW = ".github/workflows/a.yml"
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    ("command", "name", "tag"),
    [
        ("docker run a/b:1 c:2", "a/b", "1"),
        ("docker run --rm -it --gpus all -p 80:80 -v $(pwd):/x --name=y a", "a", None),
        ("docker run -dp 80:80 -e A=b a:1", "a", "1"),
        ("docker run -p80:80 -v/x:/x a:1", "a", "1"),
        ("sudo podman pull quay.io/a/b:2", "quay.io/a/b", "2"),
        ("docker pull -a a/b", "a/b", None),
        ("docker container create --pull always a:1", "a", "1"),
        ("docker image pull --platform linux/amd64 a:1", "a", "1"),
        ("A=x/y:3\ndocker run \\\n  --rm \\\n  $A serve", "x/y", "3"),
    ],
)
def test_what_is_started(images: Found, command: str, name: str, tag: str | None) -> None:
    assert [(one.form, one.name, one.tag, one.use) for one in images("a.sh", command + "\n")] == [
        ("shell", name, tag, "run")
    ]


@pytest.mark.parametrize(
    "command",
    [
        "echo docker run a/b:1",
        "# docker run a/b:1",
        "cat <<EOF\ndocker run a/b:1\nEOF",
        "docker run --rm",
        "docker-compose run a",
        "docker compose run a/b:1",
        "docker exec a/b run c",
        'docker run "$IMAGE" serve',
        'docker run "$1"',
        "docker load --input shop.tar\ndocker run shop",
        "docker tag a/b:1 own\ndocker run own",
    ],
)
def test_what_names_no_image(images: Found, command: str) -> None:
    assert images("a.sh", command + "\n") == []


def test_a_tag_behind_a_variable_is_told(images: Found) -> None:
    assert [one.pinned for one in images("a.sh", "docker pull ${URI}:latest\n")] == [Unknown("${URI}:latest")]


def test_recipes_of_a_makefile(images: Found) -> None:
    text = (
        "IMAGE ?= org/x:1\nrun:\n\t@docker run --rm \\\n\t\t-e A=$(B) \\\n\t\torg/y:2\nother:\n\tdocker pull $(IMAGE)\n"
    )
    assert [(one.form, one.name, one.at.line) for one in images("Makefile", text)] == [
        ("makefile", "org/y", 5),
        ("makefile", "org/x", 1),
    ]


def test_steps_of_a_workflow(images: Found) -> None:
    text = f"""
        on: push
        env: {{V: 1.2.3}}
        jobs:
          a:
            steps:
            - run: |
                sudo docker run --rm -v ${{{{ github.workspace }}}}:/w \\
                  org/a:cuda${{{{ matrix.cuda }}}} bash
                docker pull org/b:${{{{ env.V }}}}
                docker pull org/b:$V
            - run: docker run org/c@sha256:{HEX}
        """
    found = images(WORKFLOW, text)
    assert [(one.name, one.tag, one.pinned, one.at.line) for one in found[:2]] == [
        ("org/a", Unknown("cuda${{ matrix.cuda }}"), Unknown("org/a:cuda${{ matrix.cuda }}"), 8),
        ("org/b", "1.2.3", False, 9),
    ]
    assert [(one.name, one.pinned) for one in found[3:]] == [("org/c", True)]
    assert found[0].at.column == 11


def test_what_a_workflow_sets_stands_where_it_is_used(images: Found) -> None:
    text = """
        env: {ORG: pangeo}
        jobs:
          a:
            steps:
            - run: |
                echo a
                docker run ${ORG}/b:1 c
        """
    assert [(one.name, one.at.line, one.at.column) for one in images(WORKFLOW, text)] == [("pangeo/b", 7, 20)]


def test_hostile_scripts_are_quick(images: Found) -> None:
    with within(15):
        images("a.sh", "docker run " + "-e " * 60_000 + "\n")
        images("a.sh", "docker run a:1\n" * 10_000)
        images("Makefile", "a:\n" + "\tdocker run $(A)\n" * 2000)
