"""Training towers."""
