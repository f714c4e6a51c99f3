"""What looks something up by an answer, and what measures answers: neither gives the answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vramguard.link.code import Code
    from vramguard.link.code.program import Ref

_LOOKS_UP: Final = re.compile(
    r"(^|\.)(metrics\.\w+|evaluate|\w+_score|\w+_error|\w+_loss|classification_report|confusion_matrix)$|"
    r"(retriev|rerank|ranker)\w*(\.\w+)?$|get_relevant_documents$|similarity_search\w*$|get_entity_knowledge$|vector_?(store|db)\w*\.\w+$|"
    r"^(requests|httpx)\.(get|head)$|tavily\w*\.\w+$",
    re.IGNORECASE,
)
_FINDS: Final = re.compile(r"similarity_search\w*$")  # also of one's own: of a store of documents
_MEASURING: Final = (
    "sklearn.metrics.",
    "torchmetrics.",
    "evaluate.load()",
    "keras.metrics.",
    "tensorflow.keras.metrics.",
)


def looks_up(code: Code, call: Ref) -> bool:
    """Whether a call finds something by an answer, or measures it."""
    if any(path.startswith(_MEASURING) for path in code.meanings.called(call)):
        return True
    known = _LOOKS_UP if not code.meanings.routines(call) else _FINDS
    return known.search(code.written(call)) is not None
