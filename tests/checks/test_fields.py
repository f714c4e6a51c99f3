"""Whose schemas are judged, across modules; and which names are prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_policies import Files

from vramguard import engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.policy import Finding

SERVICE = """\
from app.schemas import Answer
@app.post('/predict', response_model=Answer)
def f(x: float):
    return model.predict(x)
"""
PYDANTIC = "from pydantic import BaseModel, Field\n"


def findings(files: Mapping[str, str], *rules: str, configuration: str = "") -> list[Finding]:
    tree = Files({**files, "vramguard.toml": configuration})
    return engine.check(tree, engine.load_policy(tree, select=rules or ("VG302", "VG303"))).findings


def fields(files: Mapping[str, str], *rules: str, configuration: str = "") -> list[str]:
    found = findings(files, *rules, configuration=configuration)
    return [one.message.split("`")[1] for one in found]


def of_class(body: str, *rules: str, configuration: str = "", path: str = "app.py") -> list[str]:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    route = "@app.post('/predict', response_model=A)\ndef f(x: float):\n    return model.predict(x)\n"
    return fields({path: f"{PYDANTIC}class A(BaseModel):\n{lines}{route}"}, *rules, configuration=configuration)


@pytest.mark.parametrize(
    ("imports", "name"),
    [
        ("from app.schemas import Answer", "Answer"),
        ("from .schemas import Answer as A", "A"),
        ("from app import schemas", "schemas.Answer"),
        ("from app.models import Answer", "Answer"),
        ("from app.schemas import *", "Answer"),
        ("import app.schemas as s", "s.Answer"),
        ("import app.schemas", "app.schemas.Answer"),
    ],
)
def test_a_schema_is_found_through_imports(imports: str, name: str) -> None:
    files = {
        "src/app/__init__.py": "",
        "src/app/schemas.py": f"{PYDANTIC}class Answer(BaseModel):\n    value: float\n",
        "src/app/models/__init__.py": "from ..schemas import *\n",
        "src/app/api.py": f"{imports}\n" + SERVICE.partition("\n")[2].replace("=Answer", f"={name}"),
    }
    assert fields(files) == ["Answer.value"]


def test_two_modules_of_one_name_are_told_apart_by_their_folder() -> None:
    schema = f"{PYDANTIC}class Answer(BaseModel):\n    value: float{{}}\n"
    files = {
        "one/app/schemas.py": schema.format(""),
        "one/app/api.py": SERVICE,
        "two/app/schemas.py": schema.format(" = Field(gt=0, lt=1)"),
        "two/app/api.py": SERVICE,
    }
    assert [one.at.path for one in findings(files)] == ["one/app/schemas.py"]


def test_what_requests_and_answers_share_is_not_judged() -> None:
    text = f"""{PYDANTIC}
class House(BaseModel):
    area: float

class Priced(House):
    inner: House
    value: float

@app.post("/predict")
def f(house: House) -> Priced:
    return model.predict(house)
"""
    assert fields({"app.py": text}) == ["Priced.value"]


def test_a_field_is_judged_once_and_says_who_answers() -> None:
    text = f"""{PYDANTIC}
class Item(BaseModel):
    value: float

class A(BaseModel):
    items: list[Item]

class B(BaseModel):
    best: Item

@app.post("/predict", response_model=A)
def first(x: float):
    return model.predict(x)

@app.post("/predict/best", response_model=B)
def second(x: float):
    return model.predict(x)
