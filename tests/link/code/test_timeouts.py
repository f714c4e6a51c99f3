"""What bounds the time of models and clients, and clocks that nobody reads."""

from __future__ import annotations

import pytest
from programs import facts

from vramguard.checks.breakers import UnboundedInference
from vramguard.link.code.latency import latency_guards
from vramguard.link.code.timeouts import outbound_calls, slow_answers

MODEL = """
import asyncio
import signal
import joblib
from concurrent.futures import ThreadPoolExecutor
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from transformers import AutoModelForCausalLM
app = FastAPI()
model = joblib.load("m")
writer = AutoModelForCausalLM.from_pretrained("w")
pool = ThreadPoolExecutor()
def ask(x):
    return model.predict(x)
"""


def handler(body: str, before: str = "") -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f'{MODEL}{before}\n@app.get("/price")\nasync def price(x):\n{lines}'


UNBOUNDED = [
    ("return model.predict(x)", "model.predict"),
    ("return ask(x)", "ask"),
    ("return await run_in_threadpool(model.predict, x)", None),
    ("return await run_in_threadpool(ask, x)", "run_in_threadpool"),
    ("return await asyncio.to_thread(lambda: model.predict(x))", "asyncio.to_thread"),
    ("return writer.generate(x, max_new_tokens=8)", "writer.generate"),
    ("return writer.generate(x, max_time=None)", "writer.generate"),
    ("return pool.submit(ask, x).result()", "pool.submit"),
    ("return await asyncio.wait_for(asyncio.to_thread(ask, x), timeout=None)", "asyncio.to_thread"),
    ("with open('x') as f:\n    return model.predict(x)", "model.predict"),
    ("y = await asyncio.wait_for(other(), 1)\nreturn model.predict(y)", "model.predict"),
]
BOUNDED = [
    "return await asyncio.wait_for(asyncio.to_thread(ask, x), 0.5)",
    "return await asyncio.wait_for(asyncio.to_thread(ask, x), timeout=LIMIT)",
    "async with asyncio.timeout(0.5):\n    return await asyncio.to_thread(ask, x)",
    "return pool.submit(ask, x).result(timeout=0.5)",
    "task = asyncio.create_task(asyncio.to_thread(ask, x))\nreturn await asyncio.wait_for(task, 1)",
    "return writer.generate(x, max_time=0.4)",
    "with time_limit(1):\n    return model.predict(x)",
    "signal.alarm(1)\nreturn model.predict(x)",
]


@pytest.mark.parametrize(("body", "call"), [case for case in UNBOUNDED if case[1]])
def test_models_that_take_as_long_as_they_take(body: str, call: str) -> None:
    (found,) = slow_answers(facts({"app.py": handler(body)}))
    assert found.call == call
    assert found.handler == "price"


@pytest.mark.parametrize("body", BOUNDED)
def test_models_whose_time_is_bounded(body: str) -> None:
    assert slow_answers(facts({"app.py": handler(body)})) == ()


def test_each_application_once() -> None:
    text = handler("return model.predict(x)") + '@app.get("/more")\ndef more(x):\n    return model.predict(x)\n'
    assert len(slow_answers(facts({"app.py": text}))) == 1


def test_a_middleware_bounds_every_request() -> None:
    before = "from shop import TimeoutMiddleware\napp.add_middleware(TimeoutMiddleware, timeout=1)\n"
    assert slow_answers(facts({"app.py": handler("return model.predict(x)", before)})) == ()
    before = (
        "@app.middleware('http')\nasync def limit(request, go):\n    return await asyncio.wait_for(go(request), 1)\n"
    )
    assert slow_answers(facts({"app.py": handler("return model.predict(x)", before)})) == ()


def test_what_nobody_waits_for() -> None:
    text = handler("tasks.add_task(ask, x)")
    assert slow_answers(facts({"app.py": text})) == ()


def test_models_of_others_are_the_clients_matter() -> None:
    text = (
        "from fastapi import FastAPI\nfrom openai import OpenAI\napp = FastAPI()\n"
        "client = OpenAI()\n@app.get('/a')\ndef a(x):\n"
        "    return client.responses.create(input=x)\n"
    )
    assert slow_answers(facts({"app.py": text})) == ()


