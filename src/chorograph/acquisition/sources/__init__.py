"""Where data of other people comes from: services, rasters, maps, and vectors made elsewhere."""
