"""Vectors of a knowledge graph, by predicting its links."""
