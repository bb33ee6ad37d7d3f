"""The standard data functions, one file each with the function's name. They are loaded by path, like agents."""
