"""VG310 and VG701-VG711: what pods ask for, how they are probed, replaced and ended; and what controllers give."""

from __future__ import annotations

import pytest
from pod_files import GOOD, LIMITS, READY, findings, lines, server

from vramguard.checks.pods import DeployWindow

HEALTH = "readinessProbe: {httpGet: {path: /health, port: 8000}}"
RAY = """\
apiVersion: ray.io/v1
kind: RayService
metadata: {name: llama}
spec:
  serveConfigV2: |
    applications:
    - name: llm
      import_path: app:llm
  rayClusterConfig:
    workerGroupSpecs:
    - groupName: gpu
      template:
        spec:
          containers:
          - name: worker
            image: rayproject/ray-ml:2.9.0-gpu
            resources: {limits: {nvidia.com/gpu: 1}}
"""
KNATIVE = {"kind": "Service", "api": "serving.knative.dev/v1"}


@pytest.mark.parametrize("rule", ["VG310", "VG701", "VG702", "VG703", "VG704", "VG705", "VG708", "VG709", "VG711"])
def test_a_sound_server_is_silent(rule: str) -> None:
    assert findings(rule, {"a.yaml": GOOD}) == []


@pytest.mark.parametrize(
    "probe",
    [
        HEALTH,
        "readinessProbe: {httpGet: {path: /v1/models?x=1, port: 8000}}",
        "readinessProbe: {tcpSocket: {port: 8000}}",
        'readinessProbe: {exec: {command: ["true"]}}',
        "readinessProbe: {exec: {command: [sh, -c, pgrep vllm]}}",
        "readinessProbe: {exec: {command: [/bin/sh, -c, 'curl -f http://localhost:8000/health']}}",
        "readinessProbe: {exec: {command: [wget, -q, 'http://127.0.0.1:8000/ping']}}",
    ],
)
def test_what_says_nothing_of_the_model(probe: str) -> None:
    (found,) = findings("VG310", {"a.yaml": server(probe, LIMITS)})
    assert found.severity.label == "warning"


@pytest.mark.parametrize(
    "probe",
    [
        READY,
        "readinessProbe: {httpGet: {path: /ready/golden, port: 8000}}",
        "readinessProbe: {httpGet: {path: '{{ .Values.path }}', port: 8000}}",
        "readinessProbe: {exec: {command: [curl, -d, '@golden.json', 'http://localhost:8000/v1/completions']}}",
        "readinessProbe: {exec: {command: [sh, -c, 'curl -f $URL']}}",
        "readinessProbe: {grpc: {port: 9000}}",
        "livenessProbe: {httpGet: {path: /health, port: 8000}}",
        "startupProbe: {tcpSocket: {port: 8000}}",
        "",
    ],
)
def test_a_probe_that_may_ask_the_model_and_liveness_are_silent(probe: str) -> None:
    assert findings("VG310", {"a.yaml": server(probe, LIMITS)}) == []


def test_a_path_of_ones_own_server_is_the_codes_business() -> None:
    own = server(HEALTH, LIMITS).replace("vllm/vllm-openai:v0.19.0", "acme/shop:3").replace("acme/llama-8b", "x")
    assert findings("VG310", {"a.yaml": own}) == []
    assert len(findings("VG310", {"a.yaml": own.replace("/health", "/v2/health/ready")})) == 1


def test_what_serves_no_model_may_be_probed_as_it_likes() -> None:
    shop = server(HEALTH).replace("vllm/vllm-openai:v0.19.0", "acme/shop:3").replace("acme/llama-8b", "x")
    assert findings("VG310", {"a.yaml": shop}) == []


def test_load_balancers_and_images_ask_as_well() -> None:
    policy = (
        "apiVersion: networking.gke.io/v1\nkind: HealthCheckPolicy\nmetadata: {name: p}\nspec:\n  default: {config: "
        "{httpHealthCheck: {requestPath: /health}}}\n  targetRef: {kind: %s, name: llama}\n"
    )
    to = "apiVersion: v1\nkind: Service\nmetadata: {name: llama}\nspec: {selector: {app: llama}}\n"
    assert len(findings("VG310", {"a.yaml": GOOD, "s.yaml": to, "p.yaml": policy % "Service"})) == 1
    assert findings("VG310", {"s.yaml": to, "p.yaml": policy % "Service"}) == []
    assert len(findings("VG310", {"p.yaml": policy % "InferencePool"})) == 1
    image = 'FROM vllm/vllm-openai:v0.19.0\nHEALTHCHECK CMD %s\nCMD ["--model", "acme/llama"]\n'
    assert len(findings("VG310", {"Dockerfile": image % "curl -f http://localhost:8000/health || exit 1"})) == 1
    assert findings("VG310", {"Dockerfile": image % '["python3", "/golden.py"]'}) == []
    assert findings("VG310", {"Dockerfile": image.replace("CMD %s", "NONE", 1)}) == []


