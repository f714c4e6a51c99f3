"""Demand 4 in manifests: every system, its defaults, and what looks like a violation and is none."""

from __future__ import annotations

import pytest
from routed import CHAT, PRICE, routed, said, way

from vramguard.checks import Severity
from vramguard.checks.routes import (
    BlindBalance,
    ErrorsOnlyBreaker,
    ImpossibleEjection,
    LateBreaker,
    MissingBreaker,
    MultipliedRetries,
    RouteFallback,
    RouteRetries,
    UnabortedRollout,
    UnboundedQueue,
    UnboundedRoute,
)
from vramguard.link.routes import Breaker, Route

SERVICE = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  http:\n    - "
RULE = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: r}
spec:
  host: %s
  trafficPolicy:
"""
HTTP = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: h}\nspec:\n  rules:\n    - "
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: i
  annotations: {%s}
spec:
  ingressClassName: %s
  rules: [{http: {paths: [{path: /, backend: {service: {name: %s, port: {number: 80}}}}]}}]
"""


def virtual(host: str, more: str = "") -> str:
    return f"{SERVICE}route: [{{destination: {{host: {host}}}}}]\n{more}"


# --- VG401


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (virtual("chat"), ["Deployment/chat"]),
        (virtual("chat.models.svc.cluster.local"), ["Deployment/chat"]),
        (virtual("chat", "      timeout: 0s\n"), ["Deployment/chat"]),
        (virtual("chat", "      timeout: 600s\n"), []),
        (virtual("chat", "      timeout: 601s\n"), ["Deployment/chat"]),
        (virtual("chat", "      timeout: '{{ .Values.timeout }}'\n"), []),
        (virtual("page"), []),
        (virtual("elsewhere"), []),
        (virtual("'{{ .Values.host }}'"), []),
        (virtual("price-predictor"), ["InferenceService/price"]),
        (virtual("price-predictor", "      timeout: 0.5s\n"), []),
        (virtual("price-predictor", "      timeout: 600s\n"), ["InferenceService/price"]),
        (virtual("price-epp"), []),
        (f"{HTTP}backendRefs: [{{name: chat}}]\n", ["Deployment/chat"]),
        (f"{HTTP}backendRefs: [{{name: chat, port: 8265}}]\n", []),
        (f"{HTTP}backendRefs: [{{name: chat}}]\n      timeouts: {{request: 120s}}\n", []),
        (f"{HTTP}backendRefs: [{{name: chat}}]\n      timeouts: {{backendRequest: 120s}}\n", []),
        (f"{HTTP}backendRefs: [{{kind: InferencePool, name: pool}}]\n", ["InferencePool/pool"]),
        (INGRESS % ("", "nginx", "chat"), []),  # 60 s by themselves, and it answers in tokens
        (INGRESS % ("nginx.ingress.kubernetes.io/proxy-read-timeout: '3600'", "nginx", "chat"), ["Deployment/chat"]),
        (INGRESS % ("", "nginx", "price-predictor"), ["InferenceService/price"]),
        (INGRESS % ("", "traefik", "price-predictor"), []),  # no annotation of ours speaks to it
    ],
)
def test_a_route_to_a_model_is_bounded(text: str, found: list[str]) -> None:
    assert [name for _, name in said(UnboundedRoute(), text)] == found


@pytest.mark.parametrize(
    ("path", "severity"), [("a.yaml", None), ("example/a.yaml", Severity.WARNING), ("docs/a.yaml", Severity.WARNING)]
)
def test_examples_are_warnings_and_tests_are_not_judged(path: str, severity: Severity | None) -> None:
    files = {path: virtual("chat"), "chat.yaml": CHAT}
    (found,) = UnboundedRoute().find(routed(files))
    assert found.severity == severity
    assert not list(UnboundedRoute().find(routed({"test/a.yaml": virtual("chat"), "chat.yaml": CHAT})))


def test_the_evidence_leads_to_the_gpu() -> None:
    (found,) = UnboundedRoute().find(routed(virtual("chat")))
    assert [(link.at.path, link.at.line) for link in found.evidence] == [("chat.yaml", 2), ("chat.yaml", 14)]
    assert found.data == {"surface": "Deployment/chat"}


def test_a_policy_of_the_gateway_bounds_its_routes() -> None:
    route = f"{HTTP}backendRefs: [{{name: chat}}]\n  parentRefs: [{{name: edge}}]\n"
    policy = """\
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: p}
spec:
  targetRefs: [{kind: Gateway, name: %s}]
  timeout: {http: {requestTimeout: 60s}}
  circuitBreaker: {maxPendingRequests: 100}
"""
    assert said(UnboundedRoute(), route + policy % "edge") == []
    assert said(UnboundedRoute(), route + policy % "other") == [(6, "Deployment/chat")]
    assert said(MissingBreaker(), route + policy % "edge") == []
    assert said(MissingBreaker(), route + policy % "other") == [(6, "Deployment/chat")]


NGINX = """\
upstream chat {
    server vllm-0:8000 max_fails=3 fail_timeout=%s;
    server vllm-1:8000;
}
server {
    %s
    location /v1/ {
        proxy_pass http://chat;
    }
    location /metrics { proxy_pass http://chat; proxy_read_timeout 1d; }
    location / { proxy_pass http://open-webui:8080; proxy_read_timeout 1d; }
}
"""


