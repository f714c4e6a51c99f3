"""VG310 on servers of the repository's own: which application a probe asks, and what its route says of the model."""

from __future__ import annotations

import pytest
from pod_files import findings

APP = """\
from fastapi import FastAPI, HTTPException
import joblib

app = FastAPI()
model = None
state = {"sound": False}


def load():
    global model
    model = joblib.load("model.pkl")


@app.post("/predict")
def predict(row: dict):
    return {"price": float(model.predict([list(row.values())])[0])}


%s
"""
LOADED = """\
@app.get("/health")
def health():
    if model is None:
        raise HTTPException(503)
    return {"status": "ok"}
"""
CONSTANT = """\
@app.get("/health")
def health():
    return {"status": "ok"}
"""
GOLDEN = """\
@app.get("/health")
def health():
    if abs(float(model.predict([[1.0, 2.0]])[0]) - 3.0) > 0.1:
        raise HTTPException(503)
    return {"status": "ok"}
"""
BY_GOLDEN = """\
def golden():
    state["sound"] = abs(float(model.predict([[1.0, 2.0]])[0]) - 3.0) < 0.1


@app.get("/health")
def health():
    if not state["sound"]:
        raise HTTPException(503)
    return {"status": "ok"}
"""
UNKNOWN = """\
import watcher


@app.get("/health")
def health():
    return watcher.report(model)
"""
DOCKERFILE = """\
FROM python:3.12-slim
COPY . /app
%s
CMD ["uvicorn", "app:app", "--host", "0.0.0.0"]
"""
POD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: price}
spec:
  selector: {matchLabels: {app: price}}
  template:
    metadata: {labels: {app: price}}
    spec:
      containers:
      - name: price
        image: registry.test/acme/price:1
        ports: [{containerPort: 8000}]
        readinessProbe: {httpGet: {path: /health, port: 8000}}
