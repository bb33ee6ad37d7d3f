"""Facts in files and in the output of commands, as JSON values."""
