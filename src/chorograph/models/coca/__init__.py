"""CoCa and CLIP towers, their tokenizer and decoding."""