@pytest.mark.parametrize(
    ("inner", "found"),
    [
        ("", []),
        ("proxy_read_timeout 600;", []),
        ("proxy_read_timeout 20m;", [(6, "vllm-0")]),
        ("proxy_read_timeout $wait;", []),
    ],
)
def test_nginx_takes_its_timeout_from_the_blocks_around(inner: str, found: list[tuple[int, str]]) -> None:
    assert said(UnboundedRoute(), {"nginx.conf": NGINX % ("10s", inner)}) == found


def test_nginx_in_a_configmap_keeps_its_lines() -> None:
    text = "".join(f"    {line}\n" for line in (NGINX % ("30s", "proxy_read_timeout 1h;")).splitlines())
    manifest = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  nginx.conf: |\n{text}"
    assert said(UnboundedRoute(), {"c.yaml": manifest}) == [(11, "vllm-0")]
    assert said(LateBreaker(), {"c.yaml": manifest}) == [(7, "vllm-0")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("defaults\n  timeout server 30s\nbackend b\n  server a vllm:8000\n", []),
        ("defaults\n  timeout connect 5s\nbackend b\n  server a vllm:8000\n", [(3, "vllm")]),
        ("backend b\n  timeout server 900000\n  server a vllm:8000\n", [(2, "vllm")]),
        ("backend b\n  server a page:8000\n", []),
    ],
)
def test_haproxy_counts_milliseconds(text: str, found: list[tuple[int, str]]) -> None:
    assert said(UnboundedRoute(), {"haproxy.cfg": text}) == found


RAY = """\
apiVersion: ray.io/v1
kind: RayService
metadata: {name: price}
spec:
  serveConfigV2: |
    %s
    applications:
      - import_path: pricing:app
        deployments:
          - name: Price
            %s
"""


@pytest.mark.parametrize(
    ("options", "deployment", "timeouts", "queues"),
    [
        ("", "num_replicas: 1", [5], []),
        ("http_options: {request_timeout_s: 0.5}", "max_ongoing_requests: 5", [], [11]),
        ("http_options: {request_timeout_s: 30}", "max_queued_requests: -1", [6], [11]),
        ("http_options: {port: 8000}", "{max_ongoing_requests: 5, max_queued_requests: 50}", [5], []),
    ],
)
def test_ray_serve_waits_for_ever_by_itself(
    options: str, deployment: str, timeouts: list[int], queues: list[int]
) -> None:
    text = {"ray.yaml": RAY % (options, deployment.strip("{}").replace(", ", "\n            "))}
    assert [line for line, _ in said(UnboundedRoute(), text)] == timeouts
    assert [line for line, _ in said(UnboundedQueue(), text)] == queues


def test_kserve_is_judged_by_what_is_written() -> None:
    assert said(UnboundedRoute(), PRICE) == []
    text = PRICE.replace("predictor:\n", "predictor:\n    timeout: 600\n")
    assert said(UnboundedRoute(), {"price.yaml": text}) == [(6, "InferenceService/price")]


def test_bentoml_is_judged_by_what_is_written() -> None:
    assert said(UnboundedRoute(), {"b.yaml": "services:\n  Price:\n    traffic: {timeout: 30}\n"}) == [(3, "Price")]
    assert said(UnboundedRoute(), {"b.yaml": "services:\n  Price:\n    traffic: {timeout: 0.4}\n"}) == []


LITELLM = """\
model_list:
  - model_name: large
    litellm_params: {model: openai/large, api_base: "http://gpu-1:8000/v1"}
  - model_name: small
    litellm_params: {model: openai/small, api_base: "http://%s:8001/v1"}
router_settings:
  %s
"""


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ("routing_strategy: simple-shuffle", [6]),
        ("timeout: 60", []),
        ("timeout: 6000", [7]),
    ],
)
def test_litellm_waits_for_more_than_an_hour_by_itself(settings: str, found: list[int]) -> None:
    assert [line for line, _ in said(UnboundedRoute(), {"c.yaml": LITELLM % ("gpu-2", settings)})] == found


# --- VG402, VG403, VG404, VG410


def test_a_mesh_object_without_a_breaker_is_told_once() -> None:
    rule = RULE % "chat"
    assert said(MissingBreaker(), rule + "    loadBalancer: {simple: RANDOM}\n") == [(5, "Deployment/chat")]
    assert said(MissingBreaker(), virtual("chat", "---\n") + rule + "    tls: {mode: SIMPLE}\n") == [
        (12, "Deployment/chat")
    ]
    assert said(MissingBreaker(), rule + "    outlierDetection: {interval: 5s}\n") == []
    assert said(MissingBreaker(), (RULE % "page") + "    tls: {mode: SIMPLE}\n") == []
    assert said(MissingBreaker(), virtual("chat") + "---\n" + (RULE % "'*.local'") + "    outlierDetection: {}\n") == []


def test_what_knows_no_breakers_is_not_asked_for_one() -> None:
    assert said(MissingBreaker(), INGRESS % ("", "nginx", "chat")) == []
    assert said(MissingBreaker(), {"c.yaml": LITELLM % ("gpu-2", "timeout: 60")}) == []
    assert said(MissingBreaker(), {"nginx.conf": NGINX % ("10s", "")}) == []


