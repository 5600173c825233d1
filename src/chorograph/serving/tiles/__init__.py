"""Vector tiles of regions: none is lost, and each says which class its value is in."""
