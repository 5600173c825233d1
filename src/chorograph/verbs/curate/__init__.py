"""The verbs of `chorograph curate`."""

from chorograph.verbs.curate import decontaminate, fit_detector, look, run

__all__ = ["decontaminate", "fit_detector", "look", "run"]
