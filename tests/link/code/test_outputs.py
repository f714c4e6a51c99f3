"""Ways of answers: servers that hand an answer on, objects that hold several, models of responses, plain HTTP."""

# ruff: noqa: E501 - programs, a line each

from __future__ import annotations

import pytest
from programs import code, facts

from vramguard.checks.outputs import MaskedNan, UnvalidatedOutput
from vramguard.link.code.handling import executions
from vramguard.link.code.outputs import exposures
from vramguard.link.code.surfaces import relays


def found(*texts: str) -> list[tuple[str, str]]:
    """The calls of models that nothing can refuse, each with who gives its answer to people."""
    files = {f"{'app' if not number else f'more{number}'}.py": text for number, text in enumerate(texts)}
    return named(files)


def named(files: dict[str, str]) -> list[tuple[str, str]]:
    problems = UnvalidatedOutput().find(facts(files))
    return sorted((str(one.values["call"]), str(one.values["sink"])) for one in problems)


HANDLER = """
from transformers import AutoModelForCausalLM
from ts.torch_handler.base_handler import BaseHandler
class Handler(BaseHandler):
    def initialize(self, context):
        self.model = AutoModelForCausalLM.from_pretrained("m")
    def inference(self, data):
        return self.model.generate(**data)
"""


def test_a_model_server_hands_an_answer_to_the_next_method() -> None:
    after = HANDLER + "    def postprocess(self, answers):\n        return [str(one) for one in answers]\n"
    assert found(after) == [("self.model.generate", "`Handler.postprocess` (torchserve)")]
    assert found(HANDLER) == [("self.model.generate", "`Handler.inference` (torchserve)")]
    checked = (
        HANDLER
        + "    def postprocess(self, answers):\n        if answers not in KNOWN:\n            raise ValueError\n        return answers\n"
    )
    assert found(checked) == []


def test_what_is_put_into_a_queue_beside_a_checked_answer_is_a_record() -> None:
    start = "import joblib\nfrom confluent_kafka import Producer\nfrom fastapi import FastAPI\napp = FastAPI()\nmodel = joblib.load('m')\nproducer = Producer({})\n@app.get('/x')\ndef f(x: float):\n    score = model.predict([[x]])\n    producer.produce('scores', score)\n"
    checked = start + "    if not 0 <= score <= 1:\n        raise ValueError\n    return score\n"
    assert found(checked) == []
    assert ("model.predict", "`producer.produce` (queue)") in found(start + "    return score\n")


def test_what_the_base_class_of_a_handler_has_loaded_is_a_model() -> None:
    program = "from ts.torch_handler.base_handler import BaseHandler\nclass Mine(BaseHandler):\n    def inference(self, data):\n        return self.model(data)\n    def postprocess(self, data):\n        return data.tolist()\n"
    assert found(program) == [("self.model", "`Mine.postprocess` (torchserve)")]


def test_a_handler_without_a_base_in_a_file_of_its_name() -> None:
    program = "import joblib\nclass Any(object):\n    def initialize(self, context):\n        self.model = joblib.load('m')\n    def handle(self, data, context):\n        return [self.model.predict(data)]\n"
    assert named({"handler.py": program}) == [("self.model.predict", "`Any.handle` (torchserve)")]
    assert named({"other.py": program}) == []


def test_functions_of_a_file_that_a_server_calls_in_turn() -> None:
    program = "import joblib\ndef model_fn(folder):\n    return joblib.load(folder)\ndef predict_fn(data, model):\n    return model.predict(data)\ndef output_fn(answer, accept):\n    return str(answer)\n"
    joined = code({"inference.py": program})
    assert [(one.function.name, then.function.name) for one, then in relays(joined).items()] == [
        ("predict_fn", "output_fn")
    ]
    assert named({"inference.py": program}) == [("model.predict", "`output_fn` (sagemaker)")]


def test_the_framework_s_own_repository() -> None:
    base = "class BaseHandler:\n    def inference(self, data):\n        return data\n    def postprocess(self, data):\n        return data\n"
    files = {
        "ts/__init__.py": "",
        "ts/torch_handler/__init__.py": "",
        "ts/torch_handler/base_handler.py": base,
        "examples/mine.py": HANDLER,
    }
    assert named(files) == [("self.model.generate", "`Handler.inference` (torchserve)")]


