"""Images and texts into vectors, by name."""
