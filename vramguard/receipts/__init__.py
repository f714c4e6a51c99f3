"""Receipts: what a serving engine's start-up log says it was asked and what it took, beside what a proof predicts."""

from vramguard.receipts.compare import Row, compare, workload
from vramguard.receipts.parse import parse
from vramguard.receipts.receipt import Line, Measured, Receipt, Settings, Size

__all__ = ["Line", "Measured", "Receipt", "Row", "Settings", "Size", "compare", "parse", "workload"]
