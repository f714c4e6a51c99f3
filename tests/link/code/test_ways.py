"""Ways of answers through files in memory, tables of an object, factories and generators; what is asked on them."""

# ruff: noqa: E501 - programs, a line each

from __future__ import annotations

import pytest
from programs import facts

from vramguard.checks.breakers import MissingTimeout
from vramguard.checks.handling import ExecutedModelOutput
from vramguard.checks.outputs import LeakyGuard, MaskedNan, UnvalidatedOutput

APP = "from fastapi import FastAPI\nfrom fastapi.responses import StreamingResponse\napp = FastAPI()\n"
GRADIO = "import gradio as gr\nfrom transformers import AutoModelForCausalLM\nmodel = AutoModelForCausalLM.from_pretrained('m')\n"


def found(files: dict[str, str] | str, *, stream: bool = False) -> list[tuple[str, str]]:
    """The calls of models that nothing can refuse, each with who gives its answer to people."""
    programs = {"app.py": files} if isinstance(files, str) else files
    problems = UnvalidatedOutput(stream=stream).find(facts(programs))
    return sorted((str(one.values["call"]), str(one.values["sink"])) for one in problems)


WRITTEN = """
import io, json, whisper
model = whisper.load_model("base")
@app.post("/asr")
def asr(audio):
    file = io.StringIO()
    write(model.transcribe(audio), file)
    file.seek(0)
    return StreamingResponse(file)
"""


@pytest.mark.parametrize(
    "writer",
    [
        "def write(answer, file):\n    json.dump(answer, file)\n",
        "def write(answer, file):\n    for segment in answer['segments']:\n        print(segment, file=file)\n",
        "def write(answer, file):\n    more(answer, file=file)\ndef more(answer, file):\n    file.write(answer['text'])\n",
        "from whisper.utils import WriteJSON\ndef write(answer, file):\n    WriteJSON('.').write_result(answer, file)\n",
    ],
)
def test_what_is_written_into_a_file_in_memory_goes_where_that_goes(writer: str) -> None:
    assert found(APP + writer + WRITTEN) == [("model.transcribe", "`asr` (fastapi)")]
    assert found(APP + writer + WRITTEN, stream=True) == []  # it is whole before it goes out


def test_a_file_on_disk_is_none_in_memory() -> None:
    writer = "def write(answer, file):\n    json.dump(answer, open('x', 'w'))\n"
    assert found(APP + writer + WRITTEN) == []
    saver = "import joblib\ndef write(answer, file):\n    joblib.dump(answer, file)\n"
    assert found(APP + saver + WRITTEN) == []  # for programs, not for people


def test_a_model_in_a_table_of_an_object_that_a_factory_makes() -> None:
    engines = """
import whisperx
from abc import ABC, abstractmethod
class Engine(ABC):
    @abstractmethod
    def detect(self, audio): ...
class Mine(Engine):
    def __init__(self):
        self.models = {"speech": None}
    def load(self):
        self.models["speech"] = whisperx.load_model("base")
    def detect(self, audio):
        return self.models["speech"].model.detect_language(audio)[1]
def create() -> Engine:
    return Mine()
"""
    app = (
        APP
        + "from engines import create\nengine = create()\n@app.post('/d')\ndef d(audio):\n    return {'confidence': engine.detect(audio)}\n"
    )
    assert found({"engines.py": engines, "app.py": app}) == [("model.detect_language", "`d` (fastapi)")]


def test_an_object_of_a_registry_that_is_asked_what_it_is() -> None:
    app = (
        APP
        + """
import joblib
model = joblib.load("m")
class Base:
    def predict(self, x): ...
class Rain(Base):
    def predict(self, x):
        return {"rain": float(model.predict(x)[0])}
def make(name):
    made = globals().get(name)()
    if isinstance(made, Base):
        return made
    return None
@app.post("/predict")
def predict(name, x):
    return make(name).predict(x)
"""
    )
    assert found(app) == [("model.predict", "`predict` (fastapi)")]
    assert found(app.replace("isinstance(made, Base)", "made")) == []


ONCE = (
    GRADIO
    + "def answer(text):\n    out = model.generate(text)\n    yield decode(out)\ngr.Interface(fn=answer, inputs='text', outputs='text')\n"
)
PIECES = (
    GRADIO
    + "def answer(text):\n    for piece in model.generate(text):\n        yield decode(piece)\ngr.Interface(fn=answer, inputs='text', outputs='text')\n"
)


