"""Tests that run the programs as their users do, against real servers and processes."""
