"""The verbs of `chorograph graph`."""

from chorograph.verbs.graph import align, build, check, embed, info

__all__ = ["align", "build", "check", "embed", "info"]