def test_an_envoy_asks_a_service_of_compose() -> None:
    envoy = (
        "static_resources:\n  clusters:\n  - name: llm\n    load_assignment: {endpoints: [{lb_endpoints: [{endpoint: "
        "{address: {socket_address: {address: %s, port_value: 8000}}}}]}]}\n    health_checks:\n"
        "    - http_health_check: {path: /health}\n"
    )
    compose = (
        "services:\n  llm:\n    image: vllm/vllm-openai:v0.19.0\n    command: [--model, acme/llama]\n    gpus: all\n"
    )
    assert len(findings("VG310", {"compose.yaml": compose, "envoy.yaml": envoy % "llm"})) == 1
    assert findings("VG310", {"compose.yaml": compose, "envoy.yaml": envoy % "shop"}) == []


def test_a_limit_is_asked_of_an_engine_and_not_of_a_cpu_or_a_claim() -> None:
    assert lines("VG701", {"a.yaml": server(READY)}) == [("a.yaml", "- name: vllm")]
    for silent in (
        server(READY, "resources: {limits: {nvidia.com/mig-3g.40gb: 1}}"),
        server(READY, "resources: {limits: {amd.com/gpu: 1}}"),
        server(READY, "resources: {limits: {google.com/tpu: 8}}"),
        server(
            READY, "resources: {claims: [{name: gpu}]}", pod="resourceClaims: [{name: gpu, resourceClaimName: one}]"
        ),
        server(READY, "resources: {limits: '{{ .Values.limits }}'}"),
        server(READY, 'resources: "{{ .Values.resources }}"'),
        server(READY, pod="runtimeClassName: nvidia"),
        server(READY)
        .replace("vllm/vllm-openai:v0.19.0", "acme/vllm-cpu:1")
        .replace("[--model", "[--device, cpu, --model"),
        server(READY, kind="ClusterServingRuntime", api="serving.kserve.io/v1alpha1"),
    ):
        assert findings("VG701", {"a.yaml": silent}) == [], silent


@pytest.mark.parametrize(
    ("container", "missing"),
    [
        ("resources: {limits: {nvidia.com/gpu: 1}}", "no limit on memory"),
        (
            "resources: {requests: {nvidia.com/gpu: 1}, limits: {memory: 8Gi}}",
            "its card is requested and not limited",
        ),
        (
            "resources: {limits: {nvidia.com/gpu: 4, memory: 8Gi}}\nenv: []",
            "64 MB of /dev/shm for 4 processes",
        ),
    ],
)
def test_what_a_gpu_container_lacks(container: str, missing: str) -> None:
    text = server(READY, container)
    text = text.replace("acme/llama-8b]", "acme/llama-8b, --tensor-parallel-size=4]") if "gpu: 4" in container else text
    (found,) = findings("VG702", {"a.yaml": text})
    assert missing in found.message


@pytest.mark.parametrize(
    "more",
    [
        {"pod": "volumes: [{name: shm, emptyDir: {medium: Memory}}]"},
        {"pod": "hostIPC: true"},
        {"pod": ""},
    ],
)
def test_memory_that_processes_share(more: dict[str, str]) -> None:
    mount = "volumeMounts: [{name: shm, mountPath: /dev/shm/}]" if "volumes" in more["pod"] else ""
    text = server(READY, "resources: {limits: {nvidia.com/gpu: 4, memory: 8Gi}}", mount, **more)
    text = text.replace("acme/llama-8b]", "acme/llama-8b, --tensor-parallel-size=4]")
    assert len(findings("VG702", {"a.yaml": text})) == (0 if more["pod"] else 1)


def test_what_a_controller_gives_is_not_missed() -> None:
    for rule in ("VG310", "VG701", "VG703", "VG705"):
        assert findings(rule, {"a.yaml": RAY}) == [], rule
    (found,) = findings("VG702", {"a.yaml": RAY})  # KubeRay mounts /dev/shm; of memory it says nothing
    assert "no limit on memory" in found.message
    assert "shm" not in found.message
    assert len(findings("VG704", {"a.yaml": RAY})) == 1
    for rule in ("VG703", "VG704", "VG705"):
        assert findings(rule, {"a.yaml": server(LIMITS, **KNATIVE)}) == [], rule


