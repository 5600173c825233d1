"""The verbs of `chorograph evaluate`."""

from chorograph.verbs.evaluate import (
    captions,
    explain,
    generated,
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
    "generated",
    "localize",
    "probe",
    "retrieval",
    "robustness",
    "suite",
    "text",
    "transfer",
    "zero_shot",
]
