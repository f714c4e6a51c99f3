"""VG601 and VG602: what scales a GPU by its host, whatever the autoscaler; and what looks like it."""

from __future__ import annotations

import pytest
from pod_files import GOOD, READY, findings, lines, server

CPU = "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}"
QUEUE = "{type: Pods, pods: {metric: {name: vllm_num_requests_waiting}, target: {type: AverageValue, averageValue: 4}}}"
WITHOUT = server(READY, "resources: {limits: {memory: 32Gi}}").replace("vllm/vllm-openai:v0.19.0", "acme/shop:3")


def hpa(spec: str, version: str = "v2", target: str = "llama", kind: str = "Deployment") -> str:
    return (
        f"apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: scaler}}\nspec:\n"
        f"  scaleTargetRef: {{apiVersion: apps/v1, kind: {kind}, name: {target}}}\n  maxReplicas: 4\n  {spec}\n"
    )


def other(api: str, kind: str, spec: str) -> str:
    return f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: scaler}}\nspec:\n" + "".join(
        f"  {line}\n" for line in spec.splitlines()
    )


@pytest.mark.parametrize(
    ("scaler", "line"),
    [
        (hpa("targetCPUUtilizationPercentage: 80", "v1"), "targetCPUUtilizationPercentage: 80"),
        (hpa(f"metrics: [{CPU}]"), f"metrics: [{CPU}]"),
        (hpa(f"metrics: [{CPU}]", "v2beta2"), f"metrics: [{CPU}]"),
        (
            hpa("metrics: [{type: Resource, resource: {name: memory}}]"),
            "metrics: [{type: Resource, resource: {name: memory}}]",
        ),
        (
            hpa("metrics: [{type: ContainerResource, containerResource: {name: cpu, container: vllm}}]"),
            "metrics: [{type: ContainerResource, containerResource: {name: cpu, container: vllm}}]",
        ),
        (
            other("keda.sh/v1alpha1", "ScaledObject", "scaleTargetRef: {name: llama}\ntriggers:\n- type: cpu"),
            "- type: cpu",
        ),
        (
            other("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "targetRef: {kind: Deployment, name: llama}"),
            "kind: VerticalPodAutoscaler",
        ),
        (
            other(
                "autoscaling.aibrix.ai/v1alpha1",
                "PodAutoscaler",
                "scaleTargetRef: {kind: Deployment, name: llama}\nmetricsSources:\n- targetMetric: cpu",
            ),
            "- targetMetric: cpu",
        ),
    ],
)
def test_the_host_is_no_signal_of_a_gpu(scaler: str, line: str) -> None:
    assert lines("VG601", {"a.yaml": GOOD, "b.yaml": scaler}) == [("b.yaml", line)]


@pytest.mark.parametrize(
    "scaler",
    [
        hpa(f"metrics: [{QUEUE}]"),
        hpa(f"metrics: [{CPU}, {QUEUE}]"),
        hpa(f"metrics: [{CPU}]", target="shop"),  # not in the repository
        hpa(f"metrics: [{CPU}]", target="$(NAME)"),
        hpa(f"metrics: [{CPU}]", kind="StatefulSet"),
        other(
            "keda.sh/v1alpha1",
            "ScaledObject",
            "scaleTargetRef: {name: llama}\nfallback: {failureThreshold: 3, replicas: 2}\n"
            "triggers:\n- type: cpu\n- type: prometheus",
        ),
        other(
            "autoscaling.k8s.io/v1",
            "VerticalPodAutoscaler",
            'targetRef: {kind: Deployment, name: llama}\nupdatePolicy: {updateMode: "Off"}',
        ),
    ],
)
def test_a_right_signal_and_a_target_that_is_not_known_are_silent(scaler: str) -> None:
    assert findings("VG601", {"a.yaml": GOOD, "b.yaml": scaler}) == []


def test_a_target_without_a_gpu_is_silent_and_one_of_several_that_could_be_meant_does_not_count() -> None:
    scaler = hpa(f"metrics: [{CPU}]")
    assert findings("VG601", {"a.yaml": WITHOUT, "b.yaml": scaler}) == []
    assert findings("VG601", {"x/a.yaml": GOOD, "y/a.yaml": WITHOUT, "b.yaml": scaler}) == []
    assert len(findings("VG601", {"x/a.yaml": GOOD, "y/a.yaml": WITHOUT, "x/b.yaml": scaler})) == 1


def test_an_engine_that_runs_on_cards_owns_one_whether_its_limits_say_so() -> None:
    found = findings("VG601", {"a.yaml": server(READY), "b.yaml": hpa(f"metrics: [{CPU}]")})
    assert [link.what for link in found[0].evidence][1:] == [
        "Deployment/llama is its target",
        "which starts vllm here, an engine of GPUs",
    ]


def test_the_chain_leads_from_the_scaler_to_the_card() -> None:
    (found,) = findings("VG601", {"a.yaml": GOOD, "b.yaml": hpa(f"metrics: [{CPU}]")})
    assert [(link.at.path, link.what) for link in found.evidence] == [
        ("b.yaml", "HorizontalPodAutoscaler/scaler scales it"),
        ("b.yaml", "Deployment/llama is its target"),
        ("a.yaml", "which asks for a GPU here"),
    ]


def test_tests_are_not_judged_and_examples_are_warnings() -> None:
    files = {"a.yaml": GOOD, "b.yaml": hpa(f"metrics: [{CPU}]")}
    assert findings("VG601", {f"tests/{path}": text for path, text in files.items()}) == []
    assert [one.severity.label for one in findings("VG601", {f"examples/{p}": t for p, t in files.items()})] == [
        "warning"
    ]
    assert [one.severity.label for one in findings("VG601", files)] == ["error"]


def service(annotations: str = "", predictor: str = "", gpu: str = '"1"') -> str:
    return (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: llama\n"
        f"  annotations: {{{annotations}}}\nspec:\n  predictor:\n"
        + "".join(f"    {line}\n" for line in predictor.splitlines())
        + f"    model: {{modelFormat: {{name: pytorch}}, resources: {{limits: {{nvidia.com/gpu: {gpu}}}}}}}\n"
    )


RAW, HPA = "serving.kserve.io/deploymentMode: RawDeployment", "serving.kserve.io/autoscalerClass: hpa"
EXTERNAL = "maxReplicas: 4\nautoScaling: {metrics: [{type: External, external: {}}]}"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (service(RAW, "maxReplicas: 4"), "KServe's controller takes where no metric is written"),
        (service(RAW.replace("RawDeployment", "Standard"), "maxReplicas: 4"), "where no metric is written"),
        (service(HPA), "where no metric is written"),
        (service(HPA, EXTERNAL), "the HPA class keeps metrics of type Resource alone and drops these"),
    ],
)
def test_what_kserve_takes_in_silence(manifest: str, said: str) -> None:
    (found,) = findings("VG602", {"a.yaml": manifest})
    assert said in found.message
    assert findings("VG601", {"a.yaml": manifest}) == []


