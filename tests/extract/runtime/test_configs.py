"""Packages and artefacts in the configuration files of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.facts import Artefact, Fetch, Include, Install, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.facts import Fact

COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"
RAY = "apiVersion: ray.io/v1\nkind: RayJob\nspec:\n"

FORMS = {
    "ray: a job": (
        "job.yaml",
        f"{RAY}  runtimeEnvYAML: |\n    pip:\n      - torch\n      - numpy==1.26.4\n    env_vars:\n      a: b\n",
        ["ray torch!", "ray numpy ==1.26.4"],
    ),
    "ray: a service, and one of its deployments": (
        "service.yaml",
        (
            "apiVersion: ray.io/v1\nkind: RayService\nspec:\n  serveConfigV2: |\n    applications:\n"
            "      - import_path: a:b\n"
            '        runtime_env:\n          pip: ["vllm==0.6.6", "transformers<5"]\n'
            "        deployments:\n          - name: x\n"
            "            ray_actor_options:\n              runtime_env:\n                uv:\n"
            "                  packages: [a]\n"
        ),
        ["ray vllm ==0.6.6", "ray transformers <5!", "ray a!"],
    ),
    "ray: Serve's own file, and conda": (
        "serve.yaml",
        (
            "applications:\n- import_path: a:b\n  runtime_env:\n    conda:\n      dependencies:\n      - numpy=1.26\n"
            "      - pip:\n        - torch==2.1.0\n"
        ),
        ["ray numpy =1.26!", "ray torch ==2.1.0"],
    ),
    "truss": (
        "m/config.yaml",
        (
            "model_name: m\nrequirements:\n- torch==2.1.0\n- transformers\n- --extra-index-url https://x\n"
            f"- git+https://github.com/a/b@{COMMIT}\n- ./local\nsystem_packages:\n- ffmpeg\n"
        ),
        ["truss torch ==2.1.0", "truss transformers!", f"truss b git+https://github.com/a/b@{COMMIT}"],
    ),
    "cog": (
        "cog.yaml",
        'build:\n  python_version: "3.11"\n  python_packages:\n    - torch==2.1.0\n    - numpy\n',
        ["cog torch ==2.1.0", "cog numpy!"],
    ),
    "bentoml": (
        "bentofile.yaml",
        "service: a:b\npython:\n  lock_packages: false\n  packages:\n  - torch\n  - a==1\n",
        ["bentoml torch!", "bentoml a ==1"],
    ),
    "mlflow": (
        "model/python_env.yaml",
        "python: 3.11.9\nbuild_dependencies:\n- pip==24.0\ndependencies:\n- -r requirements.txt\n- torch\n",
        ["mlflow pip ==24.0", "mlflow torch!"],
    ),
    "zenml": (
        "configs/train.yaml",
        (
            "settings:\n  docker:\n    requirements:\n      - torch==2.1.0\nsteps:\n  a:\n    settings:\n"
            "      docker:\n        requirements: [b]\n"
        ),
        ["zenml torch ==2.1.0", "zenml b!"],
    ),
    "databricks": (
        "databricks.yml",
        (
            "resources:\n  jobs:\n    j:\n      tasks:\n      - libraries:\n        - pypi:\n"
            "            package: a==1\n"
            "        - whl: ./dist/*.whl\n      environments:\n      - environment_key: k\n        spec:\n"
            "          client: '1'\n          dependencies:\n          - b\n"
        ),
        ["databricks a ==1", "databricks b!"],
    ),
    "a Space": (
        "README.md",
        "---\ntitle: Demo\nsdk: gradio\nsdk_version: 4.10\npython_version: 3.11\n---\n# Demo\n",
        ["space gradio ==4.10"],
    ),
    "a Space that floats": ("README.md", "---\nsdk: streamlit\n---\n", ["space streamlit!"]),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_a_file_asks_for(name: str, asked: Callable[[str, str], list[str]]) -> None:
    path, text, wanted = FORMS[name]
    assert asked(path, text) == wanted


NONE = {
    "a Space with an image of its own": ("README.md", "---\nsdk: docker\n---\n"),
    "prose": ("README.md", "# Use\n\n---\nsdk: gradio\n---\n"),
    "no end": ("README.md", "---\nsdk: gradio\n# Demo\n"),
    "no YAML": ("README.md", "---\nsdk: [gradio\n---\n"),
    "another config": ("config.yaml", "requirements:\n- torch\n"),
    "somebody's conditions": ("policy.yaml", "requirements:\n- torch\nsettings:\n  docker: true\n"),
    "no environment": ("a.yaml", "runtime_env: production\n"),
    "null": ("a.yaml", "runtime_env:\n  pip: null\n"),
    "a job without packages": ("a.yaml", f"{RAY}  runtimeEnvYAML: |\n    env_vars:\n      pip: x\n"),
    "no YAML in the text": ("a.yaml", f"{RAY}  runtimeEnvYAML: |\n    pip: [\n"),
    "wrong types": ("cog.yaml", "build:\n- python_packages: 3\n"),
    "wrong types, deeper": ("m/config.yaml", "model_name: 3\nrequirements: {a: b}\nmodel_cache: [3, {repo_id: [1]}]\n"),
}


@pytest.mark.parametrize("name", NONE)
def test_what_asks_for_nothing(name: str, facts_of: Callable[[str, str], list[Fact]]) -> None:
    path, text = NONE[name]
    assert facts_of(path, text) == []


def test_a_package_within_a_text_has_its_own_place(facts_of: Callable[[str, str], list[Fact]]) -> None:
    (first, *_) = facts_of("a.yaml", f"{RAY}  runtimeEnvYAML: |\n    pip:\n      - torch\n")
    assert (first.at.line, first.at.column, first.at.end_column) == (6, 9, 14)


def test_files_stand_beside_the_file_that_names_them(facts_of: Callable[[str, str], list[Fact]]) -> None:
    truss = facts_of("m/config.yaml", "model_name: m\npython_version: py311\nrequirements_file: ./requirements.txt\n")
    bento = facts_of("b/bentofile.yaml", "python:\n  requirements_txt: ../requirements.txt\n")
    ray = facts_of("r/serve.yaml", "runtime_env:\n  pip: /srv/requirements.txt\n")
    found = [fact.target for fact in (*truss, *bento, *ray) if isinstance(fact, Include)]
    assert found == ["m/requirements.txt", "requirements.txt"]
    assert [fact.files for fact in ray if isinstance(fact, Install)] == [("/srv/requirements.txt",)]


def test_what_a_renderer_fills_in_is_unknown(facts_of: Callable[[str, str], list[Fact]]) -> None:
    (first, *_) = facts_of("cog.yaml", 'build:\n  python_packages:\n  - "torch=={{ version }}"\n')
    assert getattr(first, "pinned", None) == Unknown("torch=={{ version }}")
    assert getattr(first, "name", None) == "torch"


@pytest.mark.parametrize(
    ("url", "pinned"),
    [
        ("https://github.com/a/b/archive/master.zip", False),
        ("https://github.com/a/b/archive/refs/heads/main.zip", False),
        (f"https://github.com/a/b/archive/{COMMIT}.zip", True),
        ("https://example.com/code.zip", False),
    ],
)
def test_code_that_a_job_takes_from_a_url(url: str, pinned: bool, facts_of: Callable[[str, str], list[Fact]]) -> None:  # noqa: FBT001
    (found,) = facts_of("a.yaml", f'{RAY}  runtimeEnvYAML: |\n    working_dir: "{url}"\n')
    assert isinstance(found, Fetch)
    assert (found.url, found.pinned) == (url, pinned)


def test_models_that_truss_caches(facts_of: Callable[[str, str], list[Fact]]) -> None:
    text = (
        "model_name: m\nmodel_cache:\n- repo_id: acme/a\n  revision: main\n- repo_id: acme/b\n"
        "- repo_id: gs://bucket/c\n  kind: gcs\n"
    )
    found = [fact for fact in facts_of("config.yaml", text) if isinstance(fact, Artefact)]
    assert [(one.name, one.revision) for one in found] == [("acme/a", "main"), ("acme/b", None)]


def test_paths_that_somebody_moves(facts_of: Callable[[str, str], list[Fact]]) -> None:
    text = (
        "spec:\n  storageUri: s3://acme/m/latest\n  image: registry/acme/latest\n  log_url: s3://acme/logs/latest\n"
        "  args: [models:/pricing/Production, models:/pricing/12, models:/pricing@champion]\n"
    )
    found = [fact for fact in facts_of("a.yaml", text) if isinstance(fact, Artefact)]
    assert [(one.source, one.revision) for one in found] == [
        ("bucket", "latest"), ("mlflow", "Production"), ("mlflow", "12"), ("mlflow", "@champion"),
    ]  # fmt: skip


def test_anyscales_environment(asked: Callable[[str, str], list[str]]) -> None:
    text = (
        "base_image: anyscale/ray:2.9.0\ndebian_packages: []\npython:\n  pip_packages:\n  - torch==1.13.0\n  - numpy\n"
        "  conda_packages:\n  - pandas=2\n"
    )
    assert asked("env.yaml", text) == ["ray torch ==1.13.0", "ray numpy!", "ray pandas =2!"]
    assert asked("other.yaml", "python:\n  pip_packages: [torch]\n") == []


def test_a_file_of_requirements_is_installed_where_it_is_named(facts_of: Callable[[str, str], list[Fact]]) -> None:
    text = "service: a:b\npython:\n  lock_packages: false\n  requirements_txt: ./needed.txt\n"
    assert [fact.at.line for fact in facts_of("bentofile.yaml", text) if isinstance(fact, Install)] == [4]
