"""Demand 1: container images and the code of pipelines, each at a digest."""

from __future__ import annotations
