"""Charts whose parts stand in the repository: defaults, subcharts, flags of templates, and keys that nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, HelmUnread, Launch
from vramguard.link.helm import composed
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

CHART = "apiVersion: v2\nname: llm\nversion: 1.0.0\n"
VALUES = "image: {repository: vllm/vllm-openai, tag: v0.19.0}\nmodel: Qwen/Qwen3-8B\nmaxModelLen: 8192\n"
TEMPLATE = """\
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      containers:
        - image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
          command: [vllm]
          args:
            - --model={{ .Values.model }}
            - --max-model-len
            - {{ .Values.maxModelLen | quote }}
"""


def facts_of(files: Mapping[str, str]) -> Facts:
    documents = [read(path, text.encode(), kind=kind_of(path)) for path, text in files.items() if kind_of(path)]
    found = [fact for document in documents if isinstance(document, Document) for fact in extract(document)]
    return composed(Facts(found, paths=files), lambda path: files[path].encode() if path in files else None)


def chart(template: str = TEMPLATE, values: str = VALUES, **more: str) -> dict[str, str]:
    names = {f"c/{name.replace('__', '/').replace('_', '.')}": text for name, text in more.items()}
    return {"c/Chart.yaml": CHART, "c/values.yaml": values, "c/templates/deploy.yaml": template, **names}


def launches(files: Mapping[str, str]) -> list[Launch]:
    return [fact for fact in facts_of(files).of(Launch) if fact.form == "helm"]


def unread(files: Mapping[str, str]) -> list[str]:
    return [".".join(fact.keys) for fact in facts_of(files).of(HelmUnread)]


def stated(launch: Launch) -> dict[str, str]:
    return {name: word.text for name, word in launch.given.items()}


def test_values_of_an_environment_lie_over_the_chart_s_own() -> None:
    files = chart("nothing of an engine\n", values_yaml=VALUES) | {"c/values-prod.yaml": "model: Qwen/Qwen3-32B\n"}
    small, big = sorted(launches(files), key=lambda launch: stated(launch)["model"], reverse=True)
    assert (stated(small)["model"], stated(big)["model"]) == ("Qwen/Qwen3-8B", "Qwen/Qwen3-32B")
    assert (big.given["model"].at.path, big.given["max_model_len"].at.path) == ("c/values-prod.yaml", "c/values.yaml")


def test_values_that_change_no_deployment_are_none_more() -> None:
    assert len(launches(chart("nothing\n") | {"c/values-dev.yaml": "# vllm\ningress: {enabled: true}\n"})) == 1


def test_null_takes_a_default_away() -> None:
    files = chart("nothing\n") | {"c/values-x.yaml": "# vllm\nmaxModelLen: null\n"}
    assert sorted("max_model_len" in stated(launch) for launch in launches(files)) == [False, True]


def parent(values: str, repository: str = "file://../c") -> dict[str, str]:
    dependency = f"- {{name: llm, alias: big, repository: '{repository}', condition: big.on}}\n"
    return {"p/Chart.yaml": f"name: parent\ndependencies:\n{dependency}", "p/values.yaml": values}


def test_a_subchart_s_defaults_lie_below_its_key() -> None:
    files = chart("nothing\n") | parent("# vllm\nbig: {model: Qwen/Qwen3-32B}\n")
    (found,) = (launch for launch in launches(files) if launch.at.path == "p/values.yaml")
    assert (found.name, stated(found)) == ("big", {"model": "Qwen/Qwen3-32B", "max_model_len": "8192"})
    assert found.image is not None
    assert found.image.at.path == "c/values.yaml"


def test_a_subchart_that_is_off_deploys_nothing() -> None:
    files = chart("nothing\n") | parent("# vllm\nbig: {on: false, model: Qwen/Qwen3-32B}\n")
    assert {launch.at.path for launch in launches(files)} == {"c/values.yaml"}


def test_a_vendored_subchart() -> None:
    inner = {path.replace("c/", "p/charts/llm/", 1): text for path, text in chart("nothing\n").items()}
    files = inner | parent("# vllm\nbig: {model: Qwen/Qwen3-32B}\n", "https://charts.example.org")
    assert [stated(x)["model"] for x in launches(files) if x.at.path == "p/values.yaml"] == ["Qwen/Qwen3-32B"]


def test_charts_that_depend_on_themselves_end() -> None:
    loop = parent("# vllm\nimage: vllm/vllm-openai\nargs: [--model, a/b]\n", "file://../p")
    assert launches(loop)


def test_flags_that_the_template_writes_itself() -> None:
    text = TEMPLATE + (
        "            - --gpu-memory-utilization=0.95\n            {{- if .Values.eager }}\n"
        '            - --max-num-seqs=4\n            {{- end }}\n            - --dtype={{ include "x" . }}\n'
        '          env:\n            - name: VLLM_USE_V1\n              value: "1"\n'
    )
    (found,) = launches(chart(text))
    words = {word.text: word for word in found.command}
    assert list(words) == [
        "--model=Qwen/Qwen3-8B",
        "--max-model-len",
        "8192",
        "--gpu-memory-utilization=0.95",
        '--dtype={{ include "x" . }}',
    ]
    assert (words["8192"].at.path, words["8192"].at.line) == ("c/values.yaml", 3)
    assert (words["--gpu-memory-utilization=0.95"].at.path, words["--gpu-memory-utilization=0.95"].at.line) == (
        "c/templates/deploy.yaml",
        13,
    )
    assert not words['--dtype={{ include "x" . }}'].known
    assert found.given == {}
    assert getattr(found.env["VLLM_USE_V1"], "text", "") == "1"


def test_two_engines_or_two_templates_are_not_told_apart() -> None:
    two = chart() | {"c/templates/other.yaml": TEMPLATE}
    assert launches(two)[0].command == ()


def without(line: str) -> str:
    return "".join(f"{row}\n" for row in TEMPLATE.split("\n") if line not in row)


def test_a_key_that_no_template_reads_is_said_and_not_believed() -> None:
    files = chart(without("axModelLen").replace("            - --max-model-len\n", ""))
    (found,) = facts_of(files).of(HelmUnread)
    assert (found.keys, found.field, found.chart) == (("maxModelLen",), "max_model_len", "llm")
    assert (found.at.path, found.at.line) == ("c/values.yaml", 3)
    assert all("max_model_len" not in stated(launch) for launch in launches(files))


NESTED = VALUES.replace("maxModelLen: 8192", "vllm: {maxModelLen: 8192}")


@pytest.mark.parametrize(
    "reads",
    [
        "{{ .Values.vllm.maxModelLen }}",
        "{{ $.Values.vllm.maxModelLen }}",
        "{{- with .Values.vllm }}{{ .maxModelLen }}{{ end }}",
        "{{- toYaml .Values.vllm | nindent 2 }}",
        "{{- range $k, $v := .Values.vllm }}{{ end }}",
        '{{ index .Values "vllm" "maxModelLen" }}',
        '{{ (get .Values "vllm").maxModelLen }}',
        "{{- $values := .Values }}",
        '{{- include "elsewhere.container" . }}',
        "{{- include .Values.name . }}",
    ],
)
def test_every_way_to_read_a_key(reads: str) -> None:
    assert unread(chart(without("axModelLen") + reads + "\n", NESTED)) == []


@pytest.mark.parametrize(
    "reads",
    [
        "{{ .Values.vllm.other }}",
        "{{/* .Values.vllm.maxModelLen */}}",
        '{{ index .Values "vllms" }}',
        '{{- include "own" (dict "Values" .Values) }}{{- define "own" }}{{ end }}',
    ],
)
def test_what_does_not_read_a_key(reads: str) -> None:
    assert unread(chart(without("axModelLen") + reads + "\n", NESTED)) == ["vllm.maxModelLen"]


def test_nothing_is_said_of_templates_that_are_not_here() -> None:
    files = chart(without("axModelLen"), VALUES + "sub: {maxModelLen: 1}\nglobal: {maxModelLen: 2}\n")
    assert unread({path: text for path, text in files.items() if "templates" not in path}) == []
    files["c/Chart.yaml"] += "dependencies: [{name: sub, repository: 'https://a'}]\n"
    assert unread(files) == ["maxModelLen"], "the subchart's, and what all charts share, may be read there"
    files["c/Chart.yaml"] += "type: library\n"
    assert unread(files) == []


def test_a_chart_of_no_engine_is_left_alone() -> None:
    assert unread(chart("image: {{ .Values.image.repository }}\n", "dtype: x\n# vllm\n")) == []


def test_a_release_s_values_lie_over_the_chart_that_it_names() -> None:
    application = (
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n  source:\n    path: c\n    helm:\n"
        "      valueFiles: [prod.yaml]\n      valuesObject: {maxModelLen: 4096}\n"
    )
    files = chart("nothing\n") | {"c/prod.yaml": "model: Qwen/Qwen3-32B\n", "apps/llm.yaml": application}
    (found,) = (launch for launch in launches(files) if stated(launch)["model"].endswith("32B"))
    assert stated(found) == {"model": "Qwen/Qwen3-32B", "max_model_len": "4096"}
    assert found.given["max_model_len"].at.path == "apps/llm.yaml"


def test_odd_charts() -> None:
    for text in ("3\n", "dependencies: 3\n", "dependencies: [1, {name: []}, {repository: 'file://../../..'}]\n", ""):
        assert len(launches(chart("nothing\n") | {"c/Chart.yaml": text or "a: 1\n"})) == 1
    assert len(launches(chart("{{/* " * 50_000 + "--model={{ .Values" * 50_000))) == 1