def test_readiness_of_a_group_is_its_leaders() -> None:
    text = server(LIMITS)
    head, template = text.split("  template:\n")
    inner = "".join(f"  {line}\n" for line in template.splitlines())
    group = head.replace("apps/v1", "leaderworkerset.x-k8s.io/v1").replace("Deployment", "LeaderWorkerSet")
    group = group.replace("  selector: {matchLabels: {app: llama}}\n", "")
    both = f"{group}  leaderWorkerTemplate:\n    size: 2\n    leaderTemplate:\n{inner}    workerTemplate:\n{inner}"
    (found,) = findings("VG703", {"a.yaml": both})
    assert "leaderTemplate" in found.message
    assert findings("VG705", {"a.yaml": both}) == []  # an old pod goes first
    assert len(findings("VG704", {"a.yaml": both})) == 2


@pytest.mark.parametrize(
    ("liveness", "startup", "count"),
    [
        ("{httpGet: {path: /health, port: 8000}}", "", 1),  # 3 times 10 seconds
        ("{httpGet: {path: /health, port: 8000}, initialDelaySeconds: 60}", "", 0),
        ("{httpGet: {path: /health, port: 8000}}", "{httpGet: {path: /health, port: 8000}, failureThreshold: 60}", 0),
        ("{httpGet: {path: /health, port: 8000}}", "{httpGet: {path: /health, port: 8000}, failureThreshold: 4}", 1),
        ("{tcpSocket: {port: 8000}, failureThreshold: '{{ .Values.n }}'}", "", 0),
        ("'{{ toYaml .Values.liveness }}'", "", 0),
    ],
)
def test_the_time_that_a_start_is_given(liveness: str, startup: str, count: int) -> None:
    probes = f"livenessProbe: {liveness}\n" + (f"startupProbe: {startup}" if startup else "")
    assert len(findings("VG703", {"a.yaml": server(READY, LIMITS, probes)})) == count


LLAMA = (
    '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, '
    '"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256, '
    '"max_position_embeddings": 8192, "torch_dtype": "bfloat16"}'
)


def test_a_start_is_measured_by_the_weights_that_are_proved() -> None:
    liveness = "livenessProbe: {tcpSocket: {port: 8000}, initialDelaySeconds: %s}"
    text = server(READY, LIMITS, liveness % 100).replace("acme/llama-8b", "models/llama")
    files = {"a.yaml": text, "models/llama/config.json": LLAMA}
    (found,) = findings("VG703", files)
    assert "141 GB of weights" in found.message
    assert "after 130 s" in found.message
    assert findings("VG703", files | {"a.yaml": text.replace("Seconds: 100", "Seconds: 200")}) == []
    assert findings("VG703", {"a.yaml": text}) == []  # of what size it is nobody knows: 60 seconds


@pytest.mark.parametrize(
    ("pod", "container", "count"),
    [
        ("", "", 1),
        ("terminationGracePeriodSeconds: 20", "", 1),
        ("terminationGracePeriodSeconds: 60", "", 0),
        ("", "lifecycle: {preStop: {exec: {command: [sleep, '20']}}}", 0),
        ("terminationGracePeriodSeconds: '{{ .Values.grace }}'", "", 0),
    ],
)
def test_the_time_that_an_end_is_given(pod: str, container: str, count: int) -> None:
    assert len(findings("VG704", {"a.yaml": server(READY, LIMITS, container, pod=pod)})) == count


def test_jobs_and_routers_end_as_they_like() -> None:
    job = server(LIMITS, kind="Job", api="batch/v1")
    for rule in ("VG310", "VG702", "VG703", "VG704", "VG705"):
        assert findings(rule, {"a.yaml": job}) == [], rule


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("", 1),
        ("replicas: 3", 1),
        ("replicas: 4", 0),  # a quarter of them goes first
        ("replicas: 0", 0),
        ("replicas: 8\nstrategy: {rollingUpdate: {maxUnavailable: 0}}", 1),
        ("replicas: 8\nstrategy: {rollingUpdate: {maxSurge: 100%, maxUnavailable: 0}}", 1),
        ("strategy: {rollingUpdate: {maxSurge: 0}}", 0),
        ("strategy: {type: Recreate}", 0),
        ("strategy: {rollingUpdate: {maxSurge: '{{ .Values.surge }}'}}", 0),
        ("strategy: '{{ .Values.strategy }}'", 0),
        ("replicas: ${N}", 0),
    ],
)
def test_a_new_pod_that_needs_the_old_ones_card(spec: str, count: int) -> None:
    assert len(findings("VG705", {"a.yaml": server(READY, LIMITS, spec=spec)})) == count