"""
COMPOSE = """\
services:
  price:
    build: price
    healthcheck:
      test: [CMD, curl, -f, "http://localhost:8000%s"]
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: price, annotations: {%s}}
spec: {selector: {app: price}}
"""


def price(health: str, check: str = "") -> dict[str, str]:
    """A server of prices in a folder of its own."""
    return {"price/app.py": APP % health, "price/Dockerfile": DOCKERFILE % check}


@pytest.mark.parametrize("health", [LOADED, CONSTANT])
def test_a_route_that_asks_the_model_nothing_is_told_with_the_probe(health: str) -> None:
    (found,) = findings("VG310", {**price(health), "deploy.yaml": POD})
    assert (found.at.path, found.severity.label) == ("deploy.yaml", "warning")
    assert [link.at.path for link in found.evidence] == ["price/Dockerfile", "price/app.py", "price/app.py"]
    assert "`health` answers `/health`" in found.evidence[1].what


@pytest.mark.parametrize("health", [GOLDEN, BY_GOLDEN, UNKNOWN, LOADED.replace("/health", "/other")])
def test_a_route_that_asks_it_or_that_nobody_knows_is_silent(health: str) -> None:
    assert findings("VG310", {**price(health), "deploy.yaml": POD}) == []


def test_a_server_without_a_model_is_probed_as_it_likes() -> None:
    shop = {path: text.replace("model.predict", "model.lookup") for path, text in price(CONSTANT).items()}
    assert findings("VG310", {**shop, "deploy.yaml": POD}) == []


def test_an_image_of_somebody_else_is_not_the_repositorys_server() -> None:
    other = POD.replace("registry.test/acme/price:1", "grafana/grafana:11").replace("name: price", "name: grafana")
    assert findings("VG310", {**price(LOADED), "deploy.yaml": other}) == []
    built = {"Makefile": "image:\n\tdocker build -t acme/model-server price\n"}
    own = POD.replace("registry.test/acme/price:1", "acme/model-server:1")
    assert findings("VG310", {**price(LOADED), "deploy.yaml": own}) == []
    assert len(findings("VG310", {**price(LOADED), **built, "deploy.yaml": own})) == 1


def test_of_two_servers_the_one_that_the_image_starts_is_asked() -> None:
    files = {**price(GOLDEN), "other/app.py": APP % LOADED, "other/Dockerfile": DOCKERFILE % "", "deploy.yaml": POD}
    assert findings("VG310", files) == []
    assert len(findings("VG310", {**files, "deploy.yaml": POD.replace("acme/price", "acme/other")})) == 1


@pytest.mark.parametrize(("path", "count"), [("/health", 1), ("/golden", 0)])
def test_a_service_of_compose_that_is_built_here(path: str, count: int) -> None:
    assert len(findings("VG310", {**price(LOADED), "compose.yaml": COMPOSE % path})) == count


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ("curl -f http://localhost:8000/health", 0),
        ("curl http://localhost:8000/health", 1),
        ("curl -f http://localhost:8000/health || exit 0", 1),
        ("python -c \"import requests; requests.get('http://localhost:8000/health')\" || exit 1", 1),
        ("python -c \"import requests; requests.get('http://localhost:8000/health').raise_for_status()\"", 0),
        ("python -c \"import urllib.request as u; u.urlopen('http://localhost:8000/health')\"", 0),
        ("curl http://elsewhere.test/health", 0),
    ],
)
def test_a_healthcheck_that_does_not_look_at_the_status(command: str, count: int) -> None:
    assert len(findings("VG310", price(GOLDEN, f"HEALTHCHECK CMD {command}"))) == count


def test_dockers_check_may_be_for_liveness_alone() -> None:
    alive = CONSTANT.replace("/health", "/livez")
    assert findings("VG310", price(alive, "HEALTHCHECK CMD curl -f http://localhost:8000/livez")) == []
    assert len(findings("VG310", {**price(alive), "deploy.yaml": POD.replace("/health", "/livez")})) == 1


def test_load_balancers_ask_own_servers_too() -> None:
    probe = "        readinessProbe: {httpGet: {path: /health, port: 8000}}\n"
    files = {**price(LOADED), "deploy.yaml": POD.replace(probe, "")}
    alb = SERVICE % "alb.ingress.kubernetes.io/healthcheck-path: /health"
    gke = SERVICE % """cloud.google.com/backend-config: '{"default": "price"}'"""
    config = (
        "apiVersion: cloud.google.com/v1\nkind: BackendConfig\nmetadata: {name: price}\n"
        "spec: {healthCheck: {requestPath: /health}}\n"
    )
    group = 'resource "aws_lb_target_group" "price" {\n  port = 80\n  health_check {\n    path = "/health"\n  }\n}\n'
    assert findings("VG310", files) == []
    assert len(findings("VG310", {**files, "service.yaml": alb})) == 1
    assert len(findings("VG310", {**files, "service.yaml": gke, "config.yaml": config})) == 1
    assert len(findings("VG310", {**files, "main.tf": group})) == 1


def test_a_route_with_parameters_answers_any_path() -> None:
    any_path = '@app.get("/{name}")\ndef hello(name: str):\n    return {"hello": "world"}\n'
    assert len(findings("VG310", {**price(any_path), "deploy.yaml": POD})) == 1


def test_an_engine_is_known_by_the_image_or_by_the_program() -> None:
    ollama = POD.replace("registry.test/acme/price:1", "ollama/ollama:0.16.3").replace("/health", "/api/tags")
    serve = POD.replace("image:", "args: [torchserve, --start]\n        image:").replace("/health", "/ping")
    runtime = (
        "apiVersion: serving.kserve.io/v1alpha1\nkind: ServingRuntime\nmetadata: {name: cpp}\nspec:\n  containers:\n"
        "  - {name: c, image: 'ghcr.io/ggml-org/llama.cpp:server', readinessProbe: {httpGet: {path: /health}}}\n"
    )
    uses = (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: m}\n"
        "spec: {predictor: {model: {runtime: cpp, modelFormat: {name: gguf}}}}\n"
    )
    assert len(findings("VG310", {"a.yaml": ollama})) == 1
    assert len(findings("VG310", {"a.yaml": serve})) == 1
    assert findings("VG310", {"a.yaml": runtime}) == []
    assert len(findings("VG310", {"a.yaml": runtime, "b.yaml": uses})) == 1


def test_a_question_without_a_path_is_no_routes() -> None:
    probe = "{httpGet: {path: /health, port: 8000}}"
    for other in ("{tcpSocket: {port: 8000}}", "{exec: {command: [cat, /tmp/ready]}}", "{grpc: {port: 9000}}"):
        assert findings("VG310", {**price(LOADED), "deploy.yaml": POD.replace(probe, other)}) == []


LISTENS = """\
FROM python:3.12-slim
COPY . /app
EXPOSE 8000
CMD ["uvicorn", "app:app", "--port", "%s"]
"""


@pytest.mark.parametrize(
    ("image", "count"),
    [
        ("price-server:latest", 1),
        ("backend:latest", 1),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/anything:v1", 1),
        ("ghcr.io/REPLACE/REPLACE-backend:latest", 1),
        ("nginx:1.27", 0),
        ("acme/anything:v1", 0),
    ],
)
def test_an_image_under_another_name_is_joined_by_the_port_that_it_listens_at(image: str, count: int) -> None:
    quiet = {"other/main.py": "from fastapi import FastAPI\napp = FastAPI()\n" + CONSTANT}
    pod = POD.replace("registry.test/acme/price:1", image).replace("name: price", "name: shop")
    files = {"one/app.py": APP % LOADED, "one/Dockerfile": LISTENS % "8000", **quiet, "deploy.yaml": pod}
    assert len(findings("VG310", files)) == count
    assert findings("VG310", {**files, "one/Dockerfile": LISTENS % "9000"}) == []


def test_of_several_that_could_be_meant_all_have_to_be_shallow() -> None:
    pod = POD.replace("registry.test/acme/price:1", "backend:latest").replace("name: price", "name: shop")
    files = {"deploy.yaml": pod}
    for folder in ("one", "two"):
        files |= {f"{folder}/app.py": APP % LOADED, f"{folder}/Dockerfile": LISTENS % "8000"}
    assert len(findings("VG310", files)) == 1
    assert findings("VG310", {**files, "two/app.py": APP % GOLDEN}) == []


def test_an_image_may_start_a_script() -> None:
    recipe = "FROM python:3.12\nCOPY . .\nHEALTHCHECK CMD curl -f http://localhost:8000/health\nENTRYPOINT %s\n"
    files = {"price/app.py": APP % LOADED, "price/Dockerfile": recipe % '["./start.sh"]'}
    other = {"price/more.py": "from fastapi import FastAPI\napp = FastAPI()\n" + CONSTANT}
    script = {"price/start.sh": "#!/bin/sh\nset -e\nexec uvicorn app:app --port 8000\n"}
    assert len(findings("VG310", {**files, **script, **other})) == 1
    assert findings("VG310", {**files, **other}) == []


def test_an_image_that_is_built_on_an_engines_serves_as_it_does() -> None:
    pod = POD.replace("registry.test/acme/price:1", "shop-vllm:latest").replace("containers:", "containers:")
    recipe = {"Dockerfile.vllm": "FROM vllm/vllm-openai:v0.33.0\nRUN python3 /tmp/patch.py\n"}
    assert len(findings("VG310", {**recipe, "deploy.yaml": pod})) == 1
    assert findings("VG310", {"Dockerfile.vllm": "FROM python:3.12\nRUN true\n", "deploy.yaml": pod}) == []


def test_what_only_trains_serves_nothing() -> None:
    trains = APP.replace('"/predict"', '"/train"').replace("def predict", "def run_training")
    files = {**price(LOADED), "price/app.py": trains % LOADED, "deploy.yaml": POD}
    assert findings("VG310", files) == []


def test_a_database_and_a_counter_are_not_the_model() -> None:
    asks = """\
import asyncpg
from prometheus_client import Counter

asked = Counter("asked", "asked")


@app.get("/health")
async def health():
    asked.inc()
    pool = await asyncpg.create_pool("postgres://db")
    async with pool.acquire() as conn:
        await conn.fetchval("SELECT 1")
    return {"status": "ok"}
"""
    assert len(findings("VG310", {**price(asks), "deploy.yaml": POD})) == 1
