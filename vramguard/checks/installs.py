"""Demand 1: what installs past the lock, from where it should not, or what nobody vouches for."""

from __future__ import annotations
