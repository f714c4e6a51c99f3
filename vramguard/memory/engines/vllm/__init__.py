"""vLLM, by version: what it loads, what its passes allocate and how its manager lays out the cache."""
