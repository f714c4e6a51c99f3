"""llama.cpp: one process over one GGUF file, whose buffers are all allocated at start.

The model's tensors, the cache, and a buffer in which a scheduler places every intermediate of the largest batch. Read
in llama.cpp 0.5.0 (commit 0c1e57098, the sources that llama-cpp-python 0.3.36 carries).
"""
