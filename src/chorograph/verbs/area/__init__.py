"""The verbs of `chorograph area`."""

from chorograph.verbs.area import build, check, describe, import_, info, pack, synthetic

__all__ = ["build", "check", "describe", "import_", "info", "pack", "synthetic"]
