"""Maps of roads, buildings and places: OpenStreetMap and Overture."""