CHAT = """
from dataclasses import dataclass
from typing import Literal, Optional
from fastapi import FastAPI
from openai import OpenAI
from pydantic import BaseModel, Field, field_validator
app = FastAPI()
client = OpenAI()
@dataclass
class State:
    query: str = ""
    sql: str = ""
    answer: str = ""
def ask(question):
    return client.chat.completions.create(model="m", messages=[question]).choices[0].message.content
"""
ASK = [("client.chat.completions.create", "`chat` (fastapi)")]


@pytest.mark.parametrize(
    ("field", "given", "refused"),
    [
        ("answer: str", "answer=ask(q)", False),
        ("answer: Optional[str] = None\n    score: float = 0.0", "answer=ask(q)", False),
        ("answer: str\n    kind: Literal['a', 'b'] = 'a'", "answer=ask(q)", False),
        ("answer: Literal['yes', 'no']", "answer=ask(q)", True),
        ("answer: str = Field(pattern='^[a-z]+$')", "answer=ask(q)", True),
        ("answer: str\n    @field_validator('answer')\n    def known(cls, value):\n        if value not in KNOWN:\n            raise ValueError\n        return value", "answer=ask(q)", True),
        ("answer: str\n    other: str\n    @field_validator('other')\n    def known(cls, value):\n        raise ValueError", "answer=ask(q), other=''", False),
        ("answer: str", "**json.loads(ask(q))", True),
    ],
)  # fmt: skip
def test_a_model_asks_of_a_text_what_its_field_asks(field: str, given: str, *, refused: bool) -> None:
    program = f"import json\n{CHAT}class Reply(BaseModel):\n    {field}\n@app.post('/')\ndef chat(q: str):\n    return Reply({given})\n"
    assert found(program) == ([] if refused else ASK)


def test_a_message_inside_of_a_reply_says_nothing_of_its_text() -> None:
    program = f"{CHAT}class Message(BaseModel):\n    role: Literal['user', 'assistant']\n    content: str\nclass Reply(BaseModel):\n    messages: list[Message]\n@app.post('/', response_model=Reply)\ndef chat(q: str):\n    return Reply(messages=[Message(role='assistant', content=ask(q))])\n"
    assert found(program) == ASK


STATE = (
    CHAT
    + """
def check(state):
    if state.sql not in KNOWN:
        raise ValueError("no")
    return state
def write(state: State) -> State:
    state.sql = ask(state.query)
    return check(state)
def tell(state: State) -> State:
    state.answer = ask(state.query)
    return state
@app.post("/")
def chat(q: str):
    state = State(query=q)
    state = write(state)
    state = tell(state)
    return {{"answer": {given}}}
"""
)


def test_another_part_of_an_object_is_another_answer() -> None:
    assert found(STATE.format(given="state.answer")) == ASK
    assert found(STATE.format(given="state.sql")) == []
    assert found(STATE.format(given="state.query")) == []


@pytest.mark.parametrize(
    ("body", "reaches"),
    [
        ("box = {'a': ask(q), 'b': 1}\n    return box['b']", False),
        ("box = {'a': ask(q), 'b': 1}\n    return box['a']", True),
        ("box = {'a': ask(q), 'b': 1}\n    return box.get('b')", False),
        ("box = {'a': ask(q), 'b': 1}\n    return box.copy()['a']", True),
        ("box = {}\n    box['a'] = ask(q)\n    box['a'] = 'no'\n    return box['a']", False),
        ("box = {}\n    for key in q:\n        box[key] = ask(q)\n    return box['a']", True),
        ("state = State(answer=ask(q))\n    return state.query", False),
        ("state = State(answer=ask(q))\n    return state.answer", True),
        ("state = State(answer=ask(q))\n    state.answer = 'no'\n    return state.answer", False),
        ("rows = [{'a': ask(q), 'b': 1}]\n    return [row['b'] for row in rows]", False),
        ("rows = [{'a': ask(q), 'b': 1}]\n    return [row['a'] for row in rows]", True),
    ],
)  # fmt: skip
def test_what_is_read_beside_a_value_is_not_the_value(body: str, *, reaches: bool) -> None:
    ways = exposures(facts({"app.py": f"{CHAT}@app.post('/')\ndef chat(q: str):\n    {body}\n"}))
    assert bool(ways) is reaches


def test_a_validator_that_the_answer_goes_through_counts_wherever_it_raises() -> None:
    program = f"{CHAT}def check(text, secret=None):\n    if secret:\n        if secret in text:\n            raise ValueError('leak')\n    return text\n@app.post('/')\ndef chat(q: str):\n    return {{'answer': check(ask(q), q)}}\n"
    assert found(program) == []