@pytest.mark.parametrize(
    ("timeout", "found"),
    [("", [14]), ("      timeout: 0.5s\n", []), ("      timeout: 60s\n", [15]), ("      timeout: '{{ t }}'\n", [])],
)
def test_a_breaker_that_counts_errors_needs_a_timeout_in_front(timeout: str, found: list[int]) -> None:
    text = virtual("price-predictor", timeout) + "---\n" + (RULE % "price-predictor") + "    outlierDetection: {}\n"
    assert [line for line, _ in said(ErrorsOnlyBreaker(), text)] == found


TRAEFIK = """\
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: t}
spec:
  routes:
    - services: [{name: chat}]
      middlewares: [{name: %s}]
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: breaker}
spec:
  circuitBreaker: {expression: "%s", checkPeriod: %s}
"""


def test_traefik_reads_latency_itself() -> None:
    quantile = TRAEFIK % ("breaker", "LatencyAtQuantileMS(50.0) > 500", "100ms")
    errors = TRAEFIK % ("breaker", "NetworkErrorRatio() > 0.3", "30s")
    assert said(ErrorsOnlyBreaker(), quantile) == []
    assert said(MissingBreaker(), quantile) == []
    assert said(ErrorsOnlyBreaker(), errors) == [(13, "Deployment/chat")]
    assert said(LateBreaker(), errors) == [(13, "Deployment/chat")]
    assert said(MissingBreaker(), TRAEFIK % ("unknown", "", "1s")) == []  # it stands in another repository


def test_traefik_in_a_dynamic_file() -> None:
    text = """\
http:
  routers: {r: {rule: "Host(`a`)", service: s}}
  services: {s: {loadBalancer: {servers: [{url: "http://vllm:8000"}]}}}
"""
    assert said(UnboundedRoute(), {"dynamic.yaml": text}) == [(2, "vllm")]
    assert said(MissingBreaker(), {"dynamic.yaml": text}) == [(2, "vllm")]
    toml = """\
[http.routers.r]
service = "s"
[[http.services.s.loadBalancer.servers]]
url = "http://vllm:8000"
"""
    assert said(UnboundedRoute(), {"dynamic.toml": toml}) == [(1, "vllm")]


LINKERD = """\
apiVersion: v1
kind: Service
metadata:
  name: chat
  annotations: {%s}
spec: {selector: {app: chat}}
"""


def test_linkerd_is_configured_by_annotations() -> None:
    deployment = CHAT.partition("---")[0]
    files = {"d.yaml": deployment, "s.yaml": LINKERD % "balancer.linkerd.io/failure-accrual: consecutive"}
    assert said(MissingBreaker(), files) == []
    assert said(ErrorsOnlyBreaker(), files) == [(5, "Deployment/chat")]
    assert said(UnboundedRoute(), files) == [(5, "Deployment/chat")]
    files["s.yaml"] = LINKERD % "timeout.linkerd.io/request: 60s, retry.linkerd.io/limit: '9'"
    assert said(MissingBreaker(), files) == [(2, "Deployment/chat")]
    assert said(UnboundedRoute(), files) == []
    assert said(RouteRetries(), files) == [(5, "Deployment/chat")]
    assert said(MissingBreaker(), {"d.yaml": CHAT}) == []  # nothing of it is in a mesh


ENVOY = """\
static_resources:
  listeners:
    - filter_chains:
        - filters:
            - typed_config:
                route_config:
                  virtual_hosts:
                    - routes:
                        - match: {prefix: /v1/chat}
                          route: {cluster: chat, timeout: %s}
  clusters:
    - name: chat
      type: STRICT_DNS
      connect_timeout: 1s
      load_assignment:
        endpoints:
          - lb_endpoints: [{endpoint: {address: {socket_address: {address: vllm, port_value: 8000}}}}]
      %s
    - name: ext_proc
      connect_timeout: 1s
"""


@pytest.mark.parametrize(
    ("timeout", "cluster", "check", "found"),
    [
        ("0s", "", UnboundedRoute(), [10]),
        ("600s", "", UnboundedRoute(), []),
        ("600s", "", MissingBreaker(), [12]),
        ("600s", "circuit_breakers: {thresholds: [{max_retries: 3}]}", MissingBreaker(), []),
        ("600s", "outlier_detection: {interval: 30s}", MissingBreaker(), []),
        ("600s", "outlier_detection: {interval: 30s}", LateBreaker(), [18]),
        ("601s", "outlier_detection: {interval: 30s}", ErrorsOnlyBreaker(), [18]),
        ("600s", "outlier_detection: {interval: 30s}", ErrorsOnlyBreaker(), []),
        ("5s", "outlier_detection: {interval: 5s}", ErrorsOnlyBreaker(), []),
        ("600s", "outlier_detection: {interval: 5s}", ImpossibleEjection(), [18]),
        ("600s", "circuit_breakers: {thresholds: [{max_pending_requests: 4294967295}]}", UnboundedQueue(), [18]),
        ("600s", "circuit_breakers: {thresholds: [{max_pending_requests: 100000}]}", UnboundedQueue(), []),
    ],
)
def test_envoy_as_it_is_written(timeout: str, cluster: str, check: object, found: list[int]) -> None:
    assert [line for line, _ in said(check, {"envoy.yaml": ENVOY % (timeout, cluster)})] == found  # type: ignore[arg-type]