@pytest.mark.parametrize(
    "manifest",
    [
        service("", "maxReplicas: 4"),  # Knative, which counts requests
        service(RAW, "minReplicas: 2\nmaxReplicas: 2"),  # never another pod
        service(RAW),
        service(f"{RAW}, serving.kserve.io/autoscalerClass: external", "maxReplicas: 4"),
        service(f"{RAW}, serving.kserve.io/autoscalerClass: keda", EXTERNAL),
        service(RAW, "maxReplicas: 4", gpu='"0"'),
    ],
)
def test_what_kserve_does_not_scale_by_the_cpu(manifest: str) -> None:
    assert findings("VG602", {"a.yaml": manifest}) == []
    assert findings("VG601", {"a.yaml": manifest}) == []


def test_a_metric_that_somebody_wrote_is_vg601s() -> None:
    assert lines("VG601", {"a.yaml": service(RAW, "scaleMetric: memory")}) == [("a.yaml", "scaleMetric: memory")]
    assert len(findings("VG601", {"a.yaml": service("autoscaling.knative.dev/metric: cpu")})) == 1
    assert findings("VG601", {"a.yaml": service("autoscaling.knative.dev/metric: concurrency")}) == []


def test_the_repositorys_own_configuration_may_say_the_mode() -> None:
    held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inferenceservice-config}\ndata:\n  deploy: %s\n"
    raw = held % """'{"defaultDeploymentMode": "RawDeployment"}'"""
    assert len(findings("VG602", {"a.yaml": service("", "maxReplicas: 4"), "c.yaml": raw})) == 1
    knative = held % """'{"defaultDeploymentMode": "Knative"}'"""
    assert findings("VG602", {"a.yaml": service("", "maxReplicas: 4"), "c.yaml": knative}) == []
    assert findings("VG602", {"a.yaml": service("", "maxReplicas: 4"), "c.yaml": held % "'{['"}) == []


def test_an_hpa_without_metrics_takes_the_cpu() -> None:
    assert len(findings("VG602", {"a.yaml": GOOD, "b.yaml": hpa("minReplicas: 1")})) == 1
    assert findings("VG602", {"a.yaml": GOOD, "b.yaml": hpa('metrics: "{{ .Values.metrics }}"')}) == []


def test_what_an_operator_is_told_of_its_scaling() -> None:
    nim = (
        "apiVersion: apps.nvidia.com/v1alpha1\nkind: NIMService\nmetadata: {name: llama}\nspec:\n"
        "  resources: {limits: {nvidia.com/gpu: 1}}\n"
        "  image: {repository: nvcr.io/nim/meta/llama-3.1-8b-instruct, tag: 1.12.0}\n"
        "  scale:\n    enabled: %s\n    hpa:\n      maxReplicas: 3\n      metrics:\n      - type: Resource\n"
        "        resource: {name: cpu}\n"
    )
    assert lines("VG601", {"a.yaml": nim % "true"}) == [("a.yaml", "resource: {name: cpu}")]
    assert findings("VG601", {"a.yaml": nim % "false"}) == []
