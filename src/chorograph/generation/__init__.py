"""Pictures made by a model, and marked as such."""