def test_envoy_gives_up_after_15_seconds_by_itself() -> None:
    text = (ENVOY % ("1s", "")).replace(", timeout: 1s", "").replace("address: vllm", "address: tf-serving")
    assert [line for line, _ in said(UnboundedRoute(), {"envoy.yaml": text})] == [10]
    assert said(UnboundedRoute(), {"envoy.yaml": (ENVOY % ("1s", "")).replace(", timeout: 1s", "")}) == []


@pytest.mark.parametrize(
    ("replicas", "policy", "found"),
    [
        ("3", "{}", []),
        ("1", "{}", ["Deployment/chat"]),
        ("3", "{maxEjectionPercent: 0}", ["Deployment/chat"]),
        ("3", "{minHealthPercent: 50}", []),
        ("3", "{minHealthPercent: 70}", ["Deployment/chat"]),
        ("'{{ .Values.replicas }}'", "{}", []),
    ],
)
def test_an_ejection_needs_somewhere_else(replicas: str, policy: str, found: list[str]) -> None:
    files = {
        "chat.yaml": CHAT.replace("replicas: 3", f"replicas: {replicas}"),
        "rule.yaml": (RULE % "chat") + f"    outlierDetection: {policy}\n",
    }
    assert [name for _, name in said(ImpossibleEjection(), files)] == found


def test_an_autoscaler_says_how_many_replicas_there_are() -> None:
    scaler = (
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: s}\nspec: {scaleTargetRef: {name: chat}}\n"
    )
    files = {
        "chat.yaml": CHAT.replace("  replicas: 3\n", ""),
        "rule.yaml": (RULE % "chat") + "    outlierDetection: {}\n",
    }
    assert said(ImpossibleEjection(), files) == [(7, "Deployment/chat")]
    assert said(ImpossibleEjection(), files | {"scaler.yaml": scaler}) == []


@pytest.mark.parametrize(("least", "found"), [("minReplicas: 1", 1), ("minReplicas: 2", 0), ("maxReplicas: 9", 0)])
def test_an_autoscaler_may_leave_one_replica(least: str, found: int) -> None:
    scaler = (
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: s}\n"
        "spec: {scaleTargetRef: {name: chat}, %s}\n"
    )
    files = {"chat.yaml": CHAT, "rule.yaml": (RULE % "chat") + "    outlierDetection: {}\n"}
    assert len(said(ImpossibleEjection(), files | {"scaler.yaml": scaler % least})) == found


@pytest.mark.parametrize(
    ("policy", "late"), [("{interval: 10s}", 0), ("{interval: 10100ms}", 1), ("{baseEjectionTime: 500ms}", 1)]
)
def test_a_breaker_acts_within_ten_seconds(policy: str, late: int) -> None:
    assert len(said(LateBreaker(), (RULE % "chat") + f"    outlierDetection: {policy}\n")) == late


# --- VG405, VG406, VG407, VG409


@pytest.mark.parametrize(
    ("host", "fallbacks", "model", "cycle"),
    [
        ("gpu-1", "[{large: [small]}]", ["large small"], []),
        ("gpu-2", "[{large: [small]}]", [], []),
        ("gpu-2", "[{large: [small]}, {small: [large]}]", [], ["small large"]),
        ("gpu-2", "[{large: [large]}]", [], ["large large"]),
        ("gpu-2", "[{a: [b]}, {b: [c]}, {c: [a]}]", [], ["c a"]),
        ("gpu-2", "[{a: [b, c]}, {b: [c]}]", [], []),
        ("gpu-1", "[{large: [unknown]}]", [], []),
    ],
)
def test_litellms_fallbacks(host: str, fallbacks: str, model: list[str], cycle: list[str]) -> None:
    files = {"c.yaml": LITELLM % (host, f"fallbacks: {fallbacks}\n  timeout: 60")}
    assert [name for _, name in said(RouteFallback(("model",)), files)] == model
    assert [name for _, name in said(RouteFallback(("cycle",)), files)] == cycle


def test_two_models_of_one_account_fail_together() -> None:
    text = """\
model_list:
  - {model_name: a, litellm_params: {model: gpt-4o, api_key: os.environ/KEY}}
  - {model_name: b, litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/KEY}}
  - {model_name: c, litellm_params: {model: claude-sonnet-4, api_key: os.environ/OTHER}}
litellm_settings: {request_timeout: 60, fallbacks: [{a: [b]}, {b: [c]}, {c: [b]}], context_window_fallbacks: [{a: [b]}]}
"""
    assert [name for _, name in said(RouteFallback(("model",)), {"c.yaml": text})] == ["a b"]
    alias = "model_list: []\nrouter_settings: {model_group_alias: {a: [b], b: [a]}}\n"
    assert said(RouteFallback(), {"c.yaml": alias}) == []


