"""The web-scale funnel: keywords, fetching, validity, duplicates, relevance; from billions of pairs to a corpus."""
