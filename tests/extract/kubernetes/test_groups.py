"""Pods that serve or train together."""

from __future__ import annotations

import pytest
from kube import cards, launch, launches, lines, texts

from vramguard.facts import Word

GROUP = """\
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: big}
spec:
  leaderWorkerTemplate:
    size: 4
    leaderTemplate:
      spec:
        containers:
        - name: leader
          image: vllm/vllm-openai
          command: [vllm, serve, a/b, -pp, $(LWS_GROUP_SIZE)]
          resources: {limits: {nvidia.com/gpu: 8}}
        - {name: proxy, image: envoy}
    workerTemplate:
      spec:
        containers:
        - name: worker
          image: vllm/vllm-openai
          command: [ray, start, --address=$(LWS_LEADER_ADDRESS), --block]
          resources: {limits: {nvidia.com/gpu: 8}}
"""
CARDLESS = ("          resources: {limits: {nvidia.com/gpu: 8}}\n        - {name: proxy", "        - {name: proxy")


def test_a_leader_stands_for_its_group() -> None:
    leader, proxy = launches(GROUP)
    assert (leader.name, leader.at.line, texts(leader.command)[:3]) == (
        "LeaderWorkerSet/big/leader",
        10,
        ["vllm", "serve", "a/b"],
    )
    assert cards(leader) == {"gpus": 8, "nodes": 4}
    assert lines(leader) == {"gpus": 13, "nodes": 6}
    size = leader.env["LWS_GROUP_SIZE"]
    assert isinstance(size, Word)
    assert (size.text, size.at.line) == ("4", 6)
    assert proxy.name == "LeaderWorkerSet/big/proxy"


def test_a_leader_without_cards_leads_those_of_its_workers() -> None:
    text = GROUP.replace(
        "          resources: {limits: {nvidia.com/gpu: 8}}\n        - {name: proxy", "        - {name: proxy"
    )
    leader, proxy = launches(text)
    assert cards(leader) == {"gpus": 8, "nodes": 4}
    assert cards(proxy) == {"nodes": 4}


def test_where_the_leader_only_routes_the_workers_serve() -> None:
    text = GROUP.replace("vllm/vllm-openai\n          command: [vllm", "envoy\n          command: [envoy", 1)
    text = text.replace(
        "          resources: {limits: {nvidia.com/gpu: 8}}\n        - {name: proxy", "        - {name: proxy"
    )
    assert [found.name for found in launches(text)] == [
        "LeaderWorkerSet/big/leader",
        "LeaderWorkerSet/big/proxy",
        "LeaderWorkerSet/big",
    ]


def test_a_group_of_one_template() -> None:
    text = """\
    apiVersion: leaderworkerset.x-k8s.io/v1
    kind: LeaderWorkerSet
    metadata: {name: big}
    spec:
      leaderWorkerTemplate:
        size: '{{ size }}'
        workerTemplate: {spec: {containers: [{image: vllm, resources: {limits: {nvidia.com/gpu: 8}}}]}}
    """
    assert cards(launch(text)) == {"gpus": 8, "nodes": "?{{ size }}"}


def test_roles_of_aibrix_are_each_their_own() -> None:
    text = """\
    apiVersion: orchestration.aibrix.ai/v1alpha1
    kind: StormService
    metadata: {name: split}
    spec:
      template:
        spec:
          roles:
          - name: prefill
            podGroupSize: 2
            template: {spec: {containers: [{name: main, image: vllm, resources: {limits: {nvidia.com/gpu: 8}}}]}}
          - name: decode
            template: {spec: {containers: [{name: main, image: vllm, resources: {limits: {nvidia.com/gpu: 4}}}]}}
    """
    prefill, decode = launches(text)
    assert (prefill.name, cards(prefill)) == ("StormService/split/prefill", {"gpus": 8, "nodes": 2})
    assert (decode.name, cards(decode)) == ("StormService/split/decode", {"gpus": 4})


@pytest.mark.parametrize(
    ("kind", "roles", "expected"),
    [
        ("PyTorchJob", "Master: {template: T}, Worker: {replicas: 3, template: T}", {"gpus": 8, "nodes": 4}),
        ("MPIJob", "Launcher: {template: L}, Worker: {replicas: 2, template: T}", {"gpus": 8, "nodes": 2}),
        (
            "PyTorchJob",
            "Master: {template: T}, Worker: {replicas: '{{ n }}', template: T}",
            {"gpus": 8, "nodes": "?{{ n }}"},
        ),
    ],
)
def test_jobs_that_train(kind: str, roles: str, expected: dict[str, object]) -> None:
    cards_of_one = "resources: {limits: {nvidia.com/gpu: 8}}"
    pod = f"{{spec: {{containers: [{{image: pytorch, command: [torchrun, train.py], {cards_of_one}}}]}}}}"
    launcher = "{spec: {containers: [{image: mpi, command: [mpirun, python, train.py]}]}}"
    text = roles.replace(": T", f": {pod}").replace(": L}", f": {launcher}}}")
    found = launch(f"apiVersion: kubeflow.org/v1\nkind: {kind}  # vllm\nspec:\n  xReplicaSpecs: {{{text}}}\n")
    assert cards(found) == expected
    assert texts(found.command)[-1] == "train.py"


def test_a_train_job() -> None:
    text = """\
    apiVersion: trainer.kubeflow.org/v1alpha1
    kind: TrainJob
    metadata: {name: x}
    spec:
      trainer:
        image: pytorch  # transformers
        command: [torchrun, train.py]
        numNodes: 2
        resourcesPerNode: {limits: {nvidia.com/gpu: 4}}
    """
    assert cards(launch(text)) == {"gpus": 4, "nodes": 2}
