"""Training few parameters of a large model."""
