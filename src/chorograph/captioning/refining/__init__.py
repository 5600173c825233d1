"""Refinement: which sentences of captions are kept, which are dropped, and why."""
