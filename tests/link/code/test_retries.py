"""What tries again, how often, and what retries make together."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.link.code.retries import retry_policies

HEAD = """
import backoff, requests, retrying, stamina, tenacity
from openai import OpenAI
from retry import retry as again
from tenacity import retry, stop_after_attempt, stop_after_delay, stop_never
TRIES = 4
client = OpenAI(max_retries=0)
eager = OpenAI()
"""
ASK = "def ask(x):\n    return client.responses.create(input=x)\n"


@pytest.mark.parametrize(
    ("decorator", "attempts"),
    [
        ("@retry", 0),
        ("@retry()", 0),
        ("@tenacity.retry(stop=stop_never)", 0),
        ("@retry(stop=stop_after_attempt(3))", 3),
        ("@retry(stop=stop_after_attempt(TRIES))", 4),
        ("@retry(stop=stop_after_attempt(5) | stop_after_delay(9))", 5),
        ("@retrying.retry", 0),
        ("@retrying.retry(stop_max_attempt_number=7)", 7),
        ("@backoff.on_exception(backoff.expo, Exception)", 0),
        ("@backoff.on_exception(backoff.expo, Exception, max_tries=2)", 2),
        ("@again(tries=-1)", 0),
        ("@again(Exception, 6)", 6),
        ("@again()", 0),
        ("@stamina.retry(on=Exception)", 10),
        ("@stamina.retry(on=Exception, attempts=2)", 2),
    ],
)
def test_how_often(decorator: str, attempts: int) -> None:
    (found,) = retry_policies(facts({"app.py": f"{HEAD}{decorator}\n{ASK}"}))
    assert found.attempts == attempts
    assert found.around == "client.responses.create"


@pytest.mark.parametrize(
    "decorator",
    [
        "@retry(stop=stop_after_delay(9))",
        "@retry(stop=settings.stop)",
        "@retry(**options)",
        "@backoff.on_exception(backoff.expo, Exception, max_time=3)",
        "@somebody.retry",
    ],
)
def test_what_is_bounded_or_not_known(decorator: str) -> None:
    assert retry_policies(facts({"app.py": f"{HEAD}{decorator}\n{ASK}"})) == ()


def test_what_asks_nobody_may_try_as_it_likes() -> None:
    assert retry_policies(facts({"app.py": f"{HEAD}@retry\ndef add(x):\n    return x + 1\n"})) == ()


def test_what_is_asked_through_functions() -> None:
    text = f"{HEAD}{ASK}@retry\ndef outer(x):\n    return ask(x)\n"
    (found,) = retry_policies(facts({"app.py": text}))
    assert len(found.steps) == 2


LOOPS = {
    "while True:\n    try:\n        return requests.get(x)\n    except Exception:\n        pass": 1,
    "while True:\n    try:\n        y = requests.get(x)\n        break\n    except Exception:\n        continue": 1,
    (
        "while True:\n    try:\n        y = client.responses.create(input=x)\n"
        "    except Exception:\n        continue\n    return y"
    ): 1,
    # counted, or ended by a handler
    "for n in range(9):\n    try:\n        return requests.get(x)\n    except Exception:\n        raise": 0,
    "for n in range(9):\n    try:\n        save(requests.get(x))\n    except Exception:\n        pass": 0,
    # the next page, the next of several hosts
    "for n in range(9):\n    try:\n        return requests.get(x + n)\n    except Exception:\n        pass": 0,
    (
        "n = 0\nwhile True:\n    try:\n        return requests.get(x)\n    except Exception:\n"
        "        n += 1\n        if n > 3:\n            raise"
    ): 0,
    (
        "while True:\n    try:\n        return requests.get(x)\n    except OSError:\n"
        "        raise\n    except ValueError:\n        pass"
    ): 0,
    # services: they never end
    "while True:\n    try:\n        save(requests.get(x))\n    except Exception:\n        pass": 0,
    # somebody says something, or to stop
    (
        "while True:\n    try:\n        x = input()\n        if x == 'bye':\n            break\n"
        "        print(requests.get(x))\n    except Exception:\n        pass"
    ): 0,
    (
        "while True:\n    try:\n        requests.get(x)\n        if stop_event.is_set():\n            break\n"
        "    except Exception:\n        pass\n    time.sleep(60)"
    ): 0,
    # with a pause
    "while True:\n    try:\n        return requests.get(x)\n    except Exception:\n        pass\n    time.sleep(30)": 1,
    (
        "while True:\n    try:\n        if requests.get(x).ok:\n            break\n    except Exception:\n"
        "        print('again')\n    time.sleep(60)"
    ): 1,
    (
        "while True:\n    if gone:\n        break\n    try:\n        save(requests.get(x))\n"
        "    except Exception:\n        pass\n    time.sleep(9)"
    ): 0,
    "while True:\n    try:\n        return requests.get(x)\n    except Exception:\n        time.sleep(0.1)": 1,
    # nobody is asked
    "while True:\n    try:\n        return int(input())\n    except ValueError:\n        pass": 0,
}


@pytest.mark.parametrize(("body", "count"), LOOPS.items())
def test_loops(body: str, count: int) -> None:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    assert len(retry_policies(facts({"app.py": f"{HEAD}def f(x):\n{lines}"}))) == count


@pytest.mark.parametrize(
    ("text", "product"),
    [
        ("@retry(stop=stop_after_attempt(3))\ndef f(x):\n    return eager.responses.create(input=x)\n", 9),
        ("@retry(stop=stop_after_attempt(3))\ndef f(x):\n    return client.responses.create(input=x)\n", 3),
        ("@retry(stop=stop_after_attempt(1))\ndef f(x):\n    return eager.responses.create(input=x)\n", 1),
        (
            (
                "@retry(stop=stop_after_attempt(2))\ndef f(x):\n"
                "    return OpenAI(max_retries=5).responses.create(input=x)\n"
            ),
            12,
        ),
        ("@retry(stop=stop_after_attempt(2))\ndef f(x):\n    return OpenAI(**o).responses.create(input=x)\n", 2),
    ],
)
def test_what_they_make_together(text: str, product: int) -> None:
    (found,) = retry_policies(facts({"app.py": HEAD + text}))
    assert found.product == product


def test_a_retry_within_a_retry() -> None:
    inner = "@backoff.on_exception(backoff.expo, OSError, max_tries=3)\ndef inner(x):\n    return requests.get(x)\n"
    outer = "@retry(stop=stop_after_attempt(2))\ndef outer(x):\n    return inner(x)\n"
    products = {one.written: one.product for one in retry_policies(facts({"app.py": HEAD + inner + outer}))}
    assert products == {"@backoff.on_exception of inner": 3, "@retry of outer": 6}


def test_loops_that_end_when_it_works() -> None:
    head = HEAD + "import itertools\n" + ASK
    flag = "def f(x):\n    done = False\n    while not done:\n        try:\n            y = ask(x)\n"
    caught = "        except Exception:\n            pass\n    return y\n"
    (found,) = retry_policies(facts({"app.py": head + flag + "            done = True\n" + caught}))
    assert (found.attempts, found.form) == (0, "loop")
    assert not retry_policies(facts({"app.py": head + flag + caught.replace("pass", "done = True")}))
    count = "def f(x):\n    for n in itertools.count():\n        try:\n            return ask(x)\n"
    (found,) = retry_policies(facts({"app.py": head + count + caught}))
    assert found.attempts == 0


@pytest.mark.parametrize(
    ("times", "client", "product"),
    [("3", "eager", 9), ("1, 3", "eager", 6), ("3", "client", 3), ("1", "eager", 0), ("x", "eager", 0)],
)
def test_a_loop_around_a_client_that_tries_itself(times: str, client: str, product: int) -> None:
    loop = f"def f(x):\n    for _ in range({times}):\n        try:\n"
    asked = f"            return {client}.responses.create(input=x)\n        except Exception:\n            continue\n"
    found = retry_policies(facts({"app.py": HEAD + loop + asked}))
    assert [one.product for one in found] == ([product] if product else [])


FLOW = """
import requests
from prefect import flow, task
@task(retries=2)
def tell(text):
    return requests.post("http://chat.test", json=text, timeout=1)
