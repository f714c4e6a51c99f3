"""Demand 1: versions that are known to be vulnerable."""

from __future__ import annotations
