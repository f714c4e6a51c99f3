"""Demand 1: models, data and code that are loaded by a name that moves."""

from __future__ import annotations
