"""Example configuration files with all keys and their defaults."""
