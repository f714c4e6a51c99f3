"""Deployments in Python: what is called, with which values, on which cards."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from timed import within

from vramguard.extract import extract
from vramguard.facts import Deployment, Fact, Facts, Unknown
from vramguard.link.launches import launched
from vramguard.link.python import called, launches
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWN = ("at", "declared", "form", "name", "assumed", "unread", "places")


def deployments(files: Mapping[str, str] | str) -> list[Deployment]:
    given = {"app.py": files} if isinstance(files, str) else files
    facts: list[Fact] = []
    for path, text in given.items():
        document = read(path, text.encode(), kind=kind_of(path))
        assert isinstance(document, Document)
        facts.extend(extract(document))
    found = Facts(facts, paths=given)
    return sorted([*called(found), *launched(launches(found), found)], key=lambda found: found.at)


def said(found: Deployment) -> dict[str, Any]:
    """The fields that are set; what is not known is in parentheses."""
    values = {each.name: getattr(found, each.name) for each in fields(found) if each.name not in _OWN}
    shown = {name: f"({value.text})" if isinstance(value, Unknown) else value for name, value in values.items()}
    return {name: value for name, value in shown.items() if value not in (None, False)}


def only(files: Mapping[str, str] | str) -> dict[str, Any]:
    (found,) = deployments(files)
    return said(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "from vllm import LLM as L\nL('a/b', tensor_parallel_size=2 * 2, max_model_len=8 << 10)",
            {"engine": "vllm", "model": "a/b", "tensor_parallel_size": 4, "max_model_len": 8192},
        ),
        (
            "import vllm as v, torch\nv.AsyncEngineArgs(model='a/b', dtype=torch.bfloat16, gpu_memory_utilization=0.8)",
            {"engine": "vllm", "model": "a/b", "dtype": "bfloat16", "gpu_memory_utilization": "0.8"},
        ),
        (
            "import sglang as s\ns.Engine(model_path='a/b', tp_size=2, mem_fraction_static=0.7, context_length=4096)",
            {
                "engine": "sglang",
                "model": "a/b",
                "tensor_parallel_size": 2,
                "gpu_memory_utilization": "0.7",
                "max_model_len": 4096,
            },
        ),
        (
            (
                "from tensorrt_llm import LLM\nfrom tensorrt_llm.llmapi import KvCacheConfig\n"
                "LLM(model='a/b', max_batch_size=8, kv_cache_config=KvCacheConfig(free_gpu_memory_fraction=0.6))"
            ),
            {"engine": "tensorrt-llm", "model": "a/b", "max_num_seqs": 8, "gpu_memory_utilization": "0.6"},
        ),
        (
            (
                "from ray.serve.llm import LLMConfig\n"
                "LLMConfig(model_loading_config=dict(model_id='x', model_source='a/b'),"
                " accelerator_type='L4', engine_kwargs=dict(max_model_len=1024))"
            ),
            {"engine": "vllm", "model": "a/b", "gpu": "l4-24gb", "max_model_len": 1024},
        ),
    ],
)
def test_engines(text: str, expected: dict[str, Any]) -> None:
    assert only(text) == expected


def test_llama_cpp_has_defaults_of_its_own() -> None:
    found = only("from llama_cpp import Llama\nLlama(model_path='m-Q4_K_M.gguf', n_gpu_layers=-1)")
    assert found["engine"] == "llama.cpp"
    assert (found["n_gpu_layers"], found["max_model_len"], found["quantization"]) == (-1, 512, "Q4_K_M")


TRANSFORMERS = "import torch\nfrom transformers import AutoModelForCausalLM as M, BitsAndBytesConfig, pipeline\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "M.from_pretrained('a/b', device_map='auto', torch_dtype=torch.float16, max_memory={0: '9GiB'})",
            {"device_map": "auto", "dtype": "float16", "max_memory": "{0: 9GiB}"},
        ),
        (
            "M.from_pretrained('a/b', load_in_8bit=True, device_map='auto')",
            {"quantization": "bnb-int8", "device_map": "auto"},
        ),
        (
            (
                "c = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True)\n"
                "M.from_pretrained('a/b', quantization_config=c)"
            ),
            {"quantization": "bnb-nf4-dq"},
        ),
        (
            (
                "c = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=q)\n"
                "M.from_pretrained('a/b', quantization_config=c)"
            ),
            {"quantization": "(BitsAndBytesConfig(bnb_4bit_quant_type=q))"},
        ),
        ("M.from_pretrained('a/b', revision='f' * 4).to('cuda')", {"revision": "('f' * 4)".replace("'", '"')}),
        ("m = M.from_pretrained('a/b')\nm.half().cuda()", {"dtype": "float16"}),
        ("M.from_pretrained('a/b', device_map='auto').to('cuda')", {"device_map": "cuda"}),
        ("m = M.from_pretrained('a/b', device_map='auto')\nm.eval()", {"device_map": "auto"}),
        ("M.from_pretrained('a/b')", {"accelerator": "cpu"}),
        ("M.from_pretrained('a/b', device_map='cpu')", {"accelerator": "cpu", "device_map": "cpu"}),
        ("M.from_pretrained('a/b').to('cuda' if torch.cuda.is_available() else 'cpu')", {}),
        (
            "pipeline('text-generation', 'a/b', device=0, model_kwargs={'torch_dtype': 'bfloat16'})",
            {"dtype": "bfloat16"},
        ),
        ("pipeline('text-generation', 'a/b', device=-1)", {"accelerator": "cpu"}),
        ("M.from_pretrained('a/b', attn_implementation='eager').to(device)", {"attn_implementation": "eager"}),
        ("from trl import SFTTrainer\nSFTTrainer(M.from_pretrained('a/b'))", {"training": True}),
    ],
)
def test_transformers(text: str, expected: dict[str, Any]) -> None:
    assert only(TRANSFORMERS + text) == {"engine": "transformers", "model": "a/b", **expected}


@pytest.mark.parametrize(
    "text",
    [
        "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('a/b')",
        "from transformers import AutoModelForSequenceClassification as M\nM.from_pretrained('a/b')",
        "from transformers import AutoModel\nAutoModel.from_pretrained('a/embedder')",
        "from transformers import AutoModelForCausalLM as M\nM.from_config(c)",
        "from transformers import pipeline\npipeline('feature-extraction', model='a/b')",
        "from transformers import pipeline\npipeline('text-generation', model=M.from_pretrained('x'))",
        "from diffusers import DiffusionPipeline\nDiffusionPipeline.from_pretrained('a/b')",
        "from sentence_transformers import SentenceTransformer\nSentenceTransformer('a/b')",
        "from elsewhere import LLM\nLLM(model='a/b')  # vllm",
        "class LLM:\n    '''vllm'''\nLLM(model='a/b')",
        "from vllm import LLM\nLLM()",
    ],
)
def test_what_is_no_deployment(text: str) -> None:
    assert deployments(text) == []


CLASS = "class A:\n    def f(self):\n        LLM(self.m)\n"
PARSER = "import argparse\np = argparse.ArgumentParser()\n"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("MODEL = 'a/b'\nLLM(MODEL)", "a/b"),
        ("ORG = 'a'\nMODEL = f'{ORG}/b'\nLLM(MODEL)", "a/b"),
        ("import os\nLLM(os.environ.get('MODEL', 'a/b'))", "a/b"),
        ("import os\nLLM(os.getenv('MODEL') or 'a/b')", "a/b"),
        ("import os\nLLM(os.environ['MODEL'])", '(os.environ["MODEL"])'),
        ("def f(model='a/b'):\n    LLM(model)", "a/b"),
        ("def f(model):\n    LLM(model)", "(model)"),
        ("def f(model=None):\n    if model is None:\n        model = 'a/b'\n    LLM(model)", "a/b"),
        ("BIG = False\nif BIG:\n    m = 'a/big'\nelse:\n    m = 'a/b'\nLLM(m)", "a/b"),
        ("if x:\n    m = 'a/c'\nelse:\n    m = 'a/b'\nLLM(m)", "(a/c or a/b)"),
        ("m = 'a/c'\nm = 'a/b'\nLLM(m)\nm = 'a/d'", "a/b"),
        ("class A:\n    model = 'a/b'\n    def f(self):\n        LLM(self.model)", "a/b"),
        (f"{CLASS}    def __init__(self, m='a/b'):\n        self.m = m\n", "a/b"),
        (f"{CLASS}    m = 'a/b'\n    def g(self, n):\n        self.m = n\n", "(a/b or n)"),
        ("from pydantic import Field\nclass C(Base):\n    m: str = Field('a/b')\nc = C()\nLLM(c.m)", "a/b"),
        ("class C:\n    m: str = 'a/c'\nc = C(m='a/b')\nLLM(c.m)", "a/b"),
        (f"{PARSER}p.add_argument('--the-model', default='a/b')\na = p.parse_args()\nLLM(a.the_model)", "a/b"),
        (f"{PARSER}p.add_argument('-m', '--model', required=True)\ndef f(args):\n    LLM(args.model)", "(args.model)"),
        ("import click\n@click.option('--model', default='a/b')\ndef f(model):\n    LLM(model)", "a/b"),
        ("MODELS = {'small': 'a/b', 'big': 'a/c'}\nLLM(MODELS['small'])", "a/b"),
        ("k = dict(model='a/b')\nk['seed'] = 1\nLLM(**k)", "a/b"),
        ("def f(**k):\n    LLM(**k)", "(k)"),
        ("for m in ['a/b', 'a/c']:\n    LLM(m)", "(a/b or a/c)"),
        ("x = x\nLLM(x)", "(x)"),
        ("from os import path\nLLM(path.join('a', 'b'))", "a/b"),
        ("import os\nLLM(os.path.join(os.path.dirname(__file__), 'b'))", "b"),
        ("from pathlib import Path\nLLM(str(Path(__file__).parent / 'b'))", "b"),
    ],
)  # fmt: skip
def test_values_are_followed(text: str, model: str) -> None:
    assert only(f"from vllm import LLM\n{text}")["model"] == model


@pytest.mark.parametrize(
    ("imports", "name"),
    [
        ("from settings import MODEL", "MODEL"),
        ("import settings", "settings.MODEL"),
        ("from . import settings as s", "s.MODEL"),
        ("from .settings import *\nfrom .settings import MODEL", "MODEL"),
        ("from svc.settings import config", "config.model"),
        ("from .settings import Config", "Config.model"),
        ("from .again import MODEL", "MODEL"),
    ],
)
def test_values_come_from_other_modules(imports: str, name: str) -> None:
    files = {
        "svc/app.py": f"from vllm import LLM\n{imports}\nLLM(model={name})\n",
        "svc/settings.py": "MODEL = 'a/b'\nclass Config:\n    model: str = 'a/b'\nconfig = Config()\n",
        "svc/again.py": "from .settings import MODEL\nMODEL_KIND = 'x'\n",
        "svc/__init__.py": "",
    }
    assert only(files)["model"] == "a/b"


def test_engines_are_known_through_other_modules() -> None:
    assert only({"a.py": "from vllm import LLM\n", "b.py": "from a import LLM\n# vllm\nLLM('a/b')\n"})["model"] == "a/b"


def test_modules_that_import_each_other_end() -> None:
    files = {"a.py": "from b import m\nfrom vllm import LLM\nLLM(m)\n", "b.py": "from a import m\nMODEL_X = 1\n"}
    assert only(files)["model"].startswith("(")


def test_suppositions_are_said() -> None:
    (found,) = deployments("from vllm import LLM\ndef f(model='a/b', **more):\n    LLM(model, **more)\n")
    assert found.assumed == ("`model` of `f` is at its default", "`**more` adds nothing")


def test_places_are_those_of_the_values() -> None:
    (found,) = deployments(
        "from vllm import LLM\nLLM(\n    model='a/b',\n    max_model_len=N,\n    block_size=16,\n)\n"
    )
    assert found.at.line == 2
    assert {name: (at.line, at.column) for name, at in found.places.items()} == {
        "model": (3, 11),
        "max_model_len": (4, 19),
        "block_size": (5, 16),
    }


def test_adapters_are_not_counted_and_said() -> None:
    text = (
        "from peft import PeftModel\nm = M.from_pretrained('a/b', device_map='auto')\nPeftModel.from_pretrained(m, 'c')"
    )
    (found,) = deployments(TRANSFORMERS + text)
    assert found.unread == ('PeftModel.from_pretrained(m, "c")',)


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ("import modal\n@app.function(gpu='H100:2')", {"gpu": "h100-sxm5-80gb", "gpus": 2}),
        ("import modal\nN = 2\n@app.cls(gpu=f'A100-80GB:{N}')", {"gpu": "a100-sxm4-80gb", "gpus": 2}),
        ("import modal\n@app.function(gpu=modal.gpu.A100(count=4, size='80GB'))", {"gpu": "a100-sxm4-80gb", "gpus": 4}),
        ("import modal\n@app.function(gpu=['H100', 'A100'])", {"gpu": "([H100, A100])"}),
        (
            "import bentoml\n@bentoml.service(resources={'gpu': 1, 'gpu_type': 'nvidia-l4'})",
            {"gpu": "l4-24gb", "gpus": 1},
        ),
        ("@serve.deployment(ray_actor_options={'num_gpus': 2})", {"gpus": 2}),
        ("import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '0,1'\n@x", {"gpus": 2}),
    ],
)
def test_cards_are_those_of_what_is_around(around: str, expected: dict[str, Any]) -> None:
    text = f"from vllm import LLM\n{around}\nclass A:\n    def f(self):\n        LLM('a/b')\n"
    assert only(text) == {"engine": "vllm", "model": "a/b", **expected}


@pytest.mark.parametrize(
    "text",
    [
        "subprocess.Popen(['vllm', 'serve', M, '--tensor-parallel-size', str(N)])",
        "cmd = ['vllm', 'serve', M]\ncmd += ['-tp', str(N)]\nsubprocess.run(' '.join(cmd), shell=True)",
        "cmd = ['vllm', 'serve', M]\nif N > 1:\n    cmd.extend(['-tp', f'{N}'])\nsubprocess.check_call(cmd)",
        "cmd = f'vllm serve {M} --tensor-parallel-size {N}'\nsubprocess.Popen(cmd.split())",
        "os.system(f'vllm serve {M} -tp {N}')",
        "os.system(' '.join(['vllm', 'serve', M, '-tp', str(N)]) + ' || sleep 1')",
        "subprocess.run([sys.executable, '-m', 'vllm.entrypoints.openai.api_server', '--model', M, f'-tp={N}'])",
    ],
)
def test_commands(text: str) -> None:
    found = only(f"import os, subprocess, sys\nM = 'a/b'\nN = 2\n{text}\n")
    assert found == {"engine": "vllm", "model": "a/b", "tensor_parallel_size": 2}


def test_a_command_without_a_model_that_is_known() -> None:
    found = only("import subprocess\ndef f(model):\n    subprocess.run(['vllm', 'serve', model])\n")
    assert found["model"] == "(${model})"


def test_flags_that_a_condition_adds_are_said() -> None:
    text = "cmd = ['vllm', 'serve', 'a/b']\nif x():\n    cmd += ['--enforce-eager']\nsubprocess.run(cmd)\n"
    (found,) = deployments(f"import subprocess\n{text}")
    assert said(found) == {"engine": "vllm", "model": "a/b"}
    assert any("EXTRA_ARGS" in sentence for sentence in found.assumed)


def test_a_function_runs_on_the_only_cards_of_its_module() -> None:
    text = (
        "import modal, subprocess\ndef start():\n    cmd = ['HF_HUB_OFFLINE=1', 'vllm', 'serve', 'a/b']\n"
        "    subprocess.Popen(' '.join(cmd), shell=True)\n"
        "@app.server(gpu='H200:4')\nclass Server:\n    def enter(self):\n        start()\n"
    )
    assert only(text) == {"engine": "vllm", "model": "a/b", "gpu": "h200-141gb", "gpus": 4}


def test_other_commands_are_none() -> None:
    assert deployments("import subprocess  # vllm\nsubprocess.run(['git', 'status'])\n") == []


def test_sagemaker() -> None:
    text = (
        "import json\nfrom sagemaker.huggingface import HuggingFaceModel\n"
        "env = {'HF_MODEL_ID': 'a/b', 'SM_NUM_GPUS': json.dumps(4), 'MAX_TOTAL_TOKENS': '4096'}\n"
        "HuggingFaceModel(env=env, role=r).deploy(instance_type='ml.g5.12xlarge')\n"
    )
    found = only(text)
    assert found["engine"] == "tgi"
    assert (found["model"], found["max_model_len"], found["gpu"], found["gpus"]) == ("a/b", 4096, "a10g-24gb", 4)


HOSTILE = {
    "doubling": "x0 = 'ab'\n" + "".join(f"x{n} = x{n - 1} + x{n - 1}\n" for n in range(1, 60)) + "LLM(x59)\n",
    "lists": "x0 = ['ab']\n" + "".join(f"x{n} = [*x{n - 1}, *x{n - 1}]\n" for n in range(1, 60)) + "LLM(x59)\n",
    "powers": "LLM('a', max_model_len=9**9**9**9, block_size=1 << 100000, max_num_seqs=2**63**63)\n",
    "classes": "class A(B): pass\nclass B(A): pass\nLLM(A().x)\n",
    "calls": "".join(f"LLM('m{n}')\n" for n in range(1000)),
    "bindings": "".join(f"x = '{n}'\n" for n in range(5000)) + "LLM(x)\n" * 100,
    "branches": "".join(f"if a{n}: x = '{n}'\n" for n in range(3000)) + "LLM(x)\n" * 100,
    "digits": f"LLM('a', max_model_len={'9' * 4000}, block_size=int('{'9' * 5000}'))\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_takes_long(text: str) -> None:
    with within(10):  # seconds; each takes less than one
        assert deployments(f"from vllm import LLM\n{text}")
