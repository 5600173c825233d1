"""chorograph profiles urban regions from satellite and street imagery, text and an urban knowledge graph."""