def test_of_two_returns_the_one_that_nothing_refuses() -> None:
    program = f"{CHAT}@app.post('/')\ndef chat(q: str):\n    text = ask(q)\n    if q == 'x':\n        if text not in KNOWN:\n            raise ValueError\n        return text\n    return {{'answer': text}}\n"
    assert found(program) == ASK


def test_rows_that_are_added_to_a_session_do_not_come_back_from_it() -> None:
    program = f"""{CHAT}
from sqlalchemy.ext.asyncio import AsyncSession
class Chats:
    def __init__(self, db: AsyncSession):
        self.db = db
    def keep(self, text):
        self.db.add(Row(text))
    def read(self):
        return self.db.execute("x").scalar_one_or_none()
@app.post('/')
def chat(q: str):
    Chats(db).keep(ask(q))
@app.get('/')
def listed():
    return Chats(db).read()
"""
    assert [sink for _, sink in found(program)] == ["`self.db.add` (database)"]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("'http://tf:8501/v1/models/price:predict'", "any"),
        ("f'{BASE}/v1/models/{NAME}:predict'", "any"),
        ("BASE + '/v2/models/m/infer'", "any"),
        ("os.environ['URL'] + '/invocations'", "any"),
        ("'http://localhost:11434/api/generate'", "text"),
        ("CHAT", "text"),
        ("'http://backend/predict'", ""),
        ("os.environ['URL']", ""),
    ],
)
def test_servers_of_models_by_plain_http(url: str, kind: str) -> None:
    program = f"import os, requests\nfrom flask import Flask\napp = Flask(__name__)\nBASE = 'http://m'\nNAME = os.environ['NAME']\nCHAT = BASE + '/v1/chat/completions'\n@app.route('/')\ndef price():\n    return requests.post({url}, json={{}}).json()['x']\n"
    assert [one.output.kind for one in exposures(facts({"app.py": program}))] == ([kind] if kind else [])


def test_a_client_of_the_repository_s_own_model_server() -> None:
    client = "import requests\nfrom flask import Flask\napp = Flask(__name__)\n@app.route('/')\ndef price():\n    return requests.post('http://m:8080/predictions/m').json()\n"
    assert named({"client.py": client}) == [("requests.post", "`price` (flask)")]
    assert named({"client.py": client, "handler.py": HANDLER}) == [
        ("self.model.generate", "`Handler.inference` (torchserve)")
    ]


def test_an_aligned_transcript_holds_the_transcript() -> None:
    program = "import whisperx\nfrom fastapi import FastAPI\nfrom pydantic import BaseModel\napp = FastAPI()\nclass Aligned(BaseModel):\n    segments: list\nmodel = whisperx.load_model('m')\n@app.post('/')\ndef hear(a):\n    text = model.transcribe(a)\n    return Aligned(**whisperx.align(text, 1, 2, a, 'cpu'))\n"
    assert [call for call, _ in found(program)] == ["model.transcribe", "whisperx.align"]


def test_graphs_of_agents_and_what_a_page_keeps() -> None:
    graph = "from langgraph.graph import StateGraph\nfrom fastapi import FastAPI\napp = FastAPI()\ngraph = StateGraph(dict).compile(checkpointer=1)\n@app.post('/')\nasync def chat(q: str):\n    return (await graph.ainvoke({'q': q}))['messages'][-1].content\n"
    assert found(graph) == [("graph.ainvoke", "`chat` (fastapi)")]
    page = (
        "import streamlit as st\nanswer = st.session_state.conversation({'question': 1})\nst.write(answer['answer'])\n"
    )
    assert found(page) == [("streamlit.session_state.conversation", "`streamlit.write` (page)")]


def test_commands_of_a_database_in_a_pipeline_are_no_model() -> None:
    program = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\nasync def limits(redis_client):\n    async with redis_client.pipeline(transaction=True) as pipe:\n        pipe.get('x')\n        return {'n': (await pipe.execute())[0]}\n"
    assert found(program) == []


SERVED = "from flask import Flask\nimport joblib\napp = Flask(__name__)\n@app.route('/')\ndef f():\n    return 'x'\n"


