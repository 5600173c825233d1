"""The verbs of `chorograph evaluate`."""

from chorograph.verbs.evaluate import captions, localize, probe, retrieval, suite, zero_shot

__all__ = ["captions", "localize", "probe", "retrieval", "suite", "zero_shot"]
