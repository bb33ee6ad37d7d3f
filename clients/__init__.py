"""The commands that people type: `crpc` and its parts."""
