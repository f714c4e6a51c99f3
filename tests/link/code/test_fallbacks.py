"""What answers where a model does not."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.fallbacks import fallbacks

HEAD = """
import joblib, requests
from anthropic import Anthropic
from openai import OpenAI
from transformers import AutoModelForCausalLM
client = OpenAI()
other = Anthropic()
model = joblib.load("m")
small = joblib.load("s")
writer = AutoModelForCausalLM.from_pretrained("w")
"""


def attempt(first: str, then: str, kind: str = "Exception") -> str:
    lines = "".join(f"        {line}\n" for line in then.splitlines())
    return f"{HEAD}def f(x, y=1):\n    try:\n        return {first}\n    except {kind} as error:\n{lines}"


@pytest.mark.parametrize(
    ("first", "then", "kind", "same"),
    [
        ("model.predict(x)", "return model.predict(x)", "primary", True),
        ("model.predict([[x, 1]])", "return model.predict([[x, 1]])", "primary", True),
        ("writer.generate(x, num_beams=4)", "return writer.generate(x, num_beams=1)", "primary", False),
        (
            "client.responses.create(input=x, model='a')",
            "return client.responses.create(input=x, model='b')",
            "model",
            False,
        ),
        (
            "client.responses.create(input=x, model='a')",
            "return client.responses.create(input=x, model='a')",
            "primary",
            True,
        ),
        ("model.predict(x)", "return small.predict(x)", "model", False),
        ("model.predict(x)", "return f(x)", "cycle", True),
        ("requests.get(x)", "return f(x)", "cycle", True),
    ],
)
def test_kinds(first: str, then: str, kind: str, *, same: bool) -> None:
    (found,) = fallbacks(facts({"app.py": attempt(first, then)}))
    assert (found.kind, found.same) == (kind, same)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("model.predict(x)", "return 2.05 * x"),
        ("model.predict(x)", "return requests.get('rules').json()"),
        ("model.predict(x)", "print(error)\nraise"),
        ("client.responses.create(input=x)", "return other.messages.create(messages=x)"),  # another provider
        (
            "client.responses.create(input=x)",
            "return client.responses.create(input=f'{x}, but not so: {error}')",
        ),  # a mended question
        ("model.predict(x)", "return f(x, y - 1)"),  # counted
        ("model.predict(x)", "return f(x, y=False)"),
        ("requests.get(x)", "return requests.get('mirror')"),
        ("x.copy()", "return model.predict(x)"),  # nothing of a model failed
    ],
)
def test_what_is_no_fault(first: str, then: str) -> None:
    assert fallbacks(facts({"app.py": attempt(first, then)})) == ()


@pytest.mark.parametrize("kind", ["TypeError", "(AttributeError, ImportError)"])
def test_another_way_to_write_the_call(kind: str) -> None:
    assert fallbacks(facts({"app.py": attempt("model.predict(x)", "return model.predict(x)", kind)})) == ()


def test_a_retry_in_a_loop_is_no_fallback() -> None:
    text = (
        f"{HEAD}def f(x):\n    for _ in range(3):\n        try:\n"
        f"            return model.predict(x)\n        except Exception:\n"
        f"            model.predict(x)\n"
    )
    assert fallbacks(facts({"app.py": text})) == ()


def test_a_cycle_through_other_files_is_told_step_by_step() -> None:
    files = {
        "a.py": (
            "import joblib\nfrom b import old\nmodel = joblib.load('m')\ndef price(x):\n    try:\n"
            "        return model.predict(x)\n"
            "    except Exception:\n        return old(x)\n"
        ),
        "b.py": "import requests\ndef old(x):\n    import a\n    return requests.get('u').json() or a.price(x)\n",
    }
    (found,) = fallbacks(facts(files))
    assert found.kind == "cycle"
    assert [step.at.path for step in found.steps] == ["a.py", "b.py"]


def test_another_object_of_the_same_class_is_not_known_to_be_the_same() -> None:
    text = (
        "import joblib\nclass Server:\n    def __init__(self, backup=None):\n        self.model = joblib.load('m')\n"
        "        self.backup = Server()\n    def ask(self, x):\n        try:\n"
        "            return self.model.predict(x)\n"
        "        except Exception:\n            return self.backup.ask(x)\n"
    )
    assert [one.kind for one in fallbacks(facts({"app.py": text}))] != ["cycle"]


def test_a_method_that_comes_back_to_itself() -> None:
    text = (
        "import joblib\nclass Server:\n    def __init__(self):\n        self.model = joblib.load('m')\n"
        "    def ask(self, x):\n        try:\n            return self.model.predict(x)\n        except Exception:\n"
        "            return self.again(x)\n    def again(self, x):\n        return self.ask(x)\n"
    )
    (found,) = fallbacks(facts({"app.py": text}))
    assert found.kind == "cycle"


LANGCHAIN = (
    "import fastapi\nfrom langchain_openai import ChatOpenAI\n"
    "from langchain_anthropic import ChatAnthropic\na = ChatOpenAI(model='a')\n"
    "b = ChatOpenAI(model='b')\nc = ChatAnthropic(model='c')\n"
)


@pytest.mark.parametrize(
    ("others", "kinds"),
    [("[b]", ["model"]), ("[a]", ["primary"]), ("[c]", []), ("[table]", []), ("found", [])],
)
def test_chains_with_fallbacks(others: str, kinds: list[str]) -> None:
    text = f"{LANGCHAIN}chain = a.with_fallbacks({others})\n"
    assert [one.kind for one in fallbacks(facts({"app.py": text}))] == kinds


@pytest.mark.parametrize(
    ("others", "kinds"),
    [("['gpt-4o-mini']", ["model"]), ("['gpt-4o']", ["primary"]), ("['claude-4']", []), ("names", [])],
)
def test_what_litellm_is_told(others: str, kinds: list[str]) -> None:
    text = f"import litellm\ndef f(m):\n    return litellm.completion(model='gpt-4o', messages=m, fallbacks={others})\n"
    assert [one.kind for one in fallbacks(facts({"app.py": text}))] == kinds


@pytest.mark.parametrize(("body", "kinds"), [("guarded(x)", ["cycle"]), ("model.predict(x)", ["model"]), ("2.05", [])])
def test_what_a_breaker_falls_back_to(body: str, kinds: list[str]) -> None:
    text = (
        f"{HEAD}from circuitbreaker import circuit\ndef instead(x):\n    return {body}\n"
        "@circuit(fallback_function=instead)\ndef guarded(x):\n    return client.responses.create(input=x)\n"
    )
    assert [one.kind for one in fallbacks(facts({"app.py": text}))] == kinds


def test_a_loop_of_events_that_did_not_run() -> None:
    first = "def ask(x):\n    try:\n        return asyncio.get_event_loop().run_until_complete(answer(x))\n"
    made = "    except RuntimeError:\n        loop = asyncio.new_event_loop()\n"
    then = f"{made}        return loop.run_until_complete(answer(x))\n"
    head = HEAD + "import asyncio\nasync def answer(x):\n    return client.responses.create(model='a', input=x)\n"
    assert not fallbacks(facts({"app.py": head + first + then}))
    other = then.replace("loop = asyncio.new_event_loop()", "loop = asyncio.get_event_loop()")
    assert fallbacks(facts({"app.py": head + first + other}))


MODELS = {
    '["gpt-4o", "gpt-4o-mini"]': ["model"],
    '["gpt-4o", "claude-sonnet"]': [],
    "NAMES": [],
}


@pytest.mark.parametrize(("models", "kinds"), MODELS.items())
def test_the_next_of_several_models(models: str, kinds: list[str]) -> None:
    text = (
        f"def f(x):\n    for number, model in enumerate({models}):\n        try:\n"
        "            return client.responses.create(input=x, model=model)\n        except Exception as error:\n"
        "            print(number, error)\n"
    )
    assert [one.kind for one in fallbacks(facts({"app.py": HEAD + text}))] == kinds


@pytest.mark.parametrize(
    ("then", "kinds"), [("small.predict(x)", ["model"]), ("2 * x", []), ("other.models.list()", [])]
)
def test_what_is_asked_after_a_try_that_may_fail(then: str, kinds: list[str]) -> None:
    text = (
        "def f(x):\n    try:\n        return model.predict(x)\n    except Exception as error:\n"
        f"        print(error)\n    return {then}\n"
    )
    assert [one.kind for one in fallbacks(facts({"app.py": HEAD + text}))] == kinds


def test_training_once_more_is_no_fallback() -> None:
    text = (
        "from sklearn.linear_model import Ridge\ndef train(x, y):\n    found = Ridge().fit(x, y)\n"
        "    print(model.predict(x))\n    return found\n"
        "try:\n    train(1, 2)\nexcept MemoryError:\n    train(1, 2)\n"
    )
    assert fallbacks(facts({"app.py": HEAD + text})) == ()
