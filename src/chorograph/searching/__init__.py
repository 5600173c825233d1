"""Search: a place by words, on a map."""
