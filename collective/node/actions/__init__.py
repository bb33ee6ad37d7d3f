"""Run one action in its own process group, under a monitor with a deadline."""