CLIENTS = """
import aiohttp, boto3, httpx, os, requests
import anthropic
from botocore.config import Config
from flask import Flask
from openai import OpenAI
app = Flask(__name__)
bare = OpenAI()
limited = OpenAI(timeout=2)
own = OpenAI(http_client=httpx.Client(timeout=2))
proxied = OpenAI(http_client=httpx.Client(trust_env=False))
transport = httpx.AsyncClient(**options)
handed = OpenAI(http_client=transport)
spread = OpenAI(**options)
queue = boto3.client("kinesis")
quick = boto3.client("kinesis", config=Config(read_timeout=1))
session = requests.Session()
http = httpx.Client()
endless = httpx.Client(timeout=None)
"""


def route(body: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"{CLIENTS}\n@app.route('/a')\ndef a(x):\n{lines}"


@pytest.mark.parametrize(
    ("body", "client", "default"),
    [
        ("return requests.get(x)", "requests.get", 0),
        ("return requests.get(x, timeout=None)", "requests.get", 0),
        ("return session.post(x, json={})", "session.post", 0),
        ("return bare.chat.completions.create(model='m')", "OpenAI", 600),
        ("return proxied.chat.completions.create(model='m')", "OpenAI", 600),
        ("return bare.responses.create(model='m', timeout=None)", "bare.responses.create", 0),
        ("c = anthropic.Anthropic()\nreturn c.messages.create()", "anthropic.Anthropic", 600),
        ("return queue.put_record(Data=x)", "boto3.client", 60),
        ("return endless.get(x)", "httpx.Client", 0),
        ("with aiohttp.ClientSession() as s:\n    return s.get(x)", "aiohttp.ClientSession", 300),
        ("options = {'json': x}\nreturn requests.post(x, **options)", "requests.post", 0),
    ],
)
def test_clients_without_a_timeout(body: str, client: str, default: float) -> None:
    (found,) = [one for one in outbound_calls(facts({"app.py": route(body)})) if not 0 < one.default_s < 10]
    assert (found.client, found.default_s) == (client, default)


@pytest.mark.parametrize(
    "body",
    [
        "return requests.get(x, timeout=1)",
        "return requests.get(x, **os.environ)",
        "options = {'timeout': 1}\nreturn requests.post(x, **options)",
        "return limited.chat.completions.create(model='m')",
        "return bare.chat.completions.create(model='m', timeout=1)",
        "return own.chat.completions.create(model='m')",
        "return handed.chat.completions.create(model='m')",
        "return spread.chat.completions.create(model='m')",
        "return quick.put_record(Data=x)",
        "return http.get(x)",
        "return unknown.get(x)",
        "return pool.submit(requests.get, x).result(timeout=1)",
    ],
)
def test_clients_with_one(body: str) -> None:
    assert [one for one in outbound_calls(facts({"app.py": route(body)})) if not 0 < one.default_s < 10] == []


def test_scripts_and_jobs_are_not_waited_for() -> None:
    text = "import requests\ndef job(x):\n    return requests.get(x)\njob('a')\n"
    assert outbound_calls(facts({"job.py": text})) == ()
    assert outbound_calls(facts({"tests/test_app.py": route("return requests.get(x)")})) == ()


def test_pages_of_streamlit_are_waited_for() -> None:
    text = (
        "import requests\nimport streamlit as st\ndef main():\n"
        "    st.write(requests.get('u').json())\nif __name__ == '__main__':\n    main()\n"
    )
    (found,) = outbound_calls(facts({"page.py": text}))
    assert found.at.line == 4


def test_a_chain_names_the_model_that_has_no_timeout() -> None:
    text = (
        "from fastapi import FastAPI\nfrom langchain_openai import ChatOpenAI\n"
        "from langchain_core.prompts import PromptTemplate\napp = FastAPI()\n@app.get('/a')\ndef a(x):\n"
        "    chain = PromptTemplate.from_template('x') | ChatOpenAI(model='m')\n    return chain.invoke(x)\n"
    )
    (found,) = outbound_calls(facts({"app.py": text}))
    assert found.client == "ChatOpenAI"


def test_a_breaker_around_a_call_without_a_timeout() -> None:
    bare = "from circuitbreaker import circuit\n@circuit\ndef guarded(x):\n    return ask(x)\n"
    (found,) = latency_guards(facts({"app.py": MODEL + bare}))
    assert (found.kind, found.call) == ("breaker", "model.predict")
    waited = (
        "from circuitbreaker import circuit\n@circuit\ndef guarded(x):\n"
        "    return pool.submit(ask, x).result(timeout=1)\n"
    )
    assert latency_guards(facts({"app.py": MODEL + waited})) == ()


def test_a_breaker_that_is_called() -> None:
    text = (
        MODEL + "import pybreaker\nbreaker = pybreaker.CircuitBreaker()\ndef go(x):\n    return breaker.call(ask, x)\n"
    )
    (found,) = latency_guards(facts({"app.py": text}))
    assert found.what == "breaker.call"


@pytest.mark.parametrize(
    ("use", "count"),
    [("", 1), ("if took > MAX_LATENCY_MS:\n    stop()", 0), ("check(took, MAX_LATENCY_MS)", 0)],
)
def test_a_threshold_that_nothing_reads(use: str, count: int) -> None:
    body = (
        f"began = time.perf_counter()\ny = model.predict(x)\ntook = time.perf_counter() - began\n{use}\nreturn y, took"
    )
    found = latency_guards(facts({"app.py": handler(body, "import time\nMAX_LATENCY_MS = 500\n")}))
    assert len(found) == count


def test_a_clock_alone_promises_nothing() -> None:
    body = "began = time.perf_counter()\ny = model.predict(x)\nreturn y, time.perf_counter() - began"
    assert latency_guards(facts({"app.py": handler(body, "import time\n")})) == ()


@pytest.mark.parametrize(
    ("use", "count"),
    [
        ("pool.submit(ask, x)\nreturn 1", 0),
        ("task = asyncio.create_task(asyncio.to_thread(ask, x))\ntask.add_done_callback(print)\nreturn 1", 0),
        ("task = asyncio.create_task(asyncio.to_thread(ask, x))\nreturn await task", 1),
        ("jobs[x] = asyncio.ensure_future(loop.run_in_executor(None, ask, x))\nreturn 1", 0),
    ],
)
def test_what_is_started_and_dropped(use: str, count: int) -> None:
    assert len(slow_answers(facts({"app.py": handler(use, "jobs = {}\nloop = asyncio.get_event_loop()")}))) == count


APP = "from fastapi import FastAPI\nfrom typing import Protocol\napp = FastAPI()\n"
KEPT = "class Kept:\n    def predict(self, x):\n        return 2 * x\n"
PROTOCOL = "class Model(Protocol):\n    def predict(self, x): ...\n"


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("def of(kept, x):\n    return kept['model'].predict(x)", 1),
        ("def of(kept, x):\n    return kept.scorer.predict_proba(x)", 1),
        ("def of(client, x):\n    return client.predict(x)", 0),
        (f"{KEPT}def of(_, x):\n    return Kept().predict(x)", 0),
        (f"{PROTOCOL}def of(kept: Model, x):\n    return kept.predict(x)", 1),
        ("def of(kept, x):\n    return kept['predict_fn'](x)", 1),
        ("def of(kept, x):\n    return kept['count_fn'](x)", 0),
    ],
)
def test_what_is_known_by_its_method(code: str, count: int) -> None:
    text = f'{APP}{code}\n@app.get("/x")\ndef f(x, kept):\n    return of(kept, x)\n'
    assert len(slow_answers(facts({"app.py": text}))) == count