def test_what_a_generator_gives_once_is_no_stream() -> None:
    assert (found(ONCE), found(ONCE, stream=True)) == ([("model.generate", "`answer` (gradio)")], [])
    assert (found(PIECES), found(PIECES, stream=True)) == ([], [("model.generate", "`answer` (gradio)")])
    both = PIECES.replace("decode(piece)\n", "decode(piece)\n    yield decode(piece)\n")
    assert (found(both), found(both, stream=True)) == ([], [("model.generate", "`answer` (gradio)")])


def test_a_callback_that_fills_what_is_iterated() -> None:
    program = GRADIO + (
        "class Pieces:\n    def __init__(self, function):\n        self.function = function\n"
        "    def __iter__(self):\n        return self\n    def __next__(self):\n        return self.queue.get()\n"
        "def answer(text):\n    def run(callback):\n        model.generate(text, stopping_criteria=[callback])\n"
        "    for piece in Pieces(run):\n        if piece[-1] in [tokenizer.eos_token_id]:\n            break\n        yield decode(piece)\n"
        "gr.Interface(fn=answer, inputs='text', outputs='text')\n"
    )
    assert found(program, stream=True) == [("model.generate", "`answer` (gradio)")]
    assert found(program.replace("__next__", "take"), stream=True) == []


def test_a_function_refuses_only_what_it_is_handed() -> None:
    program = (
        APP
        + """
import joblib
model = joblib.load("m")
def cost(name, count):
    if name not in PRICES:
        raise KeyError(name)
    return PRICES[name] * count
@app.post("/p")
def p(x, name):
    answer = model.predict(x)
    total = cost(name, answer)
    return {"price": float(answer[0]), "cost": total}
"""
    )
    assert found(program) == [("model.predict", "`p` (fastapi)")]
    assert found(program.replace("cost(name, answer)", "cost(answer, 1)")) == []


def test_measures_and_records_are_not_the_answer() -> None:
    program = (
        APP
        + """
import joblib
from sklearn.metrics import roc_curve
model = joblib.load("m")
@app.post("/roc")
def roc(x, y):
    fpr, tpr, _ = roc_curve(y, model.predict_proba(x)[:, 1])
    return {"fpr": fpr.tolist()}
"""
    )
    assert found(program) == []
    kept = (
        "import joblib, redis\nfrom pydantic import BaseModel, Field\nmodel = joblib.load('m')\nstore = redis.Redis()\n"
        "class Price(BaseModel):\n    price: float = Field(gt=0, lt=9)\n"
        "@app.post('/p', response_model=Price)\ndef p(x):\n    price = float(model.predict(x)[0])\n    store.setex('k', 9, price)\n    return Price(price=price)\n"
    )
    assert found(APP + kept) == []
    assert found(APP + kept.replace("return Price(price=price)", "return None")) == [
        ("model.predict", "`store.setex` (cache)")
    ]


GUARDED = """
import joblib
from pydantic import BaseModel, Field
model = joblib.load("m")
class Price(BaseModel):
    price: float
@app.post("/p", response_model=Price)
def p(x):
    price = float(model.predict(x)[0])
    if price <= 0:
        return {"price": 5.0}
    return {"price": price}
"""


def test_a_leaky_guard_in_front_of_a_field_that_takes_any_number() -> None:
    assert [one.values["guard"] for one in LeakyGuard().find(facts({"app.py": APP + GUARDED}))] == ["price <= 0"]
    bounded = GUARDED.replace("price: float\n", "price: float = Field(gt=0, lt=9)\n")
    assert list(LeakyGuard().find(facts({"app.py": APP + bounded}))) == []


def test_a_guard_on_what_an_answer_was_handed_to_asks_something_else() -> None:
    program = (
        "import joblib\nfrom sqlalchemy.orm import Session\nmodel = joblib.load('m')\n"
        "def loop(session: Session, known, x):\n    while True:\n        price = float(model.predict(x)[0])\n        session.add(Row(price=price))\n"
        "        if known != session.query(Row).count():\n            session.add(Row(price=price))\n"
    )
    assert list(LeakyGuard().find(facts({"app.py": program}))) == []


