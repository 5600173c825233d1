"""Street views of services: what lies near each region is listed, joined to regions, and fetched."""
