"""Values that a program in Python is given: by its command line, its settings, its environment, its callers."""

from __future__ import annotations

import pytest
from repositories import L4, POD, found, lines, only, said
from timed import within

from vramguard.facts import PathClass


def test_a_flag_of_the_command_is_what_the_program_is_given() -> None:
    program = """\
import argparse
from vllm import LLM

parser = argparse.ArgumentParser()
parser.add_argument("--model-path", default="acme/default")
parser.add_argument("--tp", type=int, default=1)
parser.add_argument("--eager", action="store_true")
args = parser.parse_args()
LLM(args.model_path, tensor_parallel_size=args.tp, enforce_eager=args.eager)
"""
    recipe = 'FROM python:3.12\nENTRYPOINT ["python3", "/app/server.py"]\nCMD ["--model-path", "acme/a", "--eager"]\n'
    (one,) = found({"Dockerfile": recipe, "server.py": program})
    assert said(one) == {"engine": "vllm", "model": "acme/a", "tensor_parallel_size": 1, "enforce_eager": True}
    assert lines(one)["model"] == ("Dockerfile", 3)
    assert one.assumed == ("`--tp` is at its default",)


def test_truss_hands_its_configuration_to_the_model() -> None:
    config = """\
model_name: chat
python_version: py311
model_metadata:
  repo_id: acme/a
  engine_args: {tensor_parallel_size: 2, max_model_len: 2048}
resources: {accelerator: "H100:2", use_gpu: true}
"""
    model = """\
from vllm import AsyncEngineArgs

class Model:
    def __init__(self, **kwargs):
        self._config = kwargs["config"]

    def load(self):
        metadata = self._config["model_metadata"]
        AsyncEngineArgs(model=metadata["repo_id"], **metadata["engine_args"])
"""
    (one,) = found({"chat/config.yaml": config, "chat/model/model.py": model})
    assert said(one) == {
        "engine": "vllm", "model": "acme/a", "tensor_parallel_size": 2, "max_model_len": 2048,
        "gpu": "h100-sxm5-80gb", "gpus": 2,
    }  # fmt: skip
    assert lines(one)["model"] == ("chat/config.yaml", 4)
    assert lines(one)["max_model_len"] == ("chat/config.yaml", 5)


def test_settings_of_a_file_that_the_program_opens() -> None:
    program = """\
import yaml
from vllm import LLM

with open("config.yaml") as file:
    config = yaml.safe_load(file)
LLM(config["model"]["name"], max_model_len=config.get("length", 1), enforce_eager=config["model"]["eager"])
"""
    (one,) = found({"config.yaml": "model: {name: acme/a, eager: true}\nlength: 512\n", "main.py": program})
    assert said(one) == {"engine": "vllm", "model": "acme/a", "max_model_len": 512, "enforce_eager": True}
    assert lines(one)["model"] == ("config.yaml", 1)
    elsewhere = only({"main.py": program})
    assert elsewhere["model"] == '(config["model"]["name"])'


def test_settings_of_the_environment() -> None:
    program = """\
from pydantic_settings import BaseSettings, SettingsConfigDict
from vllm import LLM

class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MODEL_")
    id: str = "acme/default"

settings = Settings()
LLM(settings.id)
"""
    assert only({"k8s/chat.yaml": POD % '["python", "main.py"]', "main.py": program}) == L4
    assert only({"main.py": program})["model"] == "acme/default"


def test_what_the_only_caller_gives() -> None:
    body = "    return LLM(name, tensor_parallel_size=tp, **others)\n"
    loader = f"from vllm import LLM\n\ndef load(name, tp=1, **others):\n{body}"
    caller = "from load import load\n\nif __name__ == '__main__':\n    load('acme/a', tp=2, max_model_len=256)\n"
    (one,) = found({"load.py": loader, "main.py": caller})
    assert said(one) == {"engine": "vllm", "model": "acme/a", "tensor_parallel_size": 2, "max_model_len": 256}
    assert {place for name, place in lines(one).items()} == {("main.py", 4)}
    another = "from load import load\n\nif __name__ == '__main__':\n    load('acme/b')\n"
    assert only({"load.py": loader, "main.py": caller, "other.py": another})["model"] == "(acme/a or acme/b)"
    assert only({"load.py": loader})["model"] == "(name)"


