"""The standard data functions, one flat file each, named after its function. Found by path, like agents."""
