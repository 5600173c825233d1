"""Reading the tables and polygons that people have: text as it stands, and the true line of every cell."""
