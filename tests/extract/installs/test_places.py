"""Where commands stand: stages, recipes, steps, containers, cells, calls."""

from __future__ import annotations

import json

import pytest

from vramguard.extract.installs import extract
from vramguard.facts import Install, Requirement
from vramguard.source import Document, read


def facts(path: str, text: str) -> list[object]:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    return list(extract(document))


def found(path: str, text: str) -> list[tuple[str, str, int]]:
    """Form, package and line of every requirement."""
    return [
        (fact.form, f"{fact.name}{fact.specifier}", fact.at.line)
        for fact in facts(path, text)
        if isinstance(fact, Requirement)
    ]


def places(path: str, text: str) -> list[str]:
    return [fact.place for fact in facts(path, text) if isinstance(fact, Install)]


DOCKERFILE = """ARG V=2.1.0
FROM scratch AS base
ARG V
WORKDIR /app
COPY requirements.txt pyproject.toml ./
RUN --mount=type=cache,target=/x pip install torch==$V
RUN ["pip", "install", "numpy"]
RUN <<EOF
pip install scipy
EOF
FROM base
COPY --from=base /app/requirements.txt /srv/r.txt
ONBUILD RUN pip install pandas
RUN pip install -r /srv/r.txt
"""


def test_the_stages_of_a_dockerfile() -> None:
    expected = [("torch==2.1.0", 6), ("numpy", 7), ("scipy", 9), ("pandas", 13)]
    assert found("Dockerfile", DOCKERFILE) == [("dockerfile", name, line) for name, line in expected]
    assert places("Dockerfile", DOCKERFILE) == ["Dockerfile#1"] * 3 + ["Dockerfile#2"] * 2
    last = [fact for fact in facts("Dockerfile", DOCKERFILE) if isinstance(fact, Install)][-1]
    assert ("requirements.txt", "/srv/r.txt") in last.copied
    assert last.option("directory") == "/app"


def test_files_that_a_run_mounts() -> None:
    text = "FROM scratch\nWORKDIR /w\nRUN --mount=type=bind,source=uv.lock,target=uv.lock uv sync --locked\n"
    [install] = [fact for fact in facts("Dockerfile", text) if isinstance(fact, Install)]
    assert install.copied == (("uv.lock", "/w/uv.lock"),)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "Makefile",
            "PIP ?= pip3\nV = 2.1.0\na:\n\tcd x && $(PIP) install torch==$(V)\n\t@pip install numpy\n",
            [("makefile", "torch==2.1.0", 4), ("makefile", "numpy", 5)],
        ),
        (
            "justfile",
            (
                'v := "2.1.0"\na arg="x":\n    @pip install torch=={{v}}\npy:\n'
                "    #!/usr/bin/env python3\n    pip install no\n"
            ),
            [("justfile", "torch==2.1.0", 3)],
        ),
        (
            "tox.ini",
            (
                "[testenv]\ndeps =\n    pytest\n    py311: torch==2.1.0\n    -r r.txt\n    {[base]deps}\n"
                "commands =\n    - pip install numpy\n"
            ),
            [("tox", "pytest", 3), ("tox", "torch==2.1.0", 4), ("tox", "numpy", 8)],
        ),
        (
            "noxfile.py",
            (
                'import nox\ndef tests(session):\n    session.install("-r", "r.txt", "pytest")\n'
                '    session.run("pip", "install", "torch")\n'
            ),
            [("nox", "pytest", 3), ("nox", "torch", 4)],
        ),
        (
            "Taskfile.yml",
            "version: 3\nvars: {V: '2.1.0'}\ntasks:\n  a:\n    cmds:\n      - pip install torch=={{.V}}\n",
            [("taskfile", "torch==2.1.0", 6)],
        ),
        (
            ".gitlab-ci.yml",
            "test:\n  variables: {V: 2.1.0}\n  script:\n    - pip install torch==$V\n    - echo 'pip install no'\n",
            [("workflow", "torch==2.1.0", 4)],
        ),
        (
            "azure-pipelines.yml",
            "variables: {v: 2.1.0}\nsteps:\n  - script: pip install torch==$(v)\n",
            [("workflow", "torch==2.1.0", 3)],
        ),
        (
            ".circleci/config.yml",
            "jobs:\n  a:\n    steps:\n      - run: {command: pip install torch==<< parameters.v >> numpy}\n",
            [("workflow", "torch==$_________________", 4), ("workflow", "numpy", 4)],
        ),
        (
            "compose.yml",
            "services:\n  a:\n    image: x\n    entrypoint: [sh, -c]\n    command: ['pip install torch']\n",
            [("compose", "torch", 5)],
        ),
        (
            "values.yaml",
            "a:\n  command: [sh, -c, pip install torch]\n  description: pip install no\n",
            [("helm", "torch", 2)],
        ),
    ],
)
def test_kinds_of_files(path: str, text: str, expected: list[tuple[str, str, int]]) -> None:
    assert found(path, text) == expected


