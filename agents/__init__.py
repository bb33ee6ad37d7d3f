"""The standard agents, one file each. They are loaded by path, like agents of users."""
