"""Telemetry: who collects which metrics, who asks for them, and what nobody exports or watches."""
