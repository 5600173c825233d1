"""The urban knowledge graph: facts and kinds, inverses, building one from an area, checks against leaks. No torch."""