@pytest.mark.parametrize(
    ("path", "body", "masked"),
    [
        ("embed.py", "import torch\nfrom sentence_transformers import SentenceTransformer\nmodel = SentenceTransformer('m')\ndef embed(text):\n    try:\n        return model.encode(text)\n    except Exception:\n        return []\n", ["except: return []"]),
        ("embed.py", "from sentence_transformers import SentenceTransformer\nmodel = SentenceTransformer('m')\ndef embed(text):\n    return model.encode(text)\n", []),
        ("user.py", "import torch\nclass Encoder(torch.nn.Module):\n    def forward(self, x):\n        return x\nclass User:\n    def __init__(self):\n        self.encoder = Encoder()\n    def __call__(self, clicks):\n        return torch.nan_to_num(self.encoder(clicks))\n", ["torch.nan_to_num"]),
        ("train_user.py", "import torch\nclass Encoder(torch.nn.Module):\n    def forward(self, x):\n        return x\nencoder = Encoder()\ndef embed(clicks):\n    return torch.nan_to_num(encoder(clicks))\n", []),
    ],
)  # fmt: skip
def test_masks_right_at_an_answer(path: str, body: str, masked: list[str]) -> None:
    problems = MaskedNan().find(facts({"app.py": SERVED, path: body}))
    assert [one.values["mask"] for one in problems] == masked
    assert [one.values["mask"] for one in MaskedNan().find(facts({path: body}))] == []  # nothing is served


TOOLS = """
import json, subprocess
from anthropic import Anthropic
from pydantic import BaseModel
client = Anthropic()
class Given(BaseModel):
    code: str
def run(code):
    return subprocess.run({command}, {shell})
class Tool:
    def call(self, text):
        data = json.loads(text)
        if data.get("tool") != "run":
            return ""
        return run(Given(**data).code)
TOOLS = [Tool()]
def agent(question):
    text = client.messages.create(messages=[question]).content[0].text
    for tool in TOOLS:
        tool.call(text)
"""


@pytest.mark.parametrize(
    ("command", "shell", "kinds"),
    [
        ("code", "shell=True", ["shell"]),
        ("['python3', '-c', code]", "timeout=3", ["shell"]),
        ("['ls', '-l', code]", "timeout=3", []),
    ],
)
def test_tools_that_run_what_a_model_writes(command: str, shell: str, kinds: list[str]) -> None:
    program = TOOLS.format(command=command, shell=shell)
    assert [one.kind for one in executions(facts({"app.py": program})) if one.kind != "parse"] == kinds


PROVIDER = """
from abc import ABC, abstractmethod
from openai import OpenAI


class Provider(ABC):
    @abstractmethod
    def write(self, prompt): ...


class Remote(Provider):
    def __init__(self):
        self.client = OpenAI()
    def write(self, prompt):
        return self.client.chat.completions.create(model="m", messages=prompt).choices[0].message.content


class Factory:
    def create(self, kind):
        if kind == "REMOTE":
            return Remote()
        return None
"""
HOLDERS = [
    (
        "from fastapi import FastAPI, Request\napp = FastAPI()",
        "app.writer",
        "@app.post('/a')\ndef answer(request: Request):",
        "request.app.writer",
    ),
    (
        "from fastapi import FastAPI, WebSocket, Request\napp = FastAPI()",
        "app.state.writer",
        "@app.post('/a')\ndef answer(request: Request):",
        "request.app.state.writer",
    ),
    (
        "from flask import Flask, current_app\napp = Flask('a')",
        "app.writer",
        "@app.route('/a')\ndef answer():",
        "current_app.writer",
    ),
]


@pytest.mark.parametrize(("head", "put", "handler", "read"), HOLDERS)
def test_what_a_factory_made_is_kept_at_the_application(head: str, put: str, handler: str, read: str) -> None:
    app = f"{head}\nfrom more1 import Factory\ndef start(settings):\n    {put} = Factory().create(settings.KIND)\n{handler}\n    return {{'text': {read}.write('hello')}}\n"
    assert [call for call, _ in found(app, PROVIDER)] == ["self.client.chat.completions.create"]
    assert found(app.replace(f"{put} =", "other.writer ="), PROVIDER) == []


STREAM = """
from threading import Thread
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from transformers import AutoModelForCausalLM, TextIteratorStreamer
app = FastAPI()
model = AutoModelForCausalLM.from_pretrained("m")


def pieces(prompt):
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    {start}
    for piece in streamer:
        {each}


@app.post("/a")
def answer(prompt: str):
    {give}
"""
BESIDE = "Thread(target=model.generate, kwargs=dict(input_ids=prompt, streamer=streamer)).start()"
TASK = "loop.run_in_executor(None, lambda: model.generate(input_ids=prompt, streamer=streamer))"
SENT = "return StreamingResponse(pieces(prompt), media_type='text/event-stream')"


