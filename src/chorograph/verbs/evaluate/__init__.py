"""The verbs of `chorograph evaluate`."""

from chorograph.verbs.evaluate import (
    captions,
    explain,
    localize,
    probe,
    retrieval,
    robustness,
    suite,
    text,
    transfer,
    zero_shot,
)

__all__ = [
    "captions",
    "explain",
    "localize",
    "probe",
    "retrieval",
    "robustness",
    "suite",
    "text",
    "transfer",
    "zero_shot",
]
