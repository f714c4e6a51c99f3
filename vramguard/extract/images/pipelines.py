"""CI and tools of their own kind: the images that their jobs run in, and the code of others that they run.

Read in: docs.github.com, "Workflow syntax" and "Metadata syntax"; docs.gitlab.com, "CI/CD YAML syntax"; CircleCI's
"Configuration reference"; Azure Pipelines' "YAML schema"; Cloud Build's "Build configuration file schema".
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from vramguard.extract.images.builds import built, in_script
from vramguard.extract.images.lines import placed
from vramguard.extract.images.reference import VARIABLE, image
from vramguard.extract.images.runs import in_step
from vramguard.extract.images.values import mappings, named
from vramguard.facts import Action, Image, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts.nodes import Node

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MATRIX = re.compile(r"\$\{\{\s*matrix\.([\w-]{1,60})(?:\.([\w-]{1,60}))?\s*\}\}")
_MOVES = "`{reference}` is a branch or a tag: its owner can move it to other code"
_NO_REFERENCE = "it names no commit"
FORM = "workflow"
_LONGEST = 500  # characters of a reference, its variables not filled in yet
_MOST = 50  # values of a matrix


def github(root: Node) -> Iterator[Action | Image]:
    """A workflow's or a composite action's images and actions."""
    shared = _env(root)
    for job in _values(root.get("jobs")):
        env = {**shared, **_env(job)}
        yield from _uses(job, FORM)
        yield from _container(job, job.get("container"), "container")
        for service in _values(job.get("services")):
            yield from _container(job, service, "service")
        yield from _steps(job.get("steps"), FORM, env, job.get("strategy", "matrix"))
    runs = root.get("runs")
    yield from _steps(runs.get("steps"), FORM, {}, runs)
    if str(runs.get("image").value).startswith("docker://"):
        yield from _some(named(runs.get("image"), "workflow", "container"))


def _values(node: Node) -> Iterator[Node]:
    yield from (held for _, held in node.items())


_ENV = re.compile(r"\$\{\{\s*env\.(\w{1,80})\s*\}\}")


def _env(node: Node) -> dict[str, str]:
    return {name: held.value for name, held in node.get("env").items() if isinstance(held.value, str)}


def _steps(steps: Node, form: str, env: Mapping[str, str], matrix: Node) -> Iterator[Action | Image]:
    for step in steps.list():
        yield from _uses(step, form)
        action = step.get("uses").value
        if isinstance(action, str) and action.startswith("docker/build-push-action@"):
            for line in str(step.get("with", "tags").value or "").splitlines():
                for tag in line.split(","):
                    known = _ENV.sub(lambda found: env.get(found[1], found[0]), tag[:_LONGEST])
                    for name in _expanded(known, matrix):
                        yield from _some(built(name, step.get("with", "tags").at, form))
        yield from in_script(step.get("run"), form, env)
        yield from in_step(step.get("run"), form, env)


def _expanded(text: str, matrix: Node) -> Iterator[str]:
    """A name for each value that a matrix has in it."""
    yield text
    match = _MATRIX.search(text)
    if match is not None:
        for choice in islice(_of_matrix(matrix, match[1], match[2]), _MOST):
            yield text.replace(match[0], str(choice.value))


def _uses(node: Node, form: str) -> Iterator[Action | Image]:
    held = node.get("uses")
    text = held.value
    if not isinstance(text, str) or not text.strip():
        return
    if text.startswith("docker://"):
        yield from _some(named(held, form, "action"))
        return
    yield action(held, form)


def action(held: Node, form: str) -> Action:
    """What `uses` names: an action, a workflow of another repository, or a folder of this one, which has no version."""
    text = held.value.strip()
    at, comment = placed(held)
    if text.startswith(("./", "../", ".\\")):
        return Action(at, form, text, None, None, comment=comment)
    name, mark, reference = text.partition("@")
    if not mark:
        return Action(at, form, name, None, pinned=False, reason=_NO_REFERENCE, comment=comment)
    if VARIABLE.search(reference):
        return Action(at, form, name, Unknown(reference), Unknown(text), "what fills it in is not said here", comment)
    if _COMMIT.fullmatch(reference):
        return Action(at, form, name, reference, pinned=True, comment=comment)
    return Action(at, form, name, reference, False, _MOVES.format(reference=reference), comment)


def _container(job: Node, node: Node, use: str) -> Iterator[Image]:
    held = node.get("image") if isinstance(node.value, dict) else node
    text = held.value
    match = _MATRIX.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        yield from _some(named(held, FORM, use))
        return
    choices = list(_of_matrix(job.get("strategy", "matrix"), match[1], match[2]))
    for choice in choices:
        yield from _some(named(choice, FORM, use))
    if not choices:
        yield from _some(named(held, FORM, use))


def _of_matrix(matrix: Node, name: str, key: str | None) -> Iterator[Node]:
    """The values that a matrix has for a name."""
    listed = [*matrix.get(name).list(), *(item.get(name) for item in matrix.get("include").list())]
    for node in listed:
        held = node.get(key) if key else node
        if isinstance(held.value, str) and held.value:
            yield held


_GITLAB_OTHERS = frozenset(("include", "stages", "variables", "workflow", "cache", "image", "services"))
_OWN_REGISTRY = re.compile(r"\$\{?CI_(?:REGISTRY_IMAGE|PROJECT_PATH)")


def is_gitlab(value: Mapping[str, object]) -> bool:
    """Whether a file that others include is a pipeline: a job with a stage and a script."""
    jobs = [job for job in value.values() if isinstance(job, dict)]
    return any("stage" in job and isinstance(job.get("script"), list) for job in jobs)


def gitlab(root: Node) -> Iterator[Image]:
    """The images of a GitLab pipeline: `image` and `services` of the whole, of `default`, and of each job."""
    variables = {name: str(node.value) for name, node in root.get("variables").items() if isinstance(node.value, str)}
    jobs = [node for name, node in root.items() if name not in _GITLAB_OTHERS and isinstance(node.value, dict)]
    for node in (root, *jobs):
        own = {name: str(held.value) for name, held in node.get("variables").items() if isinstance(held.value, str)}
        known = {**variables, **own}
        if "image" in node.value:
            yield from _gitlab(node.get("image"), known, "container")
        for service in node.get("services").list():
            yield from _gitlab(service, known, "service")


def _gitlab(node: Node, variables: Mapping[str, str], use: str) -> Iterator[Image]:
    held = node.get("name") if isinstance(node.value, dict) else node
    text = held.value
    if not isinstance(text, str) or not text.strip():
        return
    own = _OWN_REGISTRY.match(text.strip()) is not None
    at, comment = placed(held)
    filled = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: variables.get(found[1] or found[2], found[0]), text[:1000])
    found = image(filled, at, FORM, use, behind=comment)
    if found is not None:
        yield Image(found.at, FORM, found.name, found.tag, found.digest, None, use=use) if own else found


def azure(root: Node) -> Iterator[Image]:
    """The images of an Azure pipeline: `container` of its jobs, and the containers among its resources."""
    listed = (node.get("container").value for node in root.get("resources", "containers").list())
    resources = {name for name in listed if isinstance(name, str)}
    for node, key in mappings(root, lambda value, key: key == "containers" or "container" in value):
        held = node.get("container")
        if key == "containers" or isinstance(held.value, dict):
            yield from _some(named(node.get("image") if key == "containers" else held.get("image"), FORM, "container"))
        elif isinstance(held.value, str) and held.value not in resources and "[" not in held.value:
            yield from _some(named(held, FORM, "container"))


def circleci(root: Node) -> Iterator[Image]:
    """The images of CircleCI's executors."""
    for node, _ in mappings(root, lambda value, key: key == "docker" and "image" in value):
        yield from _some(named(node.get("image"), FORM, "container"))


