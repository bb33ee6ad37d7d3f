"""Check a node's setup: `collectived --check`."""
