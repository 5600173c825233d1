"""Data from services and from files that are read in parts: one file a source, behind small protocols."""
