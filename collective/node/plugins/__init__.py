"""Load agents and data functions, and pair each with its DDL."""
