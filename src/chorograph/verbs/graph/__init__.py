"""The verbs of `chorograph graph`."""

from chorograph.verbs.graph import build, check, info

__all__ = ["build", "check", "info"]
