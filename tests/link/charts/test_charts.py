"""Charts filled with their values: the objects, each value at its place, and what cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, Manifest
from vramguard.link.cluster import cluster
from vramguard.link.helm import composed
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts.nodes import Node

HELPERS = """\
{{- define "llm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- define "llm.fullname" -}}
{{- printf "%s-%s" .Release.Name (include "llm.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- define "llm.labels" -}}
app: {{ include "llm.name" . }}
chart: {{ .Chart.Version | quote }}
{{- end }}
"""
DEPLOYMENT = """\
{{- if .Values.enabled }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "llm.fullname" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "llm.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas | default 1 }}
  template:
    metadata:
      labels:
        {{- include "llm.labels" . | nindent 8 }}
    spec:
      containers:
      - name: server
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
        args: ["--model", {{ .Values.model | quote }}]
        {{- with .Values.env }}
        env:
          {{- range $name, $value := . }}
          - name: {{ $name }}
            value: {{ $value | quote }}
          {{- end }}
        {{- end }}
        resources:
          {{- toYaml .Values.resources | nindent 10 }}
        ports:
        - containerPort: {{ .Values.port }}
{{- end }}
"""
SCALER = """\
{{- if and .Values.enabled .Values.autoscaling.enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "llm.fullname" . }}
spec:
  scaleTargetRef:
    kind: Deployment
    name: {{ include "llm.fullname" . }}
  maxReplicas: {{ .Values.autoscaling.max }}
  metrics:
  - type: Resource
    resource:
      name: cpu
      target: {type: Utilization, averageUtilization: {{ .Values.autoscaling.cpu }}}
{{- end }}
"""
VALUES = """\
enabled: true
replicas: 2
image:
  repository: vllm/vllm-openai
  tag: v0.16.0
model: meta-llama/Llama-3.1-8B-Instruct
port: 8000
env: {B: "2", A: "1"}
resources:
  limits:
    nvidia.com/gpu: 1
autoscaling: {enabled: true, max: 4, cpu: 80}
"""
CHART = {
    "chart/Chart.yaml": "apiVersion: v2\nname: llm\nversion: 1.2.3\nappVersion: '9'\n",
    "chart/values.yaml": VALUES,
    "chart/templates/_helpers.tpl": HELPERS,
    "chart/templates/deployment.yaml": DEPLOYMENT,
    "chart/templates/hpa.yaml": SCALER,
}


def facts_of(files: Mapping[str, str]) -> Facts:
    documents = [read(path, text.encode(), kind=kind_of(path)) for path, text in files.items() if kind_of(path)]
    found = [fact for document in documents if isinstance(document, Document) for fact in extract(document)]
    return composed(Facts(found, paths=files), lambda path: files[path].encode() if path in files else None)


def objects(files: Mapping[str, str]) -> list[Manifest]:
    return facts_of(files).of(Manifest)


def template(text: str, values: str = VALUES, **files: str) -> list[Manifest]:
    named = {f"chart/{name.replace('__', '/').replace('_', '.')}": content for name, content in files.items()}
    return objects({**CHART, **named, "chart/values.yaml": values, "chart/templates/one.yaml": text})


def value(expression: str, values: str = VALUES) -> Node:
    """What `v:` is of an object in whose template the expression stands."""
    found = template(f"apiVersion: v1\nkind: Thing\nv: {expression}\n", values)
    (one,) = [one for one in found if one.kind == "Thing"]
    return one.node.get("v")


def place(node: Node) -> tuple[str, int]:
    return node.at.path, node.at.line


# --- objects and their places


def test_a_template_becomes_an_object_of_its_chart() -> None:
    deployment, scaler = objects(CHART)
    assert (deployment.title, deployment.group, deployment.namespace) == ("Deployment/release-name-llm", "apps", "")
    assert (deployment.guessed, deployment.overlay) == (True, "chart")
    assert deployment.labels == {"app": "llm", "chart": "1.2.3"}
    assert scaler.node.get("spec", "scaleTargetRef", "name").text == deployment.name


def test_each_value_stands_where_it_was_written() -> None:
    deployment, scaler = objects(CHART)
    container = deployment.node.get("spec", "template", "spec", "containers", 0)
    assert place(container.get("resources", "limits", "nvidia.com/gpu")) == ("chart/values.yaml", 11)
    assert place(container.get("args", 1)) == ("chart/values.yaml", 6)
    assert place(container.get("args", 0)) == ("chart/templates/deployment.yaml", 19)
    assert place(container.get("name")) == ("chart/templates/deployment.yaml", 17)
    assert place(deployment.node.get("spec", "replicas")) == ("chart/values.yaml", 2)
    metric = scaler.node.get("spec", "metrics", 0, "resource")
    assert place(metric.get("name")) == ("chart/templates/hpa.yaml", 14)
    assert place(metric.get("target", "averageUtilization")) == ("chart/values.yaml", 12)
    assert place(metric) == ("chart/templates/hpa.yaml", 13)


def test_a_text_of_several_values_stands_in_the_template() -> None:
    image = objects(CHART)[0].node.get("spec", "template", "spec", "containers", 0, "image")
    assert image.text == "vllm/vllm-openai:v0.16.0"
    assert place(image) == ("chart/templates/deployment.yaml", 18)


def test_columns_are_those_of_the_template() -> None:
    name = objects(CHART)[0].node.get("spec", "template", "spec", "containers", 0, "name").at
    line = DEPLOYMENT.split("\n")[name.line - 1]
    assert line[name.column - 1 : name.end_column - 1] == "server"


def test_what_stands_in_a_helper_stands_there() -> None:
    (one,) = [
        one
        for one in template('kind: A\napiVersion: v1\nx:\n  {{- include "llm.labels" . | nindent 2 }}\n')
        if one.kind == "A"
    ]
    assert place(one.node.get("x", "app")) == ("chart/Chart.yaml", 2)
    assert place(one.node.get("x", "chart")) == ("chart/Chart.yaml", 3)
    assert place(one.node.get("x")) == ("chart/templates/one.yaml", 3)


def test_a_map_is_gone_through_in_the_order_of_its_keys() -> None:
    env = objects(CHART)[0].node.get("spec", "template", "spec", "containers", 0, "env")
    assert [(item.get("name").text, item.get("value").text) for item in env.list()] == [("A", "1"), ("B", "2")]


def test_several_objects_of_one_template() -> None:
    text = "{{- range .Values.names }}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: {{ . }}}\n{{- end }}\n"
    found = template(text, VALUES + "names: [a, b]\n")
    assert [one.name for one in found if one.kind == "Service"] == ["a", "b"]
    assert [one.at.line for one in found if one.kind == "Service"] == [4, 4]


def test_a_template_that_is_yaml_already_is_read_once_and_is_no_guess() -> None:
    found = template("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n")
    (one,) = [one for one in found if one.kind == "Service"]
    assert (one.guessed, one.overlay, one.at.line) == (False, "chart", 2)


def test_yaml_within_a_config_map_is_opened_at_its_lines() -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  rules.yaml: |\n    groups:\n    - name: gpu\n"
        "      rules:\n      - alert: {{ .Values.model | quote }}\n        expr: up == 0\n"
    )
    (rules,) = [one for one in template(text) if one.form == "rules"]
    rule = rules.node.get("groups", 0, "rules", 0)
    assert (rules.guessed, rules.overlay) == (True, "chart")
    assert place(rule.get("expr")) == ("chart/templates/one.yaml", 10)
    assert place(rule.get("alert")) == ("chart/values.yaml", 6)


def test_a_file_beside_the_templates_keeps_its_lines() -> None:
    text = 'apiVersion: v1\nkind: ConfigMap\ndata:\n  a.yaml: |\n{{ .Files.Get "rules.yaml" | indent 4 }}\n'
    rules = "groups:\n- name: gpu\n  rules:\n  - alert: Hot\n    expr: up == 0\n"
    found = template(text, rules_yaml=rules)
    (one,) = [one for one in found if one.form == "rules" and one.guessed]
    assert place(one.node.get("groups", 0, "rules", 0, "expr")) == ("chart/rules.yaml", 5)


# --- values over values


def test_a_file_of_values_beside_the_chart_makes_a_build_of_its_own() -> None:
    over = "autoscaling: {cpu: 50}\n"
    found = objects({**CHART, "chart/values-prod.yaml": over})
    scalers = [one for one in found if one.kind == "HorizontalPodAutoscaler"]
    target = ("spec", "metrics", 0, "resource", "target", "averageUtilization")
    assert [(one.overlay, one.node.get(*target).text) for one in scalers] == [
        ("chart", "80"),
        ("chart/values-prod.yaml", "50"),
    ]
    assert place(scalers[1].node.get(*target)) == ("chart/values-prod.yaml", 1)
    (deployment,) = [one for one in found if one.kind == "Deployment"]
    assert deployment.builds == {"chart", "chart/values-prod.yaml"}


def test_a_release_of_a_chart_of_the_repository_is_a_build() -> None:
    release = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: llm}
spec:
  source:
    path: chart
    helm:
      valuesObject: {replicas: 7}
"""
    found = objects({**CHART, "apps/llm.yaml": release})
    deployments = {one.overlay: one for one in found if one.kind == "Deployment"}
    replicas = deployments["apps/llm.yaml"].node.get("spec", "replicas")
    assert (replicas.text, place(replicas)) == ("7", ("apps/llm.yaml", 8))


def test_a_subchart_gets_its_own_values_and_the_global_ones() -> None:
    files = {
        "top/Chart.yaml": "name: top\ndependencies:\n- {name: llm, repository: 'file://../chart', condition: llm.on}\n",
        "top/values.yaml": "global: {zone: a}\nllm: {on: true, replicas: 5}\n",
        "top/templates/x.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n",
        "chart/templates/zone.yaml": "apiVersion: v1\nkind: Zone\nzone: {{ .Values.global.zone }}\n",
    }
    found = objects({**CHART, **files})
    replicas = {
        build: one.node.get("spec", "replicas").text
        for one in found
        if one.kind == "Deployment"
        for build in one.builds
    }
    assert replicas == {"chart": "2", "top": "5"}
    assert {one.node.get("zone").text for one in found if one.kind == "Zone" and "top" in one.builds} == {"a"}


def test_a_subchart_that_is_off_makes_nothing() -> None:
    files = {
        "top/Chart.yaml": "name: top\ndependencies:\n- {name: llm, repository: 'file://../chart', condition: llm.on}\n",
        "top/values.yaml": "llm: {on: false}\n",
    }
    assert not [one for one in objects({**CHART, **files}) if "top" in one.builds]


def test_what_is_switched_off_is_not_there() -> None:
    assert objects({**CHART, "chart/values.yaml": VALUES.replace("enabled: true\nr", "enabled: false\nr")}) == []


# --- what templates can ask


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("{{ .Values.port | int }}", "8000"),
        ("{{ .Values.none | default 3 }}", "3"),
        ("{{ .Values.none | default .Values.model }}", "meta-llama/Llama-3.1-8B-Instruct"),
        ('{{ .Values.none | default "" | quote }}', ""),
        ('{{ ternary "a" "b" .Values.enabled }}', "a"),
        ('{{ index .Values "image" "tag" }}', "v0.16.0"),
        ("{{ .Values.model | lower | replace `/` `-` | trunc 5 }}", "meta-"),
        ('{{ printf "%s:%d" .Values.image.tag 2 }}', "v0.16.0:2"),
        ("{{ if eq .Values.replicas 2 }}two{{ else }}more{{ end }}", "two"),
        ("{{ if gt (int .Values.replicas) 2 }}more{{ else if ge 2 2 }}two{{ end }}", "two"),
        ("{{ if and .Values.enabled (not .Values.none) }}yes{{ end }}", "yes"),
        ("{{ if or .Values.none (contains `vllm` .Values.image.repository) }}yes{{ end }}", "yes"),
        ("{{ if hasKey .Values `none` }}yes{{ else }}no{{ end }}", "no"),
        ("{{ if kindIs `map` .Values.image }}yes{{ end }}", "yes"),
        ("{{ with .Values.image }}{{ .tag }}{{ $.Values.port }}{{ end }}", "v0.16.08000"),
        ("{{ $a := 1 }}{{ if true }}{{ $a = 2 }}{{ end }}{{ $a }}", "2"),
        ("{{ range $i, $x := list 7 8 9 }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ $x }}.{{ end }}", "7.9."),
        ("{{ range until 5 }}{{ if eq . 2 }}{{ break }}{{ end }}{{ . }}.{{ end }}", "0.1."),
        ('{{ tpl "{{ .Values.port }}" . }}', "8000"),
        ("{{ add 1 2 | mul 3 }}", "9"),
        ("{{ (dict `a` (dict `b` `c`)).a.b }}", "c"),
        ("{{ .Chart.Name }}-{{ .Chart.AppVersion }}", "llm-9"),
        ('{{ semverCompare ">=1.21-0" .Capabilities.KubeVersion.Version }}', "true"),
        ('{{ if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}yes{{ end }}', "yes"),
        ("{{ list `b` `a` | sortAlpha | join `,` }}", "a,b"),
        ('{{ regexReplaceAll "[^a-z]" "a1b" "" }}', "ab"),
        ("{{ merge (dict `a` `1`) (dict `a` `2` `b` `3`) | toJson | quote }}", '{"a": "1", "b": "3"}'),
        ("{{ required `needed` .Values.port }}", "8000"),
    ],
)
def test_a_function(expression: str, text: str) -> None:
    assert value(expression).text == text


@pytest.mark.parametrize(
    "expression",
    [
        "{{ randAlphaNum 5 }}",
        "{{ now }}",
        "{{ .Capabilities.KubeVersion.Version }}",
        "{{ required `needed` .Values.none }}",
        "{{ nobodyKnows .Values.port }}",
        '{{ include "library.fullname" . }}',
        '"a-{{ .Files.Get "none" }}"',
        "{{ regexFind `(a+)+$` .Values.model }}",
        "{{ $nobody }}",
        "{{ randAlphaNum 5 | default `x` }}",
        "{{ ternary `a` `b` (eq (randAlphaNum 1) `a`) }}",
    ],
)
def test_what_cannot_be_told_is_no_literal(expression: str) -> None:
    word = value(expression).word()
    assert word is not None
    assert not word.known


def test_names_that_cannot_be_told_still_join() -> None:
    text = 'apiVersion: v1\nkind: {}\nmetadata:\n  name: {{{{ include "library.fullname" . }}}}-web\n'
    found = template("---\n".join(text.format(kind) for kind in ("A", "B")))
    a, b = (next(one for one in found if one.kind == kind) for kind in "AB")
    assert a.name == b.name


def test_labels_that_cannot_be_told_are_one_entry() -> None:
    text = (
        'apiVersion: v1\nkind: A\nmetadata:\n  labels:\n    {{- include "library.labels" . | nindent 4 }}\n    b: c\n'
    )
    (one,) = [one for one in template(text) if one.kind == "A"]
    assert one.labels["b"] == "c"
    assert len(one.labels) == 2


def test_a_list_that_cannot_be_told_is_one_item() -> None:
    text = "apiVersion: v1\nkind: A\nargs:\n- a\n{{- toYaml (nobody .) | nindent 0 }}\n- b\n"
    (one,) = [one for one in template(text) if one.kind == "A"]
    words = one.node.get("args").words()
    assert [word.known for word in words] == [True, False, True]


def test_a_branch_nobody_can_choose_is_marked_and_left_out() -> None:
    branches = "{{- if eq (randAlphaNum 1) `a` }}\nsecret: 1\n{{- else }}\nsecret: 2\n{{- end }}\n"
    text = f"apiVersion: v1\nkind: A\n{branches}last: 3\n"
    (one,) = [one for one in template(text) if one.kind == "A"]
    assert not one.node.get("secret")
    assert one.node.get("last").text == "3"
    assert [key for key, _ in one.node.items() if key.startswith("<%")]


def test_a_variable_that_such_a_branch_sets_is_not_known_after_it() -> None:
    found = value("{{ $a := 1 }}{{ if eq (randAlphaNum 1) `a` }}{{ $a = 2 }}{{ end }}{{ $a }}").word()
    assert found is not None
    assert not found.known


def test_values_that_the_templates_refuse_make_nothing() -> None:
    assert not [one for one in template("apiVersion: v1\nkind: A\n{{ fail `no` }}\n") if one.kind == "A"]


def test_bitnamis_helpers_are_known() -> None:
    text = (
        'apiVersion: v1\nkind: A\nname: {{ include "common.names.fullname" . }}\n'
        'image: {{ include "common.images.image" (dict "imageRoot" .Values.image "global" .Values.global) }}\n'
        'labels: {{- include "common.labels.matchLabels" . | nindent 2 }}\n'
    )
    (one,) = [one for one in template(text) if one.kind == "A"]
    assert one.node.get("name").text == "release-name-llm"
    assert one.node.get("image").text == "vllm/vllm-openai:v0.16.0"
    assert one.node.get("labels", "app.kubernetes.io/name").text == "llm"


@pytest.mark.parametrize(
    "change",
    [
        "{{ $_ := set .Values `resources` (dict) }}",
        "{{ $_ := unset .Values.resources `limits` }}",
    ],
)
def test_a_template_that_changes_the_values_is_not_judged(change: str) -> None:
    assert not [one for one in template(f"{change}\napiVersion: v1\nkind: A\n") if one.kind == "A"]


def test_a_mapping_of_the_templates_own_is_changed_itself() -> None:
    made = "{{ $r := dict `a` 1 `b` 2 }}{{ $_ := unset $r `a` }}{{ $_ := merge $r (dict `c` 3) }}"
    assert value(f"{made}{{{{ keys $r | sortAlpha | join `` }}}}").text == "bc"


@pytest.mark.parametrize(
    ("form", "given", "text"),
    [
        ("shard-%03d", "7", "shard-007"),
        ("shard-%3d.", "7", "shard-  7."),
        ("%-4s.", "`a`", "a   ."),
        ("%05d", "-42", "-0042"),
        ("%6.2f", "1.5", "  1.50"),
        ("%.3s", "`abcdef`", "abc"),
        ("%2s", "`abc`", "abc"),
    ],
)
def test_a_value_is_padded_as_go_does(form: str, given: str, text: str) -> None:
    word = value(f"'{{{{ printf `{form}` {given} }}}}'").word()
    assert word is not None
    assert word.text == text


def test_a_sign_that_is_asked_for_is_not_known() -> None:
    word = value("{{ printf `shard-%+d` 7 }}").word()
    assert word is not None
    assert not word.known


# --- surfaces


def test_the_values_and_the_template_are_one_surface() -> None:
    (surface,) = cluster(facts_of(CHART)).surfaces
    assert surface.name == "Deployment/release-name-llm"
    assert (surface.at.path, surface.at.line) == ("chart/templates/deployment.yaml", 3)
    assert surface.gpu is not None
    assert (surface.gpu.path, surface.gpu.line, surface.gpus) == ("chart/values.yaml", 11, 1)


def test_the_autoscaler_of_a_build_joins_the_workload_of_that_build() -> None:
    over = "resources: {limits: null}\nautoscaling: {cpu: 50}\n"
    graph = cluster(facts_of({**CHART, "chart/values-cpu.yaml": over}))
    owns = {}
    for scaler in graph.of("HorizontalPodAutoscaler"):
        (target,) = graph.named(scaler, "Deployment", scaler.node.get("spec", "scaleTargetRef", "name").text)
        owns[scaler.overlay] = any(one.has_gpu for pod in graph.pods_of(target) for one in pod.containers)
    assert owns == {"chart": True, "chart/values-cpu.yaml": False}


# --- hostile input


@pytest.mark.parametrize(
    "text",
    [
        '{{ define "a" }}{{ include "a" . }}{{ include "a" . }}{{ end }}{{ include "a" . }}',
        '{{ define "a" }}{{ tpl "{{ include `a` . }}{{ include `a` . }}" . }}{{ end }}{{ include "a" . }}',
        "{{ range until 2000 }}{{ range until 2000 }}{{ range until 2000 }}x{{ end }}{{ end }}{{ end }}",
        "{{ $a := `aaaaaaaaaa` }}{{ range until 100 }}{{ $a = print $a $a }}{{ end }}{{ $a }}",
        "{{ $a := 9 }}{{ range until 1000 }}{{ $a = mul $a $a }}{{ end }}{{ $a }}",
        "{{ repeat 1000000000 `a` }}",
        "{{ indent 1000000000 `a` }}",
        "{{ until 1000000000 }}",
        "{{ printf `%999999999d` 1 }}",
        "{{ $d := dict }}{{ $_ := set $d `a` (list $d) }}{{ toYaml $d }}{{ $d }}{{ eq $d $d }}",
        "{{ regexMatch `(a|a)*(a|a)*$` (repeat 400 `a`) }}",
        "{{ .Files.Glob `" + "*a" * 5000 + "` }}",
        "{{ if .a }}" * 70 + "{{ end }}" * 70,
        "{{ break }}",
        "{{ range (dict 1 2 `a` 3) }}x{{ end }}",
        "{{ range 99999999999999999999 }}x{{ end }}",
        "{{ $t := repeat 1000000 `a` }}{{ replace `` $t $t }}",
        "{{ $a := list 1 1 }}" + "{{ $a = concat $a $a }}" * 34,
        "{{ $a := list 1 1 }}" + "{{ $a = list $a $a }}" * 30 + "{{ toJson $a }}",
        "{{ semverCompare (repeat 1000000 ` `) `1.2.3` }}",
        "{{ $t := repeat 300000 `\n` }}{{ range until 2000 }}{{ $x := indent 0 $t }}{{ end }}",
        "{{ range until 2000 }}{{ if $.none }}" + "x" * 900_000 + "{{ end }}{{ end }}",
        "{{ join (repeat 1000000 `a`) (until 2000) }}",
        "{{ " + "not (" * 59 + "true" + ")" * 59 + " }}",
    ],
)
def test_a_template_that_never_ends_ends(text: str) -> None:
    found = template(f"apiVersion: v1\nkind: A\nv: {text}\n", rules_json="{}")
    assert [one.kind for one in found if one.kind in ("Deployment", "HorizontalPodAutoscaler")]


def test_deep_values_do_not_end_the_stack() -> None:
    deep = VALUES + "deep: " + "[" * 150 + "]" * 150 + "\n"
    assert objects({**CHART, "chart/values.yaml": deep, "chart/templates/x.yaml": "v: {{ toYaml .Values.deep }}\n"})


def test_other_renderers_templates_say_nothing() -> None:
    found = template("apiVersion: v1\nkind: A\nmetadata: {name: {{ a['b'] }}}\n{% if c %}\nd: e\n{% endif %}\n")
    assert not [one for one in found if one.kind == "A"]
