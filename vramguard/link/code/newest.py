"""What serving takes by itself once it is there: the newest version of a registry's model, what lies in a bucket.

A registry's `models:/NAME/latest` is a promotion of whatever is registered under that name; weights that a program of
the repository fetches from a cloud's bucket are replaced by whoever uploads there.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref
from vramguard.link.code.serving import called
from vramguard.link.code.weights import fetched_weights
from vramguard.link.code.words import text, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

_LATEST: Final = re.compile(r"models:/([^/{}]{1,200})/latest$")
_SAVES: Final = frozenset({"save_model", "save_pretrained", "save_weights", "save_state_dict"})
_SAVED: Final = ("torch.save", "joblib.dump", "pickle.dump", "model.save")
_ASIDE: Final = re.compile(
    r"archive|backup|(^|[/_-])(runs?|logs?|metrics?|reports?|data|datasets?|experiments?|history)([/_-]|$)", re.I
)
_RELOADS: Final = re.compile(
    r"_?(hot_?)?(re_?load|swap|refresh)_?(the_|latest_|new_|in_)*(model|weights|predictor|classifier|checkpoint)s?$"
)
_DOWN: Final = {  # what brings back what a method of a cloud's client sends
    "upload_from_filename": "download_to_",
    "upload_from_file": "download_to_",
    "upload_file": "download_file",
    "upload_fileobj": "download_file",
    "upload_blob": "download_blob",
}


class Newest:
    """Asks whether what is made is taken into use with nothing else done."""

    def __init__(self, code: Code) -> None:
        self.code = code

    @cached_property
    def names(self) -> frozenset[str]:
        """The models of which some program loads the newest version."""
        found = set[str]()
        for name in ("load_model", "Model", "get_model"):
            for call in self.code.program.calls.get(name, ()):
                judged = call.routine in self._judged and len(call.node.inputs) > 1
                said = texts(self.code, call) if judged else []
                found |= {match[1] for one in said if (match := _LATEST.search(one))}
        return frozenset(found)

    @cached_property
    def _judged(self) -> frozenset[Routine]:
        return frozenset(self.code.routines)

    def registered(self, call: Ref, row: Row) -> str:
        """The model whose newest version a call makes, where that is what is loaded; empty elsewhere."""
        given = next((one for word in row["names"] if (one := self._given(call, word)) is not None), None)
        if given is None or not self.names:
            return ""
        said = set(texts(self.code, given)) & self.names
        if not said and given.node.op in ("attr", "item", "param"):  # of a configuration, which may say it beside
            said = {one for one in self.names if one in self._written(call)}
        return min(said, default="")

    def _given(self, call: Ref, word: str | int) -> Ref | None:
        return self.code.argument(call, "-", word) if isinstance(word, int) else self.code.argument(call, word)

    def _written(self, call: Ref) -> set[str]:
        """Every string that stands in a call's file."""
        module = call.routine.module
        routines = (self.code.program.routine(module, number) for number in range(len(module.functions)))
        return {text(node) for one in routines for node in one.function.nodes if node.op == "const"}

    def replaces(self, call: Ref) -> bool:
        """Whether a call uploads the model that its function saved, to where another program fetches weights from."""
        down = _DOWN.get(called(call))
        if down is None or any(_ASIDE.search(one) for one in self._said(call)):
            return False
        fetched = [one for one in fetched_weights(self.code.facts) if one.at.path != call.at.path]
        return any(down in one.fetch for one in fetched) and any(self._saves(call))

    def _said(self, call: Ref) -> list[str]:
        """What a call, and what it is a method of, say of the place."""
        function = call.to(call.node.inputs[0])
        return [*texts(self.code, call), *(texts(self.code, function) if function.node.op == "attr" else ())]

    def _saves(self, call: Ref) -> Iterator[bool]:
        for number in call.routine.all_of("call"):
            before = Ref(call.routine, number)
            written = self.code.written(before) if number < call.number else ""
            yield written.rpartition(".")[2] in _SAVES or written in _SAVED

    def reloads(self) -> Iterator[Ref]:
        """Calls of functions that are named for loading the model again, and that load one."""
        for name, calls in list(self.code.program.calls.items()):
            if _RELOADS.match(name):
                loading = {call.routine for call, _ in self.code.calls("load")}
                for call in calls:
                    own = self.code.meanings.routines(call) if call.routine in self._judged else ()
                    if any(not loading.isdisjoint(self.code.reaches(one, 10)) for one in own):
                        yield call
