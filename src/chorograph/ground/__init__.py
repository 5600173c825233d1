"""The ground: errors, settings, whole files, stages, registries."""