KINDS = "import pickle\nfrom interpret.glassbox import ExplainableBoostingClassifier\n"


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("def of(x):\n    return pickle.load(open('m', 'rb')).predict_next_week(x)", 1),
        ("def of(x):\n    return pickle.load(open('m', 'rb')).describe(x)", 0),
        ("boosted = ExplainableBoostingClassifier()\ndef of(x):\n    return boosted.eval_terms(x)", 1),
        ("import pytesseract\ndef of(x):\n    return pytesseract.image_to_string(x)", 0),  # a program of its own
    ],
)
def test_models_that_go_by_other_names(code: str, count: int) -> None:
    text = f'{APP}{KINDS}{code}\n@app.get("/x")\ndef f(x):\n    return of(x)\n'
    assert len(slow_answers(facts({"app.py": text}))) == count


def test_a_model_that_was_loaded_beside_the_loop() -> None:
    text = (
        f"{APP}import asyncio\nimport joblib\nfrom functools import partial\nscorer = None\n"
        "async def run_in_threadpool(do, *given):\n"
        "    return await asyncio.get_running_loop().run_in_executor(None, partial(do, *given))\n"
        "async def start():\n    global scorer\n    scorer = await run_in_threadpool(joblib.load, 'm')\n"
        "@app.get('/x')\nasync def f(x):\n    return await run_in_threadpool(lambda: scorer.predict(x))\n"
    )
    assert len(slow_answers(facts({"app.py": text}))) == 1


