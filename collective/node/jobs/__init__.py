"""Background jobs, and orders that stop work: cancel, revoke, freeze.

store.py             jobs on disk, and their results
job_scheduler.py     start jobs at their start time, and keep their results
orders.py            revoked requests, and whether the node is frozen
running_requests.py  the requests whose actions run now
control.py           what the agent `control` can do with them
"""
