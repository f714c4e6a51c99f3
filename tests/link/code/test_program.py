"""Meanings across files, who calls whom, where values go, and what guards say of bad values."""

# ruff: noqa: E501 - a program is a line
from __future__ import annotations

import pytest
from programs import call, code

from vramguard.link.code.program import Ref


@pytest.mark.parametrize(
    ("text", "written", "path"),
    [
        ("from openai import OpenAI as O\nc = O()\nc.chat.completions.create()", "c.chat.completions.create", "openai.OpenAI().chat.completions.create"),
        ("import transformers as t\np = t.pipeline('x')\np('y')", "p", "transformers.pipeline()"),
        ("import torch\nm = torch.load('m').to('cuda').eval()\nm(1)", "m", "torch.load()"),
        ("import joblib\ndef load():\n    return joblib.load('m')\ndef f():\n    return load().predict(1)", "load.predict", "joblib.load().predict"),
        ("import joblib\nmodels = {}\ndef start():\n    models['a'] = joblib.load('m')\ndef f():\n    return models['a'].predict(1)", "predict", "joblib.load().predict"),
        ("import joblib\nm = None\ndef start():\n    global m\n    m = joblib.load('m')\ndef f():\n    return m.predict(1)", "m.predict", "joblib.load().predict"),
        ("import joblib\nclass S:\n    def __init__(self):\n        self.m = joblib.load('m')\n    def f(self):\n        return self.m.predict(1)", "self.m.predict", "joblib.load().predict"),
        ("from transformers import PreTrainedModel\ndef f(m: PreTrainedModel | None):\n    return m.generate()", "m.generate", "transformers.PreTrainedModel().generate"),
        ("import joblib\ndef f(m):\n    return m.predict(1)\nf(joblib.load('m'))", "m.predict", "joblib.load().predict"),
        ("def f(m):\n    return m.predict(1)", "m.predict", "?m.predict"),
        ("import torch\nclass N(torch.nn.Module):\n    pass\nn = N()\nn(1)", "n", "torch.nn.Module()"),
        ("from fastapi import Depends\nimport joblib\ndef get():\n    return joblib.load('m')\ndef f(m=Depends(get)):\n    return m.predict(1)", "m.predict", "joblib.load().predict"),
        ("import joblib\nfrom fastapi import FastAPI\napp = FastAPI()\ndef start():\n    app.state.m = joblib.load('m')\ndef f(request):\n    return request.app.state.m.predict(1)", "request.app.state.m.predict", "joblib.load().predict"),
    ],
)  # fmt: skip
def test_what_is_called(text: str, written: str, path: str) -> None:
    program = code(text)
    assert path in program.meanings.called(call(program, written))


def test_names_across_files() -> None:
    program = code({
        "shop/__init__.py": "from .models import load\n",
        "shop/models.py": "import joblib\ndef load():\n    return joblib.load('m')\n",
        "app.py": "import torch\nfrom shop import load\nfrom shop import models as m\nload().predict(1)\n",
    })  # fmt: skip
    assert "joblib.load().predict" in program.meanings.called(call(program, "load.predict"))


def test_an_abstract_method_is_those_that_stand_for_it() -> None:
    program = code("""
import joblib
from abc import ABC, abstractmethod
class Base(ABC):
    @abstractmethod
    def predict(self, x): ...
class Real(Base):
    def predict(self, x):
        return joblib.load('m').predict(x)
def f(model: Base):
    return model.predict(1)
""")
    names = {program.name(one) for one in program.meanings.routines(call(program, "model.predict"))}
    assert names == {"Base.predict", "Real.predict"}


FLOWS = """
import joblib
model = joblib.load('m')
def source():
    return model.predict(1)
"""


@pytest.mark.parametrize(
    ("body", "goes"),
    [
        ("x = source()\n    sink(x)", True),
        ("x = [source()]\n    for y in x:\n        sink(y)", True),
        ("sink(f'{source()}')", True),
        ("sink({'a': [v for v in source()]})", True),
        ("x = source()\n    sink(len(x))", False),
        ("x = source()\n    sink(x > 1)", False),
        ("x = source()\n    sink(x.shape)", False),
        ("x = helper(source())\n    sink(x)", True),
        ("helper(source())\n    sink(helper(1))", False),
        ("box = Box()\n    box.put(source())\n    sink(box.get())", True),
        ("for x in stream():\n        sink(x)", True),
        ("async def inner():\n        return source()\n    import asyncio\n    sink(asyncio.run(inner()))", True),
        ("from fastapi.concurrency import run_in_threadpool as r\n    sink(r(source))", True),
    ],
)
def test_where_an_answer_goes(body: str, *, goes: bool) -> None:
    program = code(f"""{FLOWS}
def helper(v):
    return v
class Box:
    def put(self, v):
        self.v = v
    def get(self):
        return self.v
def stream():
    yield source()
def f():
    {body}
""")
    reached = program.flow.forward(call(program, "model.predict"))
    sinks = [
        edge
        for edge in reached.edges
        if edge.user.node.op == "call" and program.written(edge.user) == "sink" and edge.position
    ]
    assert bool(sinks) is goes


