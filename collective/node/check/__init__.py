"""Check a node before it serves: `collectived --check`."""
