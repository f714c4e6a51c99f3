"""The cards that pods ask for."""

from __future__ import annotations

import pytest
from kube import cards, launch, launches, lines

CLASS = "deviceclass.resource.kubernetes.io/gpu.nvidia.com"


def pod(resources: str = "{}", selector: str = "{}", terms: str = "[]", annotations: str = "{}") -> str:
    return f"""\
apiVersion: v1
kind: Pod
metadata: {{name: x, annotations: {annotations}}}
spec:
  nodeSelector: {selector}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: {terms}
  containers:
  - image: vllm/vllm-openai
    resources: {resources}
"""


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ("{limits: {nvidia.com/gpu: 4}}", {"gpus": 4}),
        ("{requests: {nvidia.com/gpu: '4'}}", {"gpus": 4}),
        ("{limits: {nvidia.com/gpu: 2}, requests: {nvidia.com/gpu: 1}}", {"gpus": 2}),
        ("{limits: {nvidia.com/gpu: '{{ gpus }}'}}", {"gpus": "?{{ gpus }}"}),
        ("{limits: {nvidia.com/gpu: '${GPUS}'}}", {"gpus": "?${GPUS}"}),
        ("{limits: {nvidia.com/gpu: 0}}", {"gpus": 0}),
        ("{limits: {nvidia.com/gpu: 0, amd.com/gpu: 1}}", {"gpu": "amd.com/gpu", "gpus": 1}),
        ("{limits: {nvidia.com/mig-3g.40gb: 1}}", {"gpu": "mig-3g.40gb", "gpus": 1}),
        ("{limits: {nvidia.com/gpu.shared: 2}}", {"gpus": 2, "share": "time-sliced"}),
        ("{limits: {nvidia.com/gpu: 1, nvidia.com/gpumem: 8000}}", {"gpus": 1, "share": "nvidia.com/gpumem=8000"}),
        ("{limits: {deviceclass.resource.kubernetes.io/gpu.nvidia.com: 1}}", {"gpus": f"?{CLASS}: 1"}),
        ("{limits: {vendor.example/shared-gpu: 2}}", {"gpus": "?vendor.example/shared-gpu: 2"}),
        ("{limits: {nvidia.com/a100-80gb: 1}}", {"gpu": "a100-80gb", "gpus": 1}),
        ("{limits: {nvidia.com/hostdev: 1}}", {}),
        ("{limits: {gpu.intel.com/i915: 1}}", {"gpu": "gpu.intel.com/i915", "gpus": 1}),
        ("{limits: {google.com/tpu: 4}}", {"accelerator": "tpu"}),
        ("{limits: {aws.amazon.com/neuroncore: 4}}", {"accelerator": "neuron"}),
        ("{limits: {habana.ai/gaudi: 1}}", {"accelerator": "gaudi"}),
        ("{limits: {huawei.com/Ascend910: 1}}", {"accelerator": "ascend"}),
        ("{limits: {cpu: 4, memory: 16Gi, rdma/ib: 1}}", {}),
    ],
)
def test_resources(resources: str, expected: dict[str, object]) -> None:
    found = launch(pod(resources))
    assert cards(found) == expected
    assert set(lines(found).values()) <= {12}
    assert lines(found).keys() == expected.keys()


