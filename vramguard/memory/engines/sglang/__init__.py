"""SGLang: a pool of tokens filled up to a fraction of the card, and everything else outside of it."""

from vramguard.memory.engines.sglang.plan import dtypes, plan, refuse

__all__ = ["dtypes", "plan", "refuse"]
