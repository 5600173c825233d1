"""Pictures out of rasters, local or by URL: only the parts that a window needs are read."""
