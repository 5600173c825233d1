"""Evaluation data, read, checked and encoded."""
