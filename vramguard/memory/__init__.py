"""The proof engine: a config, a workload and a card in, an answer with its ledger out. Knows no files and no rules."""

from vramguard.memory.architecture import Architecture, UnprovenError
from vramguard.memory.expression import FormulaError, evaluate
from vramguard.memory.ledger import Kind, Ledger, Term
from vramguard.memory.planning import Judge
from vramguard.memory.proof import Depth, Prover, prove, share
from vramguard.memory.runtime import Device
from vramguard.memory.tabled import CONFIRMED, weigh
from vramguard.memory.traced import Tracing
from vramguard.memory.verdict import Answer, Pool, Proof, Totals, Workload

__all__ = [
    "CONFIRMED",
    "Answer",
    "Architecture",
    "Depth",
    "Device",
    "FormulaError",
    "Judge",
    "Kind",
    "Ledger",
    "Pool",
    "Proof",
    "Prover",
    "Term",
    "Totals",
    "Tracing",
    "UnprovenError",
    "Workload",
    "evaluate",
    "prove",
    "share",
    "weigh",
]
