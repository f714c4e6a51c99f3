"""Repositories that are aimed at the reader: no crash, no hang, no secret told, nothing written through a link."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from timed import within

from vramguard import engine
from vramguard.cli import Exit, run
from vramguard.discover import WorkTree
from vramguard.extract.masking import masked
from vramguard.facts import Deployment
from vramguard.report import Context, render
from vramguard.report import facts as shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Repo

    from vramguard.engine import Report

POD = "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{image: vllm/vllm-openai, {}}}]}}\n"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: x}
spec: {template: {spec: {containers: [{name: c, image: vllm/vllm-openai, args: [--model, a/b]}]}}}
"""
CHART = "name: x\nversion: 1.0.0\n"
SECRET = "hf_abcdefghijABCDEFGHIJ0123456789"
LONG = "x" * 60_000

# Each would take minutes, or gigabytes, were nothing bounded.
BOMBS: Mapping[str, Mapping[str, str]] = {
    "copies in a deep folder": {
        "/".join(["d"] * 40) + "/Dockerfile": "FROM a\n" + "COPY . .\n" * 3000 + "RUN pip install -r x/r.txt .\n" * 300
    },
    "variables of make": {"Makefile": "A=x\n" + "A:=$(A)$(A)\n" * 3000 + "a:\n\tpip install $(A)\n" * 200},
    "lists of nox": {
        "noxfile.py": "L=['a']\n" + "L=L+L\n" * 500 + "def a(session):\n" + "  session.install(*L)\n" * 500,
    },
    "a long line of a notebook": {
        "a.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": "!pip install " + "x\\" * 9 + " x" * 20000}]})
    },
    "a resource named often": {
        "kustomization.yaml": "resources:\n- d.yaml\n" + "- b.yaml\n" * 20_000,
        "b.yaml": f"# vllm\na: {LONG}\n",
        "d.yaml": DEPLOYMENT,
    },
    "patches of many objects": {
        "kustomization.yaml": "resources: [d.yaml]\npatches:\n" + "- {path: p.yaml}\n" * 20_000,
        "p.yaml": DEPLOYMENT,
        "d.yaml": "---\n".join([DEPLOYMENT] * 300),
    },
    "a patch of many operations": {
        "kustomization.yaml": "resources: [d.yaml]\npatches: [{target: {kind: Deployment}, path: p.yaml}]\n",
        "p.yaml": "- {op: add, path: /spec/template/spec/containers/0/args/-, value: x}\n" * 12_000,
        "d.yaml": DEPLOYMENT,
    },
    "values within values": {
        "Chart.yaml": CHART,
        "values.yaml": f"# vllm\nmodelArtifacts: {{uri: '{'{{.Values.a}}' * 5000}'}}\na: '{'{{.Values.b}}' * 5000}'\n"
        f"b: {LONG}\ndecode: {{create: true, containers: [{{image: vllm, modelCommand: vllmServe}}]}}\n",
    },
    "a value written often by a template": {
        "Chart.yaml": CHART,
        "values.yaml": f"# vllm\nx: {LONG}\nvllm: {{image: vllm/vllm-openai, args: [--model, a/b]}}\n",
        "templates/d.yaml": f"# vllm\n    - --max-model-len={'{{ .Values.x }}' * 50_000}\n",
    },
    "many values over large ones": {
        "Chart.yaml": CHART,
        "values.yaml": "# vllm\n" + "".join(f"k{n}: {{a: {{c: 2}}}}\n" for n in range(2000)),
        **{f"values-{n}.yaml": "vllm: {image: vllm/vllm-openai, args: [--model, a/b]}\n" for n in range(600)},
    },
    "keys that a thousand paths may read": {
        "Chart.yaml": CHART,
        "values.yaml": "# vllm\n" + "".join(f"k{n}: {{maxModelLen: 1, image: vllm/vllm}}\n" for n in range(2000)),
        "templates/d.yaml": "vllm\n" + "".join(f"{{{{ .Values.z{n}.b }}}}\n" for n in range(50_000)),
    },
    "parameters that nest": {
        "a.yaml": "# argoproj.io/ vllm\napiVersion: argoproj.io/v1\nkind: Application\nspec: {source: {chart: x, helm: "
        f"{{parameters: [{{name: {'.'.join('a' * 3000)}, value: vllm}}, {{name: {'.'.join('a' * 3000)}, value: b}}]}}}}"
        "}\n",
    },
    "a variable of compose used often": {
        "compose.yaml": f"services: {{a: {{image: vllm/vllm-openai, command: [--model, '{'${B:-$A}' * 50_000}']}}}}\n",
        ".env": f"A={LONG}\n",
    },
    "a variable of .env used often": {".env": f"A={LONG}\nB={'$A' * 100_000}\n"},
    "a service's name used often": {
        "a.yaml": "apiVersion: serving.kserve.io/v1alpha1\nkind: ServingRuntime\nmetadata: {name: r}\nspec:\n"
        "  containers: [{name: kserve-container, image: vllm/vllm-openai, args: ["
        f"'{'{{.Name}}' * 50_000}']}}]\n  supportedModelFormats: [{{name: huggingface, autoSelect: true}}]\n---\n"
        f"apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {LONG}}}\n"
        "spec: {predictor: {model: {runtime: r, modelFormat: {name: huggingface}, storageUri: hf://a/b}}}\n",
    },
    "a model named often": {
        "a.yaml": "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: x}\nspec: "
        f"{{predictor: {{model: {{modelFormat: {{name: huggingface}}, storageUri: 'hf://{LONG}', "
        f"args: [{', '.join(['--model=/mnt/models'] * 40_000)}]}}}}}}\n",
    },
    "a variable of a pod used often": {
        "a.yaml": POD.format(f"env: [{{name: A, value: {LONG}}}], args: ['--model={'$(A)' * 100_000}']"),
    },
    "a variable that grows": {
        "Dockerfile": "FROM vllm/vllm-openai\nENV A=xxxxxxxx\n"
        + "ENV A=$A$A$A$A\n" * 2000
        + 'CMD ["--model", "a/b"]\n',
    },
    "stages upon stages": {
        "Dockerfile": "FROM vllm/vllm-openai as a\n"
        + "".join(f"FROM a as a\nENV B{n}=c\n" for n in range(5000))
        + 'CMD ["--model", "a/b"]\n',
    },
    "a makefile's variables": {
        "Makefile": "A=vllm serve x\n"
        + "A=$(A)$(A)\n" * 10_000
        + "".join(f"t{n}:\n\tvllm serve $(A)\n" for n in range(200)),
    },
    "an arm of many patterns": {"a.sh": f"case $x in\n{'|'.join('a' * 60_000)}) vllm serve x;;\nesac\n"},
    "steps of many lines": {
        ".github/workflows/a.yml": "on: push\njobs:\n"
        + "".join(f"  j{n}:\n    steps:\n    - run: |\n        vllm bench x\n" for n in range(4000)),
    },
    "groups that include others twice": {
        "pyproject.toml": "[project]\nname = 'a'\n[dependency-groups]\ng0 = ['x']\n"
        + "".join(f"g{n} = [{{include-group = 'g{n - 1}'}}, {{include-group = 'g{n - 1}'}}]\n" for n in range(1, 60)),
    },
    "groups in a long chain": {
        "pyproject.toml": "[project]\nname = 'a'\n[dependency-groups]\ng0 = ['x']\n"
        + "".join(f"g{n} = [{{include-group = 'g{n - 1}'}}]\n" for n in range(1, 3000)),
    },
    "a script's block of many lines": {
        "a.py": "# /// script\n# dependencies = [\n" + "#   'x>1',\n" * 20_000 + "# ]\n# ///\n",
    },
    "a setup that is called often": {
        "setup.py": "from setuptools import setup\nx = ["
        + "'x>1', " * 2000
        + "]\n"
        + "setup(install_requires=x)\n" * 500,
    },
    "an environment on one line": {
        "environment.yml": f"channels: [a]\ndependencies: [{','.join(f'a{n}' for n in range(20_000))}]\n",
    },
    "lines that a lock holds": {
        "requirements.txt": "".join(f"a{n}\n" for n in range(20_000)),
        "poetry.lock": "".join(f"[[package]]\nname = 'a{n}'\nversion = '1'\nfiles = []\n" for n in range(20_000)),
    },
    "a built image of many variables": {
        "a.sh": "".join(f"docker build -t {'$A-' * n}/c .\n" for n in range(5, 25)),
        "Dockerfile": f"FROM {'a-' * 60}/d/c\n" * 200,
    },
    "objects of one name": {
        "a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: a/b}\n---\n" * 1000
        + POD.format(f"args: ['--model=$(k)'], envFrom: [{', '.join(['{configMapRef: {name: c}}'] * 5000)}]"),
    },
}


