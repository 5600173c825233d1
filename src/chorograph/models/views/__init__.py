"""Tiles, street views and places in one vector (UrbanVLP)."""
