"""Images against a knowledge graph (KnowCL)."""
