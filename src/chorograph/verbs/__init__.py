"""The verbs of the command line and of recipes."""