@flow(retries=1)
def nightly():
    return tell("done")
"""


def test_an_orchestrator_that_runs_a_step_again_keeps_nobody_waiting() -> None:
    assert {one.product for one in retry_policies(facts({"flows.py": FLOW}))} == {2, 3}


TURNS = {
    "def f(x):\n    for _ in range(3):": 3,
    "def f(x, most=4):\n    for n in range(most + 1):": 5,
    "def f(x):\n    n = 0\n    while n < TRIES:\n        n += 1": 4,
    "def f(x):\n    n = 1\n    while n <= 6:\n        n += 1": 6,
    "def f(x, most):\n    for _ in range(most):": None,
}


@pytest.mark.parametrize(("loop", "attempts"), TURNS.items())
def test_loops_that_count(loop: str, attempts: int | None) -> None:
    asked = "        try:\n            return client.responses.create(input=x)\n"
    tried = f"{asked}        except Exception:\n            pass\n"
    found = [one.attempts for one in retry_policies(facts({"app.py": f"{HEAD}{loop}\n{tried}"}))]
    assert found == ([] if attempts is None else [attempts])


KEPT = """
import requests
class Prices:
    def __init__(self, most: int = 5):
        self.most = most
    def of(self, x):
        for attempt in range(self.most):
            try:
                return requests.get(x)
            except OSError:
                print(attempt)
"""


def test_a_count_that_an_object_keeps_is_its_default_unless_everybody_says_otherwise() -> None:
    assert [one.attempts for one in retry_policies(facts({"app.py": KEPT}))] == [5]
    told = KEPT + "first, second = Prices(2), Prices(most=3)\n"
    assert [one.attempts for one in retry_policies(facts({"app.py": told}))] == [3]


READY = (
    "def {}(x):\n    for n in range(60):\n        try:\n            return requests.get({})\n        except OSError:\n"
)


@pytest.mark.parametrize(
    ("name", "asked", "count"),
    [("ask", "x", 1), ("wait_for_server", "x", 0), ("ask", "'http://model.test/health'", 0)],
)
def test_whoever_waits_for_a_server_to_be_up_repeats_nothing(name: str, asked: str, count: int) -> None:
    text = f"{HEAD}{READY.format(name, asked)}            time.sleep(1)\n"
    assert len(retry_policies(facts({"app.py": text}))) == count


def test_a_registry_that_is_asked_until_it_answers() -> None:
    text = (
        "import time\nfrom mlflow import MlflowClient\nclient = MlflowClient()\nwhile True:\n    try:\n"
        "        if client.search_model_versions('a'):\n            break\n    except Exception as error:\n"
        "        print(error)\n    time.sleep(60)\n"
    )
    (found,) = retry_policies(facts({"app.py": text}))
    assert (found.attempts, found.paused) == (0, True)