def judged(root: Path) -> Report:
    tree = WorkTree(root)
    return engine.check(tree, engine.load_policy(tree))


def everything(report: Report) -> str:
    """All that any format tells of a report, and of the facts behind it."""
    formats = ("text", "json", "sarif", "github")
    told = [render(name, report, Context(root="x", verbose=verbose)) for name in formats for verbose in (False, True)]
    return "\n".join([*told, shown.render(report.facts)])


@pytest.mark.parametrize("name", BOMBS)
def test_takes_little_time_whatever_is_asked(name: str, repo: Repo) -> None:
    root = repo(BOMBS[name])
    with within(40):
        judged(root)


@pytest.mark.parametrize(
    "files",
    [
        {"a.dstack.yml": "type: {a: b}\ncommands: [vllm serve a/b]\nimage: x\n"},
        {"compose.yaml": "services: {a: {image: vllm/vllm-openai, runtime: {a: b}, gpus: [{driver: [x]}]}}\n"},
        {
            "compose.yaml": "services: {a: {image: vllm/vllm-openai, deploy: {resources: {reservations: {devices: "
            "[{capabilities: [[{a: b}]]}]}}}}}\n"
        },
        {"a.sh": 'bash <<< ""\nvllm serve a/b\n'},
        {"a.sh": "A=()\nexport A\nvllm serve a/b\n"},
    ],
)
def test_values_of_another_type_are_no_crash(files: Mapping[str, str], repo: Repo) -> None:
    judged(repo(files))


