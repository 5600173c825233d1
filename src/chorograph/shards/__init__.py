"""WebDataset tars: the one place that knows a tar. Reading strangers' safely, writing, random access, sample order."""
