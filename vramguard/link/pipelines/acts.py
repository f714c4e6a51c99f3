"""What a step does: it trains, promotes, deploys, keeps what was made, commits it, checks it, or answers for a person.

A command line is read as the shell would; one that runs a script of this repository does what the code of that script
does, as `link/code` knows. Names alone make an act that is not `sure`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from vramguard.facts import Word
from vramguard.facts.outputs import Step as Evidence
from vramguard.facts.values import UNREAD
from vramguard.link.code import program
from vramguard.link.code.dags import dags
from vramguard.link.code.promotions import Promotions
from vramguard.link.code.triggers import starting
from vramguard.link.code.words import literal
from vramguard.link.pipelines import known
from vramguard.link.pipelines.parts import Job, Pipeline, Step
from vramguard.link.pipelines.scripts import Scripts, is_of_use, to_space
from vramguard.shell import commands
from vramguard.shell.prefixes import unwrapped
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.facts import Facts
    from vramguard.link.code.program import Routine
    from vramguard.link.code.promotions import Promoting
    from vramguard.link.code.starts import Start
    from vramguard.shell import Command

_EXPRESSION: Final = re.compile(r"\$\{\{[^{}\n]{0,500}\}\}|\{\{[^{}\n]{0,500}\}\}")
_PYTHON: Final = re.compile(r"(?:\S*/)?python[\d.]*$")
_RUNNERS: Final = re.compile(
    r"^(uv run( --(with|extra|group|project|directory|env-file|package|python) \S+| --\S+| -q)*"
    r"|(poetry|pipenv|pdm|rye|hatch) run|pixi run( -e \S+)?|micromamba run -n \S+"
    r"|conda run (-n|-p|--name) \S+|time|xvfb-run( -a)?) "
)
_LAUNCHERS: Final = re.compile(
    r"^(accelerate|torchrun|deepspeed|spark-submit|streamlit|papermill|ray job submit|srun|mpirun)\b"
)
_TRIES: Final = re.compile(
    r"(^| )--?(dry-run|dryrun|help|version|smoke(-test)?|check-only|plan|test)( |=|$)"
    r"|\.py (compile|build|lint|validate|render|export)( |$)"
)
_DAG: Final = re.compile(r"/dags/([\w.~-]{1,200})/dagRuns|^airflow dags trigger (?:-\S+ )*([\w.~-]{1,200})")
_WORKFLOW: Final = re.compile(
    r"workflows/([\w.-]{1,100}\.ya?ml)/dispatches|^gh workflow run (?:-\S+ \S+ )*\"?([\w.-]{1,100})"
)
_SUBMITTED: Final = re.compile(
    r"^argo submit\b.*--from[ =](?:clusterworkflowtemplate|workflowtemplate|cronwf)/([\w.-]{1,200})"
)
_SCRIPTED: Final = frozenset(("train", "deploy", "promote", "keep", "bump", "dispatch"))
_FLOW: Final = "prefect:"
_NESTED: Final = 2  # scripts that run scripts
_MOST: Final = 400  # commands of one step


def _program(command: Command, words: Sequence[Word]) -> tuple[str, str]:
    """The program that Python is given by the command itself, after `-c` or as a here-document; and how it is shown."""
    if not _PYTHON.match(words[0].text):
        return "", ""
    if command.stdin is not None:
        return command.stdin.text, "python <<…"
    following = (after.text for flag, after in pairwise(words) if flag.text == "-c")
    return next(following, ""), "python -c …"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that a step does. `command`: as written; `steps`: what leads to it, in the code that it runs.

    `serving`: of a promotion, whether it is of the model in use. `script`: the file of the repository that it runs.
    """

    kind: str
    at: Location
    command: str
    step: Step
    sure: bool = True
    steps: tuple[Evidence, ...] = ()
    after: str = ""
    script: str = ""

    @property
    def shown(self) -> str:
        """The command, cut where it is long."""
        text = _HIDDEN.sub("${…}", " ".join(self.command.split())).replace("`", "'")
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN: Final = 80
_HIDDEN: Final = re.compile(r"\$ ?_{4,}")


