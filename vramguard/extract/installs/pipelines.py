"""CI: the steps of GitHub workflows and actions, jobs of GitLab, Azure and CircleCI, the tasks of a Taskfile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vramguard.extract.installs.commands import Runs, joined
from vramguard.extract.installs.tools import worth
from vramguard.extract.tools.values import joined as one_script
from vramguard.extract.tools.workflows import lines_of
from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.extract.installs.places import Visitor
    from vramguard.extract.tools.values import Node

_FORM = "workflow"
_MAX_DEPTH = 8
_SHELL = re.compile(r"(?:\S*/)?(?:bash|sh|zsh|pwsh|powershell|cmd|msys2|wsl-bash|alpine\.sh|micromamba-shell)\b")
_TICK = re.compile(r"`(?=\n)")  # a line of PowerShell that goes on
_GITLAB = frozenset(
    {"default", "include", "stages", "variables", "workflow", "image", "services", "cache", "before_script", "spec"}
)
_PARAMETER = re.compile(r"<<\s*[\w.]{1,80}\s*>>")


def reader(path: str) -> Callable[[Node, Visitor], None] | None:
    """What reads the pipelines of that path; None for other files."""
    return next((function for pattern, function in _READERS if pattern.search(path)), None)


def is_pipeline(node: Node) -> bool:
    """Whether a file by another name is one of Azure's: stages, jobs and steps whose scripts have names."""
    value: Mapping[str, object] = node.value
    if "apiVersion" in value or not value.keys() & {"steps", "jobs", "stages"}:
        return False
    steps = value.get("steps") or value.get("jobs") or value.get("stages")
    first = steps[0] if isinstance(steps, list) and steps else None
    return isinstance(first, Mapping) and bool(
        first.keys() & {"script", "bash", "task", "job", "stage", "template", "pwsh"}
    )


# GitHub


def github(document: Node, visitor: Visitor) -> None:
    """Every step of a workflow, or of an action of one's own."""
    env = document.get("env").variables()
    folder = _default(document)
    for name, job in document.get("jobs").items():
        inner = {**env, **job.get("env").variables(), **job.get("container", "env").variables()}
        fill = _matrix(job)
        runs = Runs(_FORM, visitor.place(name), _default(job) or folder, inner, fill=fill)
        _steps(job.get("steps"), runs, visitor)
    _steps(document.get("runs", "steps"), Runs(_FORM, visitor.document.path, env=env), visitor)


def _default(node: Node) -> str:
    return node.get("defaults", "run", "working-directory").text or ""


def _matrix(job: Node) -> dict[str, Word]:
    """What a matrix says where it says one thing."""
    found: dict[str, Word] = {}
    for name, node in job.get("strategy", "matrix").items():
        values = list(node)
        if name not in {"include", "exclude"} and isinstance(node.value, list) and len(values) == 1:
            word = values[0].word()
            found |= {f"matrix.{name}": word} if word else {}
    return found


def _steps(steps: Node, runs: Runs, visitor: Visitor) -> None:
    for step in steps if isinstance(steps.value, list) else ():
        shell = step.get("shell").text
        inner = step.get("env").variables() if isinstance(step.value, Mapping) else {}
        env = {**runs.env, **inner}
        folder = joined(runs.directory, step.get("working-directory").text or "")
        fill = {**runs.fill, **{f"env.{name}": word for name, word in env.items()}}
        here = runs._replace(env=env, directory=folder, fill=fill)
        text = step.get("run").value
        if isinstance(text, str) and worth(text) and (shell is None or _SHELL.match(shell)):
            _run(step.get("run"), shell, here, visitor)
        for name, given in step.get("with").items():
            if re.search(r"command|script|run\b", name) and isinstance(given.value, str) and worth(given.value):
                visitor.text(given.script(), here)


def _run(node: Node, shell: str | None, runs: Runs, visitor: Visitor) -> None:
    word = node.script()
    if word is not None and shell and shell.startswith(("pwsh", "powershell")):
        word = Word(_TICK.sub("\\\\", word.text), word.at, first=word.first)
    visitor.text(word, runs)


# GitLab


def gitlab(document: Node, visitor: Visitor) -> None:
    """The scripts of every job, those that come before all of them once."""
    shared = document.get("variables").variables()
    default = document.first("before_script", "default")
    before = default if isinstance(default.value, list | str) else default.get("before_script")
    visitor.script(before, Runs(_FORM, visitor.document.path, env=shared))
    for name, job in document.items():
        if name in _GITLAB or not isinstance(job.value, Mapping):
            continue
        lines = [word for key in ("before_script", "script", "after_script") for word in lines_of(job.get(key))]
        script = one_script(lines)
        if script and worth(script.text):
            visitor.text(script, Runs(_FORM, visitor.place(name), env={**shared, **job.get("variables").variables()}))


