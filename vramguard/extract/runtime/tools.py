"""Packages in the configuration files of tools that build an image, or an environment, from a list of them."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from vramguard.extract.runtime.listed import FILLED_IN, Entry, Listed, requirement
from vramguard.extract.runtime.ray import fill, listed
from vramguard.extract.runtime.walk import every, tops
from vramguard.facts import Artefact, Requirement, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.facts.nodes import Node
    from vramguard.source import Document

# docs.baseten.co, "Configuration": keys of a config.yaml of Truss, of which two are enough to tell one.
_TRUSS: Final = frozenset({
    "model_name", "model_metadata", "python_version", "base_image", "docker_server", "trt_llm", "model_cache",
    "requirements", "requirements_file", "secrets", "environment_variables", "external_package_dirs",
    "system_packages", "model_class_name", "build_commands", "resources", "hf_cache",
})  # fmt: skip
_SPACES: Final = ("gradio", "streamlit")  # huggingface.co/docs/hub/spaces-config-reference: `sdk`, of which these float


def _top(document: Document) -> Iterator[Node]:
    return (node for node in tops(document) if isinstance(node.value, dict))


def _folder(document: Document) -> str:
    return posixpath.dirname(document.path)


def _files(found: Listed, node: Node) -> None:
    """The requirements files that a scalar, or a list, names."""
    for word in node.words():
        found.file(Entry(word.value, word.at))


def truss(document: Document) -> Iterator[Fact]:
    """Truss's config.yaml: `requirements`, `requirements_file`, and the models that are cached in the image."""
    for top in _top(document):
        if "apiVersion" in top.value or len(_TRUSS & top.value.keys()) < 2:  # noqa: PLR2004 - one could be anybody's
            continue
        for key in ("requirements", "requirements_file"):
            held = top.get(key)
            if not held:
                continue
            found = fill(Listed("truss", held.at, document.path, base=_folder(document), sure=True), held)
            if isinstance(held.value, str):
                _files(found, held)
            yield from found.facts()
        for key in ("model_cache", "hf_cache"):
            yield from filter(None, map(_cached, top.get(key).list()))


def _cached(entry: Node) -> Artefact | None:
    """One row of `model_cache`; of those in a bucket nothing is known."""
    repository, revision = entry.get("repo_id").word(), entry.get("revision").word()
    if repository is None or entry.get("kind").text not in ("", "hf"):
        return None
    return Artefact(
        at=repository.at,
        kind="model",
        form="truss",
        name=repository.value,
        revision=revision.value if revision else None,
        loader="model_cache",
        revision_at=revision.at if revision else None,
    )


def cog(document: Document) -> Iterator[Fact]:
    """Cog's cog.yaml (replicate/cog, docs/yaml.md): `build.python_packages`, `build.python_requirements`."""
    for top in _top(document):
        build = top.get("build")
        for key in ("python_packages", "python_requirements"):
            held = build.get(key)
            if held:
                found = fill(Listed("cog", held.at, document.path, base=_folder(document), sure=True), held)
                if key == "python_requirements":
                    _files(found, held)
                yield from found.facts()


def bento(document: Document) -> Iterator[Fact]:
    """A bentofile.yaml (docs.bentoml.com, "Bento build options"): `python.packages`, `requirements_txt`; `conda`."""
    for top in _top(document):
        python = top.get("python")
        locks = python.get("lock_packages").value is not False
        found = fill(
            Listed("bentoml", python.at, document.path, base=_folder(document), sure=True), python.get("packages")
        )
        _files(found, python.get("requirements_txt"))
        for key in ("index_url", "extra_index_url", "find_links", "trusted_host"):
            for word in python.get(key).words():
                found.option(key.replace("_", "-"), word.text)
        found.locks = locks
        yield from found.facts()
        conda = top.get("conda")
        held = fill(Listed("bentoml", conda.at, document.path, tool="conda", locks=False), conda.get("dependencies"))
        yield from held.facts()
        yield from fill(Listed("bentoml", conda.at, document.path, locks=False), conda.get("pip")).facts()


def anyscale(document: Document) -> Iterator[Fact]:
    """Anyscale's cluster environment (docs.anyscale.com, "Cluster environments"): packages of pip and of conda."""
    for top in _top(document):
        python = top.get("python")
        if not {"base_image", "debian_packages", "post_build_cmds"} & top.value.keys():
            continue
        for tool in ("pip", "conda"):
            held = python.get(f"{tool}_packages")
            found = Listed("ray", held.at, document.path, tool=tool, base=_folder(document), sure=True)
            yield from fill(found, held).facts()


def mlflow(document: Document) -> Iterator[Fact]:
    """MLflow's python_env.yaml (mlflow/utils/environment.py, _PythonEnv): what pip gets, line by line."""
    for top in _top(document):
        for key in ("build_dependencies", "dependencies"):
            held = top.get(key)
            found = Listed("mlflow", held.at, document.path, section=key, base=_folder(document), sure=True)
            yield from fill(found, held).facts()


def zenml(document: Document) -> Iterator[Fact]:
    """A run's configuration of ZenML: `settings.docker.requirements`, of the pipeline and of each step."""
    if "requirements" not in document.text or "settings" not in document.text:
        return
    for settings in every(tops(document), {"settings"}):
        docker = settings.get("docker")
        held = docker.get("requirements")
        if not held:
            continue
        found = fill(listed(held, "zenml", base=_folder(document)), held)
        if isinstance(held.value, str):
            _files(found, held)
        yield from found.facts()


def databricks(document: Document) -> Iterator[Fact]:
    """Jobs of Databricks: `libraries[].pypi.package`, `environments[].spec.dependencies` (docs: Jobs API 2.2)."""
    for node in every(tops(document), {"libraries", "environments"}):
        found = listed(node, "databricks", base=None)
        for item in node.list():
            package = item.get("pypi", "package").word()
            if package is not None:
                found.add(Entry(package.text, package.at))
            if item.get("environment_key"):
                fill(found, item.get("spec", "dependencies"))
        yield from found.facts()


def space(document: Document) -> Iterator[Fact]:
    """The front matter of a Space's README.md: the version of the library that the hub installs for it."""
    for top in _top(document):
        sdk, version = top.get("sdk"), top.get("sdk_version").word()
        if sdk.text not in _SPACES:
            continue
        if version is None:
            reason = "the Space names no `sdk_version`, so it is the newest of the day"
            yield Requirement(sdk.at, sdk.text, "", pinned=False, hashed=False, form="space", reason=reason)
        elif version.known:
            yield requirement(f"{sdk.text}=={version.text}", version.at, "space", "sdk_version")
        else:
            unknown = Unknown(version.text)
            yield Requirement(version.at, sdk.text, "", unknown, hashed=False, form="space", reason=FILLED_IN)
