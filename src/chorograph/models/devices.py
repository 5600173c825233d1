"""The device that a model is computed on."""

from __future__ import annotations


def device_of(asked: str) -> str:
    """Return the torch device that `auto` means here: CUDA where there is one. Other names stay as they are."""
    if asked != "auto":
        return asked
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"