# Azure


def azure(document: Node, visitor: Visitor) -> None:
    """Every step of a pipeline, at whatever depth of stages and jobs."""
    _stage(document, Runs(_FORM, visitor.document.path), visitor, 0)


def _stage(node: Node, runs: Runs, visitor: Visitor, depth: int) -> None:
    if not isinstance(node.value, Mapping) or depth > _MAX_DEPTH:
        return
    own = node.get("variables").variables()
    name = node.first("job", "stage", "deployment").text
    runs = runs._replace(
        env={**runs.env, **own}, fill={**runs.fill, **own}, place=visitor.place(name) if name else runs.place
    )
    for step in node.get("steps") if isinstance(node.get("steps").value, list) else ():
        folder = joined(runs.directory, step.first("workingDirectory").text or "")
        here = runs._replace(directory=folder)
        for key in ("script", "bash", "pwsh", "powershell"):
            text = step.get(key)
            if isinstance(text.value, str) and worth(text.value):
                _run(text, key, here, visitor)
        for key in ("script", "inlineScript", "targetType"):
            visitor.script(step.get("inputs", key), here)
    for key in ("stages", "jobs", "strategy", "runOnce", "deploy"):
        inner = node.get(key)
        for part in inner if isinstance(inner.value, list) else (inner,):
            _stage(part, runs, visitor, depth + 1)


# CircleCI


def circleci(document: Node, visitor: Visitor) -> None:
    """The steps of jobs and of commands of one's own, those of inline orbs too."""
    for holder in (document, *(node for _, node in document.get("orbs").items())):
        for key in ("jobs", "commands"):
            for name, job in holder.get(key).items():
                env = job.get("environment").variables()
                folder = job.get("working_directory").text or ""
                runs = Runs(_FORM, visitor.place(name), "" if folder.startswith("~") else folder, env)
                _circle_steps(job.get("steps"), runs, visitor, 0)


def _circle_steps(steps: Node, runs: Runs, visitor: Visitor, depth: int) -> None:
    for step in steps if isinstance(steps.value, list) and depth < _MAX_DEPTH else ():
        run = step.get("run")
        command = run if isinstance(run.value, str) else run.get("command")
        if isinstance(command.value, str) and worth(command.value):
            here = runs._replace(
                env={**runs.env, **run.get("environment").variables()},
                directory=joined(runs.directory, run.get("working_directory").text or ""),
            )
            word = command.script()
            visitor.text(word and _without_parameters(word), here)
        for key in ("when", "unless"):
            _circle_steps(step.get(key, "steps"), runs, visitor, depth + 1)


def _without_parameters(word: Word) -> Word:
    """`<< parameters.x >>` would be a here-document to a shell: as long a variable, which nothing sets."""
    text = _PARAMETER.sub(lambda mark: "$" + "_" * (len(mark[0]) - 1), word.text)
    return Word(text, word.at, word.known, word.first)


# Taskfile


def taskfile(document: Node, visitor: Visitor) -> None:
    """The commands of every task, each in a shell of its own."""
    shared = _of_task(document)
    for name, task in document.get("tasks").items():
        cmds = task.get("cmds") if isinstance(task.value, Mapping) else task
        env = {**document.get("env").variables(), **task.get("env").variables()}
        folder = task.get("dir").text or ""
        runs = Runs("taskfile", visitor.place(name), folder, env, fill={**shared, **_of_task(task)})
        for item in (*(cmds if cmds.value is not None else ()), task.get("cmd")):
            visitor.script(item if isinstance(item.value, str) else item.first("cmd", "defer"), runs)


def _of_task(node: Node) -> dict[str, Word]:
    return {f".{name}": word for name, item in node.get("vars").items() if (word := item.word())}


_READERS: tuple[tuple[re.Pattern[str], Callable[[Node, Visitor], None]], ...] = (
    (re.compile(r"(?:^|/)(?:\.github/workflows/[^/]+|action)\.ya?ml$"), github),
    (re.compile(r"(?:^|/)(?:[^/]*gitlab-ci[^/]*|\.gitlab/.+)\.ya?ml$"), gitlab),
    (re.compile(r"(?:^|/)(?:[^/]*azure-pipelines[^/]*|\.azure[^/]*/.+)\.ya?ml$"), azure),
    (re.compile(r"(?:^|/)\.circleci/[^/]+\.ya?ml$"), circleci),
    (re.compile(r"(?:^|/)[Tt]askfile(?:\.[\w-]+)?\.ya?ml$"), taskfile),
)
