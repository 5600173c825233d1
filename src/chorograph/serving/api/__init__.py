"""The interfaces: OGC API - Features and Tiles, search, regions, ratings, and the pages themselves."""
