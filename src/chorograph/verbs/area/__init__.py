"""The verbs of `chorograph area`."""
