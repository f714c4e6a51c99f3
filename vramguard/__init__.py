"""The gate for pull requests that load models: pinned dependencies and a proof of peak VRAM, or no merge."""

__version__ = "0.1.0"
HOME = "https://github.com/vramguard/vramguard"
