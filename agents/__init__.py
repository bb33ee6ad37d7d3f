"""The standard agents, one flat file each. Found by path, as the agents that users write are."""
