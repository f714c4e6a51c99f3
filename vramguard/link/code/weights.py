"""Weights that come over the network and are loaded, and whether anybody compares their digest on the way.

Three shapes: a loader that fetches by itself; a download whose destination is what is loaded; a response whose bytes
are loaded, or written to what is. A registry's own client (MLflow, wandb) is not asked: it knows its artefacts. Ids of
the Hugging Face hub are VG107's.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.retraining import FetchedWeights
from vramguard.link.code import program
from vramguard.link.code.program import Ref
from vramguard.link.code.words import text, texts, tokens, values
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.flow import Edge, Reached
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row
    from vramguard.source import Location

_MODEL: Final = re.compile(
    r"(^|[^a-z])(models?|weights?|checkpoints?|ckpts?)([^a-z]|$)|\.(pth?|ckpt|pkl|pickle|joblib|onnx|h5|keras|safetensors|gguf|ubj|cbm)\b",
    re.IGNORECASE,
)
_REGISTRIES: Final = re.compile(
    r"^(mlflow|wandb|clearml|comet_ml|dvc|tensorflow_datasets|fastai|paramiko|hopsworks)\b|_metadata|\.datasets\."
)
_COMMANDS: Final = re.compile(
    r"\b(aws s3 (cp|sync)|gsutil( -m)? (cp|rsync)|gcloud storage cp|wget|curl|azcopy|s5cmd|rclone (copy|sync)|mc cp)\b"
)
_PICKLES: Final = ("pickle.", "joblib.", "cloudpickle.", "dill.", "pandas.")
_DATA: Final = frozenset({
    "df", "data", "dataset", "datasets", "frame", "rows", "records", "labels", "samples", "corpus", "documents", "docs",
    "metadata", "history", "results", "metrics", "features", "columns", "config", "cache",
})  # fmt: skip
_WEIGHTS: Final = frozenset(
    {"model", "weights", "checkpoint", "ckpt", "clf", "pipeline", "bundle", "artifact", "snapshot", "state"}
)
_WRITING: Final = ("write", "write_bytes", "copyfileobj")
_FAR: Final = 4  # functions between a download and a load
_MOST: Final = 150  # downloads that are followed


class Weights:
    """The weights that a program fetches."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def find(self) -> Iterator[FetchedWeights]:
        """Every fetch of weights that are loaded, one for each place."""
        seen = set[tuple[str, int]]()
        for one in (*self._by_themselves(), *self._downloaded(), *self._answered(), *self._commanded()):
            key = one.at.path, one.at.line
            if key not in seen:
                seen.add(key)
                yield one

    # ---- loaders that fetch

    def _by_themselves(self) -> Iterator[FetchedWeights]:
        """`torch.hub.load_state_dict_from_url(url)` with `check_hash` left false."""
        for call, row in self.code.calls("load"):
            keyword = row.get("hash_keyword")
            if not row.get("fetches") or keyword is None:
                continue
            given = self.code.argument(call, keyword["name"], keyword.get("position", NONE))
            if given is None or given.node.name in ("False", "None"):
                written = self.code.written(call)
                step = Step(call.at, f"`{written}(…)` fetches and loads, `{keyword['name']}` is off")
                yield FetchedWeights(
                    call.at,
                    written,
                    written,
                    bool(row.get("unsafe")),
                    (step,),
                    self._digest([call.routine], deep=False),
                )

    # ---- downloads to a place

    def _downloaded(self) -> Iterator[FetchedWeights]:
        if not self._loads and not self._wholes:
            return
        for call, row in list(self.code.calls("download"))[:_MOST]:
            paths = self.code.meanings.called(call)
            if any(_REGISTRIES.search(path) for path in paths) or self._is_checked(call, row) or self._is_writing(call):
                continue
            places = [place for place in self._destinations(call, row) for place in self._origins(place)]
            found = list(self._followed(call, [*places, call]))
            folders = [] if found else [one for place in self._destinations(call, row) for one in self._folders(place)]
            yield from found or self._followed(call, folders, whole=True)

    def _is_checked(self, call: Ref, row: Row) -> bool:
        keyword = row.get("hash_keyword") or {}
        names = keyword.get("names") or [keyword.get("name")]
        given = [found for name in names if name and (found := self.code.argument(call, name)) is not None]
        return any(one.node.name != "None" for one in given)

    def _is_writing(self, call: Ref) -> bool:
        """`smart_open.open(uri, "wb")`."""
        mode = self.code.argument(call, "mode", 1)
        return self.code.written(call).endswith("open") and mode is not None and text(mode.node)[:1] in ("w", "a")

    @staticmethod
    def _destinations(call: Ref, row: Row) -> Iterator[Ref]:
        for word in row.get("of", ()):
            number = call.node.argument("-", word) if isinstance(word, int) else call.node.argument(word)
            if number != NONE:
                yield call.to(number)
                return

    def _origins(self, place: Ref, depth: int = 0) -> Iterator[Ref]:
        """Where a destination is named: followed from there, both the download and the load are reached."""
        node = place.node
        yield place
        if depth > 2:  # noqa: PLR2004 - callers of callers
            return
        if node.op == "param":
            for given in self._handed(place):
                yield from self._origins(given, depth + 1)
        elif node.op == "name":
            yield from self.code.program.lookup(place.routine, node.name)
        elif node.op == "attr":
            owner = self.code.program.owner(place.routine)
            own = owner is not None and self.code.meanings.is_self(place.to(node.inputs[0]), owner)
            yield from self._kept(owner, node.name) if own and owner is not None else ()
            yield from place.inputs() if node.name == "name" and not own else ()  # `file.name` of a temporary file
        elif node.op == "call" and self.code.written(place).rpartition(".")[2] in ("str", "Path", "fspath", "as_posix"):
            for inner in place.inputs():
                yield from self._origins(inner, depth + 1)

    def _folders(self, place: Ref) -> Iterator[Ref]:
        """The folder that files of many names are brought to: `os.path.join(folder, name)` of each in a bucket."""
        for one in self._origins(place):
            joined = one.node.op == "call" and self.code.written(one) in ("os.path.join", "path.join")
            parts = [one.to(number) for number in one.node.inputs[joined:]] if joined or one.node.op == "binary" else []
            if len(parts) > 1 and parts[-1].node.op != "const" and one.node.name in ("", "/", "|"):
                yield from self._origins(parts[0])

    def _handed(self, place: Ref) -> Iterator[Ref]:
        """What callers hand over for a parameter."""
        routine = place.routine
        shift = self.code.program.parent(routine).function.kind == "class"
        names = [one.name for one in routine.function.parameters]
        position = names.index(place.node.name) - shift if place.node.name in names else 0
        for caller in self.code.meanings.callers(routine)[:12]:
            number = caller.node.argument(place.node.name, position)
            if number != NONE:
                yield caller.to(number)

    def _kept(self, owner: Routine, name: str) -> Iterator[Ref]:
        for store in self.code.meanings.kept(owner, name):
            yield store
            yield store.to(store.node.inputs[1])

    def _followed(self, fetch: Ref, places: list[Ref], *, whole: bool = False) -> Iterator[FetchedWeights]:
        """The first load that a place, or an answer, reaches. `whole`: a folder, which is loaded as such."""
        for place in dict.fromkeys(places):
            if place.node.op in ("import", "def"):
                continue
            reached = self.code.flow.forward(place)
            for edge in reached.edges:
                found = self._loaded(fetch, edge, self._wholes if whole else self._loads)
                if found is not None and len({ref.routine for ref in reached.path(edge.value)}) <= _FAR:
                    load, row = found
                    yield self._fact(fetch, load, row, reached, edge)
                    return
        yield from self._same_text(fetch, places) if not whole else ()

    def _loaded(self, fetch: Ref, edge: Edge, loads: dict[Ref, Row]) -> tuple[Ref, Row] | None:
        user = edge.user
        if user.node.op != "call" or edge.position <= 0:
            return None
        row = loads.get(user)
        same = user.routine is fetch.routine and user.number < fetch.number
        return (user, row) if row is not None and not same and user != fetch else None

    def _same_text(self, fetch: Ref, places: list[Ref]) -> Iterator[FetchedWeights]:
        """A download and a load that write the same path out."""
        wanted = {
            said for place in places if place != fetch for one in values(self.code, place) if (said := text(one.node))
        }
        wanted = {one for one in wanted if _MODEL.search(one)}
        for load, row in self._loads.items() if wanted else ():
            path = self.code.argument(load, "-", 0)
            written = set(texts(self.code, path)) if path is not None else set()
            if written & wanted and (load.routine is not fetch.routine or load.number > fetch.number):
                yield self._fact(fetch, load, row, None, None)
                return

    @cached_property
    def _loads(self) -> dict[Ref, Row]:
        """Calls that load weights, or what may be: an array or a table only where its name says so."""
        found: dict[Ref, Row] = {}
        for call, row in self.code.calls("load"):
            paths = self.code.meanings.called(call)
            arrays = any(path.startswith(("numpy.", "h5py.", "pandas.", "shelve.")) for path in paths)
            if row.get("fetches") or any(path.startswith("tensorflow_hub") for path in paths):
                continue
            if self._is_data(call, paths):
                continue
            if not arrays or any(_MODEL.search(word) for word in (*texts(self.code, call), *self._names(call))):
                found[call] = row
        return found

    @cached_property
    def _wholes(self) -> dict[Ref, Row]:
        """Calls that load a folder with a model's files in it."""
        return dict(self.code.calls("load_folder"))

    def _is_data(self, call: Ref, paths: frozenset[str]) -> bool:
        """Whether a pickle is of data, as the name says that its content is given: `train_df = pickle.load(file)`."""
        if not any(path.startswith(_PICKLES) for path in paths):
            return False
        words = tokens(call.routine.named.get(call.number, ""))
        return bool(words & _DATA) and not words & _WEIGHTS

    def _names(self, call: Ref) -> list[str]:
        return [self.code.written(call.to(number)) for number in call.node.inputs[1:] if number != NONE]

    # ---- answers of requests

    def _answered(self) -> Iterator[FetchedWeights]:
        """`torch.load(BytesIO(requests.get(url).content))`; `file.write(response.content)` and a load of that file."""
        if not self._loads:
            return
        unlike = ("browser", "store", "grpc", "connection", "document", "table", "registry")
        asked = [call for call, row in self.code.calls("fetch") if row.get("kind") not in unlike]
        for call in [call for call in asked if self._is_about_models(call)][:_MOST]:
            if self.code.written(call).endswith(("urlretrieve", "client", "resource", "post", "put", "delete")):
                continue
            reached = self.code.flow.forward(call)
            for edge in reached.edges:
                found = self._loaded(call, edge, self._loads)
                if found is not None and len({ref.routine for ref in reached.path(edge.value)}) <= _FAR:
                    yield self._fact(call, *found, reached, edge)
                    break
                place = self._written_to(edge)
                if place is not None:
                    yield from self._followed(call, list(self._origins(place)))
                    break

    def _is_about_models(self, call: Ref) -> bool:
        """Whether a request, or the function around it, says that it is about weights."""
        words = (*texts(self.code, call), *self._names(call), self.code.name(call.routine).replace("_", " "))
        nodes = call.routine.function.nodes
        return any(_MODEL.search(word) for word in words) or any(
            node.op == "const" and _MODEL.search(node.name) for node in nodes
        )

    def _written_to(self, edge: Edge) -> Ref | None:
        """The path of the file that an answer's bytes are written to."""
        user = edge.user
        if user.node.op != "call" or edge.position <= 0 or self.code.written(user).rpartition(".")[2] not in _WRITING:
            return None
        function = user.to(user.node.inputs[0])
        file = function.to(function.node.inputs[0]) if function.node.op == "attr" else None
        if self.code.written(user).endswith("copyfileobj"):
            file = self.code.argument(user, "fdst", 1)
        while file is not None and file.node.op in ("enter", "join") and file.node.inputs:
            file = file.to(file.node.inputs[0])
        if file is not None and file.node.op == "call" and self.code.written(file).endswith("open"):
            base = file.to(file.node.inputs[0])
            own = base.node.op == "attr" and self.code.written(file) not in ("io.open", "aiofiles.open")
            return base.to(base.node.inputs[0]) if own else self.code.argument(file, "file", 0)
        return file if file is not None and self.code.written(user).endswith("write_bytes") else None

    # ---- command lines

    def _commanded(self) -> Iterator[FetchedWeights]:
        """`aws s3 cp s3://…/models/ …` where the program loads weights."""
        for call, row in self.code.calls("execute") if self._loads else ():
            command = self.code.argument(call, "args", 0) or self.code.argument(call, "command", 0)
            if row["kind"] != "shell" or command is None:
                continue
            words = texts(self.code, command)
            said = re.search(_COMMANDS, " ".join(words))
            if said is None or self._is_up(said[0], words):
                continue
            beside = [
                one
                for one in self._loads
                if _top(one.routine.path) == _top(call.routine.path) or not _top(one.routine.path)
            ]
            if (beside or "/" not in call.routine.path or _is_deploying(call.routine.path)) and any(
                _MODEL.search(one) for one in (*words, *self._named_in(command))
            ):
                load = (beside or list(self._loads))[0]
                how = self._loads[load]
                step = Step(call.at, f"`{said[0]}` fetches them")
                digest = self._digest([call.routine])
                yield FetchedWeights(
                    call.at, said[0], self.code.written(load), bool(how.get("unsafe")), (step, self._last(load)), digest
                )

    @staticmethod
    def _is_up(said: str, words: list[str]) -> bool:
        """Whether a command sends, or asks, rather than fetches."""
        if said == "curl":
            return not any(re.search(r"(^|\s)(-o|-O|-LO|-OL|--output|--remote-name)\b|>", word) for word in words)
        return bool(words) and bool(re.match(r"(s3|gs|az)://", words[-1].split()[-1] if words[-1].split() else ""))

    def _named_in(self, command: Ref) -> list[str]:
        nodes = command.routine.function.nodes
        inner = [number for number in command.node.inputs if number != NONE]
        inner += [one for number in inner for one in nodes[number].inputs if one != NONE]
        return [self.code.written(command.to(number)).replace("_", " ") for number in inner]

    # ---- facts

    def _fact(self, fetch: Ref, load: Ref, row: Row, reached: Reached | None, edge: Edge | None) -> FetchedWeights:
        way = reached.path(edge.value) if reached is not None and edge is not None else []
        routines = [fetch.routine, load.routine, *(ref.routine for ref in way)]
        written = self.code.written(fetch)
        steps = (Step(fetch.at, f"`{written}(…)` fetches them"), self._last(load))
        return FetchedWeights(
            fetch.at, written, self.code.written(load), bool(row.get("unsafe")), steps, self._digest(routines)
        )

    def _last(self, load: Ref) -> Step:
        return Step(load.at, f"`{self.code.written(load)}(…)` loads what came")

    def _digest(self, routines: list[Routine], *, deep: bool = True) -> Location | None:
        """Where one of some functions, or what it calls, computes or compares a digest."""
        for routine in dict.fromkeys(routines):
            for one in self.code.reaches(routine, 25) if deep else [routine]:
                for number in one.all_of("call"):
                    call = Ref(one, number)
                    if self._digests.get(call):
                        return call.at
        return None

    @cached_property
    def _digests(self) -> dict[Ref, bool]:
        found = {call: True for call, _ in self.code.calls("digest")}
        for name in (
            "verify_checksum",
            "check_sha256",
            "verify_sha256",
            "check_integrity",
            "verify_hash",
            "verify_digest",
            "check_hash",
        ):
            found.update(dict.fromkeys(self.code.program.calls.get(name, ()), True))
        return found


def _top(path: str) -> str:
    """The folder of the repository that a file stands in, at the top."""
    return path.partition("/")[0] if "/" in path else ""


def _is_deploying(path: str) -> bool:
    return _top(path) in ("deploy", "deployment", "scripts", "docker", "bin", "ops", "infra", "services")


def fetched_weights(facts: Facts) -> tuple[FetchedWeights, ...]:
    """Every fetch of weights of a repository."""
    return facts.once("fetched weights", lambda facts: tuple(Weights(program(facts)).find()))
