"""What a step is fed with."""
