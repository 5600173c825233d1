"""Areas from files: your own, published layouts, or a synthetic city."""
