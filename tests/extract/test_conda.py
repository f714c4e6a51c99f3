"""conda environments: the grammar of a package, what is an environment at all, channels, the list for pip."""

from __future__ import annotations

import pytest
from declared import UNKNOWN, Row, of, requirements, rows, written

from vramguard.extract import matchspec
from vramguard.facts import Channels, Include, Project, Requirement

SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
URL = "https://conda.anaconda.org/conda-forge/linux-64/numpy-1.26.4-py311h64a7726_0.conda"


@pytest.mark.parametrize(
    ("text", "name", "specifier", "pinned"),
    [
        ("numpy", "numpy", "", False),
        ("numpy=1.26", "numpy", "=1.26", False),
        ("numpy=1.26.4", "numpy", "=1.26.4", False),
        ("numpy==1.26.4", "numpy", "==1.26.4", False),
        ("numpy=1.26.4=py311h64a7726_0", "numpy", "=1.26.4=py311h64a7726_0", True),
        ("numpy==1.26.4=py311h64a7726_0", "numpy", "==1.26.4=py311h64a7726_0", True),
        ("numpy 1.26.4 py311h64a7726_0", "numpy", "1.26.4=py311h64a7726_0", True),
        ("numpy=1.26.4=py311*", "numpy", "=1.26.4=py311*", False),
        ("numpy=1.26.*", "numpy", "=1.26.*", False),
        ("numpy >=1.2,<2", "numpy", ">=1.2,<2", False),
        ("numpy >= 1.2 , < 2", "numpy", ">=1.2,<2", False),
        ("numpy>=1.2|==1.0", "numpy", ">=1.2|==1.0", False),
        ("pytorch=*=*cuda*", "pytorch", "=*=*cuda*", False),
        ("pytorch ~=2.3.1 *cuda12*", "pytorch", "~=2.3.1=*cuda12*", False),
        ("conda-forge::numpy=1.26", "numpy", "=1.26", False),
        ("nvidia/label/cuda-12.1.0::cuda-nvcc", "cuda-nvcc", "", False),
        ("numpy[version='>=1.2']", "numpy", ">=1.2", False),
        ("numpy[version='==1.26.4',build=py311_0]", "numpy", "==1.26.4=py311_0", True),
        (f"numpy[sha256={SHA}]", "numpy", "", True),
        ("_libgcc_mutex=0.1=main", "_libgcc_mutex", "=0.1=main", True),
        ("numpy=1.26.4 # why", "numpy", "=1.26.4", False),
        (URL, "numpy", URL, False),
        (f"{URL}#9e107d9d372bb6826bd81d3542a419d6", "numpy", None, False),
        (f"{URL}#sha256:{SHA}", "numpy", None, True),
        ("numpy [linux", "numpy [linux", "", UNKNOWN),
        ("", "", "", UNKNOWN),
    ],
)
def test_packages(text: str, name: str, specifier: str | None, pinned: object) -> None:
    said = matchspec.read(text)
    assert (said.name, said.pinned if isinstance(said.pinned, bool) else UNKNOWN) == (name, pinned)
    assert specifier is None or said.specifier == specifier
    assert bool(said.reason) == (pinned is not True)


def test_reasons() -> None:
    assert matchspec.read("numpy=1.26").reason == "`=1.26` is a prefix to conda, which any 1.26.x meets"
    assert matchspec.read("numpy==1.26.4").reason == "`==1.26.4` names no build, and conda has several of one version"
    assert matchspec.read("numpy=1=py*").reason == "its build `py*` is a wildcard"
    assert matchspec.read(f"{URL}#00").reason == "what a URL serves can change, and md5 can be forged"


ENVIRONMENT = """\
name: serving
channels:
  - pytorch
  - conda-forge
channel_priority: strict
dependencies:
  - python=3.11
  - "numpy=1.26.4=py311h64a7726_0"   # [linux]
  - pip:
      - torch==2.1.0
      - -r requirements.txt
      - -e .
      - vllm>=0.6 --hash=sha256:00
"""


def test_an_environment() -> None:
    assert rows("env/gpu.yml", ENVIRONMENT, "conda") == [
        Row(7, "python", "=3.11", False, "dependencies"),
        Row(8, "numpy", "=1.26.4=py311h64a7726_0", True, "dependencies"),
        Row(10, "torch", "==2.1.0", True, "pip"),
        Row(12, ".", ".", None, "pip"),
        Row(13, "vllm", ">=0.6", False, "pip"),
    ]
    assert [(i.target, i.at.line) for i in of("env/gpu.yml", ENVIRONMENT, Include)] == [("env/requirements.txt", 11)]
    assert [(c.channels, c.priority) for c in of("env/gpu.yml", ENVIRONMENT, Channels)] == [
        (("pytorch", "conda-forge"), "strict")
    ]
    (project,) = of("env/gpu.yml", ENVIRONMENT, Project)
    assert (project.name, project.form, project.tool, project.dependencies) == ("serving", "conda", "conda", 4)


@pytest.mark.parametrize(
    ("path", "text", "count"),
    [
        ("a.yaml", "channels: [x]\ndependencies: [numpy]\n", 1),
        ("a.yaml", "name: x\ndependencies: [python=3.11, numpy]\n", 2),
        ("a.yaml", "dependencies:\n- numpy\n- pip: [torch]\n", 2),
        ("environment.yml", "name: x\ndependencies: [numpy]\n", 1),
        ("conda/base.yml", "name: x\ndependencies: [numpy]\n", 1),
        ("a.yaml", "name: x\ndependencies: [role, other]\n", 0),  # Ansible's, and many others'
        ("Chart.yaml", "name: x\ndependencies:\n- name: redis\n  version: 1\n", 0),
        ("environment.yml", "name: production\nvariables: {a: b}\ndependencies: [{x: y}]\n", 0),
        ("environment.yml", "name: {{ name }}\n", 0),
        ("environment.devenv.yml", "name: x\ndependencies: [python]\n", 0),
        ("environment.yml", "name: x\ndependencies:\n- python\n- numpy: 1.26\n", 2),
        ("environment.yml", "name: x\nchannels: []\ndependencies: {}\n", 0),
        ("environment.yml", "name: x\nchannels: []\ndependencies:\n- pip:\n- 3\n- [a]\n- python\n", 1),
    ],
)
def test_what_is_an_environment(path: str, text: str, count: int) -> None:
    try:
        found = requirements(path, text, "conda")
    except AssertionError:  # a template, which is not read
        found = []
    assert len(found) == count


def test_condarc() -> None:
    (found,) = of(".condarc", "channels: [defaults, x]\nchannel_priority: false\n", Channels)
    assert (found.channels, found.priority) == (("defaults", "x"), "disabled")
    (found,) = of(".condarc", "channel_priority: flexible\n", Channels)
    assert (found.channels, found.priority, found.at.line) == ((), "flexible", 1)


def test_mlflows_environment() -> None:
    text = "python: 3.11.9\nbuild_dependencies:\n- pip==25.2\n- wheel\ndependencies:\n- -r requirements.txt\n"
    assert rows("m/python_env.yaml", text, "mlflow") == [
        Row(3, "pip", "==25.2", True, "build_dependencies"),
        Row(4, "wheel", "", False, "build_dependencies"),
    ]
    assert [include.target for include in of("m/python_env.yaml", text, Include)] == ["m/requirements.txt"]


def test_places() -> None:
    for found in of("environment.yml", ENVIRONMENT, Requirement):
        assert found.name in written(ENVIRONMENT, found)
