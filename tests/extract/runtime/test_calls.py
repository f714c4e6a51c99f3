"""Packages that Python asks a framework for, and calls of the same name that are none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.facts import Include, Install

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.facts import Fact

Asked = "Callable[[str, str], list[str]]"
COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"

FORMS = {
    "kfp: a decorator": (
        "from kfp import dsl\n@dsl.component(packages_to_install=['torch==2.1.0', 'numpy'])\ndef step(): ...\n",
        ["kfp torch ==2.1.0", "kfp numpy!"],
    ),
    "kfp: under another name, from a constant, with a part": (
        ("import kfp.dsl as d\nV = '2.1.0'\nWANTED = ['pandas>=2'] + [f'torch=={V}']\n"
        "@d.component(packages_to_install=WANTED)\ndef step(): ...\n"),
        ["kfp pandas >=2!", "kfp torch ==2.1.0"],
    ),
    "kfp: the first SDK": (
        "from kfp.components import create_component_from_func as make\nmake(f, packages_to_install=['xgboost'])\n",
        ["kfp xgboost!"],
    ),
    "kfp: a partial": (
        ("import functools\nfrom kfp import dsl\n"
        "component = functools.partial(dsl.component, packages_to_install=['a'])\n"),
        ["kfp a!"],
    ),
    "kfp: a part that nobody knows": (
        ("from kfp import dsl\ndef build(version):\n    @dsl.component(packages_to_install=[f'torch=={version}'])\n"
        "    def step(): ...\n"),
        ["kfp torch ==${VERSION}?"],
    ),
    "airflow: a decorator": (
        "from airflow.decorators import task\n@task.virtualenv(requirements=['a==1', 'b'])\ndef step(): ...\n",
        ["airflow a ==1", "airflow b!"],
    ),
    "airflow: an operator": (
        ("from airflow.providers.standard.operators.python import PythonVirtualenvOperator\n"
        "PythonVirtualenvOperator(task_id='t', requirements=['scikit-learn~=1.5'])\n"),
        ["airflow scikit-learn ~=1.5!"],
    ),
    "ray: init": ("import ray\nray.init(runtime_env={'pip': ['torch', 'numpy==1.26.4']})\n",
                  ["ray torch!", "ray numpy ==1.26.4"]),
    "ray: a table by its name, given twice": (
        ("import ray\nenv = {'pip': {'packages': ['torch'], 'pip_check': False}}\nray.init(runtime_env=env)\n"
        "@ray.remote(runtime_env=env)\nclass A: ...\n"),
        ["ray torch!"],
    ),
    "ray: uv and conda": (
        ("import ray\nray.init(runtime_env=dict(uv=['a==1'], conda={'dependencies': ['pip', 'b=1.2', 'c=1=h0', "
        "{'pip': ['d']}]}))\n"),
        ["ray a ==1", "ray d!", "ray pip!", "ray b =1.2!", "ray c =1=h0"],
    ),
    "ray: an argument of its own": (
        "from ray.runtime_env import RuntimeEnv\nRuntimeEnv(pip=['torch==2.1.0'], env_vars={'A': 'b'})\n",
        ["ray torch ==2.1.0"],
    ),
    "ray: an actor of Serve": (
        ("from ray import serve\n@serve.deployment(ray_actor_options={'num_gpus': 1, 'runtime_env': {'pip': ['a']}})\n"
        "class A: ...\n"),
        ["ray a!"],
    ),
    "modal: one by one and in lists": (
        ("import modal\n"
        "image = modal.Image.debian_slim().apt_install('git').pip_install('torch==2.1.0', ['a', 'b<2'])\n"),
        ["modal torch ==2.1.0", "modal a!", "modal b <2!"],
    ),
    "modal: uv, conda, a private repository": (
        "from modal import Image\nimage = Image.micromamba().micromamba_install('cuda=12.1')\n"
        "image = image.uv_pip_install('a==1').pip_install_private_repos('github.com/acme/b@" + COMMIT + "')\n",
        ["modal cuda =12.1!", "modal a ==1", f"modal b git+https://github.com/acme/b@{COMMIT}"],
    ),
    "bentoml: an image": (
        ("import bentoml\nimage = bentoml.images.Image(python_version='3.11').python_packages('torch', 'a==1')\n"
        "@bentoml.service(image=image)\nclass A: ...\n"),
        ["bentoml torch!", "bentoml a ==1"],
    ),
    "mlflow: what a model is logged with": (
        ("import mlflow\nmlflow.pyfunc.log_model('m', python_model=x, pip_requirements=['torch==2.1.0', 'a'])\n"
        "mlflow.sklearn.log_model(m, 'm', conda_env={'dependencies': ['python=3.11', {'pip': ['b']}]})\n"),
        ["mlflow torch ==2.1.0", "mlflow a!", "mlflow b!", "mlflow python =3.11!"],
    ),
    "truss: a chainlet": (
        "import truss_chains as chains\nchains.RemoteConfig(docker_image=chains.DockerImage(pip_requirements=['a']))\n",
        ["truss a!"],
    ),
    "zenml": (
        "from zenml.config import DockerSettings\nDockerSettings(requirements=['torch==2.1.0', 'a'])\n",
        ["zenml torch ==2.1.0", "zenml a!"],
    ),
    "metaflow: a bare version is that one": (
        ("from metaflow import pypi, step\n@pypi(packages={'torch': '2.1.0', 'a': '>=1', 'b': ''})\n"
        "@step\ndef f(s): ...\n"),
        ["metaflow torch ==2.1.0", "metaflow a >=1!", "metaflow b!"],
    ),
    "metaflow: not for conda": (
        "import metaflow\n@metaflow.conda_base(libraries={'numpy': '1.26.4'})\nclass F: ...\n",
        ["metaflow numpy 1.26.4!"],
    ),
    "metaflow: the interpreter of conda": (
        "from metaflow import conda, pypi\n@conda(python='3.10.*')\n@pypi(python='3.11')\ndef f(s): ...\n",
        ["metaflow python 3.10.*!"],
    ),
    "databricks": (
        ("from databricks.sdk.service.compute import Library, PythonPyPiLibrary\n"
        "Library(pypi=PythonPyPiLibrary(package='a==1'))\n"
        "dbutils.library.installPyPI('torch', version='2.1.0')\ndbutils.library.installPyPI('b')\n"),
        ["databricks a ==1", "databricks torch ==2.1.0", "databricks b!"],
    ),
    "flyte": ("from flytekit import ImageSpec\nImageSpec(name='x', packages=['torch'])\n", ["python torch!"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_what_a_framework_is_asked_for(name: str, asked: Callable[[str, str], list[str]]) -> None:
    text, wanted = FORMS[name]
    assert asked("app.py", text) == wanted


NONE = {
    "another library's": (
        "import kfp\nfrom acme import component\n@component(packages_to_install=['a'])\ndef f(): ...\n"
    ),
    "its own function": "import modal\n\ndef install(pip_install):\n    return ['pip_install(\"torch\")']\n",
    "a docstring": 'import modal\n"""Use modal.Image.debian_slim().pip_install("torch")."""\n',
    "a comment": "import ray\n# ray.init(runtime_env={'pip': ['torch']})\n",
    "a list that nobody knows": "from kfp import dsl\ndef f(wanted):\n    dsl.component(packages_to_install=wanted)\n",
    "an empty one": "from kfp import dsl\n@dsl.component(packages_to_install=[])\ndef f(): ...\n",
    "only variables": "import ray\nray.init(runtime_env={'env_vars': {'pip': 'x'}})\n",
    "not imported": "x.pip_install('torch')  # modal\n",
    "another's environment": "import ray\nfrom acme import submit\nsubmit(runtime_env={'pip': ['a']})\n",
    "Python 2": "import modal\nprint 'x'\nmodal.Image.debian_slim().pip_install('torch')\n",
    "not in a dict": "import ray\nray.init(runtime_env=['pip', 3, None])\n",
    "a number": "from kfp import dsl\ndsl.component(packages_to_install=3)\n",
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_declaration(name: str, facts_of: Callable[[str, str], list[Fact]]) -> None:
    assert facts_of("app.py", NONE[name]) == []


def test_files_are_read_from_the_folder_of_the_program(facts_of: Callable[[str, str], list[Fact]]) -> None:
    text = (
        "import os, modal, ray\nHERE = os.path.dirname(__file__)\n"
        "modal.Image.debian_slim().pip_install_from_requirements('r.txt')\n"
        "ray.init(runtime_env={'pip': os.path.join(HERE, 'depset.lock')})\n"
        "ray.init(runtime_env={'pip': '/srv/x.txt'})\n"
    )
    found = facts_of("jobs/app.py", text)
    assert [fact.target for fact in found if isinstance(fact, Include)] == ["jobs/r.txt", "jobs/depset.lock"]
    assert [fact.files for fact in found if isinstance(fact, Install)][2] == ("/srv/x.txt",)


def test_an_installation_knows_what_it_is_for(facts_of: Callable[[str, str], list[Fact]]) -> None:
    text = (
        "import modal\nfrom kfp import dsl\n"
        "@dsl.component(packages_to_install=['a'], pip_index_urls=['http://x/simple'])\ndef train(): ...\n"
        "base = modal.Image.debian_slim().pip_install('b', extra_index_url='https://y', pre=True)\n"
        "serve = base.uv_pip_install('c')\n"
    )
    installs = [fact for fact in facts_of("app.py", text) if isinstance(fact, Install)]
    assert [(fact.place, fact.tool, fact.options) for fact in installs] == [
        ("app.py#train", "pip", (("index-url", "http://x/simple"),)),
        ("app.py#base", "pip", (("extra-index-url", "https://y"), ("pre", ""))),
        ("app.py#serve", "uv", ()),
    ]
    assert [requirement.name for fact in installs for requirement in fact.requirements] == ["a", "b", "c"]


def test_bentoml_says_that_it_locks_later(facts_of: Callable[[str, str], list[Fact]]) -> None:
    text = "import bentoml\nbentoml.images.Image(lock_python_packages={}).python_packages('a')\n"
    (first, _), (second, _) = (facts_of("app.py", text.format(value)) for value in ("True", "False"))
    assert getattr(first, "reason", "").endswith("where no review sees it")
    assert getattr(second, "reason", "") == "it names no version"


def test_a_notebook(facts_of: Callable[[str, str], list[Fact]]) -> None:
    source = '"source": ["import ray\\n", "ray.init(runtime_env={\\"pip\\": [\\"a\\"]})"]'
    text = f'{{"cells": [{{"cell_type": "code", {source}}}]}}'
    (requirement, _) = facts_of("app.ipynb", text)
    assert text[requirement.at.column - 1 : requirement.at.end_column - 1] == '\\"a\\"'


@pytest.mark.parametrize("text", ["x = " + "[" * 300 + "]" * 300, "x = 'a' + " * 3000 + "'b'", "@" * 5000])
def test_hostile_text_is_nothing(text: str, facts_of: Callable[[str, str], list[Fact]]) -> None:
    assert facts_of("app.py", f"from kfp import dsl\n{text}\ndsl.component(packages_to_install=x)\n") == []
