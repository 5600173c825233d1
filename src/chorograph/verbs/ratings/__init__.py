"""The verbs of `ratings`."""

from chorograph.verbs.ratings import export as export