@pytest.mark.parametrize(
    ("guard", "excluded"),
    [
        ("if x <= 0: raise ValueError", {"zero", "negative"}),
        ("if not x > 0: raise ValueError", {"nan", "zero", "negative"}),
        ("if x < 0 or x > 10: raise ValueError", {"inf", "negative"}),
        ("if not 0 < x < 10: raise ValueError", {"nan", "inf", "zero", "negative"}),
        ("if not math.isfinite(x): raise ValueError", {"nan", "inf"}),
        ("if math.isnan(x): raise ValueError", {"nan"}),
        ("if np.isnan(x).any(): raise ValueError", {"nan"}),
        ("if x != x: raise ValueError", {"nan"}),
        ("if x == float('nan'): raise ValueError", set()),
        ("if x == np.nan: raise ValueError", set()),
        ("if 'NaN' in str(x): raise ValueError", set()),
        ("if 'nan' in str(x): raise ValueError", {"nan"}),
        ("if not x: raise ValueError", {"zero"}),
        ("assert x > 0", {"nan", "zero", "negative"}),
        ("check(x)", {"nan", "inf", "zero", "negative"}),
        ("if not good(x): raise ValueError", {"nan", "zero", "negative"}),
        ("if x <= 0: print('bad')", set()),
        ("try:\n        check(x)\n    except ValueError:\n        pass", set()),
    ],
)
def test_what_a_guard_lets_through(guard: str, excluded: set[str]) -> None:
    program = code(f"""
import math
import numpy as np
import joblib
model = joblib.load('m')
def check(v):
    if not (math.isfinite(v) and v > 0):
        raise ValueError(v)
def good(v):
    return v > 0
def f():
    x = model.predict(1)
    {guard}
    return x
""")
    source = call(program, "model.predict")
    reached = program.flow.forward(source)
    (last,) = [Ref(source.routine, number) for number in source.routine.all_of("return")]
    found = [one.excludes for one in program.guards.of(last, reached.values(source.routine))]
    assert frozenset().union(*found) == excluded


@pytest.mark.parametrize(
    ("body", "handlers"),
    [
        ("try:\n        here()\n    except A:\n        pass\n    except B:\n        pass", 2),
        ("try:\n        try:\n            here()\n        except A:\n            pass\n    except B:\n        pass", 2),
        ("try:\n        x()\n    except A:\n        return\n    here()", 0),  # behind it
        ("try:\n        here()\n    except A:\n        raise\n    try:\n        x()\n    except B:\n        return", 1),
        ("try:\n        with x():\n            pass\n        here()\n    except A:\n        pass", 1),
        ("try:\n        x()\n    except A:\n        here()", 0),
    ],
)
def test_the_handlers_around_a_place(body: str, handlers: int) -> None:
    place = call(code(f"import torch\ndef f():\n    {body}\n"), "here")
    assert len(place.routine.handlers(place.node.block)) == handlers


@pytest.mark.parametrize("helper", ["deep/svc/helper.py", "deep/helper.py", "deep/src/helper.py"])
def test_a_module_beside_the_file_or_above_it(helper: str) -> None:
    program = code({
        helper: "import joblib\ndef load():\n    return joblib.load('m')\n",
        "deep/svc/app.py": "from helper import load\nload().predict(1)\n",
    })  # fmt: skip
    assert "joblib.load().predict" in program.meanings.called(call(program, "load.predict"))


def test_a_package_gathers_by_stars_what_its_modules_have() -> None:
    files = {
        "settings/__init__.py": "from .data import *\nfrom .pipeline import *\n",
        "settings/data.py": "from . import *\nRAW = 1\n",
        "settings/pipeline.py": "import joblib\nMODEL = joblib.load('m')\n",
        "app.py": "from settings import *\nMODEL.predict(1)\nUNKNOWN.predict(2)\n",
    }
    program = code(files)
    assert program.meanings.called(call(program, "MODEL.predict")) == {"joblib.load().predict"}
    assert program.meanings.called(call(program, "UNKNOWN.predict")) == {"?UNKNOWN.predict"}
