"""Numbers of answers in OpenAPI, JSON Schema and protobuf."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from declared import of

from vramguard.facts import NumberField
from vramguard.facts.fields import Bound

PATHS = """\
paths:
  /predict:
    post:
      requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/House'}}}}
      responses:
        '200': {content: {application/json: {schema: {$ref: '#/components/schemas/Answer'}}}}
        '422': {content: {application/json: {schema: {$ref: '#/components/schemas/Problem'}}}}
"""
SPEC = f"""\
openapi: 3.1.0
{PATHS}\
components:
  schemas:
    House: {{properties: {{price: {{type: number}}}}}}
    Problem: {{properties: {{price: {{type: number}}}}}}
    Unused: {{properties: {{price: {{type: number}}}}}}
    Answer:
      allOf:
        - $ref: '#/components/schemas/House'
        - properties:
            items: {{type: array, items: {{$ref: '#/components/schemas/Item'}}}}
    Item:
      properties:
        price: {{type: number, minimum: 0}}
        fee: {{type: number, minimum: 0, exclusiveMinimum: true}}
        cost: {{type: [number, 'null'], exclusiveMinimum: 0, maximum: 9.5}}
        fare: {{anyOf: [{{type: integer, minimum: 1}}, {{type: 'null'}}]}}
        dose: {{type: array, items: {{type: number}}}}
        amount: {{type: number, enum: [1, 2]}}
        quantity: {{type: integer, default: 0}}
        text: {{type: string}}
"""
NO = None
ROWS = {
    "price": ("float", Bound(Fraction(0), strict=False), NO),
    "fee": ("float", Bound(Fraction(0), strict=True), NO),
    "cost": ("float", Bound(Fraction(0), strict=True), Bound(Fraction("9.5"), strict=False)),
    "fare": ("int", Bound(Fraction(1), strict=False), NO),
    "dose": ("float", NO, NO),
    "amount": ("float", Bound(Fraction(1), strict=False), Bound(Fraction(2), strict=False)),
    "quantity": ("int", NO, NO),
}


def test_the_answers_of_openapi() -> None:
    found = of("openapi.yaml", SPEC, NumberField)
    assert {one.name: (one.kind, one.lower, one.upper) for one in found} == ROWS
    assert {(one.model, one.answers, one.form) for one in found} == {("Item", "POST /predict 200", "openapi")}
    lines = SPEC.split("\n")
    assert all(f"{one.name}:" in lines[one.at.line - 1] for one in found)


def test_the_same_in_json() -> None:
    import yaml

    text = json.dumps(yaml.safe_load(SPEC), indent=1)
    found = of("api/openapi.json", text, NumberField)
    assert {one.name: (one.kind, one.lower, one.upper) for one in found} == ROWS
    lines = text.split("\n")
    assert all(f'"{one.name}"' in lines[one.at.line - 1] for one in found)


def test_swagger_2() -> None:
    text = """\
swagger: '2.0'
paths: {/predict: {get: {responses: {'200': {schema: {$ref: '#/definitions/Price'}}}}}}
definitions: {Price: {properties: {price: {type: number}}}}
"""
    assert [(one.model, one.name) for one in of("a.yaml", text, NumberField)] == [("Price", "price")]


@pytest.mark.parametrize(
    ("path", "title", "names"),
    [
        ("prediction.schema.json", "", ["price"]),
        ("schema.json", "PriceQuote", ["price"]),
        ("schema.json", "House", []),
        ("values.schema.json", "PriceQuote", []),
        ("package.json", "PriceQuote", []),
    ],
)
def test_json_schema_is_an_answer_by_its_name(path: str, title: str, names: list[str]) -> None:
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= {"title": title} if title else {}
    text = json.dumps(schema | {"properties": {"price": {"type": "number"}}})
    try:
        found = of(path, text, NumberField)
    except AssertionError:  # nobody reads such a file
        found = []
    assert [one.name for one in found] == names


LOOP = """\
openapi: 3.0.0
paths: {/a: {get: {responses: {200: {content: {application/json: {schema: {$ref: '#/a'}}}}}}}}
a: {properties: {b: {$ref: '#/a'}, c: {type: number}}}
"""


@pytest.mark.parametrize(
    "text",
    [
        "openapi: 3.0.0\npaths: []\nnumber: 1\n",
        "openapi: 3.0.0\npaths: {/a: {get: {responses: {200: {$ref: '#/x/y'}}}}}\nx: {y: {$ref: '#/x/y'}}\nnumber: 1\n",
        "openapi: 3.0.0\npaths: {/a: {get: {responses: {2: {$ref: b}}, parameters: [1], requestBody: 3}}}\na: number\n",
        LOOP,
        "apiVersion: v1\nkind: CustomResourceDefinition\nopenAPIV3Schema: {properties: {price: {type: number}}}\n",
    ],
)
def test_odd_contracts(text: str) -> None:
    assert len(of("a.yaml", text, NumberField)) == (text == LOOP)


PROTO = """\
syntax = "proto3";
service Pricing {{ rpc Predict(Ask) returns (Reply); }}
message Ask {{ double price = 1; }}
message Reply {{ repeated Line lines = 1; message Line {{ {} }} }}
message Other {{ double price = 1; }}
"""


@pytest.mark.parametrize(
    ("field", "form", "kind", "lower", "finite"),
    [
        ("double price = 1;", "protobuf", "float", None, None),
        ("uint32 price = 1;", "protobuf", "int", Bound(Fraction(0), strict=False), True),
        ("int64 price = 1;", "protobuf", "int", None, True),
        (
            "float price = 1 [(buf.validate.field).float.gt = 0];",
            "protovalidate",
            "float",
            Bound(Fraction(0), True),
            None,
        ),
        (
            "double price = 1 [(buf.validate.field).double = {gte: 1, finite: true}];",
            "protovalidate",
            "float",
            Bound(Fraction(1), strict=False),
            True,
        ),
        (
            "double price = 1 [(validate.rules).double.gt = 0];",
            "protoc-gen-validate",
            "float",
            Bound(Fraction(0), True),
            None,
        ),
    ],
)
def test_protobuf(field: str, form: str, kind: str, lower: Bound | None, *, finite: bool | None) -> None:
    found = of("a.proto", PROTO.format(field), NumberField)
    (one,) = [one for one in found if one.answers]
    assert (one.model, one.name, one.answers) == ("Reply.Line", "price", "rpc Pricing.Predict")
    assert (one.form, one.kind, one.lower, one.finite) == (form, kind, lower, finite)
    assert [other.model for other in found if not other.answers] == ["Ask", "Other"]