def test_what_a_command_in_python_rests_on() -> None:
    program = "import os, subprocess\nmodel = os.getenv('MODEL', 'acme/a')\nsubprocess.run(['vllm', 'serve', model])\n"
    (one,) = found({"run.py": program})
    assert one.assumed == ("`MODEL` of the environment is at its default",)
    launcher = POD.replace("MODEL_ID", "MODEL") % '["python", "run.py"]'
    (one,) = found({"k8s/chat.yaml": launcher, "run.py": program})
    assert (said(one), one.assumed) == (L4, ())


_TESTED = """\
from load import load

def test_load():
    load("acme/tiny")
"""


def test_a_call_of_a_test_is_no_setting_and_a_call_that_is_not_told_counts() -> None:
    loader = "from vllm import LLM\n\ndef load(name='acme/default'):\n    return LLM(name)\n"
    classes = {"tests/test_load.py": PathClass.TEST}
    (one,) = found({"load.py": loader, "tests/test_load.py": _TESTED}, classes)
    assert said(one)["model"] == "acme/default"
    unknown = "from load import load\nimport sys\n\nif __name__ == '__main__':\n    load(sys.argv[1])\n"
    assert only({"load.py": loader, "main.py": unknown})["model"].startswith("(sys.argv")


@pytest.mark.parametrize(
    "text",
    [
        "from vllm import LLM\n\ndef f(a):\n    return LLM(f(a))\n\nf(f(f('a')))\n",
        "from vllm import LLM\n\ndef f(a, **k):\n    f(a, **k)\n    return LLM(a, **k)\n\nf('a', **{})\n",
        "".join(f"def f{n}(a):\n    return f{n + 1}(a)\n" for n in range(200)) + "from vllm import LLM\nLLM(f0('a'))\n",
        "from vllm import LLM\n" + "".join(f"def g{n}(a):\n    g{n + 1}(a)\n" for n in range(300)) + "g0('a')\n"
        "def g300(a):\n    LLM(a)\n",
    ],
)
def test_calls_in_circles_and_in_chains_end(text: str) -> None:
    with within(2):
        for one in found({"app.py": text}):
            assert one.engine == "vllm"


def test_an_engine_whose_flags_are_those_of_the_program() -> None:
    code = """\
import argparse
from vllm import AsyncEngineArgs

parser = AsyncEngineArgs.add_cli_args(argparse.ArgumentParser())
args = parser.parse_args()
engine_args = AsyncEngineArgs.from_cli_args(args)
"""
    command = '["python3", "serve.py", "--model", "acme/small", "--max-model-len=4k"]'
    assert only({"k8s/chat.yaml": POD % command, "serve.py": code}) == {**L4, "max_model_len": 4000}
    assert found({"serve.py": code}) == []


def test_a_command_that_a_function_builds() -> None:
    program = """\
import subprocess

MODEL = "acme/a"

class Server:
    length: int = 512

    def command(self, tp=1):
        words = ["vllm", "serve", MODEL]
        words += ["--max-model-len", str(self.length)]
        return [*words, "--tensor-parallel-size", str(tp)]

    def start(self):
        subprocess.Popen(self.command(tp=2))
"""
    (one,) = found({"app.py": program})
    assert said(one) == {"engine": "vllm", "model": "acme/a", "max_model_len": 512, "tensor_parallel_size": 2}
    assert lines(one)["model"] == ("app.py", 9)
    assert (
        found({"app.py": program.replace("return [*words", "if tp:\n            return []\n        return [*words")})
        == []
    )
