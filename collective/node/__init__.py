"""The node's side: `collectived`."""
