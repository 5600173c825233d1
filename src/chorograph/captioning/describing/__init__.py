"""Descriptions of regions: facts from tables first, then, where a language model is given, its wording of them."""
