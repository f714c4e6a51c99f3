"""Declared numbers of Python classes, held against what pydantic itself lets through."""

from __future__ import annotations

import sys
from fractions import Fraction
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from declared import of
from timed import within

from vramguard.checks.fields import _passes
from vramguard.extract import extract
from vramguard.facts import Facts, ModuleNames, NumberField, ResponseModel, SchemaClass, Unknown
from vramguard.facts.fields import SAMPLES, Bound
from vramguard.link.fields import answered
from vramguard.source import Document, read

if TYPE_CHECKING:
    from vramguard.link.fields import Answered

HEAD = """\
from __future__ import annotations
import dataclasses, decimal, math
import typing as t
from decimal import Decimal
from typing import Annotated, Dict, List, Optional, Union
import annotated_types
from annotated_types import Gt, Interval
from pydantic import (
    AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt, RootModel,
    StrictFloat, confloat, condecimal, conint, conlist, field_validator, model_validator,
)
from pydantic import Field as F
from pydantic.types import AllowInfNan
LIMIT = 100.0
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Loose = float
def sane(value):
    if not 0 < value < LIMIT:
        raise ValueError("no price")
    return value
def careless(value):
    if value <= 0:
        raise ValueError("no price")
    return value
"""
HANDLER = """
@app.post("/predict", response_model=A)
def predict(area: float):
    return model.predict(area)
"""
# The body of a class; `price` is tried with each sample, and with pydantic's own answer.
BODIES = [
    "price: float",
    "price: float = 1.0",
    "price: StrictFloat",
    "price: Loose",
    "price: 'float'",
    "price: Optional[float] = None",
    "price: float | None = None",
    "price: float | str",
    "price: int | float",
    "price: Union[float, int, None]",
    "price: Decimal",
    "price: decimal.Decimal = Field(allow_inf_nan=True)",
    "price: Decimal = Field(gt=0)",
    "price: condecimal(gt=0)",
    "price: FiniteFloat",
    "price: PositiveFloat",
    "price: NonNegativeFloat",
    "price: confloat(gt=0)",
    "price: confloat(allow_inf_nan=False)",
    "price: confloat(gt=0, lt=9)",
    "price: Price",
    "price: Optional[Price] = None",
    "price: float = Field(gt=0)",
    "price: float = Field(..., gt=0, lt=1e6)",
    "price: float = F(ge=0, le=LIMIT)",
    "price: float = Field(le=1)",
    "price: float = Field(gt=0, lt=float('inf'))",
    "price: float = Field(gt=0, le=math.inf)",
    "price: float = Field(ge=-math.inf)",
    "price: float = Field(gt=-1, lt=LIMIT)",
    "price: float = Field(multiple_of=0.01)",
    "price: float = Field(allow_inf_nan=False)",
    "price: float = Field(description='no bound')",
    "price: Annotated[float, Field(gt=0), Field(lt=9)]",
    "price: Annotated[float, Gt(0)]",
    "price: Annotated[float, Interval(gt=0, lt=9)]",
    "price: t.Annotated[float, annotated_types.Ge(0), annotated_types.Lt(9)]",
    "price: Annotated[float, AllowInfNan(False)]",
    "price: Annotated[float, AfterValidator(sane)]",
    "price: Annotated[float, AfterValidator(careless)]",
    "price: Annotated[float, AfterValidator(lambda value: round(value, 2) if math.isfinite(value) else value)]",
    "model_config = ConfigDict(allow_inf_nan=False)\nprice: float",
    "model_config = {'allow_inf_nan': False}\nprice: float",
    "model_config = ConfigDict(allow_inf_nan=False)\nprice: float = Field(allow_inf_nan=True)",
    "price: int",
    "price: PositiveInt",
    "price: conint(ge=0)",
]
GUARDS = [
    "if value <= 0:\n    raise ValueError('x')",
    "if not value > 0:\n    raise ValueError('x')",
    "if value <= 0 or value > LIMIT:\n    raise ValueError('x')",
    "if not (0 < value <= LIMIT):\n    raise ValueError('x')",
    "if math.isnan(value):\n    raise ValueError('x')",
    "if math.isnan(value) or math.isinf(value):\n    raise ValueError('x')",
    "if not math.isfinite(value):\n    raise ValueError('x')\nif value == 0:\n    raise ValueError('x')",
    "if value != value:\n    raise ValueError('x')",
    "if value == float('nan'):\n    raise ValueError('x')",
    "if math.isfinite(value):\n    return value\nraise ValueError('x')",
    "assert math.isfinite(value)",
    "assert value > 0, 'x'",
    "checked = float(value)\nif checked < 0.01:\n    raise ValueError('x')",
    "if abs(value) > 1e9:\n    raise ValueError('x')",
    "return sane(value)",
    "return careless(value)",
    "if not value:\n    raise ValueError('x')",
    "if value is None:\n    raise ValueError('x')",
    "try:\n    sane(value)\nexcept ValueError:\n    raise",
    "if isinstance(value, float) and not math.isfinite(value):\n    raise ValueError('x')",
    "print(value)",
]


