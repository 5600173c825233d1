"""Ratings of captions by people: questions, a store that loses nothing it acknowledged, exports."""
