"""The device that a model is computed on."""

from __future__ import annotations

from chorograph.ground.errors import InputError


def device_of(asked: str) -> str:
    """Return the torch device that is asked for; `auto` means CUDA where there is one.

    Raises `InputError` for a device that torch does not know or cannot use here.
    """
    if asked == "cpu":
        return asked
    try:
        import torch
    except ImportError:
        return "cpu" if asked == "auto" else asked
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=asked)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = "torch cannot use it here" if torch.cuda.is_available() else "torch sees no CUDA device"
        raise InputError(
            f"device {asked} was asked for, but {why} ({str(error).splitlines()[0][:120]}); use --device cpu"
        ) from None
    return asked
