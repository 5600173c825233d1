"""Pages that need no network: maps, parity plots, score tables."""
