"""Steps of CI that start an engine, and the runners that they run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.facts import Launch, Word

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Launch]]

GITHUB = """
    on: push
    env: {{MODEL: org/chat}}
    jobs:
      smoke:
        runs-on: {runner}
        container: {{image: vllm/vllm-openai:v0.16.0, env: {{A: b}}}}
        services:
          cache: {{image: redis}}
          tgi: {{image: ghcr.io/huggingface/text-generation-inference:3.3.7, options: --gpus all}}
        steps:
          - uses: actions/checkout@v4
          - run: echo nothing of ours
          - name: start
            env: {{SIZE: "2"}}
            run: |
              pip install -e .
              vllm serve $MODEL -tp ${{{{ matrix.tp }}}} &
          - shell: python
            run: import vllm
    """


def test_a_workflow_of_github(launches: Found) -> None:
    step, service = launches(".github/workflows/ci.yml", GITHUB.format(runner="[self-hosted, gpu-h100-2]"))
    assert (step.form, step.name, step.at.line) == ("workflow", "smoke/start", 15)
    assert step.script is not None
    assert step.script.place(1).line == 17
    assert {name: value.text for name, value in step.env.items() if isinstance(value, Word)} == {
        "MODEL": "org/chat",
        "A": "b",
        "SIZE": "2",
    }
    assert step.image is not None
    assert (step.hardware.gpu, step.hardware.gpus, step.hardware.places["gpus"].line) == ("h100", None, 5)
    assert (service.name, service.hardware.places["gpus"].line) == ("smoke/tgi", 9)


@pytest.mark.parametrize(
    ("runner", "gpu", "accelerator", "declared"),
    [
        ("ubuntu-latest", None, "cpu", False),
        ("ubuntu-24.04-arm", None, "cpu", False),
        ("{group: big, labels: linux-a10g-4}", "a10g", None, True),
        ("linux-gpu", None, None, True),
        ("tpu-runner", None, "tpu", False),
        ("self-hosted", None, None, False),
        ("${{ matrix.runner }}", None, None, False),
        ("'${{ matrix.gpu }}'", None, None, False),
        ("ml4linux", None, None, False),
    ],
)
def test_runners(launches: Found, runner: str, gpu: str | None, accelerator: str | None, *, declared: bool) -> None:
    step, _ = launches(".github/workflows/ci.yml", GITHUB.format(runner=runner))
    assert (step.hardware.gpu, step.hardware.accelerator) == (gpu, accelerator)
    assert ("gpus" in step.hardware.places) == declared


def test_a_workflow_stands_in_its_folder(launches: Found) -> None:
    assert launches("docs/ci.yml", GITHUB.format(runner="a")) == []


def test_a_job_of_gitlab(launches: Found) -> None:
    (job,) = launches(
        ".gitlab-ci.yml",
        """
        image: python:3.12
        variables: {MODEL: {value: org/chat, description: what to serve}}
        .setup: &setup
          - pip install vllm
        stages: [test]
        serve:
          tags: [a100]
          variables: {N: 2}
          before_script: [*setup]
          script:
            - echo start
            - vllm serve "$MODEL"
        lint: {script: [ruff check]}
        """,
    )
    assert (job.name, job.at.line, job.hardware.gpu) == ("serve", 10, "a100")
    assert job.script is not None
    assert job.script.text.strip().endswith('vllm serve "$MODEL"')
    assert {name: value.text for name, value in job.env.items() if isinstance(value, Word)} == {
        "MODEL": "org/chat",
        "N": "2",
    }
    assert job.image is not None
    assert job.image.text == "python:3.12"


def test_a_pipeline_of_azure(launches: Found) -> None:
    (step,) = launches(
        "ci/azure-pipelines.yml",
        """
        variables: [{name: MODEL, value: org/chat}]
        stages:
          - stage: test
            jobs:
              - job: gpu
                pool: {vmImage: ubuntu-22.04}
                steps:
                  - script: vllm serve $MODEL
                    displayName: serve it
        """,
    )
    assert (step.name, step.at.line, step.hardware.accelerator) == ("gpu/serve it", 8, "cpu")
    assert isinstance(value := step.env["MODEL"], Word)
    assert value.text == "org/chat"
