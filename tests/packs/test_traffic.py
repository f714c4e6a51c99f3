"""The packs `istio` and `envoy-gateway`: bounded ways to a model, breakers, and a fallback that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from packed import OWN, REPOSITORIES, TRITON, VLLM, objects, plan, workload, written

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = json.loads((Path(__file__).parent / "crds.json").read_text("utf-8"))["kinds"]
BOTH = ("istio", "envoy-gateway")


def named(files: dict[str, str], pack: str, *beside: str) -> dict[str, Any]:
    """The objects that a pack writes, by kind and name."""
    texts = written(files, pack, *beside).values()
    return {f"{one['kind']}/{one['metadata']['name']}": one for text in texts for one in objects(text)}


def everything() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, files in REPOSITORIES.items():
        for pack in ("prometheus", *BOTH):
            for path, text in written(files, pack).items():
                if path.endswith(".yaml"):
                    yield from ((f"{name} {path} {one['kind']}", one) for one in objects(text))


def test_every_object_is_one_by_the_schema_of_its_kind() -> None:
    seen = set()
    for where, one in everything():
        if one["kind"] != "ConfigMap":
            jsonschema.validate(one, KINDS[one["kind"]]["schema"])
            seen.add(one["kind"])
        assert where
    assert seen == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "keys", "value"),
    [
        ("VirtualService", ("spec", "http", 0, "timout"), "1s"),
        ("DestinationRule", ("spec", "trafficPolicy", "outlierDetection", "consecutiveGatewayError"), 3),
        ("BackendTrafficPolicy", ("spec", "retry", "numRetries"), "two"),
        ("BackendTrafficPolicy", ("spec", "timeout", "http", "requestTimeout"), "soon"),
        ("HTTPRoute", ("spec", "rules", 0, "timeouts", "request"), "1 minute"),
        ("Backend", ("spec", "endpoints", 0, "fqdn", "port"), "http"),
    ],
)
def test_the_schemas_find_what_is_wrong(kind: str, keys: tuple[str | int, ...], value: object) -> None:
    found = {one["kind"]: one for pack in BOTH for one in named({"a.yaml": OWN}, pack).values()}
    place: Any = found[kind]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found[kind], KINDS[kind]["schema"])


def test_what_answers_at_once_has_half_a_second_and_tokens_a_minute() -> None:
    found = named({"a.yaml": VLLM, "b.yaml": TRITON}, "istio")
    at_once, tokens = (found[f"VirtualService/{name}"]["spec"]["http"][0] for name in ("price", "llama"))
    assert (at_once["timeout"], tokens["timeout"]) == ("500ms", "60s")
    assert at_once["retries"] == {
        "attempts": 1,
        "perTryTimeout": "250ms",
        "retryOn": "connect-failure,refused-stream",
    }
    assert "perTryTimeout" not in tokens["retries"]
    assert found["DestinationRule/llama"]["spec"]["host"] == "llama.serving.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "image", "timeout"),
    [
        ("llama3-8b-instruct", "nvcr.io/nim/meta/llama3-8b-instruct:1.0.3", "60s"),
        ("answers", "nvcr.io/nim/meta/llama3-8b-instruct:1.0.3", "60s"),
        ("llm", "registry.example/server:1", "60s"),
        ("nv-rerank-mistral-4b", "nvcr.io/nim/nvidia/rerank:1.0", "500ms"),
        ("price", "registry.example/price:1", "500ms"),
    ],
)
def test_no_language_model_is_given_half_a_second(name: str, image: str, timeout: str) -> None:
    found = named({"a.yaml": workload(name, image)}, "istio")
    assert found[f"VirtualService/{name}"]["spec"]["http"][0]["timeout"] == timeout


def test_requests_are_repeated_in_one_place() -> None:
    alone = named({"a.yaml": OWN}, "istio")["VirtualService/recommender"]
    beside = named({"a.yaml": OWN}, "istio", *BOTH)["VirtualService/recommender"]
    assert alone["spec"]["http"][0]["retries"]["attempts"] == 1
    assert beside["spec"]["http"][0]["retries"] == {"attempts": 0}

    mesh = VIRTUAL.replace("http: [{", "http: [{retries: {attempts: 2}, ").replace("llama", "recommender")
    gateway = named({"a.yaml": OWN, "mesh.yaml": mesh}, "envoy-gateway")["BackendTrafficPolicy/recommender"]
    assert "retry" not in gateway["spec"]
    assert (
        named({"a.yaml": OWN}, "envoy-gateway")["BackendTrafficPolicy/recommender"]["spec"]["retry"]["numRetries"] == 1
    )


VIRTUAL = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: serving}
spec: {hosts: [shop], http: [{route: [{destination: {host: llama}}]}]}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: answers, namespace: serving}
spec: {parentRefs: [{name: outside}], rules: [{backendRefs: [{name: llama, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: outside, namespace: serving}
spec: {gatewayClassName: eg, listeners: []}
"""


def test_no_second_virtual_service_of_one_host() -> None:
    files = {"a.yaml": VLLM, "mesh.yaml": VIRTUAL}
    assert list(named(files, "istio")) == ["DestinationRule/llama"]
    (note,) = [note for note in plan(files, "istio").notes if "VirtualService/shop" in note]
    assert "mesh.yaml" in note
    assert "timeout: 60s" in note
    other = {"a.yaml": VLLM, "mesh.yaml": VIRTUAL.replace("{host: llama}", "{host: llama.elsewhere}")}
    assert "VirtualService/llama" in named(other, "istio"), "a Service of the same name in another namespace"


def test_the_packs_own_files_are_nobodys_elses() -> None:
    files = {"a.yaml": VLLM}
    first = {file.path: file.text for pack in BOTH for file in plan(files, pack, *BOTH).files}
    again = {file.path: file.text for pack in BOTH for file in plan(files | first, pack, *BOTH).files}
    assert again == first


def test_a_policy_stands_on_the_route_that_is_there() -> None:
    found = named({"a.yaml": VLLM, "route.yaml": ROUTE}, "envoy-gateway")
    assert not [name for name in found if name.startswith("HTTPRoute/")]
    assert found["BackendTrafficPolicy/llama"]["spec"]["targetRefs"][0]["name"] == "answers"
    assert [note for note in plan({"a.yaml": VLLM, "route.yaml": ROUTE}, "envoy-gateway").notes if "answers" in note]


def test_the_fallback_is_no_model() -> None:
    found = named({"a.yaml": VLLM}, "envoy-gateway")
    backends = [one["name"] for one in found["HTTPRoute/llama"]["spec"]["rules"][0]["backendRefs"]]
    assert backends == ["llama", "llama-without-model"]
    assert "fallback" not in found["Backend/llama"]["spec"]
    fallback = found["Backend/llama-without-model"]["spec"]
    assert fallback["fallback"] is True
    assert fallback["endpoints"][0]["fqdn"]["hostname"] == "without-model.serving.svc.cluster.local"


@pytest.mark.parametrize("pack", BOTH)
def test_where_nothing_can_be_routed_to_it_is_said(pack: str) -> None:
    lonely = VLLM.partition("---")[0] if VLLM.startswith("apiVersion: apps") else VLLM.partition("---")[2]
    for files in ({"README.md": "none"}, {"a.yaml": lonely}):
        found = plan(files, pack)
        assert found.files == ()
        assert found.notes
