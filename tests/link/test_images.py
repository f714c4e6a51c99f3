"""Images across files: what the repository builds, what kustomize replaces, what `.env` fills in; other checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, Unknown
from vramguard.link.images import grade, images, is_template, written
from vramguard.link.peers import PEERS, configured
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Fact

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
WORKFLOW = ".github/workflows/a.yml"


def facts(files: Mapping[str, str]) -> Facts:
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode()) if kind_of(path) else None
        if isinstance(document, Document):
            found += extract(document)
    return Facts(found, paths=files)


def pod(image: str) -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec: {{containers: [{{name: x, image: '{image}'}}]}}\n"


def pinned(files: Mapping[str, str]) -> dict[str, object]:
    return {f"{image.at.path} {written(image)}": image.pinned for image in images(facts(files))}


def step(line: str) -> str:
    return f"on: push\njobs: {{a: {{steps: [{line}]}}}}\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("compose.yaml", "services: {a: {image: 'org/own:dev', build: .}}\n"),
        (WORKFLOW, step("{run: 'docker build -t org/own:x .'}")),
        (WORKFLOW, step("{uses: docker/build-push-action@v6, with: {tags: 'docker.io/org/own:${{ github.sha }}'}}")),
        (WORKFLOW, step("{run: 'docker build -t ${{ github.repository_owner }}/own:x .'}")),
        ("cloudbuild.yaml", "steps: []\nimages: [org/own]\n"),
        ("skaffold.yaml", "apiVersion: skaffold/v4\nkind: Config\nbuild: {artifacts: [{image: org/own}]}\n"),
    ],
)
def test_what_the_repository_builds_has_no_digest(path: str, text: str) -> None:
    found = pinned({path: text, "pod.yaml": pod("org/own:v1"), "other.yaml": pod("org/other:v1")})
    assert found["pod.yaml org/own:v1"] is None
    assert found["other.yaml org/other:v1"] is False


def test_a_name_that_is_a_variable_stands_for_no_other() -> None:
    found = pinned({WORKFLOW: step("{run: 'docker build -t $REGISTRY/$NAME .'}"), "pod.yaml": pod("org/a:1")})
    assert found == {"pod.yaml org/a:1": False}


def test_a_name_that_ends_in_a_variable_is_itself() -> None:
    steps = "{run: 'docker build -t org/$NAME:x .'}, {run: 'docker run org/$NAME:x'}, {run: 'docker run org/$OTHER:x'}"
    assert pinned({WORKFLOW: step(steps)}) == {
        f"{WORKFLOW} org/$NAME:x": None,
        f"{WORKFLOW} org/$OTHER:x": Unknown("org/$OTHER:x"),
    }


def test_a_registry_of_this_machine_holds_what_was_built() -> None:
    assert pinned({"pod.yaml": pod("localhost:5000/a:1")}) == {"pod.yaml localhost:5000/a:1": None}


def test_templates_of_charts_are_not_judged_and_fixed_images_in_them_are() -> None:
    chart = {"c/Chart.yaml": "name: c\n", "c/templates/a.yaml": pod("{{ .Values.image }}")}
    assert pinned(chart) == {}
    assert pinned({**chart, "c/templates/sub/b.yaml": pod("busybox")}) == {"c/templates/sub/b.yaml busybox": False}
    assert pinned({"d/templates/a.yaml": pod("${A}")}) == {"d/templates/a.yaml ${A}": Unknown("${A}")}


def test_is_template() -> None:
    found = facts({"a/Chart.yaml": "", "templates/x/Chart.yaml": ""})
    assert is_template(found, "a/templates/b/c.yaml")
    assert is_template(found, "templates/x/templates/c.yaml")
    assert not is_template(found, "a/values.yaml")
    assert not is_template(found, "templates/c.yaml")


REPLACE = "resources: [{}]\nimages: [{{name: llm, newName: org/llm, digest: 'sha256:" + HEX + "'}}]\n"


def test_kustomize_replaces_on_the_way() -> None:
    base = {"base/pod.yaml": pod("llm"), "base/kustomization.yaml": "resources: [pod.yaml]\n"}
    over = {"over/kustomization.yaml": REPLACE.format("../base")}
    assert pinned(base)["base/pod.yaml llm"] is False
    assert pinned({**base, **over}) == {
        "base/pod.yaml llm": None,
        f"over/kustomization.yaml org/llm@sha256:{HEX}": True,
    }


def test_a_second_overlay_that_replaces_nothing_deploys_it_as_it_is() -> None:
    files = {
        "base/pod.yaml": pod("llm"),
        "base/kustomization.yaml": "resources: [pod.yaml]\n",
        "over/kustomization.yaml": REPLACE.format("../base"),
        "plain/kustomization.yaml": "resources: [../base]\n",
    }
    assert pinned(files)["base/pod.yaml llm"] is False


def test_overlays_that_take_in_each_other_end() -> None:
    files = {
        "a/kustomization.yaml": REPLACE.format("../b"),
        "b/kustomization.yaml": "resources: [../a, pod.yaml, ../b]\n",
        "b/pod.yaml": pod("llm"),
    }
    assert pinned(files)["b/pod.yaml llm"] is None


def test_variables_of_env() -> None:
    compose = "services: {a: {image: 'org/a:${TAG}'}, b: {image: 'org/b:${OTHER}'}}\n"
    assert pinned({"x/compose.yaml": compose, "x/.env": f"TAG=1.2@sha256:{HEX}\n"}) == {
        f"x/compose.yaml org/a:1.2@sha256:{HEX}": True,
        "x/compose.yaml org/b:${OTHER}": Unknown("org/b:${OTHER}"),
    }


@pytest.mark.parametrize(
    ("image", "expected"),
    [("a", "moving"), ("a:latest", "moving"), ("a:3", "moving"), ("a:1.2.3", "tagged"), ("a:${X}", "unknown")],
)
def test_grades(image: str, expected: str) -> None:
    (found,) = images(facts({"pod.yaml": pod(image)}))
    assert grade(found) == expected


def test_what_a_chart_decides_is_a_tag() -> None:
    (found,) = images(facts({"values.yaml": "image: {repository: org/a, tag: ''}\n"}))
    assert grade(found) == "tagged"


@pytest.mark.parametrize(
    ("tool", "files"),
    [
        ("zizmor", {"zizmor.yml": ""}),
        ("zizmor", {".github/zizmor.yaml": ""}),
        ("zizmor", {WORKFLOW: step("{uses: zizmorcore/zizmor-action@v1}")}),
        ("zizmor", {".pre-commit-config.yaml": "repos: [{repo: 'https://x/a/zizmor-pre-commit', rev: v1}]\n"}),
        ("hadolint", {".hadolint.yaml": ""}),
        ("hadolint", {WORKFLOW: step("{uses: hadolint/hadolint-action@v3.1.0}")}),
        ("hadolint", {WORKFLOW: step("{uses: 'docker://hadolint/hadolint:v2'}")}),
    ],
)  # fmt: skip
def test_other_checkers(tool: str, files: dict[str, str]) -> None:
    found = configured(facts(files), tool)
    assert found is not None
    assert found.path in files
    assert all(configured(facts(files), other) is None for other in PEERS if other != tool)


@pytest.mark.parametrize(
    "files", [{}, {"docs/zizmor.yml": "", "zizmor.md": ""}, {WORKFLOW: step("{uses: actions/checkout@v5}")}]
)
def test_no_other_checker(files: dict[str, str]) -> None:
    assert [configured(facts(files), tool) for tool in (*PEERS, "other")] == [None] * 3
