"""The verbs of `chorograph area`."""

from chorograph.verbs.area import build, check, import_, info, pack, synthetic

__all__ = ["build", "check", "import_", "info", "pack", "synthetic"]
