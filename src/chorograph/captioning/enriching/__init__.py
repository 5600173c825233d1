"""Enrichment: ranked and chosen captions, captions from metadata, place names and where they lie."""
