"""Load agents and data functions, and match each with its DDL."""