class Acts:
    """What the steps of a repository's pipelines do."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.code = program(facts)
        self.starts = starting(facts)
        self._of: dict[int, tuple[Act, ...]] = {}
        self.scripts = Scripts(facts)
        self._within = 0  # scripts that run one another

    @cached_property
    def promoting(self) -> Mapping[Routine, list[Promoting]]:
        """The calls that make a model the one in use, or would, by the function that they stand in."""
        found: dict[Routine, list[Promoting]] = {}
        for one in Promotions(self.code, self.starts).known():
            found.setdefault(one.call.routine, []).append(one)
        return found

    @cached_property
    def _dags(self) -> Mapping[str, tuple[Evidence, ...]]:
        """Graphs of tasks of which one trains, by their ids."""
        found: dict[str, tuple[Evidence, ...]] = {}
        for one in dags(self.code, self.starts):
            if one.gate is None:
                name = literal(self.code, self.code.argument(one.call, "dag_id", 0))
                first = Evidence(one.call.at, f"the graph `{name}`")
                found.setdefault(name, (first, *self.starts.steps(self.starts.chain(one.start))))
        for call, wanted in self.starts.runs_of_dags:  # an operator that belongs to a graph by `>>` alone
            own = [one for one in self.code.program.calls.get("DAG", ()) if one.routine.module is call.routine.module]
            name = literal(self.code, self.code.argument(own[0], "dag_id", 0)) if len(own) == 1 else ""
            if name and wanted in found:
                found.setdefault(name, (Evidence(call.at, f"the graph `{name}` runs `{wanted}`"), *found[wanted]))
        return found

    def of(self, job: Job) -> tuple[Act, ...]:
        """What the steps of a job do, in their order."""
        if id(job) not in self._of:
            found = [act for step in job.steps for act in self._step(step, job)]
            self._of[id(job)] = (*found, *_commits(job, found))
        return self._of[id(job)]

    # ---- one step

    def _step(self, step: Step, job: Job) -> Iterator[Act]:
        there = known.says("deploy-job", f"{job.key} {job.label} {step.name} {job.runner}") and not self.tries(job)
        if step.uses.startswith(_FLOW):
            yield from self._flow(step)
        elif step.uses:
            yield from self._action(step)
        script = step.script
        remote = any(row.kind == "remote" for row in known.action(step.uses))
        if remote and step.given.get("script"):
            script, there = Word(step.given["script"], step.at), True
        found = list(self._script(script, step, there=there)) if script is not None else []
        yield from found
        named = not step.uses and (step.image or script is None)
        if named and not any(act.kind == "train" for act in found):
            yield from self._by_name(step, job)

    def _script(self, script: Word, step: Step, *, there: bool) -> Iterator[Act]:
        masked = Word(_masked(script.text), script.at, True, script.first)
        for command in commands(masked)[:_MOST]:
            yield from to_space(script.text, self._command(command, step, there=there))

    def _command(self, command: Command, step: Step, *, there: bool) -> Iterator[Act]:
        words, env = unwrapped(command.words)
        line = plain(" ".join(word.text for word in words))
        if not line:
            return
        if line.startswith("ssh ") and len(words) > 2:  # noqa: PLR2004 - the host, and what it is told
            line, there = words[-1].text, True
        act = Act("", command.at, line, step)
        said = {**step.env, **{name: word.text for name, word in {**command.env, **env}.items()}}
        found = [*self._run(line, act, said), *self._shell(line, act, there=there)]
        yield from found
        text, shown = _program(command, words)
        if text and known.says("fits", text):
            yield replace(act, kind="train", command=shown)
        for row in known.doings(line):
            told = row.kind == "deploy" and (self.scripts.of(line) or any(one.kind != "train" for one in found))
            if row.weak and (told or _TRIES.search(line) or any(one.kind == row.kind for one in found)):
                continue  # what runs says itself what it does
            if row.there and not (there and (known.says("serving", line) or not known.says("staging", line))):
                continue
            if row.kind == "train" and (_TRIES.search(line) or self._is_resolved(line)):
                continue
            yield replace(act, kind=row.kind, sure=not row.weak, after=row.after)
        yield from self._elsewhere(line, act)

    def _shell(self, line: str, act: Act, *, there: bool) -> Iterator[Act]:
        """What a script of the repository does that a shell runs, at the place of the command."""
        script = None if _TRIES.search(line) or self._within >= _NESTED else self.scripts.of(line)
        if script is None:
            return
        self._within += 1
        first = Evidence(act.at, f"`{act.shown}` runs `{script.at.path}`")
        for command in commands(script.text)[:_MOST]:
            for one in to_space(script.text.text, self._command(command, act.step, there=there)):
                if one.kind in _SCRIPTED:
                    second = one.steps or (Evidence(one.at, f"`{one.shown}`"),)
                    yield replace(one, at=act.at, steps=(first, *second))
        self._within -= 1

    def _elsewhere(self, line: str, act: Act) -> Iterator[Act]:
        """Another pipeline that a command starts."""
        if match := _DAG.search(line):
            steps = self._dags.get(match[1] or match[2])
            if steps is not None:
                first = Evidence(act.at, "it starts a graph")
                yield replace(act, kind="train", steps=(first, *steps), after="elsewhere")
        if match := _WORKFLOW.search(line) or _SUBMITTED.search(line):
            yield replace(act, kind="dispatch", after=match[1] or match[match.lastindex or 1])

    # ---- scripts of the repository

    def _is_resolved(self, line: str) -> bool:
        """Whether the code of the script is known, and says itself what it does."""
        return any(True for _ in self._targets(line))

    def _targets(self, line: str) -> Iterator[str]:
        words = line.split()
        for number, word in enumerate(words):
            if _PYTHON.match(word):
                rest = [one for one in words[number + 1 : number + 8] if not (one.startswith("-") and one != "-m")]
                if rest[:1] == ["-m"]:
                    yield from self.starts.scripts(rest[:2])
                elif rest and rest[0].endswith(".py"):
                    yield from self.starts.scripts(rest[:1])
                return
        scripts = [one for one in words if one.endswith(".py") and not one.startswith("-")]
        if scripts and (_LAUNCHERS.match(line) or words[0] == scripts[0]):
            yield from self.starts.scripts(scripts[:1])

    def _run(self, line: str, act: Act, env: Mapping[str, str]) -> Iterator[Act]:
        """What a command does by the script of this repository that it runs."""
        if _TRIES.search(line):
            return
        for path in self._targets(line):
            module = self.code.program.module(path)
            if module is None or self.facts.classify(path) in UNREAD:
                continue
            top = self.code.program.routine(module, 0)
            yield from self._of_code(top, replace(act, script=path), line, env)
            return
        words = line.split()
        if _PYTHON.match(words[0]) and self.starts.says(words) and not known.says("no-training", _file(words)):
            yield replace(act, kind="train", sure=False)

    def _of_code(self, top: Routine, act: Act, line: str, env: Mapping[str, str]) -> Iterator[Act]:
        start = self.starts.down.get(top) or self._flagged(top, line)
        trains = start is not None
        if start is not None:
            chain = self.starts.chain(start)
            sure = top in self.starts.plain and all(one.sure for one in chain)
            first = Evidence(act.at, f"`{act.shown}` runs `{act.script}`")
            yield replace(act, kind="train", sure=sure, steps=(first, *self.starts.steps(chain)))
        elif self.starts.says(line.split()) and not known.says("no-training", act.script):
            yield replace(act, kind="train", sure=False, steps=(Evidence(act.at, f"it runs `{act.script}`"),))
        for routine in self.code.reaches(top):
            for one in self.promoting.get(routine, ()):
                if not is_of_use(one, line, env):
                    yield replace(act, kind="keep", after=str(one.row["kind"]))
                    continue
                target = f" ({one.target})" if one.target else ""
                steps = (
                    Evidence(act.at, f"`{act.shown}` runs `{act.script}`"),
                    Evidence(one.call.at, f"`{self.code.written(one.call)}(…)` makes a model the one in use{target}"),
                )
                kind = "deploy" if one.row["kind"] == "deploy" else "promote"
                yield replace(
                    act, kind=kind, steps=steps, sure=not trains, after="push" if one.row["kind"] == "push" else ""
                )

    def _flow(self, step: Step) -> Iterator[Act]:
        """What a flow does that an orchestrator runs by its entry point."""
        entry = step.uses.removeprefix(_FLOW)
        for routine in self.starts.entry(entry):
            yield from self._of_code(routine, Act("", step.at, entry, step, script=routine.path), "", {})

    def _flagged(self, top: Routine, line: str) -> Start | None:
        """What a script starts only where a flag says so, of a command line that has flags."""
        if " -" not in line:
            return None
        for routine in self.code.reaches(top):
            for start in self.starts.by.get(routine, ()):
                if "flag" in self.starts.conditions.kinds(start.call) and start.into is not None:
                    return start
        return None

    # ---- actions, and containers by their names

    def _action(self, step: Step) -> Iterator[Act]:
        act = Act("", step.at, step.uses, step)
        given = " ".join(step.given.values())
        for row in known.action(step.uses):
            if row.kind == "keep" and "upload-artifact" in step.uses and not known.says("artefact", given):
                continue
            if row.kind == "push-image":
                tags = " ".join(step.given.get("tags", "").replace(",", " ").split())
                if (
                    step.given.get("push", "").lower() == "true"
                    and known.says("model", tags)
                    and known.says("moving", tags)
                ):
                    yield replace(act, kind="promote", after="train", command=f"{step.uses.partition('@')[0]} {tags}")
                continue
            yield replace(act, kind=row.kind)

    def _by_name(self, step: Step, job: Job) -> Iterator[Act]:
        """A container that runs what its image runs, and a task of somebody else's: known by name alone."""
        text = step.script.text if step.script is not None else ""
        if ".py" in text and not known.says("training", text):
            return
        said = f"{job.key} {job.label} {step.name}"
        act = Act("", step.at, step.image or step.name or job.key, step, sure=False)
        if known.says("training", said) and not known.says("no-training", said):
            yield replace(act, kind="train")

    def tries(self, job: Job, pipeline: Pipeline | None = None) -> bool:
        """Whether a job works on a cluster of its own, which is gone when it ends, or only tests, as its name says."""
        if any(row.kind == "test-cluster" for step in job.steps for row in known.action(step.uses)):
            return True
        if any(step.script is not None and _CLUSTER.search(step.script.text) for step in job.steps):
            return True
        around = (pipeline.name, pipeline.at.path.rpartition("/")[2]) if pipeline is not None else ()
        names = (f"{job.key} {job.label}", *around)
        return any(known.says("trying", name) and not known.says("meant", name) for name in names)


