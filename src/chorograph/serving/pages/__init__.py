"""The pages: templates, scripts and styles of our own."""
