"""Models, data and code that Python takes from elsewhere: which names are followed, and which are no names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import python, runtime
from vramguard.facts import Fact, Facts, Unknown
from vramguard.link.artefacts import artefacts, code_is_loose, loose
from vramguard.link.python import called
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Artefact

COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"


def found(files: Mapping[str, str] | str) -> list[Artefact]:
    given = {"app.py": files} if isinstance(files, str) else files
    facts: list[Fact] = []
    for path, text in given.items():
        document = read(path, text.encode(), kind=kind_of(path))
        assert isinstance(document, Document)
        facts += [*(python.extract(document) if path.endswith(".py") else ()), *runtime.extract(document)]
    repository = Facts(facts, paths=given)
    return list(artefacts(repository.adding(called(repository))))


NAMED = {
    "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('acme/a')": ("tokenizer", "acme/a", None),
    "import transformers as t\nt.AutoConfig.from_pretrained('acme/a', revision='v1')": ("model", "acme/a", "v1"),
    "from transformers import AutoTokenizer\nN = 'acme/' + 'a'\nAutoTokenizer.from_pretrained(N)": (
        "tokenizer", "acme/a", None,
    ),
    "import os\nfrom transformers import AutoTokenizer\nAutoTokenizer.from_pretrained(os.getenv('M', 'acme/a'))": (
        "tokenizer", "acme/a", None,
    ),
    "from transformers import pipeline\npipeline('ner', 'acme/a')": ("model", "acme/a", None),
    "from peft import PeftModel\ndef f(base):\n    PeftModel.from_pretrained(base, 'acme/a')": (
        "adapter", "acme/a", None,
    ),
    "from diffusers import FluxPipeline as F\np = F.from_pretrained('/srv/flux')\np.load_lora_weights('acme/a')": (
        "adapter", "acme/a", None,
    ),
    "from huggingface_hub import snapshot_download as get\nget('acme/a', repo_type='dataset')": (
        "dataset", "acme/a", None,
    ),
    "from huggingface_hub import hf_hub_download\nhf_hub_download(repo_id='acme/a', filename='x')": (
        "file", "acme/a", None,
    ),
    "from datasets import load_dataset\nload_dataset('squad')": ("dataset", "squad", None),
    "import datasets\ndatasets.load_dataset('acme/a', 'part', revision='main')": ("dataset", "acme/a", "main"),
    "from sentence_transformers import CrossEncoder\nCrossEncoder('acme/a')": ("model", "acme/a", None),
    "from langchain_huggingface import HuggingFaceEmbeddings\n"
    f"HuggingFaceEmbeddings(model_name='acme/a', model_kwargs={{'revision': '{COMMIT}'}})": ("model", "acme/a", COMMIT),
    "import torch\ntorch.hub.load('acme/a:v1', 'x')": ("code", "acme/a", "v1"),
    "import timm\ntimm.create_model('hf_hub:acme/a@v1')": ("model", "acme/a", "v1"),
    "import mlflow\nmlflow.pyfunc.load_model('models:/a/3')": ("model", "models:/a/3", "3"),
}  # fmt: skip


@pytest.mark.parametrize("text", NAMED)
def test_what_is_named(text: str) -> None:
    (one,) = found(text)
    assert (one.kind, one.name, one.revision) == NAMED[text]


NOTHING = [
    "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('/models/a')",
    "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('./a')",
    "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('models/a')",
    "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('a')",
    "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('my-bert/checkpoint-500')",
    "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('acme/a', local_files_only=True)",
    "from transformers import AutoTokenizer\ndef f(name):\n    AutoTokenizer.from_pretrained(name)",
    "import os\nfrom transformers import AutoTokenizer as T\nT.from_pretrained(os.path.join('acme', os.environ['N']))",
    "from pathlib import Path\nfrom transformers import AutoTokenizer as T\nT.from_pretrained(Path('/srv') / 'acme/a')",
    "from acme import AutoTokenizer\nAutoTokenizer.from_pretrained('acme/a')",
    "from modelscope import snapshot_download\nsnapshot_download('acme/a')",
    "class Own:\n    def from_pretrained(self, name): ...\nOwn().from_pretrained('acme/a')",
    "from transformers import pipeline\npipeline('ner')",
    "from datasets import load_dataset\nload_dataset('json', data_files='acme/a')",
    "from datasets import load_dataset\nload_dataset('scripts/build.py')",
    "from datasets import load_dataset\nload_dataset('prices')",
    "import torch\ntorch.hub.load('acme/a', 'x', source='local')",
    "import torch\ntorch.load('acme/a')",
    "import timm\ntimm.create_model('resnet50')",
    "import mlflow\nmlflow.pyfunc.load_model('runs:/0123/model')",
    "from vllm import LLM\nLLM('acme/a')",  # a deployment
]


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_no_name(text: str) -> None:
    assert found(text) == []


def test_a_folder_of_the_repository_is_no_name() -> None:
    text = "from transformers import AutoTokenizer\nAutoTokenizer.from_pretrained('acme/a')\n"
    assert found({"app.py": text, "acme/a/tokenizer.json": "{}"}) == []


def test_a_name_is_followed_into_another_module() -> None:
    files = {
        "app.py": "from transformers import AutoTokenizer as T\nfrom settings import MODEL\nT.from_pretrained(MODEL)\n",
        "settings.py": "MODEL = 'acme/a'\n",
    }
    (one,) = found(files)
    assert one.name == "acme/a"


def test_arguments_that_are_gathered_first() -> None:
    text = (
        "from transformers import AutoModel\nO = dict(trust_remote_code=True, code_revision='v1')\n"
        "AutoModel.from_pretrained('acme/a', **O)\n"
    )
    (one,) = found(text)
    assert (one.trusted, one.code_revision, one.revision) == (True, "v1", None)


def test_arguments_that_nobody_knows_may_hold_a_commit() -> None:
    text = "from transformers import AutoModel\ndef f(**rest):\n    AutoModel.from_pretrained('acme/a', **rest)\n"
    (one,) = found(text)
    assert isinstance(one.revision, Unknown)
    assert loose(one) == ""


@pytest.mark.parametrize(
    ("trusted", "revision", "code", "wanted"),
    [
        (True, None, None, True),
        (True, "main", None, True),
        (True, COMMIT[:8], None, True),
        (True, COMMIT, None, False),
        (True, None, COMMIT, False),
        (True, Unknown("$R"), None, False),
        (Unknown("$T"), None, None, False),
        (None, None, None, False),
        (False, None, None, False),
    ],
)
def test_when_code_may_change(trusted: object, revision: object, code: object, wanted: bool) -> None:  # noqa: FBT001
    assert code_is_loose(trusted, revision, code) is wanted


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("models:/a/12", ""),
        ("models:/a/Production", "a stage"),
        ("models:/a@champion", "an alias"),
        ("models:/a/latest", "the newest"),
    ],
)
def test_versions_of_mlflow(uri: str, reason: str) -> None:
    (one,) = found(f"import mlflow\nmlflow.sklearn.load_model('{uri}')\n")
    assert (reason in loose(one)) if reason else loose(one) == ""


def test_what_bentoml_fetches_is_at_the_revision_that_it_fetched() -> None:
    text = (
        "import bentoml\nfrom diffusers import A\nN = 'acme/a'\nclass S:\n"
        "    path = bentoml.models.HuggingFaceModel(N{0})\n    def f(self):\n        A.from_pretrained(self.path)\n"
    )
    assert [(one.at.line, one.revision) for one in found(text.format(""))] == [(5, None), (7, None)]
    pinned = found(text.format(f", revision='{COMMIT}'"))
    assert [(one.at.line, loose(one)) for one in pinned] == [(5, ""), (7, "")]
