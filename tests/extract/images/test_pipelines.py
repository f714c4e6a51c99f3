"""Images and actions of CI, and what it builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.facts import Action, Image, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Image]]
    Actions = Callable[[str, str], list[Action]]

SHA = "08c6903cd8c0fde910a37f88322edcfb5dd907a8"
WORKFLOW = ".github/workflows/a.yml"


def test_actions_of_a_workflow(actions: Actions) -> None:
    text = f"""
        on: push
        jobs:
          a:
            uses: org/shared/.github/workflows/b.yml@main
          b:
            steps:
            - uses: actions/checkout@{SHA} # v5.0.0
            - uses: "actions/cache@v4"   # why
            - uses: ./.github/actions/x
            - uses: org/y@{SHA[:7]}
            - uses: org/z
            - run: "echo uses: a/b@c"
        """
    found = actions(WORKFLOW, text)
    assert [(action.name, action.reference, action.pinned, action.comment) for action in found] == [
        ("org/shared/.github/workflows/b.yml", "main", False, ""),
        ("actions/checkout", SHA, True, "v5.0.0"),
        ("actions/cache", "v4", False, "why"),
        ("./.github/actions/x", None, None, ""),
        ("org/y", SHA[:7], False, ""),
        ("org/z", None, False, ""),
    ]
    assert tuple(found[1].at)[1:] == (7, 13, 7, 13 + 57)
    assert {action.form for action in found} == {"workflow"}


def test_actions_of_an_action(actions: Actions, images: Found) -> None:
    text = "runs:\n  using: composite\n  steps: [{uses: a/b@v1}]\n"
    assert [(action.form, action.name) for action in actions("x/action.yml", text)] == [("workflow", "a/b")]
    text = "runs: {using: docker, image: 'docker://org/a:1'}\n"
    assert [(image.form, image.name) for image in images("action.yaml", text)] == [("workflow", "org/a")]
    assert images("action.yaml", "runs: {using: docker, image: Dockerfile}\n") == []


def test_images_of_a_workflow(images: Found) -> None:
    text = """
        env: {REGISTRY: ghcr.io/org}
        jobs:
          a:
            container: org/a:1
            services: {db: {image: postgres}, off: {image: ''}}
            steps:
            - uses: docker://org/step:2
            - uses: docker/build-push-action@v6
              with: {tags: "${{ env.REGISTRY }}/own:${{ github.sha }},org/own2:latest"}
            - run: docker build -f D -t own3 . && podman build --tag "$REGISTRY/own4" .
          b:
            strategy: {matrix: {image: ['org/b:1', 'org/c:2'], include: [{image: 'org/d:3'}]}}
            container: {image: '${{ matrix.image }}'}
          c: {container: '${{ inputs.image }}'}
        """
    found = images(WORKFLOW, text)
    assert [(image.use, image.name, image.pinned) for image in found] == [
        ("container", "org/a", False),
        ("service", "postgres", False),
        ("action", "org/step", False),
        ("built", "ghcr.io/org/own", None),
        ("built", "org/own2", None),
        ("built", "own3", None),
        ("built", "ghcr.io/org/own4", None),
        ("container", "org/b", False),
        ("container", "org/c", False),
        ("container", "org/d", False),
        ("container", "${{ inputs.image }}", Unknown("${{ inputs.image }}")),
    ]


GITLAB = """
variables: {V: '3.11'}
image: {name: 'python:$V'}
a:
  script: [b]
  image: $OTHER
  services: ['redis:7', {name: 'postgres:16'}]
b: {image: $CI_REGISTRY_IMAGE/x, script: [c]}
"""
AZURE = """
resources: {containers: [{container: c, image: 'org/c:1'}]}
stages: [{jobs: [{container: c}, {container: 'org/d:2'}, {container: {image: 'org/e:3'}}]}]
"""


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            ".gitlab-ci.yml",
            GITLAB,
            [
                ("python", False),
                ("$OTHER", Unknown("$OTHER")),
                ("redis", False),
                ("postgres", False),
                ("$CI_REGISTRY_IMAGE/x", None),
            ],
        ),
        (
            ".shared-ci.yml",
            "job: {stage: test, script: [make], image: 'org/a:1'}\n",
            [("org/a", False)],
        ),
        (
            ".circleci/config.yml",
            "jobs: {a: {docker: [{image: 'cimg/python:3.11'}, {image: << parameters.image >>}]}}\n",
            [("cimg/python", False), ("<< parameters.image >>", Unknown("<< parameters.image >>"))],
        ),
        (
            "azure-pipelines.yml",
            AZURE,
            [("org/c", False), ("org/d", False), ("org/e", False)],
        ),
        (
            "cloudbuild.yaml",
            "steps: [{name: org/docker, args: [build, -t, gcr.io/p/own, .]}]\nimages: [gcr.io/p/own2]\n",
            [("org/docker", False), ("gcr.io/p/own", None), ("gcr.io/p/own2", None)],
        ),
        (
            "skaffold.yaml",
            "apiVersion: skaffold/v4beta6\nkind: Config\nbuild: {artifacts: [{image: own}]}\n",
            [("own", None)],
        ),
    ],
)
def test_other_pipelines(images: Found, path: str, text: str, expected: list[tuple[str, object]]) -> None:
    assert [(image.name, image.pinned) for image in images(path, text)] == expected


def test_hooks_of_pre_commit(actions: Actions) -> None:
    text = f"""
        repos:
        - {{repo: 'https://github.com/org/a', rev: v1}}
        - repo: git@github.com:org/b.git
          rev: {SHA}  # frozen: v2.0.0
        - {{repo: local, hooks: []}}
        """
    found = actions(".pre-commit-config.yaml", text)
    assert [(action.form, action.name, action.pinned, action.comment) for action in found] == [
        ("pre-commit", "org/a", False, ""),
        ("pre-commit", "org/b", True, "frozen: v2.0.0"),
    ]


@pytest.mark.parametrize("path", ["Makefile", "build.sh"])
def test_scripts_that_build(images: Found, path: str) -> None:
    text = "IMG ?= org/own:latest\nbuild:\n\tdocker buildx build \\\n\t  -t $(IMG) .\n\techo docker run other\n"
    (found,) = images(path, text)
    assert (found.use, found.name, found.pinned, found.at.line) == ("built", "org/own", None, 3)


def test_what_a_matrix_builds(images: Found) -> None:
    text = """
        jobs:
          a:
            strategy: {matrix: {include: [{part: {name: api}}, {part: {name: ui}}]}}
            steps:
            - uses: docker/build-push-action@v7
              with: {tags: 'org/${{ matrix.part.name }}:nightly'}
        """
    assert [image.name for image in images(WORKFLOW, text) if image.use == "built"] == [
        "org/${{ matrix.part.name }}", "org/api", "org/ui",
    ]  # fmt: skip


def test_what_a_makefile_builds_by_a_tool_of_its_own(images: Found) -> None:
    text = "TOOL = docker\nORG ?= org\nbuild:\n\t$(CONTAINER_TOOL) build -t ${ORG}/app:nightly .\n"
    assert [(image.name, image.use) for image in images("Makefile", text)] == [("org/app", "built")]
