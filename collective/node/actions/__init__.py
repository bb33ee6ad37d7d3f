"""Run one action in its own processes, under a monitor with a deadline.

job.py        what a worker is given, and its result
runner.py     the daemon's side: start a monitor and wait for the result
fork_server.py, fork_server_main.py   start a monitor in a process that has imported what it needs: both sides
channel.py    messages between the daemon and a monitor
monitor.py    the process that watches one worker and kills the action's processes
worker.py     the process that runs the action
groups.py, cgroup.py   a control group for each action, if systemd has delegated one
importing.py  import a plugin's file
preloading.py what the fork server imports for an agent
"""
