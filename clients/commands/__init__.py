"""One module per command of `crpc`: add its arguments, run, return an exit code."""
