"""Routes of an application's health: which they are, and what they touch."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.health import health_routes

APP = """
import os
import time
import joblib
import psutil
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic_settings import BaseSettings
app = FastAPI(version="1")
model = joblib.load("m")
loaded = {}
ready = None
flags = {"ready": False}
VERSION = "2"
STARTED = time.time()
class Settings(BaseSettings):
    name: str = "shop"
settings = Settings()
class Health(BaseModel):
    status: str
@app.get("/price")
def price(area: float):
    return {"price": float(model.predict([[area]])[0])}
def start():
    global ready
    loaded["model"] = model
    ready = True
def fill():
    return Health(status="ok")
"""


def route(body: str, path: str = "/health", name: str = "health", parameters: str = "") -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f'{APP}\n@app.get("{path}")\ndef {name}({parameters}):\n{lines}'


CONSTANT = [
    'return {"status": "ok"}',
    "return Health(status='ok').model_dump()",
    "return fill()",
    'return JSONResponse({"status": "ok", "up": time.time() - STARTED, "version": VERSION})',
    'return {"name": settings.name, "host": os.getenv("HOST"), "version": app.version}',
    'return {"cpu": psutil.cpu_percent()}',
    'print("asked")\nreturn "OK"',
]
DEEP = [
    "return {'price': float(model.predict([[1]])[0])}",
    "return {'ok': model is not None}",
    "return {'ok': ready}",
    "return {'ok': loaded.get('model') is not None}",
    "return {'ok': flags['ready']}",
    "from state import begun\nreturn {'ok': begun['ready']}",
    "return {'ok': 'model' in loaded}",
    "return {'ok': app.state.ready}",
    "return {'price': price(70.0)}",
    "return somebody.knows()",
]


@pytest.mark.parametrize("body", CONSTANT)
def test_what_is_constant(body: str) -> None:
    (found,) = health_routes(facts({"app.py": route(body)}))
    assert found.constant
    assert not found.deep
    assert found.path == "/health"
    assert found.model is not None
    assert "model.predict" in found.model.what


@pytest.mark.parametrize("body", DEEP)
def test_what_touches_state(body: str) -> None:
    (found,) = health_routes(facts({"app.py": route(body), "state.py": "begun = {'ready': False}\n"}))
    assert not found.constant
    assert found.deep


@pytest.mark.parametrize(
    ("parameters", "constant"),
    [
        ("request: Request", True),
        ("one=Depends(fill)", True),
        ("one=Depends(lambda: model.predict([[1]]))", False),
    ],
)
def test_what_runs_first(parameters: str, *, constant: bool) -> None:
    (found,) = health_routes(facts({"app.py": route("return 'ok'", parameters=parameters)}))
    assert found.constant is constant


@pytest.mark.parametrize(
    ("path", "name", "parameters", "count"),
    [
        ("/healthz", "a", "", 1),
        ("/api/v1/health/live", "a", "", 1),
        ("/", "ping", "", 1),
        ("/", "welcome", "", 0),
        ("/status/{job}", "status", "job: str", 0),
        ("/jobs/all", "status", "", 0),
        ("/health", "health", "customer: str", 0),
        ("/wealth", "wealth", "", 0),
    ],
)
def test_which_routes_are_of_health(path: str, name: str, parameters: str, count: int) -> None:
    assert len(health_routes(facts({"app.py": route("return 'fine'", path, name, parameters)}))) == count


def test_a_route_that_only_sends_on_is_judged_where_it_leads() -> None:
    sent = (
        APP
        + "from fastapi.responses import RedirectResponse\n"
        + route('return RedirectResponse(url="/health/ready")', "/readyz", "readyz").removeprefix(APP)
    )
    assert list(health_routes(facts({"app.py": sent}))) == []


def test_a_root_that_says_that_all_is_well() -> None:
    (found,) = health_routes(facts({"app.py": route("return {'status': 'healthy'}", "/", "root")}))
    assert found.constant


def test_another_route_that_asks_the_model_is_enough() -> None:
    text = route("return 'ok'") + '\n@app.get("/ready")\ndef ready_():\n    return bool(model.predict([[1]])[0] > 0)\n'
    (found,) = health_routes(facts({"app.py": text}))
    assert found.deep


def test_a_database_is_no_model() -> None:
    more = '\n@app.get("/health/ready")\ndef deep():\n    db.execute("SELECT 1")\n    return "ok"\n'
    (found,) = health_routes(facts({"app.py": route("return 'ok'") + more}))
    assert found.constant
    assert not found.deep


def test_routers_are_of_the_application_that_includes_them() -> None:
    files = {
        "health.py": (
            "from fastapi import APIRouter\nrouter = APIRouter(prefix='/live')\n@router.get('/')\n"
            "def f():\n    return 'ok'\n"
        ),
        "app.py": (
            "import joblib\nfrom fastapi import FastAPI\nimport health\napp = FastAPI()\n"
            "app.include_router(health.router)\n"
        "model = joblib.load('m')\n@app.get('/price')\ndef price():\n    return model.predict([[1]])[0]\n"
        ),
        "other.py": "from fastapi import FastAPI\nshop = FastAPI()\n@shop.get('/health')\ndef g():\n    return 'ok'\n",
    }  # fmt: skip
    served, other = sorted(health_routes(facts(files)), key=lambda one: one.at.path)
    assert served.path == "/live/"
    assert served.model is not None
    assert served.model.at.path == "app.py"
    assert other.model is None


def test_work_beside_the_request_counts_as_the_applications_model() -> None:
    text = (
        "import joblib\nfrom fastapi import BackgroundTasks, FastAPI\napp = FastAPI()\nmodel = joblib.load('m')\n"
        "def work():\n    model.predict([[1]])\n@app.post('/jobs')\n"
        "def jobs(tasks: BackgroundTasks):\n    tasks.add_task(work)\n"
        "@app.get('/health')\ndef health():\n    return 'ok'\n"
    )
    (found,) = health_routes(facts({"app.py": text}))
    assert found.model is not None


@pytest.mark.parametrize(
    ("path", "known"),
    [("/api/v1/status", True), ("/status", True), ("/rate-limit/status", False), ("/jobs/status", False)],
)
def test_the_status_of_something_else(path: str, *, known: bool) -> None:
    found = health_routes(facts({"app.py": route('return {"status": "ok"}', path, "told")}))
    assert bool(found) is known


PRICE = """
import joblib
from flask_restx import Namespace, Resource
api = Namespace("price")
model = joblib.load("m")
@api.route("/ask")
class Price(Resource):
    def post(self):
        return float(model.predict([[1]])[0])
