"""What a repository says of its own functions, and of libraries that nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard import engine
from vramguard.discover import WorkTree
from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

APP = """
from fastapi import FastAPI
from acme.client import Client
from shop.layer import checked, hand_over

app = FastAPI()
client = Client()


@app.get("/price")
def price(product: str):
    answer = client.price(product)
    hand_over(answer)
    return {"price": checked(answer)}
"""
LAYER = "def checked(value):\n    return value\n\n\ndef hand_over(value):\n    pass\n"


def found(root: Path, configuration: str) -> list[tuple[str, int]]:
    (root / "app.py").write_text(APP, "utf-8")
    (root / "shop").mkdir(exist_ok=True)
    (root / "shop" / "layer.py").write_text(LAYER, "utf-8")
    (root / "vramguard.toml").write_text(f'select = ["VG301"]\n{configuration}', "utf-8")
    tree = WorkTree(root)
    return [(one.id, one.at.line) for one in engine.check(tree, engine.load_policy(tree)).findings]


OUTPUT = '[[call]]\ncall = "acme.client.Client().price"\nmeans = "output"\n'
VALIDATOR = '[[call]]\ncall = "shop.layer.checked"\nmeans = "validator"\n'
SINK = '[[call]]\ncall = "shop.layer.hand_over"\nmeans = "sink"\n'


def test_a_client_that_nobody_knows_is_silent(tmp_path: Path) -> None:
    assert found(tmp_path, "") == []


def test_a_client_that_is_said_to_answer_for_a_model(tmp_path: Path) -> None:
    assert found(tmp_path, OUTPUT) == [("VG301", 12)]


def test_a_function_that_is_said_to_refuse(tmp_path: Path) -> None:
    assert found(tmp_path, OUTPUT + VALIDATOR) == []


def test_a_function_that_is_said_to_reach_people(tmp_path: Path) -> None:
    assert found(tmp_path, OUTPUT + VALIDATOR + SINK) == [("VG301", 12)]


def test_a_word_that_nobody_knows_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="output, validator, sink"):
        found(tmp_path, '[[call]]\ncall = "a.b"\nmeans = "guard"\n')


def test_values_that_feed_each_other_in_a_loop_end(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import numpy as np\nimport torch\nfrom fastapi import FastAPI\napp = FastAPI()\n"
        "@app.get('/x')\ndef x(r: list[int]):\n    t = torch.tensor(np.zeros(3))\n"
        "    for i in r:\n        t = t if i else t.x\n    return t\n",
        "utf-8",
    )
    tree = WorkTree(tmp_path)
    assert [one.id for one in engine.check(tree, engine.load_policy(tree, select=("VG316",))).findings] == ["VG316"]