@pytest.mark.parametrize(("name", "count"), [("_load_models", 0), ("warm_up", 0), ("load_and_answer", 1), ("ready", 1)])
def test_a_trial_of_what_was_loaded_is_no_answer(name: str, count: int) -> None:
    before = f"def {name}(x):\n    return model.predict(x)\n"
    assert len(slow_answers(facts({"app.py": handler(f"return {name}(x)", before)}))) == count


WEB = "from fastapi import Depends, FastAPI, Request\napp = FastAPI()\n"
MAKERS = [
    (  # a factory that gives a tuple, in a class's base
        (
            "from openai import OpenAI\nclass Base:\n    def __init__(self):\n"
            "        self.name, self.client = self._make()\n"
            "    def _make(self):\n        return 'a', self._client()\n    def _client(self):\n"
            "        return OpenAI(api_key='k')\n"
            "class Agent(Base):\n    def run(self, x):\n        return self.client.chat.completions.create(x)\n"
            "agent = Agent()\n"
            "@app.get('/a')\ndef a(x):\n    return agent.run(x)\n"
        ),
        "OpenAI",
    ),
    (  # a tuple that is handed on
        (
            "import boto3\ndef make():\n    return boto3.client('bedrock-runtime'), 1\ndef ask(pair, x):\n"
            "    client, size = pair\n    return client.converse(x)\n@app.get('/a')\ndef a(x):\n"
            "    return ask(make(), x)\n"
        ),
        "boto3.client",
    ),
    (  # an attribute of the application's state, by its name as a text
        (
            "from openai import OpenAI\nclass Writer:\n    def __init__(self):\n        self.client = OpenAI()\n"
            "    def write(self, x):\n        return self.client.responses.create(x)\napp.state.writer = Writer()\n"
            "@app.get('/a')\ndef a(request: Request, x):\n    writer = getattr(request.app.state, 'writer', None)\n"
            "    return writer.write(x)\n"
        ),
        "OpenAI",
    ),
    (  # what `**` spreads is written elsewhere
        (
            "from openai import OpenAI\nOPTIONS = {'api_key': 'k'}\ndef make():\n    options = OPTIONS.copy()\n"
            "    return OpenAI(**options)\n@app.get('/a')\ndef a(x):\n    return make().responses.create(x)\n"
        ),
        "OpenAI",
    ),
    (  # a node of a graph
        (
            "from langgraph.graph import StateGraph\nfrom langchain_openai import ChatOpenAI\nmodel = ChatOpenAI()\n"
            "def node(state):\n    return model.invoke(state)\nbuilder = StateGraph(dict)\n"
            "builder.add_node('n', node)\n"
            "graph = builder.compile()\n@app.get('/a')\nasync def a(x):\n    return await graph.ainvoke(x)\n"
        ),
        "ChatOpenAI",
    ),
    (  # an agent that was made of a model
        (
            "from langchain.agents import create_agent\nfrom langchain_openai import ChatOpenAI\n"
            "@app.get('/a')\nasync def a(x):\n    agent = create_agent(model=ChatOpenAI().bind_tools([]), tools=[])\n"
            "    return await agent.ainvoke(x)\n"
        ),
        "ChatOpenAI",
    ),
    (  # an entry of a registry
        (
            "from openai import OpenAI\nclass One:\n    def reply(self, x):\n"
            "        return OpenAI().responses.create(x)\n"
            "@app.get('/a')\ndef a(x):\n    return load(x)[x].reply(x)\n"
        ),
        "OpenAI",
    ),
    (  # a callback that was put into a list
        (
            "import boto3\nclass Sends:\n    def __init__(self):\n        self.client = boto3.client('kinesis')\n"
            "    def put(self, x):\n        self.client.put_record(Data=x)\nclass Server:\n"
            "    def __init__(self, callbacks):\n"
            "        self.callbacks = callbacks\n    def answer(self, x):\n        for callback in self.callbacks:\n"
            "            callback(x)\ncallbacks = []\ncallbacks.append(Sends().put)\nserver = Server(callbacks)\n"
            "@app.get('/a')\ndef a(x):\n    return server.answer(x)\n"
        ),
        "boto3.client",
    ),
    (  # handed to a pool
        (
            "import requests\nfrom concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\n"
            "@app.get('/a')\ndef a(x):\n    return pool.submit(requests.post, x).result()\n"
        ),
        "pool.submit",
    ),
    (
        (
            "import aiohttp\n@app.get('/a')\nasync def a(x):\n"
            "    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:\n"
            "        return await session.post(x)\n"
        ),
        "aiohttp.ClientSession",
    ),
]


