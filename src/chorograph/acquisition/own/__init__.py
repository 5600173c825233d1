"""Files that people have into areas."""