def indented(text: str, by: int = 4) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in text.split("\n"))


def a_class(body: str, bases: str = "BaseModel") -> str:
    return f"class A({bases}):\n{indented(body)}"


def with_guard(guard: str, decorator: str = "@field_validator('price')\n    @classmethod") -> str:
    method = f"    {decorator}\n    def check(cls, value):\n{indented(guard, 8)}        return value\n"
    return f"class A(BaseModel):\n    price: float\n{method}"


def answers(text: str) -> list[Answered]:
    document = read("app.py", (HEAD + text + HANDLER).encode())
    assert isinstance(document, Document)
    return list(answered(Facts(list(extract(document)))))


def ours(text: str) -> set[str]:
    (found,) = [one for one in answers(text) if one.number.name == "price"]
    return {name for name in SAMPLES if _passes(found, name)} - _only_of_floats(found)


def _only_of_floats(found: Answered) -> set[str]:
    return {"nan", "inf", "-inf"} if found.number.kind == "int" else set()


def theirs(text: str) -> set[str]:
    """What pydantic lets through."""
    import pydantic

    name = "vramguard_witness"
    module = sys.modules[name] = ModuleType(name)
    try:
        exec(compile(HEAD + text, name, "exec"), module.__dict__)  # noqa: S102 - our own text, of this file
        passing = set()
        for sample, value in SAMPLES.items():
            try:
                module.__dict__["A"](price=value)
            except pydantic.ValidationError:
                continue
            passing.add(sample)
        return passing
    finally:
        del sys.modules[name]


@pytest.mark.parametrize("body", BODIES)
def test_a_field_lets_through_what_pydantic_does(body: str) -> None:
    assert ours(a_class(body)) == theirs(a_class(body))


@pytest.mark.parametrize("guard", GUARDS)
def test_a_validator_refuses_what_it_refuses_when_it_is_run(guard: str) -> None:
    assert ours(with_guard(guard)) == theirs(with_guard(guard))


@pytest.mark.parametrize(
    "check",
    [
        "if self.price <= 0:\n    raise ValueError('x')",
        "if not math.isfinite(self.price) or self.price <= 0:\n    raise ValueError('x')",
        "for name, value in self:\n    if not math.isfinite(value):\n        raise ValueError('x')",
        "if any(math.isnan(value) for value in self.__dict__.values()):\n    raise ValueError('x')",
    ],
)
def test_a_validator_of_the_whole_model(check: str) -> None:
    method = f"    @model_validator(mode='after')\n    def check(self):\n{indented(check, 8)}        return self\n"
    text = f"class A(BaseModel):\n    price: float\n{method}"
    assert ours(text) == theirs(text)


GUARDED = """\
class Base(BaseModel):
    @field_validator('*')
    def check(cls, value):
        return sane(value)
"""


@pytest.mark.parametrize(
    ("bases", "before"),
    [
        ("Base", "class Base(BaseModel):\n    model_config = ConfigDict(allow_inf_nan=False)\n"),
        ("Base", "class Base(BaseModel):\n    class Config:\n        allow_inf_nan = False\n"),
        ("BaseModel, allow_inf_nan=False", ""),
        ("Base", GUARDED),
    ],
)
def test_what_a_base_says(bases: str, before: str) -> None:
    text = before + a_class("price: float", bases)
    assert ours(text) == ({"0", "-1"} if "sane" not in before else set())