@pytest.mark.parametrize(("text", "client"), MAKERS)
def test_where_a_client_was_made(text: str, client: str) -> None:
    (found,) = outbound_calls(facts({"app.py": WEB + text}))
    assert found.client == client


def test_every_maker_of_a_client() -> None:
    text = (
        "from anthropic import Anthropic\nfrom openai import OpenAI\ndef make(kind):\n    if kind:\n"
        "        return Anthropic()\n    return OpenAI(timeout=2)\n@app.get('/a')\ndef a(x):\n    client = make(x)\n"
        "    client.messages.create(x)\n    return client.chat.completions.create(x)\n"
    )
    assert [one.client for one in outbound_calls(facts({"app.py": WEB + text}))] == ["Anthropic"]


@pytest.mark.parametrize(
    "text",
    [
        (
            "from openai import OpenAI\nOPTIONS = {'timeout': 2}\ndef make():\n"
            "    options = dict(OPTIONS, api_key='k')\n"
            "    return OpenAI(**options)\n@app.get('/a')\ndef a(x):\n    return make().responses.create(x)\n"
        ),
        (
            "import aiohttp\n@app.get('/a')\nasync def a(x):\n"
            "    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=5)) as session:\n"
            "        return await session.post(x)\n"
        ),
        (
            "from langchain.agents import create_agent\nfrom langchain_openai import ChatOpenAI\n"
            "@app.get('/a')\nasync def a(x):\n    agent = create_agent(model=ChatOpenAI(timeout=2), tools=[])\n"
            "    return await agent.ainvoke(x)\n"
        ),
        (
            "from openai import OpenAI\nclass Job:\n    def get(self, x):\n"
            "        return OpenAI().responses.create(x)\n"
            "@app.get('/a')\ndef a(x):\n    return load(x).get(x)\n"
        ),  # so many things have a `get`
        (
            "import requests\nfrom concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\n"
            "@app.get('/a')\ndef a(x):\n    return pool.submit(requests.post, x, timeout=1).result()\n"
        ),
    ],
)
def test_clients_that_were_made_with_one(text: str) -> None:
    assert outbound_calls(facts({"app.py": WEB + text})) == ()


def test_a_module_whose_folder_is_put_on_the_path() -> None:
    client = "from openai import OpenAI\ndef ask(x):\n    return OpenAI().responses.create(x)\n"
    route = f"{WEB}from bots.writer import ask\n@app.get('/a')\ndef a(x):\n    return ask(x)\n"
    (found,) = outbound_calls(facts({"server/app.py": route, "library/bots/writer.py": client}))
    assert found.at.path == "library/bots/writer.py"
    two = {"server/app.py": route, "library/bots/writer.py": client, "other/bots/writer.py": client}
    assert outbound_calls(facts(two)) == ()