"""
WHOLE = """
from flask_restx import Api
from price import api as prices
api = Api()
api.add_namespace(prices)
"""
CREATED = """
from flask import Flask
from whole import api
def create():
    app = Flask(__name__)
    api.init_app(app)
    @app.route("/health")
    def health():
        return "well", 200
    return app
"""


def test_resources_of_namespaces_belong_to_the_application() -> None:
    (found,) = health_routes(facts({"app.py": CREATED, "whole.py": WHOLE, "price.py": PRICE}))
    assert found.constant
    assert found.model is not None
    assert found.model.at.path == "price.py"


def test_an_application_that_is_handed_to_what_defines_its_routes() -> None:
    text = (
        "import joblib\nfrom flask import Flask\nmodel = joblib.load('m')\ndef serve():\n    app = Flask(__name__)\n"
        "    answers(app)\n    @app.route('/health')\n    def health():\n        return 'well'\n"
        "def answers(app):\n    @app.route('/price')\n    def price():\n        return float(model.predict([[1]])[0])\n"
    )
    (found,) = health_routes(facts({"app.py": text}))
    assert found.model is not None


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/ping", '"""Whether it is alive."""', [True]),
        ("/ping", "raise NotImplementedError", [False]),
        ("/", '"""Health check endpoint of the API."""\nreturn {"message": "it runs"}', [True]),
        ("/", '"""Say hello, and where the health is."""\nreturn {"message": "hello"}', []),
    ],
)
def test_empty_answers_and_roots_that_say_what_they_are(path: str, body: str, found: list[bool]) -> None:
    text = route(body, path, "root")
    assert [one.constant for one in health_routes(facts({"app.py": text}))] == found
