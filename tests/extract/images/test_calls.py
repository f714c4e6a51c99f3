"""Images that Python names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from timed import within

from vramguard.facts import Image, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Image]]


@pytest.mark.parametrize(
    ("line", "name", "tag"),
    [
        ("@dsl.component(base_image='org/a:1')\ndef f(): ...", "org/a", "1"),
        ("dsl.ContainerSpec(image='a')", "a", None),
        ("dsl.ContainerOp(name='x', image='org/a:1')", "org/a", "1"),
        ("kubernetes.add_init_container(task, image='busybox:1.36')", "busybox", "1.36"),
        ("client.V1Container(name='x', image='org/a:1')", "org/a", "1"),
        ("KubernetesPodOperator(task_id='x', image='org/a:1')", "org/a", "1"),
        ("@task.docker(image='org/a:1')\ndef f(): ...", "org/a", "1"),
        ("client.containers.run('org/a:1', detach=True)", "org/a", "1"),
        ("modal.Image.from_registry('nvidia/cuda:12.4.0-devel')", "nvidia/cuda", "12.4.0-devel"),
        ("HuggingFaceModel(image_uri='1.dkr.ecr.eu.amazonaws.com/a:1')", "1.dkr.ecr.eu.amazonaws.com/a", "1"),
        ("DockerSettings(parent_image='org/a:1')", "org/a", "1"),
        ("Model.upload(serving_container_image_uri='org/a:1')", "org/a", "1"),
        ("pod = {'spec': {'containers': [{'name': 'x', 'image': 'org/a:1'}]}}", "org/a", "1"),
        ("env = {'container': {'image': 'org/a:1'}}", "org/a", "1"),
        ("env = {'image_uri': 'org/a:1'}", "org/a", "1"),
    ],
)  # fmt: skip
def test_calls(images: Found, line: str, name: str, tag: str | None) -> None:
    (found,) = images("a.py", line + "\n")
    assert (found.name, found.tag, found.pinned) == (name, tag, False)


def test_constants_of_the_module(images: Found) -> None:
    text = """
        import os
        TAG = "1.2.3"
        BASE = f"org/a:{TAG}"
        OTHER = os.environ.get("IMAGE", "org/b:2")
        TWICE = "org/c:1"
        TWICE = "org/c:2"
        dsl.ContainerSpec(image=BASE)
        dsl.ContainerSpec(image=OTHER)
        dsl.ContainerSpec(image=TWICE)
        dsl.ContainerSpec(image=given)
        dsl.ContainerSpec(image=f"org/d:{given}")
        dsl.ContainerSpec(image=f"{given}:1")
        """
    found = images("a.py", text)
    assert [(image.name, image.tag, image.pinned) for image in sorted(found, key=lambda image: image.at)] == [
        ("org/a", "1.2.3", False),
        ("org/b", "2", False),
        ("org/d", Unknown("{given}"), Unknown("org/d:{given}")),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "draw(image='org/a:1')",
        "Container(image=picture)",
        "show(image_uri='a')",
        "Model(image_uri='fake_image')",
        "x = {'image': 'org/a:1'}",
        "'''dsl.ContainerSpec(image=\\'org/a:1\\')'''",
        "base_image = 'org/a:1'",
        "f(base_image=None, image_uri=1)",
        "Container(image='two words')",
        "def f(:",
    ],
)
def test_what_is_no_image(images: Found, line: str) -> None:
    assert images("a.py", f"import docker\n{line}\n") == []


def test_the_framework_is_the_form(images: Found) -> None:
    assert images("a.py", "import modal\nmodal.Image.from_registry('a:1')\n")[0].form == "modal"
    assert images("a.py", "from kfp import dsl\n@dsl.component(base_image='a:1')\ndef f(): ...\n")[0].form == "kfp"
    assert images("a.py", "import docker\ndocker.from_env().containers.run('a:1')\n")[0].form == "python"
    assert images("a.py", "from hera.workflows import script\n@script(image='a:1')\ndef f(): ...\n")[0].form == "argo"
    manifest = "import kfp\nx = {'containers': [{'image': 'a/b:1'}]}\n"
    assert images("a.py", manifest)[0].form == "kubernetes"
    cell = '{"cells": [{"cell_type": "code", "source": ["from kfp import dsl\\n", "f(base_image=\'a:1\')"]}]}'
    assert images("a.ipynb", cell)[0].form == "kfp"


def test_an_image_behind_a_name(images: Found) -> None:
    text = "from kfp import dsl\nop.add_sidecar(dsl.Sidecar('p', 'org/a:1'))\ndsl.ContainerOp('q', IMAGE)\n"
    assert [(one.form, one.name, one.tag) for one in images("a.py", text)] == [("kfp", "org/a", "1")]


def test_hostile_modules_are_quick(images: Found) -> None:
    with within(3):
        images(
            "a.py",
            "A0 = 'a'\n"
            + "".join(f"A{i} = f'{{A{i - 1}}}{{A{i - 1}}}'\n" for i in range(1, 200))
            + "f(base_image=A199)\n",
        )
        images("a.py", "A = A\nB = f'{B}'\nf(base_image=A)\nf(base_image=B)\nContainer(image=B)\n")
        images("a.py", "f(base_image=" + "g(" * 90 + "'a:1'" + ")" * 90 + ")\n")