@pytest.mark.parametrize(
    "unclear",
    [
        "price: float = Field(**OPTIONS)",
        "price: Annotated[float, AfterValidator(helpers.check)]",
        "model_config = ConfigDict(**OPTIONS)\nprice: float",
        "price: float = Field(gt=0, allow_inf_nan=SETTINGS.nan)",
    ],
)
def test_what_nobody_can_tell_is_no_fault(unclear: str) -> None:
    assert ours(a_class(unclear)) & {"nan", "inf"} == set()


@pytest.mark.parametrize(
    "guard", ["helpers.check(value)", "return helpers.checked(value)", "while value:\n    value -= 1"]
)
def test_a_validator_that_nobody_can_follow_is_no_fault(guard: str) -> None:
    assert ours(with_guard(guard)) == set()


@pytest.mark.parametrize(
    "text",
    [
        "price: List[float]",
        "price: list[confloat(gt=0)]",
        "price: Dict[str, float]",
        "price: conlist(float, min_length=1)",
        "price: Optional[List[Optional[float]]] = None",
        "price: t.Tuple[float, float]",
    ],
)
def test_lists(text: str) -> None:
    (found,) = [one for one in of("app.py", HEAD + a_class(text), NumberField) if one.name == "price"]
    assert found.many
    assert found.kind == "float"


@pytest.mark.parametrize(
    "text", ["price: str", "price: t.Any", "price: t.ClassVar[float] = 1.0", "price: t.Literal[1]"]
)
def test_what_is_no_number(text: str) -> None:
    assert of("app.py", HEAD + a_class(text), NumberField) == []


RANGED = """\
from marshmallow import Schema, fields, validate
class A(Schema):
    price = fields.Float(allow_nan=True, validate=validate.Range(min=0, min_inclusive=False))
"""
FORMS = [
    ("from dataclasses import dataclass\n@dataclass\nclass A:\n    price: float = 0.0\n", "dataclass", None),
    (
        "import attrs\n@attrs.define\nclass A:\n    price: float = attrs.field(validator=attrs.validators.gt(0))\n",
        "attrs",
        0,
    ),
    (
        "import attr\n@attr.s\nclass A:\n    price = attr.ib(type=float, validator=[attr.validators.ge(1)])\n",
        "attrs",
        1,
    ),
    ("import msgspec\nclass A(msgspec.Struct):\n    price: Annotated[float, msgspec.Meta(gt=0)]\n", "msgspec", 0),
    ("from typing import TypedDict\nclass A(TypedDict):\n    price: float\n", "typeddict", None),
    ("from sqlmodel import Field, SQLModel\nclass A(SQLModel):\n    price: float = Field(gt=0)\n", "sqlmodel", 0),
    ("from ninja import Schema\nclass A(Schema):\n    price: float\n", "pydantic", None),
    (RANGED, "marshmallow", 0),
]


@pytest.mark.parametrize(("text", "form", "lower"), FORMS, ids=[form for _, form, _ in FORMS])
def test_other_libraries(text: str, form: str, lower: int | None) -> None:
    (found,) = of("app.py", text, NumberField)
    (owner,) = of("app.py", text, SchemaClass)
    assert (found.form, owner.form, found.name) == (form, form, "price")
    assert found.lower == (None if lower is None else Bound(Fraction(lower), strict=lower == 0))


def test_the_range_of_marshmallow_lets_nan_through() -> None:
    text = "from marshmallow import Schema, fields, validate\nclass A(Schema):\n    price = fields.Float({})\n"
    asked = "validate=validate.Range(0, 9, min_inclusive=False)"
    assert ours(text.format(asked)) == set(), "it refuses NaN by itself"
    assert ours(text.format(f"allow_nan=True, {asked}")) == {"nan"}