def test_a_mirror_of_the_primary_and_an_aggregate_of_itself_lead_back() -> None:
    same = virtual("chat", "      mirror: {host: chat}\n")
    other = virtual("chat", "      mirror: {host: chat, subset: next}\n")
    assert [line for line, _ in said(RouteFallback(), same)] == [7]
    assert said(RouteFallback(), other) == []
    aggregate = (
        "    - name: %s\n      lb_policy: CLUSTER_PROVIDED\n      cluster_type: {typed_config: {clusters: [%s]}}\n"
    )
    text = "static_resources:\n  clusters:\n" + aggregate % ("a", "b") + aggregate % ("b", "a")
    assert [line for line, _ in said(RouteFallback(), {"envoy.yaml": text})] == [5, 8]
    fine = "static_resources:\n  clusters:\n" + aggregate % ("a", "b, c")
    assert said(RouteFallback(), {"envoy.yaml": fine}) == []


def test_nginx_asks_what_has_just_failed() -> None:
    text = """\
server {
    location / { proxy_pass http://vllm:8000; error_page 502 504 = @again; }
    location @again { proxy_pass http://%s:8000; }
}
upstream u { server vllm:8000; server %s:8000 backup; }
server { location / { proxy_pass http://u; } }
"""
    assert [line for line, _ in said(RouteFallback(), {"nginx.conf": text % ("vllm", "vllm")})] == [2, 5]
    assert said(RouteFallback(), {"nginx.conf": text % ("rules", "rules")}) == []


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (virtual("chat", "      retries: {attempts: 3}\n"), []),
        (virtual("chat", "      retries: {attempts: 4}\n"), [7]),
        (virtual("page", "      retries: {attempts: 9}\n"), []),
        (f"{HTTP}backendRefs: [{{name: chat}}]\n      retry: {{attempts: 5}}\n", [7]),
        ({"c.yaml": LITELLM % ("gpu-2", "num_retries: 2")}, []),
        ({"c.yaml": LITELLM % ("gpu-2", "num_retries: 10")}, [7]),
        ({"c.yaml": LITELLM % ("gpu-2", "retry_policy: {TimeoutErrorRetries: 6}")}, [7]),
        ({"nginx.conf": NGINX % ("10s", "proxy_next_upstream_tries 0;")}, [6]),
        ({"nginx.conf": NGINX % ("10s", "proxy_next_upstream off; proxy_next_upstream_tries 0;")}, []),
        ({"nginx.conf": NGINX % ("10s", "proxy_next_upstream_tries 2;")}, []),
        ({"haproxy.cfg": "backend b\n  timeout server 30s\n  retries 9\n  server a vllm:8000\n"}, [3]),
    ],
)
def test_retries_are_few(files: dict[str, str] | str, found: list[int]) -> None:
    assert sorted({line for line, _ in said(RouteRetries(), files)}) == found


def test_retries_without_end_weigh_more_than_many() -> None:
    (endless,) = RouteRetries().find(routed({"nginx.conf": NGINX % ("10s", "proxy_next_upstream_tries 0;")}))
    (many,) = RouteRetries().find(routed(virtual("chat", "      retries: {attempts: 9}\n")))
    assert endless.severity is None
    assert many.severity is Severity.WARNING


def test_retries_of_two_layers_multiply() -> None:
    mesh = virtual("chat", "      retries: {attempts: 1}\n")
    gateway = f"{HTTP}backendRefs: [{{name: chat}}]\n      retry: {{attempts: %s}}\n"
    assert said(MultipliedRetries(), mesh) == []
    assert said(MultipliedRetries(), f"{mesh}---\n{gateway % 0}") == []
    found = list(MultipliedRetries().find(routed(f"{mesh}---\n{gateway % 1}")))
    assert [one.values["what"] for one in found] == ["one request makes up to 4 calls of Deployment/chat"]


def test_attempts_fit_into_the_timeout() -> None:
    text = "      timeout: 1s\n      retries: {attempts: 2, perTryTimeout: %s}\n"
    assert said(MultipliedRetries(), virtual("chat", text % "500ms")) == []
    assert len(said(MultipliedRetries(), virtual("chat", text % "600ms"))) == 1


# --- VG411, VG412, VG607


@pytest.mark.parametrize(
    ("policy", "found"),
    [("http1MaxPendingRequests: 100", 0), ("http1MaxPendingRequests: 2147483647", 1), ("http2MaxRequests: 0", 1)],
)
def test_a_pool_of_the_mesh_bounds_what_waits(policy: str, found: int) -> None:
    text = (RULE % "chat") + f"    connectionPool: {{http: {{{policy}}}}}\n    outlierDetection: {{}}\n"
    assert len(said(UnboundedQueue(), text)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("dynamic_batching { }", [1]),
        ("dynamic_batching { default_queue_policy { max_queue_size: 0 } }", [1]),
        ("dynamic_batching { default_queue_policy { max_queue_size: 8 } }", []),
        ("dynamic_batching { default_queue_policy { default_timeout_microseconds: 9 } }", []),
        ("sequence_batching { }", []),
        ('name: "a"', []),
    ],
)
def test_triton_bounds_its_queue_where_it_is_told_to(text: str, found: list[int]) -> None:
    assert [line for line, _ in said(UnboundedQueue(), {"models/a/config.pbtxt": text})] == found


ROLLOUT = CHAT.replace(
    "apps/v1\nkind: Deployment\nmetadata: {name: chat}", "argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: chat}"
).replace("  replicas: 3\n", "  replicas: 3\n  strategy: {canary: {%s}}\n")
TEMPLATE = """\
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: t}
spec:
  metrics:
    - name: errors
      %s: "%s"
      provider: {prometheus: {query: "%s"}}
"""


