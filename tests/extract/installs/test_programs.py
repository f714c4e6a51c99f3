"""Commands in Python: those that are kept for later, wrapped, listed by a noxfile, or a notebook's of Databricks."""

from __future__ import annotations

import pytest

from vramguard.extract.installs import extract
from vramguard.facts import Fetch, Install, Requirement, Unknown
from vramguard.source import Document, read


def facts(path: str, text: str) -> list[object]:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    return list(extract(document))


def found(path: str, text: str) -> list[tuple[str, str, int, int]]:
    """Form, package, line and column of every requirement."""
    return [
        (fact.form, f"{fact.name}{fact.specifier}", fact.at.line, fact.at.column)
        for fact in facts(path, text)
        if isinstance(fact, Requirement)
    ]


def test_a_command_that_is_kept_stands_where_it_is_written() -> None:
    text = (
        "import os, subprocess\nindex = 'https://a.b'\n"
        "torch_command = os.environ.get('TORCH_COMMAND', f\"pip install torch==2.1.0 numpy -i {index}\")\n"
        "cmd = 'pip install scipy'\n"
        "os.environ.setdefault('X_COMMAND', 'pip install pandas')\n"
        "subprocess.run(f'python -m {torch_command}', shell=True)\nsubprocess.run(cmd, shell=True)\n"
    )
    assert found("a.py", text) == [
        ("python", "torch==2.1.0", 3, 63),
        ("python", "numpy", 3, 76),
        ("python", "scipy", 4, 20),
        ("python", "pandas", 5, 49),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "hint = 'pip install torch'\n",
        "message = 'pip install torch to use this command'\n",
        "command = 'run pip install torch'\n",
        "commands = {'a': 'pip install torch'}\n",
        "def f(): '''command = pip install torch'''\n",
    ],
)
def test_a_text_under_another_name_is_no_command(text: str) -> None:
    assert found("a.py", "import subprocess\n" + text) == []


def test_a_wrapper_of_pip() -> None:
    text = (
        "import os\npackage = os.environ.get('P', 'torch==2.1.0')\ndef run_pip(command, what=None): ...\n"
        "run_pip(f'install -U {package}', 'torch')\nrun_pip('install numpy')\nrun_pip('list')\n"
        "run_pip(f'install -r \"{file}\"')\n"
    )
    assert found("a.py", text) == [("python", "torch==2.1.0", 2, 32), ("python", "numpy", 5, 9)]
    assert [fact.files for fact in facts("a.py", text) if isinstance(fact, Install)][-1] == (Unknown("${file}"),)


def test_the_value_of_an_option_is_no_package() -> None:
    text = (
        "import os, subprocess\npython = 'a' if os.name == 'nt' else 'b'\n"
        "subprocess.run(['uv', 'pip', 'install', '-p', python, 'torch'])\n"
    )
    assert [name for _, name, *_ in found("a.py", text)] == ["torch"]


def test_lists_in_a_table_of_a_noxfile() -> None:
    text = (
        "import nox\nDEPS = {'a': ['torch==2.1.0', 'numpy<2'], 'b': ['scipy']}\n@nox.session\n"
        "def test(session, framework):\n    deps = DEPS[framework]\n    session.install(*deps)\n"
        "    session.install('.')\n"
    )
    assert [(name, line) for _, name, line, _ in found("noxfile.py", text)] == [
        ("torch==2.1.0", 2),
        ("numpy<2", 2),
        ("scipy", 2),
    ]
    assert [fact.local for fact in facts("noxfile.py", text) if isinstance(fact, Install)] == [(), (".",)]


def test_commands_of_an_image_of_modal() -> None:
    text = 'import modal\nimage = modal.Image.debian_slim().run_commands("pip install torch==2.1.0")\n'
    assert found("a.py", text) == [("modal", "torch==2.1.0", 2, 61)]


DATABRICKS = """# Databricks notebook source
# MAGIC %md
# MAGIC Run pip install no

# COMMAND ----------

# MAGIC %pip install torch==2.1.0
# MAGIC !cd .. && pip install .

# COMMAND ----------

# MAGIC %sh
# MAGIC pip install numpy \\
# MAGIC   scipy

# COMMAND ----------

%pip install -r ../requirements.txt
!wget x \\
  y
import subprocess
subprocess.run(["pip", "install", "pandas"])
"""


def test_a_notebook_of_databricks() -> None:
    assert found("a.py", DATABRICKS) == [
        ("notebook", "torch==2.1.0", 7, 22),
        ("notebook", "numpy", 13, 21),
        ("notebook", "scipy", 14, 11),
        ("python", "pandas", 22, 36),
    ]
    installs = [fact for fact in facts("a.py", DATABRICKS) if isinstance(fact, Install)]
    assert [(fact.local, fact.files, fact.option("directory")) for fact in installs[1:4]] == [
        ((".",), (), ".."),
        ((), (), None),
        ((), ("../requirements.txt",), None),
    ]


def test_a_clone_by_a_variable_in_a_call() -> None:
    call = """subprocess.run(f'"{git}" clone "{url}"', shell=True)"""
    text = f"import subprocess\ndef get(git, url):\n    {call}  # git clone\n"
    assert [fact.pinned for fact in facts("a.py", text) if isinstance(fact, Fetch)] == [Unknown("${URL}")]


@pytest.mark.parametrize(
    "command",
    [
        'subprocess.run(["locust", "-f", __file__, "--headless"], check=True)',
        'subprocess.run(["pip", "install", __file__], check=True)',
        "subprocess.run(f'pip install torch -f {__file__}', shell=True)",
        "subprocess.run(['pip', 'install', *__file__.split('/')])",
        "subprocess.run(__file__)",
        "subprocess.run(__file__ + ' pip install torch', shell=True)",
    ],
)
def test_what_the_file_is_called_stands_nowhere_in_it(command: str) -> None:
    facts("tests/load.py", f"import subprocess\nsubprocess.run(['pip', 'install', 'torch'])\n{command}\n")