def test_a_module_that_only_hands_on_what_it_imports() -> None:
    files = {
        "app.py": f"{WEB}from networks import CrossEncoderModel\n@app.get('/a')\ndef a(x):\n"
        "    return CrossEncoderModel()(x)\n",
        "networks/__init__.py": "from .scores import CrossEncoderModel\n",
        "networks/scores.py": (
            "from sentence_transformers import CrossEncoder\nclass CrossEncoderModel:\n    def __init__(self):\n"
            "        self.model = CrossEncoder('m')\n    def __call__(self, x):\n        return self.model.predict(x)\n"
        ),
    }
    (found,) = slow_answers(facts(files))
    assert (found.handler, found.model) == ("a", "self.model.predict")


BOT = """
import joblib
from telegram.ext import Application, CommandHandler
model = joblib.load("m")


async def price(update, context):
    await update.message.reply_text(str(ask(update)))


def ask(x):
    return {}


Application.builder().token("t").build().add_handler(CommandHandler("price", price))
"""


@pytest.mark.parametrize(("answer", "count"), [("model.predict([x])", 1), ("limit(model.predict, x)", 0)])
def test_whoever_writes_to_a_bot_waits_for_its_model(answer: str, count: int) -> None:
    problems = list(UnboundedInference().find(facts({"bot.py": BOT.format(answer)})))
    assert [one.values["handler"] for one in problems] == ["price"] * count


REGISTRY = """
from dataclasses import dataclass
from typing import Callable
import anthropic
from fastapi import FastAPI

app = FastAPI()


def ask(prompt):
    client = anthropic.Anthropic(%s)
    return client.messages.create(model="m", max_tokens=9, messages=[prompt])


@dataclass(frozen=True)
class Provider:
    name: str
    call: Callable


PROVIDERS = {"a": Provider(name="a", call=ask)}


def generate(provider, prompt):
    kept = PROVIDERS.get(provider)
    return kept.call(prompt)


@app.post("/explain")
def explain(provider: str, prompt: str):
    return generate(provider, prompt)
"""


def test_a_function_that_a_registry_keeps_is_asked_through_its_field() -> None:
    (one,) = outbound_calls(facts({"app.py": REGISTRY % ""}))
    assert (one.client, one.at.line) == ("anthropic.Anthropic", 11)
    assert not outbound_calls(facts({"app.py": REGISTRY % "timeout=2"}))


TRITON = """
import tritonclient.%s as triton
from fastapi import FastAPI
app = FastAPI()
client = triton.InferenceServerClient(%s)
@app.post("/price")
def price(x: float):
    return client.infer("price", [x]%s)
"""


@pytest.mark.parametrize(
    ("kind", "made", "given", "waits"),
    [
        ("grpc", "'t:8001'", "", [0]),
        ("grpc", "'t:8001'", ", timeout=500000", [0]),  # the server's, in microseconds
        ("grpc", "'t:8001'", ", client_timeout=0.5", []),
        ("http", "'t:8000'", ", timeout=500000", [60]),
        ("http", "'t:8000', network_timeout=0.5", "", []),
    ],
)
def test_a_client_of_triton(kind: str, made: str, given: str, waits: list[float]) -> None:
    found = outbound_calls(facts({"app.py": TRITON % (kind, made, given)}))
    assert [one.default_s for one in found] == waits


TRAINS = """
import joblib
from fastapi import FastAPI
from sklearn.linear_model import Ridge
app = FastAPI()
model = joblib.load("m")
def fit(x):
    made = Ridge().fit(x, x)
    return made.predict(x)
@app.post("/train")
def train(x: int):
    return fit(x)
"""


def test_whoever_asks_for_training_waits_for_that() -> None:
    assert slow_answers(facts({"app.py": TRAINS})) == ()
    serves = TRAINS + '@app.get("/price")\ndef price(x: int):\n    return model.predict([x])\n'
    assert [one.handler for one in slow_answers(facts({"app.py": serves}))] == ["price"]