@pytest.mark.parametrize(
    ("canary", "found"),
    [
        ("steps: [{setWeight: 10}, {pause: {}}]", ["Rollout/chat"]),
        ("steps: [{setWeight: 10}, {analysis: {templates: [{templateName: t}]}}]", []),
        ("analysis: {templates: [{templateName: t}]}", []),
    ],
)
def test_a_rollout_has_an_analysis(canary: str, found: list[str]) -> None:
    assert [name for _, name in said(UnabortedRollout(), {"r.yaml": ROLLOUT % canary})] == found


@pytest.mark.parametrize(
    ("key", "condition", "query", "open_"),
    [
        ("successCondition", "default(result, 0) < 0.05", "q", True),
        ("successCondition", "default(result, 0) >= 0.95", "q", False),
        ("successCondition", "default(result, 1) < 0.05", "q", False),
        ("successCondition", "len(result) == 0 || result[0] < 0.05", "q", True),
        ("successCondition", "result[0] < 0.05 || isNaN(result[0])", "q", True),
        ("successCondition", "len(result) > 0 && result[0] < 0.05", "q", False),
        ("successCondition", "result[0] <= 0.05", "sum(a) / sum(b) or vector(0)", True),
        ("successCondition", "result[0] >= 0.95", "sum(a) / sum(b) or vector(0)", False),
        ("successCondition", "result[0] >= 0.95", "sum(a) / sum(b) or on() vector(1)", True),
        ("failureCondition", "result[0] > 0.5", "q", False),
        ("failureLimit", "-1", "q", True),
        ("successCondition", "result[0] > {{args.threshold}}", "q", False),
    ],
)
def test_an_analysis_fails_without_data(key: str, condition: str, query: str, open_: bool) -> None:  # noqa: FBT001
    text = (ROLLOUT % "analysis: {templates: [{templateName: t}]}") + TEMPLATE % (key, condition, query)
    assert bool(said(UnabortedRollout(), {"r.yaml": text})) is open_


def test_flagger_needs_a_metric() -> None:
    text = """\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: chat}
spec:
  targetRef: {kind: Deployment, name: chat}
  analysis: {interval: 1m, %s}
"""
    assert said(UnabortedRollout(), text % "metrics: [{name: request-success-rate}]") == []
    assert len(said(UnabortedRollout(), text % "maxWeight: 50")) == 1
    assert (
        said(UnabortedRollout(), (text % "maxWeight: 50").replace("name: chat}\n  analysis", "name: page}\n  analysis"))
        == []
    )


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"haproxy.cfg": "backend b\n  server a vllm:8000 agent-check agent-port 1\n"}, [2]),
        ({"haproxy.cfg": "backend b\n  balance leastconn\n  server a vllm:8000 check\n"}, []),
        ({"haproxy.cfg": "backend b\n  server a page:8000 agent-check agent-port 1\n"}, []),
        ({"nginx.conf": NGINX % ("10s", "")}, []),
        ((RULE % "chat") + "    loadBalancer: {simple: ROUND_ROBIN}\n", []),
    ],
)
def test_gpus_are_not_balanced_by_the_cpu(files: dict[str, str] | str, found: list[int]) -> None:
    assert [line for line, _ in said(BlindBalance(), files)] == found


def test_envoy_weighs_by_the_cpu_where_no_other_metric_is_named() -> None:
    name = "envoy.lb.client_side_weighted_round_robin"
    policy = (
        f"load_balancing_policy: {{policies: [{{typed_extension_config: {{name: {name}, typed_config: {{%s}}}}}}]}}"
    )
    blind = ENVOY % ("60s", policy % "")
    seeing = ENVOY % ("60s", policy % "metric_names_for_computing_utilization: [named_metrics.kv_cache]")
    assert [line for line, _ in said(BlindBalance(), {"envoy.yaml": blind})] == [18]
    assert said(BlindBalance(), {"envoy.yaml": seeing}) == []


PYTHON = """\
import psutil
SERVERS = ["http://gpu-0:8000/v1/completions"]
def choose(servers):
    return %s
"""


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ("min(servers, key=lambda one: one.cpu_percent)", True),
        ("sorted(servers, key=lambda one: one['cpu_usage'])[0]", True),
        ("random.choices(servers, weights=[100 - one.cpu for one in servers])[0]", True),
        ("random.choices(population=servers, weights=cpu)", False),
        ("min(servers, key=lambda one: one.gpu_memory_used)", False),
        ("min(servers, key=lambda one: (one.queue_depth, one.cpu_percent))", False),
        ("min(prices, key=lambda one: one.cpu_percent)", False),
        ("max(psutil.cpu_percent(), 1)", False),
    ],
)
def test_a_balancer_of_ones_own(choice: str, found: bool) -> None:  # noqa: FBT001
    files = {"router.py": PYTHON % choice, "chat.yaml": CHAT}
    assert bool(said(BlindBalance(), files)) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("load_balancing: {strategy: cpu}", [1]),
        ("router:\n  load_balancer:\n    weights_from: cpu_utilization", [3]),
        ("load_balancing: {strategy: least_requests}\nresources: {metric: cpu}", []),
        ("load_balancing: {strategy: gpu_cpu_mix}", []),
        ("strategy: cpu", []),
    ],
)
def test_a_setting_of_a_balancer(text: str, found: list[int]) -> None:
    assert [line for line, _ in said(BlindBalance(), {"router.yaml": text, "chat.yaml": CHAT})] == found
    assert said(BlindBalance(), {"router.yaml": text}) == []  # nothing here has a GPU