HANDLERS = [
    ("@app.get('/x', response_model=A)\ndef f(): ...\n", ("A",), "response_model"),
    ("@app.get('/x', response_model=A)\ndef f():\n    return JSONResponse({})\n", (), "returned"),
    ("@app.get('/x', response_model=A)\ndef f() -> StreamingResponse: ...\n", (), "returned"),
    ("@app.get('/x', response_model=List[s.A])\nasync def f() -> B: ...\n", ("s.A",), "response_model"),
    ("@router.post('/x')\ndef f() -> 'Optional[A]': ...\n", ("A",), "return annotation"),
    ("@app.route('/x')\ndef f():\n    out = A(price=1)\n    return out.model_dump()\n", ("A",), "returned"),
    ("@api.post('/x', response=A)\ndef f(request): ...\n", ("A",), "response"),
    ("@app.output(A(many=True))\ndef f(): ...\n", ("A",), "output"),
    ("@blp.response(200, A)\ndef f(): ...\n", ("A",), "response"),
    ("import bentoml\n@bentoml.api\ndef f(self) -> A: ...\n", ("A",), "return annotation"),
    ("from litestar import post\n@post('/x')\nasync def f(data: B) -> A: ...\n", ("A",), "return annotation"),
    ("class P(BasePredictor):\n    def predict(self) -> A: ...\n", ("A",), "return annotation"),
    ("def make():\n    @app.get('/x')\n    def f() -> A: ...\n", ("A",), "return annotation"),
]


@pytest.mark.parametrize(("text", "models", "how"), HANDLERS)
def test_who_answers_with_what(text: str, models: tuple[str, ...], how: str) -> None:
    (found,) = of("app.py", text, ResponseModel)
    assert (found.models, found.how) == (models, how)


@pytest.mark.parametrize(
    "text", ["def f() -> A: ...\n", "@cache\ndef f() -> A: ...\n", "@get('/x')\ndef f() -> A: ...\n"]
)
def test_who_answers_nobody(text: str) -> None:
    assert of("app.py", text + "# response_model\n", ResponseModel) == []


def test_imports_and_reach() -> None:
    text = "from a import b as c\nfrom .d import *\nimport e.f\ndef g():\n    return c(model.predict(1))\n"
    (found,) = of("app.py", text, ModuleNames)
    assert found.imports == {"c": ("a", "b", 0), "*1": ("d", "*", 1), "e": ("e", None, 0)}
    assert found.predicting == {"g"}


def test_most_files_have_no_facts_of_this_kind() -> None:
    kinds = (NumberField, SchemaClass, ResponseModel, ModuleNames)
    for kind in kinds:
        assert of("app.py", "import os\n\nclass A:\n    x: float = 1.0\n", kind) == []


HOSTILE = {
    "a long name": f"@app.get('/x')\ndef f() -> A:\n    return {'a_' * 200_000}(model.predict(1))\n",
    "a deep type": "class A(BaseModel):\n    price: " + "List[" * 60 + "float" + "]" * 60 + "\n",
    "quotes within quotes": "from pydantic import BaseModel\nclass A(BaseModel):\n    price: \"List['float']\"\n",
    "an alias of itself": "from pydantic import BaseModel\nX = List[X]\nclass A(BaseModel):\n    a: X\n    p: float\n",
    "bases in a circle": "from pydantic import BaseModel\nclass A(B):\n    p: float\nclass B(A):\n    p: float\n",
    "many fields": "from pydantic import BaseModel\nclass A(BaseModel):\n"
    + "".join(f"    p{n}: float\n" for n in range(5000)),
    "a long validator": HEAD + with_guard("\n".join(["value = float(float(float(value)))"] * 3000)),
    "calls within calls": HEAD + with_guard("return " + "f(" * 80 + "value" + ")" * 80),
    "a validator that calls itself": HEAD
    + "def again(value):\n    return again(value)\n"
    + with_guard("return again(value)"),
    "half a class": "class A(BaseModel\n    price: float\n",
    "a great number": "from pydantic import BaseModel, Field\nclass A(BaseModel):\n    p: float = Field(gt=1e999, lt="
    + "9" * 2000
    + ")\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_says_nothing_or_little_at_once(name: str) -> None:
    with within(5):
        document = read("app.py", (HOSTILE[name] + HANDLER).encode())
        assert isinstance(document, Document)
        found = list(answered(Facts(list(extract(document)))))
        assert len(found) <= 500


def test_a_bound_that_is_not_known_is_kept_as_written() -> None:
    (found,) = of("app.py", HEAD + a_class("price: float = Field(gt=SETTINGS.low)"), NumberField)
    assert found.lower is not None
    assert found.lower.value == Unknown("SETTINGS.low")
