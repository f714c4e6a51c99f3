"""Training's ways in modules that serve, and their absence in all that look alike."""

from __future__ import annotations

import pytest

from vramguard.extract import extract
from vramguard.source import Document, read
from vramguard.source.program import TrainingMode

SERVES = "from fastapi import FastAPI\nimport torch\nfrom transformers import AutoModelForSequenceClassification as M\n"
APP = f"{SERVES}app = FastAPI()\n"


def modes(text: str, path: str = "app.py") -> list[TrainingMode]:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    return [fact for fact in extract(document) if isinstance(fact, TrainingMode)]


def forms(text: str) -> list[str]:
    return [found.form for found in modes(APP + text)]


LOADED = "model = Net()\nmodel.load_state_dict(torch.load('x'))\n"
GUARDED = "def f(x):\n    with torch.no_grad():\n        return model(x)\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model = load(training=True)\n", ["flag"]),
        ("SETTINGS = {'do_train': True}\n", ["flag"]),
        ("IS_TRAINING = True\n", ["flag"]),
        ("model = build()\nmodel.train()\n", ["train"]),
        (LOADED + GUARDED, ["missing-eval"]),
        ("from torchvision.models import resnet50\nmodel = resnet50()\n" + GUARDED, ["missing-eval"]),
        (
            (
                "class Server:\n    def load(self):\n        self.m = AutoModel.from_pretrained('x')\n"
                "    def predict(self, x):\n        return self.m(**x)\n"
            ),
            ["missing-inference-mode"],
        ),
    ],
)
def test_faults(text: str, expected: list[str]) -> None:
    assert forms(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "model = load(training=False)\n",
        "def forward(x, training=True):\n    return x\n",
        "y = functional.dropout(x, training=True)\n",
        "model = build()\nmodel.train()\nmodel.eval()\n",
        "model = build()\nmodel.train(False)\n",
        "agent.train()\n",
        LOADED + "model.eval()\n" + GUARDED,
        "model = Net().eval()\nmodel.load_state_dict(torch.load('x'))\n" + GUARDED,
        "model = M.from_pretrained('x')\n" + GUARDED,  # in evaluation mode from the start
        "model = AutoModelForCausalLM.from_pretrained('x')\ndef f(x):\n    return model.generate(**x)\n",
        "tokenizer = AutoTokenizer.from_pretrained('x')\ndef f(x):\n    return tokenizer(x)\n",
        "pipe = DiffusionPipeline.from_pretrained('x')\ndef f(x):\n    return pipe(x)\n",
        "model = AutoModel.from_pretrained('x')\n@torch.inference_mode()\ndef f(x):\n    return model(x)\n",
        "torch.set_grad_enabled(False)\nmodel = AutoModel.from_pretrained('x')\ndef f(x):\n    return model(x)\n",
        "model = AutoModel.from_pretrained('x')\nmodel.requires_grad_(False)\ndef f(x):\n    return model(x)\n",
        (
            "model = AutoModel.from_pretrained('x')\ndef f(x):\n    return model(x)\n"
            "def g(x):\n    with torch.no_grad():\n        return f(x)\n"
        ),
        "model = build()\nmodel.train()\nloss.backward()\n",  # it trains as well
    ],
)
def test_what_is_no_fault(text: str) -> None:
    assert forms(text) == []


def test_a_module_that_serves_nothing_is_left_alone() -> None:
    assert modes("import torch\nmodel = build()\nmodel.train()\n") == []
    assert modes("import fastapi\nimport torch\nmodel = build()\nmodel.train()\n") == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("import torch\nclass TritonPythonModel:\n    def f(self):\n        self.model.train()\n", "1/model.py"),
        (
            "import torch\nclass Model:\n    def load(self): self.model.train()\n    def predict(self): ...\n",
            "model/model.py",
        ),
        ("import torch\nimport litserve as ls\nclass A(ls.LitAPI):\n    def setup(self): self.model.train()\n", "a.py"),
        (
            "import torch\nfrom ray import serve\n@serve.deployment\nclass A:\n    def f(self): self.model.train()\n",
            "a.py",
        ),
        ("import torch\ndef model_fn(d):\n    model.train()\ndef predict_fn(d, m): ...\n", "inference.py"),
    ],
)
def test_many_things_serve(text: str, path: str) -> None:
    assert [found.form for found in modes(text, path)] == ["train"]


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("serving.yaml", "model:\n  training: true\nport: 80\n", "training: true"),
        ("serving.toml", "[server]\nport = 80\n[server.model]\ndo_train = true\n", "do_train = true"),
        ("config.json", '{"is_training": true, "device_map": "auto"}', "is_training: true"),
    ],
)
def test_flags_in_configuration(path: str, text: str, what: str) -> None:
    (found,) = modes(text, path)
    assert (found.form, found.what) == ("config", what)
    assert found.serving is not None


@pytest.mark.parametrize(
    "text",
    [
        "training: true\nlearning_rate: 1e-4\n",
        "epochs: 3\nmodel:\n  training: true\n",
        "training:\n  port: 1\n",
        "training: false\n",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  training: true\n",
        "note: 'training: true'\n",
    ],
)
def test_configuration_of_trainings_is_left_alone(text: str) -> None:
    assert modes(text, "settings.yaml") == []


def test_a_flag_alone_has_no_evidence_of_serving() -> None:
    (found,) = modes("training: true\n", "settings.yaml")
    assert found.serving is None
    assert (found.at.line, found.at.column) == (1, 11)
