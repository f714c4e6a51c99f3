"""The traced peak: transformers' own forward pass under fake tensors, and PyTorch's allocator replayed over it.

`forward`, `living`, `model` and `flash` need the extra `trace` (torch, transformers); `record` and `allocator` are
plain Python.
"""