def test_the_steps_of_a_workflow() -> None:
    text = (
        "env: {V: '2.1.0'}\njobs:\n  a:\n    strategy: {matrix: {one: ['1.0'], two: [1, 2]}}\n    steps:\n"
        "      - working-directory: sub\n        run: |\n"
        "          pip install torch==${{ env.V }} x==${{ matrix.one }} y==${{ matrix.two }} z==$V\n"
        "      - shell: python\n        run: pip install no\n"
    )
    names = [name for _, name, _ in found(".github/workflows/ci.yml", text)]
    assert names == ["torch==2.1.0", "x==1.0", "y==${{ matrix.two }}", "z==2.1.0"]
    [install] = [fact for fact in facts(".github/workflows/ci.yml", text) if isinstance(fact, Install)]
    assert (install.place, install.option("directory")) == (".github/workflows/ci.yml#a", "sub")


def test_containers_wherever_they_stand() -> None:
    text = (
        "apiVersion: x/v1\nkind: Custom\nmetadata: {name: c}\nspec:\n  parts:\n    - pod:\n        initContainers:\n"
        "          - command: [pip, install, torch]\n        containers:\n          - command: [/bin/bash, -c, --]\n"
        "            args:\n              - |\n                set -e\n                pip install numpy\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  run.sh: |\n    pip install scipy\n"
        "  requirements.txt: |\n    pandas\n  notes: run pip install no\n"
    )
    assert found("k.yaml", text) == [
        ("kubernetes", n, at) for n, at in [("torch", 8), ("numpy", 14), ("scipy", 21), ("pandas", 23)]
    ]


@pytest.mark.parametrize(
    ("path", "text", "form"),
    [
        ("t.yaml", "apiVersion: tekton.dev/v1\nkind: Task\nspec:\n  steps:\n  - script: pip install torch\n", "tekton"),
        (
            "w.yaml",
            (
                "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  templates:\n  - script:\n"
                "      command: [python]\n      source: |-\n        import subprocess\n"
                "        subprocess.run(['pip', 'install', 'torch'])\n"
            ),
            "argo",
        ),
        ("config.yaml", "model_name: m\nbuild_commands:\n- pip install torch\n", "truss"),
        ("cog.yaml", "build:\n  run:\n  - pip install torch\n", "cog"),
        ("sky.yaml", "resources: {cpus: 2}\nsetup: pip install torch\n", "shell"),
    ],
)
def test_forms_of_other_tools(path: str, text: str, form: str) -> None:
    line = 1 + text[: text.index("torch")].count("\n")
    assert found(path, text) == [(form, "torch", line)]
    [at] = [fact.at for fact in facts(path, text) if isinstance(fact, Requirement)]
    assert text.split("\n")[at.line - 1][at.column - 1 :].startswith("torch")


def test_a_folded_command_that_is_tried_twice() -> None:
    text = (
        "implementation:\n  container:\n    command:\n    - sh\n    - -c\n"
        "    - (python3 -m pip install --quiet\n      'pandas==1.4.3' || python3 -m pip install\n"
        "      'pandas==1.4.3' --user) && x\n"
    )
    assert found("c.yaml", text) == [("kfp", "pandas==1.4.3", 7), ("kfp", "pandas==1.4.3", 8)]


