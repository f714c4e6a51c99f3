"""Demand 1: versions that are exact, and wrong together."""

from __future__ import annotations