@pytest.mark.parametrize(
    "text",
    [
        pod("{limits: {aliyun.com/gpu-mem: 8}}"),
        pod("{limits: {nvidia.com/gpumem: 8000}}"),
        pod(annotations="{gpu-fraction: '0.5'}"),
        pod().replace("spec:", "spec:\n  runtimeClassName: nvidia", 1),
    ],
)
def test_cards_that_are_asked_for_and_not_counted(text: str) -> None:
    found = launch(text)
    assert (cards(found).get("gpus"), "gpus" in lines(found)) == (None, True)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("{nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}", {"gpu": "NVIDIA-H100-80GB-HBM3"}),
        ("{nvidia.com/gpu.product: NVIDIA-A10G-SHARED}", {"gpu": "NVIDIA-A10G", "share": "time-sliced"}),
        ("{karpenter.k8s.aws/instance-gpu-name: l4}", {"gpu": "l4"}),
        ("{node.kubernetes.io/instance-type: g5.2xlarge}", {"gpu": "g5.2xlarge"}),
        ("{node.kubernetes.io/instance-type: p5.48xlarge, nvidia.com/gpu.product: H100}", {"gpu": "H100"}),
        ("{cloud.google.com/gke-accelerator: '{{ gpu }}'}", {"gpu": "?{{ gpu }}"}),
        ("{nvidia.com/gpu.family: ampere}", {"gpu": "ampere"}),
        ("{accelerator: nvidia-a100-80gb}", {"gpu": "nvidia-a100-80gb"}),
        ("{example.org/gpu-type: rtx-4090}", {"gpu": "rtx-4090"}),
        ("{accelerator: nvidia}", {}),
        ("{accelerator: fast}", {}),
        ("{nvidia.com/gpu.present: 'true'}", {}),
        (
            "{cloud.google.com/gke-accelerator: nvidia-l4, cloud.google.com/gke-gpu-sharing-strategy: mps}",
            {"gpu": "nvidia-l4", "share": "mps"},
        ),
        (
            "{cloud.google.com/gke-accelerator: nvidia-tesla-a100, cloud.google.com/gke-gpu-partition-size: 1g.5gb}",
            {"gpu": "mig-1g.5gb"},
        ),
        ("{cloud.google.com/gke-tpu-accelerator: tpu-v5-lite-podslice}", {"accelerator": "tpu"}),
    ],
)
def test_labels(selector: str, expected: dict[str, object]) -> None:
    found = launch(pod(selector=selector))
    assert cards(found) == expected
    assert set(lines(found).values()) <= {5}


def test_a_slice_is_named_with_the_card_that_it_is_of() -> None:
    slice_ = "{limits: {nvidia.com/mig-1g.10gb: 1}}"
    named = "{nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB}"
    whole = "{nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB-MIG-1g.10gb}"
    assert cards(launch(pod(slice_, named)))["gpu"] == "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"
    assert cards(launch(pod("{limits: {nvidia.com/gpu: 1}}", whole)))["gpu"] == "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"


ZONE = "{matchExpressions: [{key: zone, operator: In, values: [a]}]}"
KEY = "nvidia.com/gpu.product"


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (f"[{{matchExpressions: [{{key: {KEY}, operator: In, values: [H100]}}]}}]", {"gpu": "H100"}),
        (f"[{{matchExpressions: [{{key: {KEY}, operator: In, values: [H100, A100]}}]}}]", {"gpu": "?H100|A100"}),
        (f"[{{matchExpressions: [{{key: {KEY}, operator: NotIn, values: [H100]}}]}}]", {}),
        (f"[{{matchExpressions: [{{key: {KEY}, operator: In, values: [H100]}}]}}, {ZONE}]", {"gpu": "?H100"}),
        (f"[{{matchExpressions: [{{key: {KEY}, operator: In, values: ['{{{{ x }}}}']}}]}}]", {"gpu": "?{{ x }}"}),
        ("[{matchExpressions: [{key: nvidia.com/gpu.present, operator: In, values: ['true']}]}]", {}),
    ],
)
def test_affinity(terms: str, expected: dict[str, object]) -> None:
    assert cards(launch(pod(terms=terms))) == expected


def test_a_fraction_of_a_card_in_an_annotation() -> None:
    assert cards(launch(pod(annotations="{gpu-fraction: '0.5'}"))) == {"share": "gpu-fraction=0.5"}


def test_a_claim_is_unknown_until_the_object_is_found_that_says_it() -> None:
    text = """\
    apiVersion: v1
    kind: Pod
    metadata: {name: x}
    spec:
      resourceClaims:
      - {name: card, resourceClaimTemplateName: one-card}
      containers:
      - image: vllm/vllm-openai
        resources: {claims: [{name: card}]}
      - image: vllm/router
    """
    served, router = launches(text)
    assert cards(served) == {"gpus": "?one-card"}
    assert cards(router) == {}
