"""China's coordinates and tiles."""
