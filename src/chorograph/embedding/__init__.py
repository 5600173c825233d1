"""Images and captions into vectors, each content once."""
