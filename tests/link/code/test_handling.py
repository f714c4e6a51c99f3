"""Schemas that an answer is led around, refusals that are forgotten, texts that are executed."""

# ruff: noqa: E501 - programs, a line each

from __future__ import annotations

import pytest
from programs import facts

from vramguard.checks.outputs import UnvalidatedOutput
from vramguard.link.code.handling import bypasses, executions
from vramguard.link.code.outputs import exposures
from vramguard.link.code.swallowed import swallowed

QUOTE = """
import joblib
import logging
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse, ORJSONResponse
from pydantic import BaseModel, Field, ValidationError
app = FastAPI()
model = joblib.load("m")
class Quote(BaseModel):
    price: float = Field(gt=0)
def checked(value):
    if not 0 < value < 10:
        raise ValueError("no price")
    return value
"""
CHAT = """
import ast, json, subprocess, os, sqlite3
from fastapi import FastAPI
from openai import OpenAI
from pydantic import BaseModel
app = FastAPI()
client = OpenAI()
connection = sqlite3.connect("x")
TOOLS = {"a": len}
class Answer(BaseModel):
    score: float
def ask(question):
    return client.chat.completions.create(model="m", messages=[]).choices[0].message.content
"""


@pytest.mark.parametrize(
    ("handler", "forms"),
    [
        ("@app.get('/', response_model=Quote)\ndef f():\n    return JSONResponse({'price': float(model.predict([1])[0])})", ["response"]),
        ("@app.get('/')\ndef f() -> Quote:\n    return ORJSONResponse({'price': model.predict([1])[0]})", ["response"]),
        ("@app.get('/', response_model=Quote)\ndef f():\n    return JSONResponse(Quote(price=model.predict([1])[0]).model_dump())", []),
        ("@app.get('/', response_model=Quote)\ndef f():\n    return JSONResponse({'wrong': float(model.predict([1])[0])}, status_code=502)", []),
        ("@app.get('/')\ndef f():\n    return JSONResponse({'price': float(model.predict([1])[0])})", []),
        ("@app.get('/', response_model=None)\ndef f() -> Quote:\n    return {'price': model.predict([1])[0]}", ["undeclared"]),
        ("def f():\n    return Quote.model_construct(price=model.predict([1])[0])", ["construct"]),
        ("def f():\n    return Quote.model_validate({'price': model.predict([1])[0]})", []),
    ],
)  # fmt: skip
def test_schemas_that_are_led_around(handler: str, forms: list[str]) -> None:
    assert [one.form for one in bypasses(facts({"app.py": QUOTE + handler}))] == forms


def test_jsonify_beside_a_schema_with_a_field_for_it() -> None:
    text = """
import joblib
from flask import Flask, jsonify
from marshmallow import Schema, fields
app = Flask(__name__)
model = joblib.load("m")
class QuoteSchema(Schema):
    price = fields.Float()
@app.get("/")
def f():
    return jsonify({"%s": model.predict([1])[0]})
"""
    assert [one.model for one in bypasses(facts({"app.py": text % "price"}))] == ["QuoteSchema"]
    assert not bypasses(facts({"app.py": text % "other"}))


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("    try:\n        return Quote(price=value)\n    except ValidationError:\n        return {'price': value}", ["raw"]),
        ("    try:\n        checked(value)\n    except ValueError:\n        logging.warning('odd')\n    return {'price': value}", ["passes"]),
        ("    try:\n        return {'price': checked(value)}\n    except ValueError:\n        return 'The price could not be validated.'", ["text"]),
        ("    try:\n        return Quote(price=value)\n    except ValidationError as error:\n        raise HTTPException(502) from error", []),
        ("    try:\n        return Quote(price=value)\n    except ValidationError:\n        return JSONResponse({'price': value}, status_code=502)", []),
        ("    try:\n        return Quote(price=value)\n    except KeyError:\n        return {'price': value}", []),
        ("    try:\n        logging.info('a price')\n    except ValueError:\n        pass\n    return {'price': value}", []),
    ],
)  # fmt: skip
def test_refusals_that_are_forgotten(body: str, how: list[str]) -> None:
    text = f"{QUOTE}\n@app.get('/')\ndef f():\n    value = float(model.predict([1])[0])\n{body}"
    assert [one.how for one in swallowed(facts({"app.py": text}))] == how


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ("return eval(ask(q))", ["code"]),
        ("os.system(ask(q))", ["shell"]),
        ("subprocess.run(['say', ask(q)])", []),
        ("subprocess.run(ask(q), shell=True)", ["shell"]),
        ("connection.execute(ask(q))", ["sql"]),
        ("connection.execute('INSERT INTO t VALUES (?)', (ask(q),))", []),
        ("return getattr(ast, ask(q))()", ["tool"]),
        ("return globals()[ask(q)]()", ["tool"]),
        ("return TOOLS[ask(q)]", []),
        ("name = ask(q)\n    if name in TOOLS:\n        return globals()[name]()", []),
        ("return json.loads(ask(q))['score']", ["parse"]),
        ("return Answer(**json.loads(ask(q)))", []),
        ("found = json.loads(ask(q))\n    if found['score'] > 1:\n        raise ValueError\n    return found", []),
        ("return Answer.model_validate_json(ask(q))", []),
    ],
)
def test_texts_that_are_executed(body: str, kinds: list[str]) -> None:
    text = f"{CHAT}\ndef f(q):\n    {body}\n"
    assert [one.kind for one in executions(facts({"app.py": text}))] == kinds


