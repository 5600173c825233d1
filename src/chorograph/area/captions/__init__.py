"""Captions of an area: whose they are."""
