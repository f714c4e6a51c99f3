"""VG309 and VG401-VG409 as problems: parameters, classes of paths, words."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.checks import Severity
from vramguard.checks.breakers import (
    FallbackOf,
    MissingTimeout,
    RetryAmplification,
    UnboundedInference,
    UnboundedRetry,
    UnreadLatency,
)
from vramguard.checks.health import ShallowHealthCheck

APP = """
import joblib, requests
from fastapi import FastAPI
from openai import OpenAI
from tenacity import retry, stop_after_attempt
app = FastAPI()
model = joblib.load("m")
client = OpenAI()
@app.get("/health")
def health():
    return "ok"
@app.get("/price")
def price(x):
    try:
        return model.predict(x)
    except Exception:
        return model.predict(x, check=False)
@retry(stop=stop_after_attempt(5))
def again(x):
    return client.responses.create(input=x)
@app.get("/shop")
def shop(x):
    return requests.get(x), again(x)
"""


def test_an_application_with_every_fault() -> None:
    found = facts({"app.py": APP})
    (health,) = ShallowHealthCheck().find(found)
    assert (health.at.line, health.values["route"], len(health.evidence)) == (10, "/health", 1)
    (slow,) = UnboundedInference().find(found)
    assert (slow.at.line, slow.values["handler"], slow.evidence[-1].at.line) == (13, "price", 15)
    assert {one.values["client"]: one.values["waits"] for one in MissingTimeout().find(found)} == {
        "requests.get": "for ever",
        "OpenAI": "600 seconds or more",
    }
    (fallback,) = FallbackOf().find(found)
    assert (fallback.at.line, fallback.severity) == (17, Severity.WARNING)  # asked otherwise
    (retry,) = UnboundedRetry().find(found)
    assert (retry.values["often"], retry.severity) == ("5 times", Severity.WARNING)
    (product,) = RetryAmplification().find(found)
    assert product.values["calls"] == 15
    assert not list(UnreadLatency().find(found))


def test_numbers_are_parameters() -> None:
    found = facts({"app.py": APP})
    assert not list(UnboundedRetry(most=5).find(found))
    assert not list(RetryAmplification(most=15).find(found))
    assert [one.values["client"] for one in MissingTimeout(longest=600).find(found)] == ["requests.get"]
    assert not list(UnboundedInference(frameworks=("flask",)).find(found))
    assert not list(FallbackOf(kinds=("model", "cycle")).find(found))


@pytest.mark.parametrize(("path", "severity"), [("examples/app.py", Severity.WARNING), ("serving/app.py", None)])
def test_examples_weigh_less(path: str, severity: Severity | None) -> None:
    (health,) = ShallowHealthCheck().find(facts({path: APP}))
    assert health.severity is severity


@pytest.mark.parametrize("path", ["tests/app.py", "vendor/shop/app.py"])
def test_tests_and_what_others_wrote_are_not_judged(path: str) -> None:
    found = facts({path: APP})
    kinds = (ShallowHealthCheck, UnboundedInference, MissingTimeout, FallbackOf, UnboundedRetry, RetryAmplification)
    assert not [one for kind in kinds for one in kind().find(found)]


def test_the_same_again_is_an_error() -> None:
    (fallback,) = FallbackOf().find(facts({"app.py": APP.replace(", check=False", "")}))
    assert fallback.severity is None


def test_a_retry_without_end_keeps_the_rules_severity() -> None:
    (retry,) = UnboundedRetry().find(facts({"app.py": APP.replace("(stop=stop_after_attempt(5))", "")}))
    assert (retry.severity, retry.values["often"]) == (None, "without end")


def test_both_kinds_of_unread_latency_have_their_words() -> None:
    breaker = (
        "import joblib\nimport pybreaker\nb = pybreaker.CircuitBreaker()\nm = joblib.load('m')\n"
        "@b\ndef ask(x):\n    return m.predict(x)\n"
    )
    (found,) = UnreadLatency().find(facts({"app.py": breaker}))
    assert "counts failures" in found.values["said"]
    clock = APP.replace("import joblib", "import time, joblib").replace(
        "    try:\n        return model.predict(x)",
        (
            "    t = time.time()\n    y = model.predict(x)\n    log(time.time() - t)\n    try:\n"
            "        return model.predict(x)"
        ),
    )
    (found,) = UnreadLatency().find(facts({"app.py": "LATENCY_LIMIT_MS = 500\n" + clock}))
    assert found.values["said"].endswith("`LATENCY_LIMIT_MS` is compared with nothing")
