"""Whether a value is learned from: the calls that train, and the ways of data to them."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.facts.outputs import Step
from vramguard.link.code.program import Ref, Routine
from vramguard.link.code.words import text, tokens, values, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.flow import Edge, Reached

# Arguments by which data comes in that is not learned from.
_ASIDE: Final = frozenset({
    "eval_dataset", "validation_data", "eval_set", "valid_sets", "val_dataloaders", "evals", "test_dataset",
    "val_dataset", "valid_dataset", "model", "args", "tokenizer", "processing_class", "config", "callbacks",
    "compute_metrics", "data_collator", "params", "eval_examples", "train_config", "hparams", "peft_config",
    "evaluator", "dataset_name", "num_labels", "id2label", "label2id", "vocab_size", "num_classes", "n_classes",
    "input_size", "input_dim", "output_dim", "eval_data", "test_data", "validation_set", "ref_model",
    "batch_size", "per_device_train_batch_size", "epochs", "n_epochs", "num_epochs", "steps_per_epoch", "learning_rate",
    "lr", "initial_epoch", "target_size", "image_size", "max_length", "max_steps", "class_weight", "random_state",
    "seed",
})  # fmt: skip
_ASKS: Final = frozenset({
    "predict", "predict_proba", "evaluate", "score", "decision_function", "generate", "transform_one",
})  # fmt: skip
# What only prepares data is fitted, but is no model.
_PREPARES: Final = re.compile(
    r"^feature_engine\.|^sklearn\.(preprocessing|impute|feature_extraction|compose(?!\.TransformedTarget)|decomposition|feature_selection|random_projection|manifold)\b"
    r"|\b(Scaler|LabelEncoder|OneHotEncoder|OrdinalEncoder|Imputer|Vectorizer|Tokenizer|Binarizer|ColumnTransformer|PCA|StringIndexer"
    r"|VectorAssembler|Discretizer|Winsorizer|SMOTE)\w*\(\)"
)
# Objects that hold their data before `fit` or `train` is called on them.
_HOLDS: Final = re.compile(
    r"Trainer|^(statsmodels|fastai|flair|setfit|sentence_transformers|darts|openai|sagemaker)\b|(?<![a-z])[Ll]earn"
)
_PREPARER: Final = re.compile(
    r"preproc|scaler|encoder|imputer|vectorizer|transformer\b|tokenizer|selector|union", re.IGNORECASE
)
_WHOLE: Final = re.compile(r"[Pp]ipeline$|Union$|ColumnTransformer$|make_column_(selector|transformer)$|make_union$")
_NAMED: Final = re.compile(
    r"(^|[._])(model|clf|classifier|regressor|estimator|pipeline|pipe|grid|grid_search|search|reg|xgb|lgbm|rf|lr|svc|svm|knn|tree"
    r"|forest|automl|learner)\w{0,12}\.(fit|partial_fit)$",
    re.IGNORECASE,
)
# Methods of pandas that compare: what they say of a value is no longer the value.
_COMPARES: Final = frozenset({"eq", "ne", "gt", "ge", "lt", "le", "between", "isin", "equals"})
_HOLDING: Final = frozenset({"__getitem__", "__iter__", "__next__", "train_dataloader", "__len__", "setup"})
_MODELS: Final = frozenset({
    "model", "models", "clf", "pipeline", "pipe", "net", "classifier", "regressor", "estimator", "xgb", "lgbm",
    "rf",
})  # fmt: skip
_LEVELS: Final = 3


class End(NamedTuple):
    """Where data is learned from: the call, and the value that it takes."""

    call: Ref
    value: Ref


class Learning:
    """Asks of values whether they come to a call that trains."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._saving: dict[Routine, str] = {}

    @cached_property
    def fits(self) -> dict[Ref, str]:
        """The calls that train, each with its kind: estimator, network, job, gradient, update."""
        found: dict[Ref, str] = {}
        for kind in ("fit", "step"):
            for call, row in self.code.calls(kind):
                paths = self.code.meanings.called(call)
                if not self._prepares(call, paths):
                    found[call] = row["kind"]
        judged = frozenset(self.code.routines)
        for call in self.code.program.calls.get("fit", ()):
            paths = self.code.meanings.called(call)
            unknown = all(path.startswith("?") for path in paths)
            named = unknown and len(call.node.inputs) > 1 and _NAMED.search(self.code.written(call))
            if call not in found and call.routine in judged and named and not self._prepares(call, paths):
                found[call] = "estimator"
        return found

    def _prepares(self, call: Ref, paths: frozenset[str]) -> bool:
        """Whether what is fitted only prepares data: a scaler, or a pipeline of nothing else."""
        receiver = self.code.written(call).rpartition(".")[0]
        if any(_PREPARES.search(path) for path in paths) or _PREPARER.search(receiver):
            return True
        function = call.to(call.node.inputs[0])
        made = list(self._made(function.to(function.node.inputs[0]))) if function.node.op == "attr" else []
        wholes = [one for one in made if _WHOLE.search(self.code.written(one))]
        parts = [one for whole in wholes for one in within(whole) if one.node.op == "call" and one != whole]
        steps = [one for part in parts if not _WHOLE.search(self.code.written(part)) for one in self._known(part)]
        return bool(steps) and all(map(self._is_preparing, steps))

    def _known(self, part: Ref) -> Iterator[Ref]:
        """What makes a part of a pipeline: of a function of the repository the calls that it answers with."""
        own = any(one.function.kind == "function" for one in self.code.meanings.routines(part))
        made = self._made(part) if own else (part,)
        yield from (one for one in made if self.code.meanings.called(one))

    def _is_preparing(self, step: Ref) -> bool:
        paths = self.code.meanings.called(step)
        return any(_PREPARES.search(f"{path}()") for path in paths) or bool(_PREPARER.search(self.code.written(step)))

    def _made(self, ref: Ref, depth: int = 0) -> Iterator[Ref]:
        """The calls that made an object: of a function of the repository those that it returns."""
        for one in values(self.code, ref):
            own = self.code.meanings.routines(one) if one.node.op == "call" and depth < _LEVELS else ()
            for routine in own:
                for number in routine.all_of("return"):
                    for inner in Ref(routine, number).inputs():
                        yield from self._made(inner, depth + 1)
            if one.node.op == "call" and not own:
                yield one

    def follow(self, source: Ref) -> Reached:
        """Everywhere that data goes, not further than a model's answer."""
        return self.code.flow.forward(source, self._stops, by_places=True)

    def _stops(self, edge: Edge) -> bool:
        node = edge.user.node
        if node.op == "attr" and node.name in _COMPARES:
            return True
        if node.op == "call" and edge.position > 0:
            last = edge.user.to(node.inputs[0]).node.name.rpartition(".")[2]
            return node.keywords[edge.position - 1] in _ASIDE or last in _ASKS or edge.user in self.fits
        if node.op == "store":
            return self._is_of_layer(edge.user)
        if node.op == "table" and edge.position % 2:
            key = node.inputs[edge.position - 1]
            return key != NONE and text(edge.user.to(key).node) in _ASIDE
        return False

    def _is_of_layer(self, store: Ref) -> bool:
        """Whether a layer keeps something of what it is called with: what it answers later is of other data."""
        owner = self.code.program.owner(store.routine)
        if owner is None or store.routine.function.name == "__init__":
            return False
        return any(base.startswith("torch.nn.") for base in self.code.meanings.bases(owner))

    def ends(self, reached: Reached) -> Iterator[End]:
        """The calls that learn from what was reached."""
        for edge in reached.edges:
            kind = self.fits.get(edge.user) if edge.user.node.op == "call" else None
            if kind is not None and self._is_data(edge, kind):
                yield End(edge.user, edge.value)

    def _is_data(self, edge: Edge, kind: str) -> bool:
        if edge.position > 0:
            word = edge.user.node.keywords[edge.position - 1]
            return word not in _ASIDE and kind not in ("update", "gradient")
        if kind == "gradient":
            return True
        if kind == "update":
            return self.code.written(edge.user).endswith(("apply_gradients", "train_on_batch", "minimize"))
        return any(_HOLDS.search(path) for path in self.code.meanings.called(edge.user))

    def sources(self, read: Ref) -> Iterator[Ref]:
        """A read, and the instances of the class that keeps what it gives for whoever iterates over them."""
        yield read
        owner = self.code.program.owner(read.routine)
        if owner is None or not _HOLDING & owner.function.names.keys():
            return
        for method in self.code.program.methods(owner):
            if method.function.name == "__init__":
                yield from self.code.meanings.callers(method)[:12]

    def first(self, read: Ref) -> tuple[Reached, End] | None:
        """The first call that learns from what a read gives, and the way there."""
        for source in self.sources(read):
            reached = self.follow(source)
            end = next(self.ends(reached), None)
            if end is not None:
                return reached, end
        return None

    @cached_property
    def steps(self) -> frozenset[Routine]:
        """Functions that pipelines run before they learn: `transform` of a class for scikit-learn, what a
        `FunctionTransformer` is given.
        """
        found = set[Routine]()
        for routine in self.code.routines if self.fits else ():
            owner = self.code.program.owner(routine) if routine.function.name == "transform" else None
            around = self.code.program.parent(owner) if owner is not None else None
            bases = [self.code.written(Ref(around, one)) for one in owner.function.bases] if owner and around else []
            if any(base.endswith(("TransformerMixin", "BaseEstimator")) for base in bases):
                found.add(routine)
        for call in self.code.program.calls.get("FunctionTransformer", ()) if self.fits else ():
            found.update(self._handed(call))
        return frozenset(found)

    def _handed(self, call: Ref) -> Iterator[Routine]:
        """The functions of the repository that a call is given."""
        for number in call.node.inputs[1:]:
            yield from self.code.meanings.functions(call.to(number))

    def prepared(self, reached: Reached) -> Ref | None:
        """Where a value is given back by what a pipeline runs before it learns."""
        for edge in reached.edges:
            if edge.user.node.op == "return" and edge.user.routine in self.steps:
                return edge.user
        return None

    def saved(self, end: Ref) -> str:
        """The call that writes what a call has trained, in its function or in one that leads to it; empty for none."""
        if self.fits.get(end) == "job":
            return self.code.written(end)  # who runs it keeps it
        if self.fits.get(end) == "network" and any("Trainer()" in path for path in self.code.meanings.called(end)):
            return self.code.written(end)
        level, seen = [end.routine], {end.routine}
        for _ in range(_LEVELS):
            for routine in level:
                for one in self.code.reaches(routine, 60):
                    if one in self._saves:
                        return self._saves[one]
            level = [
                call.routine
                for one in level
                for call in self.code.meanings.callers(one)[:12]
                if call.routine not in seen
            ]
            seen.update(level)
        return ""

    @cached_property
    def _saves(self) -> dict[Routine, str]:
        found: dict[Routine, str] = {}
        for call, row in self.code.calls("save"):
            if not row.get("weak") or any(self._is_model(one) for one in call.inputs()):
                found.setdefault(call.routine, self.code.written(call))
        return found

    def _is_model(self, ref: Ref) -> bool:
        """Whether what is written is a model, by what made it or by its name."""
        names = (self.code.written(ref), ref.routine.named.get(ref.number, ""))
        return ref in self.fits or any(tokens(name) & _MODELS for name in names)

    def through(self, path: list[Ref]) -> Iterator[Step]:
        """The functions of the repository that a way leads through."""
        for ref in path:
            own = self.code.meanings.routines(ref) if ref.node.op == "call" else ()
            if own:
                written = self.code.meanings.written(ref) or self.code.name(own[0])
                yield Step(ref.at, f"through `{written}(…)`")