"""
    (found,) = findings({"app.py": text})
    assert found.message.split("`")[1] == "Item.value"
    assert [link.what for link in found.evidence] == ["`first` answers with it", "through A", "through Item"]


ROUTE = "@app.{0}('{1}', response_model=A)\ndef {2}(x: float):\n    {3}\n"


@pytest.mark.parametrize(
    ("verb", "path", "name", "body", "judged"),
    [
        ("post", "/predict", "f", "return model.predict(x)", True),
        ("post", "/x", "f", "return pipe(x)", True),
        ("post", "/x", "f", "return helper(x)", True),
        ("get", "/forecast", "latest", "return table.read()", True),
        ("get", "/users", "users", "return table.read()", False),
        ("get", "/x", "f", "return list_project_models(x)", False),
        ("get", "/health", "health", "return model.predict(x)", False),
        ("get", "/model/info", "info", "return model.predict(x)", False),
        ("post", "/orders", "order", "return generate(x)", False),
    ],
)
def test_whether_a_handler_gives_what_a_model_gave(verb: str, path: str, name: str, body: str, *, judged: bool) -> None:
    route = ROUTE.format(verb, path, name, body)
    text = f"{PYDANTIC}class A(BaseModel):\n    value: float\ndef helper(x):\n    return deeper(x)\n"
    files = {
        "app.py": f"from service import deeper\n{text}{route}",
        "service.py": "def deeper(x):\n    return Model().predict(x)\n",
    }
    assert fields(files) == (["A.value"] if judged else [])


def test_fastapi_without_a_declared_model_refuses_nan_but_not_zero() -> None:
    text = f"from fastapi import FastAPI\n{PYDANTIC}class A(BaseModel):\n    price: float\n"
    route = "@app.post('/predict')\ndef f(x: float):\n    return A(price=model.predict(x))\n"
    assert [one.id for one in findings({"app.py": text + route})] == ["VG303"]
    flask = "@app.route('/predict')\ndef f(x: float):\n    return A(price=model.predict(x)).json()\n"
    assert [one.id for one in findings({"app.py": text.partition("\n")[2] + flask})] == ["VG302", "VG303"]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        *(("price", "float"), ("unit_price", "float"), ("predictedPrice", "int"), ("prices", "list[float]")),
        *(("price_usd", "float"), ("price_per_night", "float"), ("amount", "Decimal"), ("total", "float")),
        *(("grand_total", "int"), ("recommended_dose_mg", "float"), ("delivery_window_fare", "float")),
        *(("median_house_value", "int"), ("quantity", "int"), ("pricePrediction", "float"), ("total_cost", "float")),
    ],
)
def test_names_of_prices(name: str, type_: str) -> None:
    lexicon = of_class(f"{name}: {type_}", "VG303")
    assert lexicon == ([f"A.{name}"] if name != "delivery_window_fare" else [])


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        *(("price_range_label", "int"), ("cost_function", "float"), ("total_pages", "int"), ("total_tokens", "int")),
        *(("quantity_unit", "int"), ("token_cost", "float"), ("prix", "float"), ("total", "int"), ("profit", "float")),
        *(("discount_amount", "float"), ("price_change", "float"), ("price_delta", "float"), ("score", "float")),
        *(("price_error", "float"), ("probability", "float"), ("latency", "float"), ("requests_total", "int")),
        *(("shipping_cost", "float"), ("min_price", "float"), ("price", "str"), ("price_lower", "float")),
    ],
)
def test_names_of_what_may_be_zero(name: str, type_: str) -> None:
    assert of_class(f"{name}: {type_}", "VG303") == []


def test_what_a_call_to_a_language_model_costs_may_be_nothing() -> None:
    assert of_class("cost: float\nprompt_tokens: int", "VG303") == []
    assert of_class("cost: float\nrooms: int", "VG303") == ["A.cost"]


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("price: float", "0 and negative numbers"),
        ("price: float = Field(ge=0)", "0"),
        ("price: float = Field(ge=-1)", "0 and negative numbers"),
        ("price: float = Field(0.0, gt=0)", "a default of 0"),
        ("price: int = 0", "a default of 0"),
        ("price: float = Field(default_factory=float, gt=0)", "a default of 0"),
    ],
)
def test_what_a_price_allows(field: str, what: str) -> None:
    (found,) = findings({"app.py": _app(field)}, "VG303")
    assert f"allows {what}" in found.message


@pytest.mark.parametrize("bound", ["gt=0", "ge=0.01", "gt=LOW", "gt=0, lt=LIMIT"])
def test_a_price_above_zero(bound: str) -> None:
    assert findings({"app.py": _app(f"price: float = Field({bound})")}, "VG303") == []


def _app(field: str) -> str:
    route = "@app.post('/predict')\ndef f() -> A:\n    return model.predict(1)\n"
    return f"{PYDANTIC}class A(BaseModel):\n    {field}\n{route}"


def test_the_organisations_own_words_are_errors() -> None:
    own = '[rules.VG303]\nnonzero = ["rate", "price"]\n'
    found = findings(
        {"app.py": _app("price: float\n    hourly_rate: float\n    fare: float")}, "VG303", configuration=own
    )
    assert [one.severity.label for one in found] == ["error", "error", "warning"]


def test_a_time_may_be_an_answer_and_the_services_own_clock_is_none() -> None:
    fields = "latency_ms: float\n    delivery_time: float\n    predicted_duration: float\n    value: float"
    found = findings({"app.py": _app(fields)}, "VG302")
    assert [one.severity.label for one in found] == ["warning", "error", "error"]


def test_what_is_asked_on_its_way_may_be_declared_as_any_number() -> None:
    guard = "    if not math.isfinite(value):\n        raise HTTPException(500)\n"
    route = "@app.post('/predict')\ndef f() -> A:\n    value = model.predict(1)\n{}    return A(value=value)\n"
    text = f"import math\n{PYDANTIC}class A(BaseModel):\n    value: float\n{route}"
    assert not findings({"app.py": text.format(guard)}, "VG302")
    assert findings({"app.py": text.format("")}, "VG302")


def test_fields_that_may_be_anything() -> None:
    own = '[rules.VG302]\nbesides = ["value"]\n'
    assert of_class("value: float\nother: float", "VG302", configuration=own) == ["A.other"]


@pytest.mark.parametrize(
    ("path", "severity"), [("examples/app.py", "warning"), ("app.py", "error"), ("tests/app.py", "")]
)
def test_classes_of_paths(path: str, severity: str) -> None:
    found = findings({path: _app("value: float")}, "VG302")
    assert [one.severity.label for one in found] == ([severity] if severity else [])


SPEC = """\
openapi: 3.0.0
paths:
  {path}:
    get:
      responses:
        '200': {{content: {{application/json: {{schema: {{$ref: '#/components/schemas/{name}'}}}}}}}}
components: {{schemas: {{{name}: {{properties: {{price: {{type: number}}}}}}}}}}
"""


@pytest.mark.parametrize(
    ("path", "name", "serves", "judged"),
    [
        ("/predict", "Answer", False, True),
        ("/orders", "Order", False, False),
        ("/orders", "Order", True, False),
        ("/offers", "PriceQuote", True, True),
        ("/offers", "PriceQuote", False, False),
        ("/offers", "PredictionResult", True, True),
    ],
)
def test_contracts_are_judged_where_a_model_answers(path: str, name: str, *, serves: bool, judged: bool) -> None:
    files = {"openapi.yaml": SPEC.format(path=path, name=name)} | ({"app.py": _app("text: str")} if serves else {})
    assert fields(files) == ([f"{name}.price"] if judged else [])