# --- joins


def test_a_service_of_compose_is_told_by_its_image() -> None:
    compose = "services:\n  api: {image: 'ollama/ollama:0.9'}\n  web: {image: 'acme/page:1'}\n"
    nginx = "server { location / { proxy_pass http://%s; proxy_read_timeout 1d; } }\n"
    assert said(UnboundedRoute(), {"compose.yaml": compose, "nginx.conf": nginx % "api:80"}) == [(1, "service api")]
    assert said(UnboundedRoute(), {"compose.yaml": compose, "nginx.conf": nginx % "web:80"}) == []
    assert said(UnboundedRoute(), {"compose.yaml": compose, "nginx.conf": nginx % "vllm:80"}) == [(1, "vllm")]


def test_a_service_is_told_by_the_image_of_its_pods_or_by_its_name() -> None:
    text = CHAT.replace("acme/page:1", "'${DOCKER_REGISTRY}/ml-model-api:latest'")
    assert [line for line, _ in said(UnboundedRoute(), {"a.yaml": text, "v.yaml": virtual("page")})] == [6]
    text = CHAT.replace("name: page", "name: price-inference")
    assert [line for line, _ in said(UnboundedRoute(), {"a.yaml": text, "v.yaml": virtual("price-inference")})] == [6]
    text = CHAT.replace("name: page", "name: inference-dashboard")
    assert said(UnboundedRoute(), {"a.yaml": text, "v.yaml": virtual("inference-dashboard")}) == []


def test_services_of_other_names_are_followed() -> None:
    head = "apiVersion: v1\nkind: Service\nmetadata: {name: front}\n"
    other = f"{head}spec: {{externalName: chat.models.svc.cluster.local}}\n---\n"
    assert said(UnboundedRoute(), other + virtual("front")) == [(11, "Deployment/chat")]
    circle = other.replace("chat.models", "front.models")
    assert said(UnboundedRoute(), circle + virtual("front")) == []
    two = other + other.replace("name: front", "name: back").replace("chat.models", "front.models")
    assert said(UnboundedRoute(), two.replace("chat.models", "back.models") + virtual("front")) == []


def test_the_values_of_litellms_chart_hold_its_configuration() -> None:
    indented = "".join(f"  {line}\n" for line in (LITELLM % ("gpu-2", "num_retries: 9")).splitlines())
    assert said(RouteRetries(), {"values.yaml": f"proxy_config:\n{indented}"}) == [(8, "LiteLLM's models")]


def test_a_service_of_compose_with_a_gpu_is_a_model() -> None:
    devices = "{resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}"
    service = "  %s: {image: acme/a:1, deploy: " + devices + "}\n"
    compose = "services:\n" + service % "speech" + service % "lab"
    nginx = "server { location / { proxy_pass http://%s:80; proxy_read_timeout 1800; } }\n"
    assert said(UnboundedRoute(), {"compose.yaml": compose, "nginx.conf": nginx % "speech"}) == [(1, "service speech")]
    assert said(UnboundedRoute(), {"compose.yaml": compose, "nginx.conf": nginx % "lab"}) == []


def test_a_location_may_say_itself_that_it_asks_a_model() -> None:
    nginx = "server {\nlocation %s { proxy_pass http://backend:80; }\n}\n"
    assert said(UnboundedRoute(), {"nginx.conf": nginx % "/api/predict"}) == [(2, "`/api/predict`")]
    assert said(UnboundedRoute(), {"nginx.conf": nginx % "/v1/chat/completions"}) == []  # 60 s, and it streams
    assert said(UnboundedRoute(), {"nginx.conf": nginx % "/api/orders"}) == []


def test_a_pod_of_a_picker_is_a_model() -> None:
    text = """\
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyPatchPolicy
metadata: {name: p}
spec:
  jsonPatches:
    - operation:
        value:
          name: picked
          connect_timeout: 1s
          original_dst_lb_config: {http_header_name: target-pod}
"""
    assert said(MissingBreaker(), text) == [(7, "picked")]


def test_hostile_files_end_quickly() -> None:
    deep = "a: " + "[" * 150 + "]" * 150
    wide = "model_list:\n" + "".join(f"  - {{model_name: m{n}, litellm_params: {{model: a/b}}}}\n" for n in range(600))
    chain = "router_settings:\n  fallbacks:\n" + "".join(f"    - m{n}: [m{n + 1}]\n" for n in range(600))
    assert way({"a.yaml": "static_resources:\n  " + deep, "b.yaml": wide + chain}).of(Breaker) == []
    assert len(way({"b.yaml": wide}).of(Route)) == 1


BEHIND = """\
apiVersion: v1
kind: Service
metadata: {name: chat, namespace: models}
spec: {selector: {app: chat}}
"""
MESHED = """\
apiVersion: v1
kind: Namespace
metadata:
  name: models
  annotations: {linkerd.io/inject: enabled}
"""