DIGITS = "9" * 5000  # more than Python makes a number of
LOCK = "[[package]]\nname = 'x'\nversion = '{}'\nfiles = []\n[metadata]\nlock-version = '2.0'\ncontent-hash = 'x'\n"


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": b"\xff\xfe\xfd", "Dockerfile": b"\xff\0", "a.sh": b"\xff", "a.ipynb": b"\xff", "tox.ini": b"\0"},
        {"requirements.txt": "--extra-index-url https://[/simple\nx==1\n", "a.sh": "curl https://[/x.sh | sh\n"},
        {"requirements.txt": f"x\ny=={DIGITS}\n", "poetry.lock": LOCK.format(DIGITS)},
        {
            "pyproject.toml": f"[project]\nname = 'a'\ndependencies = ['x=={DIGITS}']\n",
            "poetry.lock": LOCK.format(DIGITS),
        },
        {"setup.py": f"from setuptools import setup\nsetup(install_requires=['x=={{{DIGITS}}}'.format('1')])\n"},
        {"azure-pipelines.yml": "resources: {containers: [{container: [a]}]}\njobs: [{container: x}]\n"},
        {"a.sh": "pip install ${00} $00\n"},
    ],
)
def test_what_cannot_be_read_is_no_crash(files: Mapping[str, str | bytes], repo: Repo) -> None:
    everything(judged(repo(files)))


SAID = {
    "k.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: " + SECRET + "}\n---\n"
    + POD.format(f"env: [{{name: HF_TOKEN, value: {SECRET}}}], args: [--model, a/b, --token={SECRET}, --x, {SECRET}]"),
    ".env": f"HF_TOKEN={SECRET}\nOTHER={SECRET}\n",
    "compose.yaml": "services: {a: {image: vllm/vllm-openai, env_file: .env, command: '--model a/b --foo ${OTHER} "
    "--ssl-keyfile-password opensesame'}}\n",
    "run.sh": f"HF_TOKEN={SECRET} vllm serve a/b --hf-overrides '{{\"api_key\": \"opensesame\"}}'\n"
    "trtllm-serve a/b --api_key opensesame\nvllm serve https://me:opensesame@example.org/b\n",
    "a.py": f'import os\nfrom vllm import LLM\nLLM(model=os.getenv("M", "{SECRET}"), hf_token="{SECRET}")\n',
}  # fmt: skip


def test_no_format_tells_a_secret(repo: Repo) -> None:
    report = judged(repo(SAID))
    assert len(report.facts.of(Deployment)) >= 5
    told = everything(report)
    assert SECRET not in told
    assert "opensesame" not in told
    assert "--ssl-keyfile-password ***" in told