def test_a_chain_with_structured_output_gives_an_instance_of_a_schema() -> None:
    text = """
from fastapi import FastAPI
from langchain_openai import ChatOpenAI
app = FastAPI()
model = ChatOpenAI()
chain = prompt | model%s
@app.get("/")
def f(q):
    return chain.invoke(q)
"""
    raw, structured = ({"app.py": text % part} for part in ("", ".with_structured_output(Answer)"))
    assert [one.layers for one in exposures(facts(raw))] == [()]
    assert [layer.kind for one in exposures(facts(structured)) for layer in one.layers] == ["schema"]


def test_what_grows_in_a_part_of_a_list_is_in_the_list() -> None:
    text = """
import gradio
from openai import OpenAI
client = OpenAI()
def answer(history):
    for part in client.chat.completions.create(stream=True):
        history[-1]["content"] += part.choices[0].delta.content
        yield history
gradio.Interface(fn=answer)
"""
    assert [one.stream for one in exposures(facts({"app.py": text}))] == [True]


def test_a_recursion_gives_its_answer_to_whoever_began_it() -> None:
    text = """
import joblib
from fastapi import FastAPI
app = FastAPI()
model = joblib.load("m")
def plain(x):
    return [plain(one) for one in x]
@app.get("/a")
def a():
    return plain(model.predict([1]))
@app.get("/b")
def b():
    return plain([2])
"""
    assert [one.sink.name for one in exposures(facts({"app.py": text}))] == ["a"]


def test_an_alias_of_an_annotated_type_and_a_generated_servicer() -> None:
    files = {
        "shop.py": "import joblib\nclass Prices:\n    def ask(self):\n        return joblib.load('m').predict([1])[0]\n",
        "needs.py": "from typing import Annotated\nfrom fastapi import Depends\nfrom shop import Prices\nNeed = Annotated[Prices, Depends()]\n",
        "app.py": "from fastapi import FastAPI\nfrom needs import Need\napp = FastAPI()\n@app.get('/')\ndef f(prices: Need):\n    return prices.ask()\n",
        "shop_pb2_grpc.py": "class ShopServicer(object):\n    def Price(self, request, context):\n        raise NotImplementedError\n",
        "server.py": "import shop_pb2_grpc\nimport joblib\nclass Shop(shop_pb2_grpc.ShopServicer):\n    def Price(self, request, context):\n        return joblib.load('m').predict([1])\n",
    }  # fmt: skip
    assert {(one.sink.framework, one.sink.name) for one in exposures(facts(files))} == {
        ("fastapi", "f"),
        ("grpc", "Shop.Price"),
    }


def test_a_package_of_another_project_of_the_repository() -> None:
    files = {
        "shared/setup.py": "",
        "shared/shared/__init__.py": "",
        "shared/shared/prices.py": "import joblib\ndef ask():\n    return joblib.load('m').predict([1])\n",
        "backend/app.py": "from flask import Flask\nfrom shared.prices import ask\napp = Flask('x')\n@app.get('/')\ndef f():\n    return ask()\n",
    }  # fmt: skip
    assert [one.sink.name for one in exposures(facts(files))] == ["f"]


