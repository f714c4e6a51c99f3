"""What KAITO decides for a preset's model: kaito-project/kaito@056b8280b1a8, pkg/model/interface.go and
pkg/workspace/estimator/nodesestimator/estimator.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vramguard.facts import Deployment

GROWS: Final = (
    "it is over the budget on what is written, and KAITO adds machines and shortens the context until it fits"
)
_SHARE, _SMALLER = "0.84", {"a10-24gb": "0.82"}  # --gpu-memory-utilization: of most cards, and of those named


def decides(deployment: Deployment | None) -> bool:
    """Whether KAITO starts vLLM for it: on as many machines as the model takes, and spread over them."""
    return deployment is not None and deployment.form == "kaito" and deployment.engine == "vllm"


def shortens(deployment: Deployment | None) -> bool:
    """Whether vLLM is asked for the longest context that fits, as KAITO does where none is written."""
    return deployment is not None and decides(deployment) and deployment.max_model_len is None


def share(deployment: Deployment | None) -> str | None:
    """The share of a card that KAITO asks vLLM to take where none is written; None where it starts nothing."""
    if deployment is None or not decides(deployment) or deployment.gpu_memory_utilization is not None:
        return None
    return _SMALLER.get(str(deployment.gpu), _SHARE)