@pytest.mark.parametrize(
    "spare",
    [
        {"pool.yaml": "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: gpu}\nspec: {}\n"},
        {
            "auto.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ca}\nspec:\n  template:\n    spec:\n"
            "      containers: [{name: ca, image: 'registry.k8s.io/autoscaling/cluster-autoscaler:v1.33.0'}]\n"
        },
        {"infra/karpenter/values.yaml.tpl": "x"},
    ],
)
def test_nodes_that_are_made_for_pods_that_wait(spare: dict[str, str]) -> None:
    assert findings("VG705", {"a.yaml": server(READY, LIMITS)} | spare) == []


@pytest.mark.parametrize(
    ("least", "count"), [("", 1), ("minReplicas: 2", 1), ("minReplicas: 4", 0), ("minReplicas: ${N}", 0)]
)
def test_an_autoscaler_says_how_many_there_are_at_least(least: str, count: int) -> None:
    hpa = (
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\nspec:\n"
        f"  scaleTargetRef: {{kind: Deployment, name: llama}}\n  {least}\n"
    )
    assert len(findings("VG705", {"a.yaml": server(READY, LIMITS), "h.yaml": hpa})) == count


@pytest.mark.parametrize(
    ("image", "policy", "count"),
    [
        ("vllm/vllm-openai:latest", "Always", 1),
        ("vllm/vllm-openai", "Always", 1),
        ("vllm/vllm-openai:v0.19.0", "Always", 0),
        ("vllm/vllm-openai:latest", "IfNotPresent", 0),
        (f"vllm/vllm-openai:latest@sha256:{'0' * 64}", "Always", 0),
        ("'{{ .Values.image }}'", "Always", 0),
    ],
)
def test_a_tag_that_moves_and_is_pulled_at_every_start(image: str, policy: str, count: int) -> None:
    text = server(READY, LIMITS, f"imagePullPolicy: {policy}").replace("vllm/vllm-openai:v0.19.0", image)
    assert len(findings("VG708", {"a.yaml": text})) == count


@pytest.mark.parametrize(
    ("image", "more", "count"),
    [
        ("vllm/vllm-openai", "", 1),
        ("registry:5000/vllm", "", 1),
        ("vllm/vllm-openai", "imagePullPolicy: IfNotPresent", 0),
        ("vllm/vllm-openai:v0.19.0", "", 0),
        ("acme/tgi-cu121.1-4.py310", "", 0),
        ("IMAGE_NAME", "", 0),
        ("'{{ .Values.image }}'", "", 0),
    ],
)
def test_no_tag_is_pulled_at_every_start(image: str, more: str, count: int) -> None:
    text = server(READY, LIMITS, *([more] if more else [])).replace("vllm/vllm-openai:v0.19.0", image)
    assert len(findings("VG708", {"a.yaml": text})) == count


@pytest.mark.parametrize(
    ("outside", "inside", "count"),
    [
        ("/mnt/models", "/models", 1),
        ("/data", "/root/.cache/huggingface", 1),
        ("/dev/dri", "/models/dev", 0),
        ("/var/run/nvidia/model.sock", "/run/model.sock", 0),
        ("/var/log", "/logs", 0),
        ("/usr/share/zoneinfo", "/etc/localtime", 0),
    ],
)
def test_weights_of_whatever_node_it_is(outside: str, inside: str, count: int) -> None:
    mount = f"volumeMounts: [{{name: v, mountPath: {inside}}}]"
    text = server(READY, LIMITS, mount, pod=f"volumes: [{{name: v, hostPath: {{path: {outside}}}}}]")
    assert len(findings("VG708", {"a.yaml": text})) == count


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("replicas: 4\nstrategy: {type: Recreate}", 1),
        ("replicas: 4\nstrategy: {rollingUpdate: {maxUnavailable: 100%}}", 1),
        ("replicas: 4\nstrategy: {rollingUpdate: {maxUnavailable: 50%}}", 0),
        ("replicas: 1\nstrategy: {type: Recreate}", 0),
        ("strategy: {type: Recreate}", 0),
        ("replicas: 4", 0),
    ],
)
def test_all_pods_at_once(spec: str, count: int) -> None:
    assert len(findings("VG711", {"a.yaml": server(READY, LIMITS, spec=spec)})) == count


