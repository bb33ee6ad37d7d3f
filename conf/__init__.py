"""Example configuration, every key with its default."""