_CLUSTER: Final = re.compile(
    r"\b(kind create cluster|minikube start|k3d cluster create|k3s-install|ct install|microk8s install)\b"
)


def _masked(text: str) -> str:
    """Expressions of a renderer as variables of the shell, which nothing sets, of the same length."""
    return _EXPRESSION.sub(lambda mark: "$" + "_" * (len(mark[0]) - 1), text)


def plain(line: str) -> str:
    """A command line without what runs it in an environment, and a module of tests as the program that it is."""
    for _ in range(3):
        line = _RUNNERS.sub("", line)
    return re.sub(r"^\S*python[\d.]* -m (pytest|unittest|tox|nox)\b", r"\1", line).strip()


def _file(words: list[str]) -> str:
    return next((word for word in words if word.endswith(".py")), "")


# ---- commits


_ADD: Final = re.compile(r"^git( -C \S+)? (add|commit)\b")
_PUSH: Final = re.compile(r"^git( -C \S+)? push\b(?!.*--tags)")
_ALL: Final = re.compile(r"^git( -C \S+)? (add (-A|--all|\.|-u)|commit .*?-\w*a\w* )")
_ELSEWHERE: Final = re.compile(
    r"^git( -C \S+)? (checkout (--orphan|-[bB]|gh-pages|\S*_{5})|switch (-c|--create|--orphan)|push\b.*\bgh-pages)"
    r"|^git( -C \S+)? push\b.* \+?[\w./-]+:(refs/heads/)?(?!main\b|master\b|\$|/)[\w./-]+( |$)"
    r"|^gh pr create|pull-request"
)
_ELSE_ACTION: Final = frozenset(("request",))


