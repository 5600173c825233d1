"""Tiles and street views (UrbanVLP)."""
