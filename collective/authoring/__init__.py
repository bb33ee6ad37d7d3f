"""Tools for the authors of agents: write a new one, check it, run it on this machine.

skeleton    the files of a new agent, with a test that passes
review      what is wrong with agents, or could be better
local       a node in memory that serves the agents of a folder

A folder of agents has `agents`, `ddl` and `settings` in it, or code and DDLs side by side.
"""