MASKING = """
import joblib, pandas as pd
model = joblib.load("m")
@app.post("/p")
def p(frame):
    answer = model.predict(frame)
    last = min(5, len(answer))
    actual = [None if pd.isna(v) else v for v in frame["actual"].values[-last:]]
    return {"answer": answer.tolist(), "actual": actual}
"""


def test_a_mask_of_what_was_only_chosen_by_the_answer() -> None:
    assert list(MaskedNan().find(facts({"app.py": APP + MASKING}))) == []
    masked = MASKING.replace('frame["actual"].values[-last:]', "answer")
    assert len(list(MaskedNan().find(facts({"app.py": APP + masked})))) == 1


def test_a_table_with_nothing_where_the_answer_stands() -> None:
    program = "import joblib\nmodel = joblib.load('m')\n@app.post('/p')\ndef p(x):\n    try:\n        return {'prices': model.predict(x).tolist()}\n    except Exception:\n        return {'prices': []}\n"
    assert [one.values["mask"] for one in MaskedNan().find(facts({"app.py": APP + program}))] == [
        "except: return {'prices'}"
    ]
    told = program.replace("{'prices': []}", "{'prices': [], 'error': 'failed'}")
    assert list(MaskedNan().find(facts({"app.py": APP + told}))) == []


def test_arguments_of_a_tool_by_their_shape() -> None:
    program = "import json\nfrom openai import OpenAI\nclient = OpenAI()\ndef run(calls):\n    for call in calls:\n        given = json.loads(call['function']['arguments'])\n        TOOLS[call['name']](**given)\n"
    assert [one.values["call"] for one in ExecutedModelOutput().find(facts({"app.py": program}))] == [
        "call['function']['arguments']"
    ]
    asked = program.replace("        TOOLS", "        check_arguments(given)\n        TOOLS")
    assert list(ExecutedModelOutput().find(facts({"app.py": asked}))) == []


@pytest.mark.parametrize(
    ("head", "act", "bounded"),
    [
        ("from supabase import create_client, ClientOptions\nclient = create_client('u', 'k')\n", "client.table('t').insert({}).execute()", ("'k')", "'k', options=ClientOptions(postgrest_client_timeout=2))")),
        ("import cloudinary.uploader\n", "cloudinary.uploader.upload('x')", ("'x')", "'x', timeout=2)")),
        ("from google.cloud import storage\nclient = storage.Client()\n", "client.bucket('b').blob('x').download_as_bytes()", ("as_bytes()", "as_bytes(timeout=2)")),
    ],
)  # fmt: skip
def test_clients_of_stores_that_a_request_waits_for(head: str, act: str, bounded: tuple[str, str]) -> None:
    head += "import joblib\nmodel = joblib.load('m')\n"
    program = APP + head + f"@app.get('/x')\ndef x(y):\n    {act}\n    return str(model.predict(y))\n"
    assert len(list(MissingTimeout().find(facts({"app.py": program})))) == 1
    assert list(MissingTimeout().find(facts({"app.py": program.replace(*bounded)}))) == []
    without = program.replace("str(model.predict(y))", "y")  # a page of users, which asks no model
    assert list(MissingTimeout().find(facts({"app.py": without}))) == []


def test_nobody_waits_for_a_lambda_that_answers_nothing() -> None:
    program = "import boto3, joblib\ns3 = boto3.client('s3')\nmodel = joblib.load('m')\ndef work(event):\n    model.predict(event)\n    s3.put_object(Key='k')\ndef lambda_handler(event, context):\n    return work(event)\n"
    assert list(MissingTimeout().find(facts({"lambda_function.py": program}))) == []
    answers = program.replace("s3.put_object(Key='k')\n", "s3.put_object(Key='k')\n    return {'status': 200}\n")
    assert len(list(MissingTimeout().find(facts({"lambda_function.py": answers})))) == 1


def test_an_endpoint_of_beam() -> None:
    program = "import joblib\nfrom beam import endpoint\nmodel = joblib.load('m')\n@endpoint(cpu=1)\ndef price(**inputs):\n    return {'price': float(model.predict(inputs['x'])[0])}\n"
    assert found(program) == [("model.predict", "`price` (beam)")]


def test_a_method_of_tables_is_no_pipeline() -> None:
    program = APP + "@app.get('/x')\ndef x(frame):\n    return {'crores': frame.amount.pipe(to_crores)}\n"
    assert found(program) == []
    assert len(found(program.replace("amount.pipe", "amount.generator"))) == 1
