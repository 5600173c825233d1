"""What writes captions."""
