"""What is fitted on the features of regions, by name."""