def test_a_namespace_of_linkerds_mesh_asks_for_breakers_and_no_more() -> None:
    files = {"chat.yaml": CHAT, "service.yaml": BEHIND, "space.yaml": MESHED}
    assert [name for _, name in said(MissingBreaker(), files)] == ["Deployment/chat"]
    assert said(UnboundedRoute(), files) == [], "a route before it may bound the request"
    for name, text in (
        ("space.yaml", MESHED.replace("enabled", "disabled")),
        ("space.yaml", MESHED.replace("models", "o")),
    ):
        assert said(MissingBreaker(), files | {name: text}) == []
    accrual = BEHIND.replace("models}", "models, annotations: {balancer.linkerd.io/failure-accrual: consecutive}}")
    assert said(MissingBreaker(), files | {"service.yaml": accrual}) == []


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ("router_settings: {routing_strategy: simple-shuffle}\nlitellm_settings: {drop_params: true}\n", 1),
        ("router_settings: {timeout: 60}\nlitellm_settings: {drop_params: true}\n", 0),
        ("router_settings: {num_retries: 1}\nlitellm_settings: {request_timeout: 60}\n", 0),
        ("router_settings: {num_retries: 1}\nlitellm_settings: {drop_params: true}\ninclude: [models.yaml]\n", 0),
        ("router_settings: {num_retries: 1}\n", 0),  # of whom nobody knows that it is all
    ],
)
def test_a_gateway_whose_models_are_registered_while_it_runs(settings: str, found: int) -> None:
    assert len(said(UnboundedRoute(), {"gateway.yaml": settings})) == found


def test_a_variable_bounds_the_requests_of_a_gateway() -> None:
    settings = "router_settings: {num_retries: 1}\nlitellm_settings: {drop_params: true}\n"
    compose = "services:\n  gateway: {image: litellm, environment: {REQUEST_TIMEOUT: 60}}\n"
    assert said(UnboundedRoute(), {"gateway.yaml": settings, "compose.yaml": compose}) == []


def test_an_overlay_of_a_pipeline_is_told_of_last() -> None:
    rule = "{backendRefs: [{name: chat, port: 80}], timeouts: {request: 60s}}"
    route = (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n"
        f"spec:\n  parentRefs: [{{name: g}}]\n  rules: [{rule}]\n"
    )
    files = {"overlays/ci/r.yaml": route, "overlays/prod/r.yaml": route, "chat.yaml": CHAT + "---\n" + BEHIND}
    (problem,) = MissingBreaker().find(routed(files))
    assert problem.at.path == "overlays/prod/r.yaml"


def test_the_remedy_of_a_stream_is_an_alert_on_its_first_token() -> None:
    chat, price = routed(CHAT + "---\n" + virtual("chat")), routed(PRICE + "---\n" + virtual("price-predictor"))
    (of_tokens,), (at_once,) = UnboundedRoute().find(chat), UnboundedRoute().find(price)
    assert "first token" in str(of_tokens.values["first"])
    assert at_once.values["first"] == ""


OWN_SERVER = {
    "price/app.py": "import joblib\nfrom fastapi import FastAPI\napp = FastAPI()\nmodel = joblib.load('m')\n"
    "@app.post('/price')\ndef price(x: float):\n    return model.predict([[x]])\n",
    "price/Dockerfile": 'FROM python:3.12\nCMD ["uvicorn", "app:app", "--port", "8000"]\n',
    "pod.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: api, image: 'acme/price:1', ports: [{containerPort: 8000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}}
""",
}


def test_a_server_of_ones_own_is_a_model_by_its_code() -> None:
    route = {"v.yaml": f"{SERVICE}route: [{{destination: {{host: shop}}}}]\n"}
    rule = {"r.yaml": (RULE % "shop").replace("trafficPolicy:", "subsets: [{name: stable}]")}
    files = {**OWN_SERVER, **route, **rule}
    assert said(UnboundedRoute(), files) == [(6, "Service/shop")]
    assert said(MissingBreaker(), files) == [(5, "Service/shop")], "at the host that it names"
    page = {**files, "price/app.py": files["price/app.py"].replace("model.predict", "list")}
    assert said(UnboundedRoute(), page) == []


def test_a_cluster_of_envoys_is_told_by_its_name_where_nothing_says_what_its_service_runs() -> None:
    text = (ENVOY % ("60s", "")).replace("chat", "inference_grpc").replace("address: vllm", "address: shop")
    pod = OWN_SERVER["pod.yaml"]
    assert bool(said(MissingBreaker(), {"envoy.yaml": text, "pod.yaml": pod})) is True
    beside = pod.replace("acme/price:1", "redis:7")
    assert said(MissingBreaker(), {"envoy.yaml": text, "pod.yaml": beside}) == []


def test_a_canary_of_nginx_has_the_annotations_of_the_ingress_beside_it() -> None:
    note = 'nginx.ingress.kubernetes.io/canary: "%s"'
    assert said(UnboundedRoute(), INGRESS % (note % "true", "nginx", "price-predictor")) == []
    assert len(said(UnboundedRoute(), INGRESS % (note % "false", "nginx", "price-predictor"))) == 1
