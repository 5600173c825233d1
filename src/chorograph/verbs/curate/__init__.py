"""The verbs of `chorograph curate`."""