WORKFLOW = 'on: {schedule: [{cron: "%s"}]}\njobs: {d: {runs-on: u, steps: [{run: %s}]}}\n'


@pytest.mark.parametrize(
    ("cron", "run", "count"),
    [
        ("0 18 * * 5", "kubectl apply -f a.yaml", 1),
        ("0 18 * * FRI", "helm upgrade llama ./chart", 1),
        ("30 2 * * *", "kubectl -n llm set image deploy/llama a=b", 1),  # on Saturdays too
        ("0 9 * * 1-4", "kubectl apply -f a.yaml", 0),
        ("0 18 * * 5", "pytest", 0),
        ("0 18 * * 5", '"kind create cluster && kubectl apply -f a.yaml"', 0),
        ("often", "kubectl apply -f a.yaml", 0),
    ],
)
def test_friday_evening(cron: str, run: str, count: int) -> None:
    files = {"a.yaml": GOOD, ".github/workflows/d.yml": WORKFLOW % (cron, run)}
    assert len(findings("VG711", files)) == count
    del files["a.yaml"]  # a repository that serves no model by its manifests
    assert findings("VG711", files) == []


def test_a_window_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no window"):
        DeployWindow(closed=("friday evening",))


def test_a_card_that_the_policy_names_is_chosen() -> None:
    config = '[[deployment]]\nmodel = "acme/llama-8b"\nconfig = "config.json"\ngpu = "l4"\n'
    files = {"a.yaml": GOOD, "vramguard.toml": config, "config.json": LLAMA}
    assert len(findings("VG709", files)) == 1
    for chosen in (
        "nodeSelector: {cloud.google.com/gke-accelerator: nvidia-l4}",
        "nodeSelector: {pool: l4}",
        "tolerations: [{key: l4-only, operator: Exists}]",
        "nodeName: gpu-7",
    ):
        text = server(READY, LIMITS, pod=f"{chosen}\nterminationGracePeriodSeconds: 130")
        assert findings("VG709", files | {"a.yaml": text}) == []
    plain = server(READY, LIMITS, pod="tolerations: [{key: nvidia.com/gpu, operator: Exists}]")
    assert len(findings("VG709", files | {"a.yaml": plain})) == 1


def test_an_absence_names_its_surface() -> None:
    (found,) = findings("VG703", {"a.yaml": server(LIMITS)})
    assert found.data["surface"] == "Deployment/llama"


@pytest.mark.parametrize(("kind", "count"), [("gaudi.intel.com", 0), ("gpu.nvidia.com", 1), ("mig.nvidia.com", 1)])
def test_a_claim_is_of_the_device_that_its_template_names(kind: str, count: int) -> None:
    claimed = "resources: {limits: {memory: 32Gi}, claims: [{name: card}]}"
    pod = "resourceClaims: [{name: card, resourceClaimTemplateName: one}]"
    template = (
        "apiVersion: resource.k8s.io/v1\nkind: ResourceClaimTemplate\nmetadata: {name: one}\nspec:\n  spec:\n"
        f"    devices: {{requests: [{{name: card, exactly: {{deviceClassName: {kind}}}}}]}}\n"
    )
    files = {"a.yaml": server(claimed, pod=pod), "c.yaml": template}
    assert [len(findings(rule, files)) for rule in ("VG703", "VG704", "VG705")] == [count] * 3


@pytest.mark.parametrize(
    ("more", "count"),
    [
        ("", 1),
        ("ipc: host", 0),
        ("shm_size: 16gb", 0),
        ("volumes: ['/dev/shm:/dev/shm']", 0),
        ("volumes: [{type: tmpfs, target: /dev/shm}]", 0),
    ],
)
def test_memory_that_processes_of_compose_share(more: str, count: int) -> None:
    compose = (
        "services:\n  llm:\n    image: vllm/vllm-openai:v0.19.0\n    gpus: all\n"
        f"    command: [--model, acme/llama, --tensor-parallel-size, '2']\n    {more}\n"
    )
    assert len(findings("VG702", {"compose.yaml": compose})) == count
    one = compose.replace("'2'", "'1'")
    assert findings("VG702", {"compose.yaml": one}) == []
