"""Encoders, towers, heads and their weights, called by name."""
