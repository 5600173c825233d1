"""The ground: the area folder, its tables and rules, tile arithmetic, splits, images, configuration, errors."""
