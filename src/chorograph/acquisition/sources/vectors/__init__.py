"""Vectors of the ground that others made: AlphaEarth and TESSERA."""