def cloud_build(root: Node) -> Iterator[Image]:
    """The images that Cloud Build's steps run in, and those that it builds."""
    for step in root.get("steps").list():
        yield from _some(named(step.get("name"), FORM, "step"))
        yield from _arguments(step)
    for item in root.get("images").list():
        if isinstance(item.value, str):
            yield from _some(built(item.value, item.at, FORM))


def _arguments(step: Node) -> Iterator[Image]:
    """`args: [build, -t, NAME, .]`"""
    words = [item.value for item in step.get("args").list()]
    for number, word in enumerate(words[:-1]):
        following = words[number + 1]
        if "build" in words and word in ("-t", "--tag") and isinstance(following, str):
            yield from _some(built(following, step.get("args").at, FORM))


def skaffold(root: Node) -> Iterator[Image]:
    """The images that skaffold builds."""
    for node, _ in mappings(root, lambda value, key: key == "artifacts" and isinstance(value.get("image"), str)):
        yield from _some(built(node.get("image").value, node.get("image").at, "kubernetes"))


def pre_commit(root: Node) -> Iterator[Action]:
    """The repositories of pre-commit's hooks, by owner and name."""
    for node in root.get("repos").list():
        url, revision = node.get("repo"), node.get("rev")
        if not isinstance(url.value, str) or not isinstance(revision.value, str):
            continue
        name = re.sub(r"\A[a-z+]{1,10}://[^/]{1,200}/|\A[\w.-]{1,60}@[^:]{1,200}:", "", url.value).removesuffix(".git")
        pinned = _COMMIT.fullmatch(revision.value) is not None
        reason = "" if pinned else _MOVES.format(reference=revision.value)
        at, comment = placed(revision)
        yield Action(at, "pre-commit", name, revision.value, pinned, reason, comment)


def _some(found: Image | None) -> Iterator[Image]:
    if found is not None:
        yield found