def test_a_shape_is_no_validation_of_values() -> None:
    text = """
import joblib
from flask import Flask
app = Flask("x")
model = joblib.load("m")
@app.get("/")
def f():
    answer = model.predict([1])
    if answer.shape[1] != 3:
        raise ValueError
    return answer
"""
    assert [layer.kind for one in exposures(facts({"app.py": text})) for layer in one.layers] == ["type"]


@pytest.mark.parametrize(
    ("body", "mask"),
    [
        ("    return 0.0 if math.isnan(value) else value", "0.0 if math.isnan(value) else value"),
        ("    row = {}\n    if math.isnan(value):\n        row['p'] = None\n    else:\n        row['p'] = value\n    return row", "if math.isnan(value): None"),
        ("    try:\n        return float(model.predict([1])[0])\n    except Exception:\n        return 0.0", "except: return 0.0"),
        ("    if math.isnan(value):\n        raise ValueError\n    return value", ""),
    ],
)  # fmt: skip
def test_masks(body: str, mask: str) -> None:
    text = f"""
import joblib
import math
from flask import Flask
app = Flask("x")
model = joblib.load("m")
@app.get("/")
def f():
    value = model.predict([1])[0]
{body}
"""
    layers = [layer for one in exposures(facts({"app.py": text})) for layer in one.layers]
    assert [layer.what for layer in layers if layer.kind == "mask"][:1] == ([mask] if mask else [])


def test_guards_are_named_as_they_are_written() -> None:
    text = """
import joblib
from flask import Flask
app = Flask("x")
model = joblib.load("m")
@app.get("/")
def f():
    value = model.predict([1])[0]
    if "NaN" in str(value):
        raise ValueError
    return value
"""
    assert [layer.what for one in exposures(facts({"app.py": text})) for layer in one.layers] == ["'NaN' in str(value)"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("state.intent not in KNOWN", ["VG301"]),  # says nothing of the answer
        ("state.answer not in KNOWN", []),
        ("not state.answer.startswith('{')", []),
    ],
)
def test_a_guard_of_something_else_in_the_same_object(asked: str, found: list[str]) -> None:
    text = (
        "from fastapi import FastAPI, HTTPException\nfrom openai import OpenAI\nKNOWN = {'a'}\napp = FastAPI()\n"
        "client = OpenAI(timeout=5)\nclass State:\n    intent = ''\n    answer = ''\n"
        "@app.get('/x')\ndef x(q: str):\n    state = State()\n    state.intent = q\n"
        "    state.answer = client.responses.create(input=q).output_text\n"
        f"    if {asked}:\n        raise HTTPException(422)\n    return {{'answer': state.answer}}\n"
    )
    problems = list(UnvalidatedOutput().find(facts({"app.py": text})))
    assert ["VG301"] * len(problems) == found


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("given = json.loads(call.function.arguments)\n    answer = tool.execute(**given)\n    return 'none' if answer == '' else answer", 1),
        ("answer = tool.execute(**json.loads(call.function_call.arguments))\n    return 'none' if answer == '' else answer", 1),
        ("answer = tools[call.function.name](**json.loads(call.function.arguments))\n    return answer if answer > 2 else 0", 1),
        ("given = json.loads(call.function.arguments)\n    if given.get('path') not in KNOWN:\n        raise ValueError\n    return tool.execute(**given)", 0),
        ("given = json.loads(call.function.arguments)\n    validate(given)\n    return tool.execute(**given)", 0),
        ("try:\n        return tool.execute(**json.loads(call.function.arguments)) == 2\n    except TypeError:\n        return None", 0),
        ("answer = Arguments(**json.loads(call.function.arguments))\n    return answer == 2", 0),
    ],
)  # fmt: skip
def test_a_tool_that_is_run_with_what_a_model_wrote(body: str, count: int) -> None:
    text = f"import json\nfrom pydantic import BaseModel\nclass Arguments(BaseModel):\n    path: str\ndef run(call, tool, tools):\n    {body}\n"
    assert len(executions(facts({"app.py": text}))) == count
