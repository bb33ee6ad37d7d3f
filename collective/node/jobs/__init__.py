"""Background jobs, and orders that stop work: cancel, revoke, freeze.

store.py      jobs on disk, and their results
runner.py     start jobs at their time, and keep their results
orders.py     revoked requests, and whether the node is frozen
control.py    what the agent `control` can do with them
"""
