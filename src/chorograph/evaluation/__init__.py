"""Judging models: zero-shot classification, retrieval, probes, localisation, captions, published suites."""