@pytest.mark.parametrize(
    ("start", "each", "give", "call"),
    [
        (BESIDE, "yield piece", SENT, "Thread"),
        (TASK, "yield f'data: {piece}\\n\\n'", SENT, "model.generate"),
        (BESIDE, "yield checked(piece)", SENT, "Thread"),
        ("prepare(streamer)", "yield piece", SENT, ""),
        (BESIDE, "print(piece)", "return {'done': True}", ""),
        (BESIDE, "if piece not in KNOWN:\n            raise ValueError\n        yield piece", SENT, ""),
    ],
)
def test_a_streamer_hands_on_what_a_thread_beside_makes(start: str, each: str, give: str, call: str) -> None:
    text = STREAM.replace("{start}", start).replace("{each}", each).replace("{give}", give)
    problems = UnvalidatedOutput(stream=True).find(facts({"app.py": text}))
    assert [str(one.values["call"]) for one in problems] == ([call] if call else [])
    assert found(text) == []


WORKER = """
import json, redis, joblib
from pydantic import BaseModel
{imports}
model = joblib.load("m")
store = redis.Redis()


class Result(BaseModel):
    price: {kind}


def work():
    while True:
        job, rows = take()
        result = Result(price=model.predict(rows)[0])
        store.hset(job, mapping={{"result": json.dumps(result.model_dump())}})
"""


@pytest.mark.parametrize(
    ("kind", "imports", "calls"),
    [
        ("float", "", ["model.predict"]),
        ("Annotated[float, Field(gt=0, lt=9)]", "from typing import Annotated\nfrom pydantic import Field", []),
    ],
)
def test_a_model_of_plain_numbers_refuses_nothing_on_the_way_to_a_cache(
    kind: str, imports: str, calls: list[str]
) -> None:
    assert [call for call, _ in found(WORKER.format(kind=kind, imports=imports))] == calls


def test_the_wrapper_of_a_model_is_nobody_who_is_answered() -> None:
    wrapper = "import joblib, mlflow\nclass Prices(mlflow.pyfunc.PythonModel):\n    def load_context(self, context):\n        self.model = joblib.load('m')\n    def predict(self, context, rows):\n        return self.model.predict(rows)\n"
    assert found(wrapper) == []
    served = "import mlflow\nfrom fastapi import FastAPI\napp = FastAPI()\nmodel = mlflow.pyfunc.load_model('models:/prices/1')\n@app.post('/a')\ndef price(rows: list):\n    return {'price': model.predict(rows)}\n"
    assert found(wrapper, served) == [("model.predict", "`price` (fastapi)")]


PIECES = """
from openai import AsyncOpenAI
from telegram import Update
from telegram.ext import ContextTypes
client = AsyncOpenAI()
async def asked(prompt):
    return await client.chat.completions.create(model="m", messages=prompt, stream=True)
async def pieces(prompt):
    answer = ""
    response = await asked(prompt)
    async for chunk in response:
        answer += chunk.choices[0].delta.content
        yield answer
async def reply(update: Update, context: ContextTypes.DEFAULT_TYPE):
    whole = ""
    async for piece in pieces(update.message.text):
"""


@pytest.mark.parametrize(
    ("loop", "streams"),
    [
        ("        await update.message.reply_text(piece)\n", [True]),
        ("        whole = piece\n    await update.message.reply_text(whole)\n", [False]),
    ],
)
def test_a_bot_that_sends_the_pieces_of_an_answer_as_they_come(loop: str, streams: list[bool]) -> None:
    assert [one.stream for one in exposures(facts({"bot.py": PIECES + loop}))] == streams


def test_a_bot_that_sends_what_a_model_draws_and_says() -> None:
    text = """
from openai import OpenAI
from telegram import Update
client = OpenAI()
async def draw(update: Update, context):
    await update.effective_message.reply_photo(photo=client.images.generate(prompt="a").data[0].url)
async def say(update: Update, context):
    await update.effective_message.reply_voice(voice=client.audio.speech.create(input="a", model="m").read())
"""
    sinks = ["`update.effective_message.reply_photo` (message)", "`update.effective_message.reply_voice` (message)"]
    assert sorted(sink for _, sink in found(text)) == sinks
