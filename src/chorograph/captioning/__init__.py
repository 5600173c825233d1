"""Words about images: captioners, refinement, ranking."""
