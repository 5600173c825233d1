"""Towers of knowledge graphs."""