def _commits(job: Job, found: list[Act]) -> Iterator[Act]:
    """A push of models or data to the branch that the job stands on, where nobody is asked to merge it."""
    said = [(step, command) for step in job.steps if step.script is not None for command in _lines(step.script)]
    if any(_ELSEWHERE.search(line) for _, line in said) or any(act.kind in _ELSE_ACTION for act in found):
        return
    trains = any(act.kind == "train" for act in found)
    adds = [(step, line) for step, line in said if _ADD.search(line)]
    pushes = [(step, line) for step, line in said if _PUSH.search(line)]
    held = [(step, line) for step, line in adds if _holds(line, trains=trains)]
    if held and pushes:
        yield Act("committed", pushes[0][0].at, held[0][1], pushes[0][0])
    for act in found:
        pattern = " ".join(act.step.given.get(key, "") for key in ("add", "file_pattern"))
        if act.kind == "commit" and (known.says("artefact", pattern) or (trains and pattern.strip() in ("", "."))):
            yield Act("committed", act.at, f"{act.command.partition('@')[0]} {pattern}".strip(), act.step)


def _holds(line: str, *, trains: bool) -> bool:
    """Whether an addition is of models or data: by what it names, or of everything after training."""
    named = line.partition(" add")[2].split()
    if any(known.says("artefact", word) and _CODE.search(word) is None for word in named):
        return True
    return trains and _ALL.search(line) is not None


_CODE: Final = re.compile(r"\.(py|ya?ml|toml|md|txt|json|rs|go|ts|lock)$")


def _lines(script: Word) -> Iterator[str]:
    if "git" not in script.text:
        return
    for command in commands(Word(_masked(script.text), script.at, True, script.first))[:_MOST]:
        yield " ".join(word.text for word in unwrapped(command.words)[0])