def test_a_target_of_make_that_is_given_its_package() -> None:
    text = "add:\n\tpoetry add $(package)\n"
    assert found("Makefile", text) == [("makefile", "$(package)", 2)]


def test_what_tox_is_told_of_pip_and_of_folders() -> None:
    text = "[testenv]\npip_version = pip==24.3\ndeps =\n    .[dev]\n    {toxinidir}/x[a]\n    torch==2.1.0\n"
    assert found("tox.ini", text) == [("tox", "torch==2.1.0", 6), ("tox", "pip==24.3", 2)]
    [install] = [fact for fact in facts("tox.ini", text) if isinstance(fact, Install)]
    assert install.local == (".[dev]", "{toxinidir}/x[a]")


def test_the_bootstrap_of_a_compiled_pipeline() -> None:
    script = (
        '\nif ! [ -x "$(command -v pip)" ]; then\n    python3 -m ensurepip || apt-get install python3-pip\nfi\n\n'
        'PIP_NO_INPUT=1 python3 -m pip install --quiet \'kfp==2.0.1\' && "$0" "$@"\n'
    )
    text = "deploymentSpec:\n  a:\n    command:\n    - sh\n    - -c\n    - " + json.dumps(script) + "\n"
    assert found("p.yaml", text) == [("kfp", "kfp==2.0.1", 6)]


def notebook(*cells: object) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]}, indent=1)


def test_cells_of_a_notebook() -> None:
    text = notebook(
        [
            "%%capture\n",
            '!pip install -q "torch<2" \\\n',
            "  numpy=={v}\n",
            "# !pip install no\n",
            "print('pip install no')\n",
        ],
        "%%bash\nset -e\nuv pip install scipy\n",
        ["%cd sub\n", "%pip install pandas -r r.txt\n"],
    )
    names = ["torch<2", "numpy=={v}", "scipy", "pandas"]
    assert [name for _, name, _ in found("a.ipynb", text)] == names
    lines = text.split("\n")
    places = [fact.at for fact in facts("a.ipynb", text) if isinstance(fact, Requirement)]
    assert [lines[at.line - 1][at.column - 1 : at.end_column - 1] for at in places] == names
    last = [fact for fact in facts("a.ipynb", text) if isinstance(fact, Install)][-1]
    assert (last.files, last.option("directory")) == (("r.txt",), "sub")


def test_calls_in_a_notebook() -> None:
    text = notebook(
        [
            "!pip install torch\n",
            "import subprocess, sys\n",
            "subprocess.run([sys.executable, '-m', 'pip', 'install', 'x'])",
        ]
    )
    assert found("a.ipynb", text) == [("notebook", "torch", 6), ("notebook", "x", 8)]


def test_calls_of_a_program() -> None:
    text = (
        "import os, subprocess, sys\nPACKAGES = ['torch==2.1.0', 'numpy']\nV = '1.2'\n"
        "def get(package):\n    '''pip install no'''\n"
        "    subprocess.check_call([sys.executable, '-m', 'pip', 'install', package])\n"
        "get('scipy')\nsubprocess.run([sys.executable, '-m', 'pip', 'install', *PACKAGES, f'x=={V}'])\n"
        "os.system('pip install pandas && echo pip install no')\nprint('pip install no')\n"
        "raise ImportError('run pip install no')\n"
    )
    assert sorted(name for _, name, _ in found("a.py", text)) == ["numpy", "pandas", "scipy", "torch==2.1.0", "x==1.2"]


@pytest.mark.parametrize(
    "value",
    [
        "services: {a: {image: 1, command: 5}}",
        "jobs: [1]",
        "jobs: {a: {steps: 5}}",
        "tasks: 3",
        "steps: [pip install x, {script: [1]}]",
    ],
)
@pytest.mark.parametrize(
    "path", ["compose.yml", ".github/workflows/a.yml", "azure-pipelines.yml", "Taskfile.yml", ".circleci/config.yml"]
)
def test_wrong_types_are_nothing(path: str, value: str) -> None:
    assert isinstance(facts(path, value + "\nx: pip install torch\n"), list)
