"""The verbs of `chorograph area`."""

from chorograph.verbs.area import add, build, check, describe, filter, import_, info, new, pack, synthetic

__all__ = ["add", "build", "check", "describe", "filter", "import_", "info", "new", "pack", "synthetic"]
