"""The shipped catalogue is the tests' catalogue, and what it says of a model is what a proof needs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vramguard import data
from vramguard.link.names import is_hub_id
from vramguard.memory import UnprovenError
from vramguard.memory.families import architecture

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship_catalogue", ROOT / "scripts/ship_catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_package_ships_what_the_tests_check() -> None:
    shipped = (ROOT / "vramguard/data/models.json").read_text("utf-8")
    assert shipped == script().text(), "python scripts/ship_catalogue.py"
    done = subprocess.run([sys.executable, ROOT / "scripts/ship_catalogue.py", "--check"], check=False)
    assert done.returncode == 0


def test_every_model_is_one_of_the_hub_and_says_where_it_was_read() -> None:
    rows = {model.id: model for model in data.models().values()}
    assert len(rows) >= 60
    names = [name.casefold() for row in rows.values() for name in (row.id, *row.aliases)]
    assert len(names) == len(set(names)) == len(data.models())
    for row in rows.values():
        assert all(is_hub_id(name) for name in (row.id, *row.aliases))
        assert re.fullmatch(r"[0-9a-f]{40}", row.commit)
        assert row.commit[:12] in row.read_in
        assert all(re.search(r"@[0-9a-f]{40}, \S", source) for source in row.aliases.values())


@pytest.mark.parametrize("name", sorted({model.id for model in data.models().values()}))
def test_every_network_is_known(name: str) -> None:
    model = data.model(name)
    assert model is not None
    try:
        network = architecture(model.config)
    except UnprovenError as error:
        pytest.fail(f"{name}: {error}")
    assert network.parameters > 0
    assert network.context > 0, "a deployment that names no context takes the config's"


def test_names_are_compared_as_the_hub_does() -> None:
    assert data.model("META-LLAMA/llama-3.1-8b-INSTRUCT") is data.model("meta-llama/Meta-Llama-3.1-8B-Instruct")
    assert data.model("gpt2") is data.model("openai-community/gpt2")
    assert data.model("nobody/nothing") is None


def test_a_model_that_may_have_a_branch_for_each_width_says_so() -> None:
    names = ("qwen/qwen3-32b", "qwen/qwen3-32b-fp8", "thebloke/llama-2-13b-chat-gptq")
    assert [data.models()[name].branched for name in names] == [False, False, True]


def test_the_catalogue_is_read_only_where_a_name_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "vramguard.toml").write_text('[[deployment]]\nmodel = "m"\n')
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    code = (
        "import sys; from vramguard import data; from vramguard.cli import run; run(['check', sys.argv[1]]);"
        "print(data.models.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
