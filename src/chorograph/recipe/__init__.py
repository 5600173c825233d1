"""Recipes and the table of verbs that they share with the command line."""
