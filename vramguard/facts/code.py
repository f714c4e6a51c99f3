"""What a repository's Python does, fact by fact: each kind has a module of its own."""

from __future__ import annotations

from vramguard.facts.boundaries import Refusal, WideTensor
from vramguard.facts.datasets import BlindValidator, DataSource, OwnOutputs, SwallowedError, WebData
from vramguard.facts.outputs import Exposure
from vramguard.facts.retraining import Comparator, FetchedWeights, Promotion, Pushed, RetrainTrigger
from vramguard.facts.saves import Trainer, TrainingLoop
from vramguard.facts.services import Fallback, HealthRoute, LatencyGuard, OutboundCall, RetryPolicy, SlowAnswer

CodeFact = (
    BlindValidator
    | Comparator
    | DataSource
    | Exposure
    | Fallback
    | FetchedWeights
    | HealthRoute
    | LatencyGuard
    | OutboundCall
    | OwnOutputs
    | Promotion
    | Pushed
    | Refusal
    | RetrainTrigger
    | RetryPolicy
    | SlowAnswer
    | SwallowedError
    | Trainer
    | TrainingLoop
    | WebData
    | WideTensor
)
