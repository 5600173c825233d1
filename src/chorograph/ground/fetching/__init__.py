"""Fetching by URL, politely and safely: every URL ends as bytes or as a counted reason."""
