"""Imagery of one's own: which files are pictures, where they lie, what their numbers mean."""
