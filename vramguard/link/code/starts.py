"""What starts training: from the acts of training upwards, through everybody who calls, hands on, or launches.

An act is a call that fits a model, a step down a gradient, or a job that does so elsewhere. A function trains if it
leads to an act; so does a script that a command line runs. Two kinds of calls go no further up: what is left out
unless a person sets a flag, and what makes up for a model that is not there yet (the first training is no retraining).
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.link.code.conditions import Conditions
from vramguard.link.code.program import Ref, Routine
from vramguard.link.code.steps import steps_of
from vramguard.link.code.words import constants, literal, texts, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts.outputs import Step
    from vramguard.link.code import Code
    from vramguard.link.code.roles import Row

_MOST: Final = 3000  # functions that train
# Classes whose `fit` learns how to scale or encode: a part of a model's data, no model.
_PREPARES: Final = re.compile(
    r"^(sklearn|dask_ml|cuml)\.(preprocessing|feature_extraction|impute|compose|decomposition|feature_selection|manifold|cluster"
    r"|covariance|random_projection|kernel_approximation|calibration)\.|^pyspark\.ml\.feature\.|^sktime\.transformations\."
    r"|\.(fit_transform|fit_predict)$|\.(Tokenizer|TextVectorization|ImageDataGenerator|Normalization|LabelEncoder)\(\)\."
    r"|Scaler\(\)\.|Encoder\(\)\.|Imputer\(\)\.|Binarizer\(\)\.|Transformer\(\)\.fit$|Vectorizer\(\)\."
)
_LEARNERS: Final = frozenset(
    {"model", "clf", "classifier", "regressor", "estimator", "pipeline", "trainer", "learner", "booster", "forecaster"}
)
_SCALERS: Final = frozenset(
    {"scaler", "encoder", "imputer", "vectorizer", "preprocessor", "transformer", "tokenizer", "pca", "selector"}
)
_UPDATES: Final = re.compile(r"(apply_gradients|train_on_batch|apply_updates|\.minimize)$")
# Methods by which task queues and frameworks run a function later or elsewhere.
_LATER: Final = (
    "delay", "apply_async", "remote", "submit", "enqueue", "kiq", "send", "spawn", "fn", "map", "s", "si", "call",
    "local",    "run", "expand", "partial", "override", "with_options", "execute_in_process", "send_with_options",
    "schedule", "aio",
)  # fmt: skip
# Airflow's operators that run a function as a task.
PYTHON_OPERATORS: Final = (
    "PythonOperator",
    "PythonVirtualenvOperator",
    "ExternalPythonOperator",
    "BranchPythonOperator",
    "ShortCircuitOperator",
)
# Functions that run one many times: searches, and launchers of processes.
_SEARCHES: Final = (
    "fmin",
    "optimize",
    "agent",
    "notebook_launcher",
    "minimize",
    "with_parameters",
    "run_until_complete",
    "Tuner",
)
_BY_NAME: Final = re.compile(r"(^|_)(re)?train(ing)?_|_(re)?train(ing)?($|_)|^retrain|fine_?tune", re.IGNORECASE)
_SCRIPT: Final = re.compile(r"[\w./-]+\.py\b")
_NAMED: Final = re.compile(
    r"(^|[_/-])(re)?train(er|ing)?([_-]\w+)*\.py$|(^|[_/-])(re|auto)?(train|finetune|fine_tune)\w*\.py$"
)
_TRAINS: Final = re.compile(
    r"\b(accelerate launch|torchrun|axolotl train|llamafactory-cli train|dvc repro|rasa train|spacy train|autotrain)\b"
)
_ORDERS: Final = re.compile(r"_?(trigger|start|launch|run|submit|kick_?off)_(model_|the_)?(re)?train(ing)?(_|$)")
_WAKES: Final = (
    "start_instances",
    "start_execution",
    "run_task",
    "submit_job",
    "start_job_run",
    "start_build",
    "invoke",
)
_AGAIN: Final = re.compile(r"re-?train", re.IGNORECASE)
_ENDPOINT: Final = re.compile(r"/re-?train\b|(^|[._/])retrain(er|ing)?_?(url|uri|endpoint|api)\b", re.IGNORECASE)
_ELSEWHERE: Final = re.compile(r"dispatches|event_type|dagRuns|workflow_id")


@dataclass(frozen=True)
class Start:
    """A call that starts training. `into`: the function that it runs; None for the act itself, which `what` names."""

    call: Ref
    into: Routine | None
    what: str = ""
    sure: bool = True


class Starts:
    """Every call of a program that starts training: `by` the function it stands in."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.by: dict[Routine, list[Start]] = defaultdict(list)
        self.down: dict[Routine, Start] = {}  # the next step towards the act
        self.plain: set[Routine] = set()  # those that train whatever a score says
        self.conditions = Conditions(self.code)
        self._judged = set(self.code.routines)
        self._later = self._functions_run_later()
        self._launched, self._named = self._launches()
        self._deployed = self._deployments()
        self.dags_by_id, self.runs_of_dags = self._graphs()
        acts = [*self._acts(), *self._named]
        waiting = self._climb(acts, scored=False)
        self.plain = set(self.down)
        self._climb(waiting, scored=True)

    # ---- acts

    def _acts(self) -> Iterator[Start]:
        for call, row in self.code.calls("fit"):
            if self._is_fit(call, row):
                yield Start(call, None, "fit" if row["kind"] != "job" else "job", not row.get("weak"))
        updated = {call.routine.path for call, row in self.code.calls("step") if row["kind"] == "update"}
        for call, row in self.code.calls("step"):
            named = any(_UPDATES.search(path) for path in self.code.meanings.called(call))
            stepped = row["kind"] == "gradient" and call.routine.path in updated
            if (stepped or named) and call.routine.function.name not in ("backward", "forward"):
                yield Start(call, None, "fit")
        yield from self._dispatched()
        yield from self._unknown()

    def _unknown(self) -> Iterator[Start]:
        """`model.fit(x, y)`, `trainer.train()` of what nobody knows: what takes targets is no scaler."""
        for name in ("fit", "train", "fine_tune", "finetune"):
            for call in self.code.program.calls.get(name, ()):
                function = call.to(call.node.inputs[0])
                paths = self.code.meanings.called(call)
                if (
                    function.node.op != "attr"
                    or self.code.meanings.routines(call)
                    or not all(path.startswith("?") for path in paths)
                ):
                    continue
                base = tokens(self.code.written(function.to(function.node.inputs[0])).rpartition(".")[2])
                given = len(call.node.inputs) - 1
                learns = (
                    bool(base & _LEARNERS) and (name == "fit" or "trainer" in base) and (given > 0 or "trainer" in base)
                )
                if learns or (name == "fit" and given > 1 and not base & _SCALERS):
                    yield Start(call, None, "fit")

    def _is_fit(self, call: Ref, row: Row) -> bool:
        paths = self.code.meanings.called(call)
        if any(_PREPARES.search(path) for path in paths):
            return False
        if row["kind"] == "job" and any(
            path.startswith(one.split("**")[0]) for one in row.get("weak_for", ()) for path in paths
        ):
            return any(re.search(r"train|tun(e|ing)", text, re.IGNORECASE) for text in texts(self.code, call))
        return True

    def _dispatched(self) -> Iterator[Start]:
        """A request that has another service run a workflow of training."""
        for call in self.code.program.calls.get("post", ()):
            if call.routine in self._judged and len(call.node.inputs) > 1:
                held = texts(self.code, call)
                said = any(_ELSEWHERE.search(text) for text in held) and any("train" in text.lower() for text in held)
                url = call.to(call.node.inputs[1])
                named = [*texts(self.code, url), self.code.written(url)]
                asked = any(_ENDPOINT.search(one) for one in named)
                if said or asked or _ORDERS.match(call.routine.function.name):
                    yield Start(call, None, "job", sure=False)
                elif any(_ELSEWHERE.search(text) for text in held) and any(constants(url, "param")):
                    for caller in self.code.meanings.callers(call.routine)[:40]:  # who says which: `run_dag("train")`
                        if any(_AGAIN.search(one) or "training" in one for one in texts(self.code, caller)):
                            yield Start(caller, None, "job", sure=False)

        for name in _WAKES:  # machines and workflows of a cloud that train once they run
            for call in self.code.program.calls.get(name, ()):
                if call.routine in self._judged and self._is_cloud(call) and self._speaks(call):
                    yield Start(call, None, "job", sure=False)

    def _is_cloud(self, call: Ref) -> bool:
        return any(path.startswith("boto3.") for path in self.code.meanings.called(call))

    @staticmethod
    def _speaks(call: Ref) -> bool:
        """Whether a function says in a string of its own, or its file by its name, that a model is trained again."""
        said = (node.name for node in call.routine.function.nodes if node.op == "const")
        return bool(_AGAIN.search(call.routine.path)) or any(_AGAIN.search(one) for one in said)

    # ---- who runs a function

    def _climb(self, starts: list[Start], *, scored: bool) -> list[Start]:
        """Note calls and go up to those who run their functions; those that a score decides come back."""
        waiting: list[Start] = []
        pending = list(starts)
        for start in pending:
            routine = start.call.routine
            if routine not in self._judged or len(self.by) > _MOST:
                continue
            held = self.conditions.kinds(start.call)
            if all(one.call != start.call for one in self.by[routine]):
                self.by[routine].append(start)
            if "score" in held and not scored:
                waiting.append(start)
                continue
            if {"flag", "absent"} & held and not start.what.startswith("fit"):
                continue
            if routine not in self.down and (scored or "score" not in held):
                self.down[routine] = start
                pending += [Start(call, routine) for call in self.callers(routine)]
        return waiting

    def callers(self, routine: Routine) -> Iterator[Ref]:
        """Every call that runs a function: of it, of what runs it later, of its script, of its deployment."""
        meanings = self.code.meanings
        found: dict[Ref, None] = dict.fromkeys(meanings.callers(routine))
        found.update(dict.fromkeys(meanings.handed.get(routine, ())))
        found.update(dict.fromkeys(self._later.get(routine, ())))
        found.update(dict.fromkeys(self._deployed.get(routine, ())))
        found.update(
            dict.fromkeys(call for call, name in self.runs_of_dags if routine in self.dags_by_id.get(name, ()))
        )
        if routine.number == 0:
            found.update(dict.fromkeys(self._launched.get(routine.path, ())))
        found.update(dict.fromkeys(self._by_name(routine)))
        for call in found:
            if call.routine in self._judged and call.routine is not routine:
                yield call

    def _by_name(self, routine: Routine) -> Iterator[Ref]:
        """Calls of what nobody knows, by a name that says training; of a package that is installed elsewhere."""
        name = routine.function.name
        if not name or routine.function.kind != "function":
            return
        whole = posixpath.splitext(routine.path)[0].replace("/", ".") + f".{name}"
        own = self.code.program.owner(routine) is not None
        for call in self.code.program.calls.get(name, ()):
            paths = self.code.meanings.called(call)
            unknown = bool(paths) and all(path.startswith("?") for path in paths)
            installed = any("." in path and path[0] != "?" and f".{whole}".endswith(f".{path}") for path in paths)
            if installed or (own and unknown and _BY_NAME.search(name)):
                yield call

    def _functions_run_later(self) -> Mapping[Routine, list[Ref]]:
        found: dict[Routine, list[Ref]] = defaultdict(list)
        for name in (*_LATER, *PYTHON_OPERATORS, *_SEARCHES):
            for call in self.code.program.calls.get(name, ()):
                for held in self._run_later(call, name):
                    for routine in self.code.meanings.functions(held):
                        found[routine].append(call)
        return found

    def _run_later(self, call: Ref, name: str) -> list[Ref]:
        """Where a call names the function that it has run: the object of a method, or an argument."""
        if name in PYTHON_OPERATORS:
            given = self.code.argument(call, "python_callable")
            return [] if given is None else [given]
        if name in _SEARCHES:
            return [call.to(number) for number in call.node.inputs[1:]]
        function = call.to(call.node.inputs[0])
        return [function.to(function.node.inputs[0])] if function.node.op == "attr" else []

    # ---- command lines

    def _launches(self) -> tuple[Mapping[str, list[Ref]], list[Start]]:
        """The scripts that command lines run, each with the calls; and command lines that train by what they say."""
        launched: dict[str, list[Ref]] = defaultdict(list)
        named: list[Start] = []
        for call, row in self.code.calls("execute"):
            if row["kind"] != "shell" or call.routine not in self._judged:
                continue
            for place, words in self.commands(call):
                scripts = list(self.scripts(words))
                for path in scripts:
                    launched[path].append(place)
                if not scripts and self.says(words):
                    named.append(Start(place, None, "launch", sure=False))
        return launched, named

    @staticmethod
    def says(words: list[str]) -> bool:
        """Whether a command line trains by what it says: a launcher of training, or a script of that name."""
        return bool(_TRAINS.search(" ".join(words))) or any(_NAMED.search(word) for word in _files(words))

    def commands(self, call: Ref) -> Iterator[tuple[Ref, list[str]]]:
        """The words of a command line, and the call that says them: where a parameter holds some, each caller's."""
        command = self.code.argument(call, "args", 0) or self.code.argument(call, "command", 0)
        if command is None:
            return
        words = texts(self.code, command)
        yield call, words
        parameters = [node.name for node in constants(command, "param")]
        if parameters and call.routine.function.name:
            for caller in self.code.meanings.callers(call.routine)[:40]:
                inner = [text for one in caller.node.inputs[1:] for text in texts(self.code, caller.to(one))]
                yield caller, [*words, *inner]

    def scripts(self, words: list[str]) -> Iterator[str]:
        """The files of the repository that a command line runs with Python."""
        paths = self.code.program.paths
        for word in _files(words):
            name = word.lstrip("./")
            same = [path for path in paths if path == name or path.endswith(f"/{name}")]
            if not same:
                base = posixpath.basename(name)
                same = [path for path in paths if posixpath.basename(path) == base]
            if len(same) == 1:
                yield same[0]
        for flag, module in itertools.pairwise(words):
            if flag == "-m":
                yield from (path for path in paths if path.endswith(module.replace(".", "/") + ".py"))

    def _deployments(self) -> Mapping[Routine, list[Ref]]:
        """Flows of Prefect that are run by the name of their deployment."""
        calls = self.code.program.calls
        runs = [call for name in ("run_deployment", "arun_deployment") for call in calls.get(name, ())]
        found: dict[Routine, list[Ref]] = defaultdict(list)
        if not runs:
            return found
        for name in ("deploy", "serve", "to_deployment"):
            for call in calls.get(name, ()):
                label = literal(self.code, self.code.argument(call, "name", 0))
                for routine in self.flows(call):
                    found[routine] += [
                        run
                        for run in runs
                        if label and any(text.endswith(f"/{label}") for text in texts(self.code, run))
                    ]
        return found

    def _graphs(self) -> tuple[Mapping[str, list[Routine]], list[tuple[Ref, str]]]:
        """Airflow's graphs of tasks by their ids, and the operators that run one by its id."""
        found: dict[str, list[Routine]] = defaultdict(list)
        runs = [
            (call, literal(self.code, self.code.argument(call, "trigger_dag_id")))
            for call in self.code.program.calls.get("TriggerDagRunOperator", ())
            if call.routine in self._judged
        ]
        for call in self.code.program.calls.get("DAG", ()) if runs else ():
            found[literal(self.code, self.code.argument(call, "dag_id", 0))].append(call.routine)
        for call in self.code.program.calls.get("dag", ()) if runs else ():
            for routine in self.code.program.inside(call.routine):
                if call.number in routine.function.decorators:
                    name = literal(self.code, self.code.argument(call, "dag_id", 0)) or routine.function.name
                    found[name].append(routine)
        return found, [(call, name) for call, name in runs if name]

    def flows(self, call: Ref) -> Iterator[Routine]:
        """The function on which a method such as `serve` is called, or the one that an entry point names."""
        function = call.to(call.node.inputs[0])
        if function.node.op != "attr":
            return
        base = function.to(function.node.inputs[0])
        yield from self.code.meanings.functions(base)
        if base.node.op == "call":
            yield from self.entry(literal(self.code, self.code.argument(base, "entrypoint")))

    def entry(self, text: str) -> Iterator[Routine]:
        """The function of `package/module.py:function`, or of `package.module:function`."""
        path, _, name = text.partition(":")
        path = path if path.endswith(".py") else path.replace(".", "/") + ".py"
        for file, module in list(self.code.program.modules.items()) if name else ():
            if f"/{file}".endswith(f"/{path.lstrip('./')}"):
                for number, function in enumerate(module.functions):
                    if function.name == name:
                        yield self.code.program.routine(module, number)

    def chain(self, start: Start) -> list[Start]:
        """From a call down to the act of training."""
        found = [start]
        while found[-1].into is not None and len(found) < 12:  # noqa: PLR2004 - as long as anybody reads
            after = self.down.get(found[-1].into)
            if after is None or after in found:
                break
            found.append(after)
        return found

    def steps(self, chain: list[Start]) -> Iterator[Step]:
        """The calls down to the act of training, in words."""
        return steps_of(self.code, chain)


def _files(words: list[str]) -> list[str]:
    return [found for word in words for found in _SCRIPT.findall(word)]
