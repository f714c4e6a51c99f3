"""Answers that are found once each, also where questions lead back to themselves.

What a value means may rest on itself: `a = b; b = a or c()`. A question that is asked while its answer is looked for is
answered with nothing. What was found on the way rests on that, and would be wrong for whoever asks it first: it is a
draft, that is thrown away when the question at which the circle closed has its answer. So no answer hangs on the order
of questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_FREE: Final = 1 << 30  # of an answer that rests on no open question
_CUT: Final = -1  # of one that was cut off, since questions led too deep


class Memo:
    """Answers by question. `deepest`: questions that may be open at a time, beyond which nothing is known. `patience`:
    drafts that are thrown away in all; after that they are kept, since a program whose every function may run every
    other would be gone through once for each question.
    """

    def __init__(self, deepest: int, patience: int) -> None:
        self.known: dict[Hashable, Any] = {}
        self._deepest = deepest
        self._patience = patience
        self._open: dict[Hashable, int] = {}
        self._drafts: dict[Hashable, tuple[int, Any]] = {}
        self._lowest = _FREE  # the first open question that the answer which is looked for rests on

    def ask(self, question: Hashable, find: Callable[[], Any], nothing: Any) -> Any:  # noqa: ANN401 - as asked
        """The answer that `find` gives, or `nothing` where that is what is being asked."""
        if question in self.known:
            return self.known[question]
        drafted = self._drafts.get(question)
        if drafted is not None:
            self._rest_on(drafted[0])
            return drafted[1]
        depth = len(self._open)
        if question in self._open or depth > self._deepest:
            self._rest_on(self._open.get(question, _CUT))
            return nothing
        around, self._lowest = self._lowest, _FREE
        before = len(self._drafts)
        self._open[question] = depth
        try:
            found = find()
        finally:
            del self._open[question]
            lowest, self._lowest = self._lowest, around
        self._keep(question, found, lowest, before)
        return found

    def _rest_on(self, depth: int) -> None:
        self._lowest = min(self._lowest, depth)

    def _keep(self, question: Hashable, found: Any, lowest: int, before: int) -> None:  # noqa: ANN401
        if lowest < len(self._open) and self._open:  # what was cut off is the best there is for who asked first
            self._drafts[question] = lowest, found
            self._rest_on(lowest)
            return
        self.known[question] = found
        for _ in range(len(self._drafts) - before):
            draft, (_, value) = self._drafts.popitem()
            self._patience -= 1
            if self._patience < 0:
                self.known[draft] = value