def test_names_are_told_without_what_a_terminal_or_a_runner_obeys(repo: Repo) -> None:
    name = '"x/y\\n::error::z\\r\\e]0;t\\a\\e[31m\\u202e[bold]m[/]"'
    told = everything(judged(repo({"a.yaml": POD.format(f"args: [--model, {name}, --dtype, {name}, --odd, {name}]")})))
    assert all(char.isprintable() for char in told.replace("\n", ""))
    assert not any(line.startswith("::error::") for line in told.split("\n"))
    assert "[bold]m[/]" in told


def test_a_text_that_is_no_name_is_cut(repo: Repo) -> None:
    (found,) = judged(repo({"a.yaml": POD.format(f"args: [--model, {LONG}]")})).facts.of(Deployment)
    assert len(str(found.model)) < 300


@pytest.mark.parametrize("name", ["vramguard.lock", "vramguard-baseline.json"])
def test_nothing_is_written_through_a_link(name: str, repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    root = repo({"a.yaml": DEPLOYMENT, "m/config.json": "{}", "vramguard.toml": f'exclude = ["{name}"]\n'})
    victim = root.parent / "victim"
    victim.write_text("precious", "utf-8")
    (root / name).symlink_to(victim)
    command = (
        ["lock", "--offline", "--model", str(root / "m")] if name == "vramguard.lock" else ["check", "--write-baseline"]
    )
    assert run([command[0], str(root), *command[1:]]) == Exit.USAGE
    assert "nothing is written through it" in capsys.readouterr().err
    assert victim.read_text("utf-8") == "precious"


WITHHELD = "opensesame2"
INDEX = f"https://me:{WITHHELD}@index.example/simple"
CODE = f"git+https://{WITHHELD}@github.com/o/r"
PACKAGES = {
    "requirements.txt": f"--extra-index-url {INDEX}\nx @ {CODE}\ny @ {INDEX}/y.whl\n-r {INDEX}/r.txt\n",
    "a.sh": f"PIP_INDEX_URL={INDEX} pip install x --extra-index-url https://{WITHHELD}@h/simple\ngit clone {CODE[4:]}\n"
    f"curl 'https://h/x.sh?private_token={WITHHELD}' | sh\ncurl --password {WITHHELD} https://h/y.sh | sh\n"
    f"conda install -c https://conda.anaconda.org/t/{WITHHELD}/c x\n",
    "Dockerfile": f"FROM a\nARG TOKEN={WITHHELD}\nRUN pip install git+https://${{TOKEN}}@github.com/o/r\n"
    f"ADD {INDEX}/a /a\n",
    "environment.yml": f"channels: ['https://conda.anaconda.org/t/{WITHHELD}/c', '{INDEX}']\n"
    f"dependencies: [x, {{pip: ['--index-url {INDEX}', '{CODE}']}}]\n",
    "pyproject.toml": f"[project]\nname = 'a'\ndependencies = ['x @ {CODE}']\n[[tool.uv.index]]\nurl = '{INDEX}'\n",
    "setup.py": f"from setuptools import setup\nT = '{WITHHELD}'\n"
    "setup(install_requires=['x @ git+https://' + T + '@github.com/o/r'])\n",
    ".pre-commit-config.yaml": f"repos: [{{repo: '{CODE[4:]}', rev: main, hooks: [{{id: x}}]}}]\n",
}


def test_no_format_tells_what_a_url_is_asked_with(repo: Repo) -> None:
    told = everything(judged(repo(PACKAGES)))
    assert WITHHELD not in told
    for name in PACKAGES:
        assert name in told
    assert "git+https://***@github.com/o/r" in told


@pytest.mark.parametrize(
    "text",
    [
        "git+ssh://git@github.com/o/r",
        "https://${TOKEN}@github.com/o/r",
        "https://$USER:$PASSWORD@host/simple",
        "SecretStorage==3.3.3",
        "secretstorage=3.3.3=py310",
        "google-credentials>=2",
        "tokenizers==0.20.0",
        "x @ https://h/x-1.whl#sha256=" + "0" * 64,
        "--password=$PASSWORD",
    ],
)
def test_what_is_no_secret_is_told(text: str) -> None:
    assert masked(text) == text
