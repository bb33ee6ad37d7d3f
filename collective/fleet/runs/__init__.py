"""Saved runs: every call of `crpc`, saved as it happens, in one file of JSON lines each.

    folder      list, find and prune the files
    recorder    write a file while a call runs
    saved_run   read a file
    saved_call  the saved call as results are printed from it

A file is `<Unix milliseconds>-<run>.jsonl`; the run is the ID of the call's first request. Its lines:

    {"event": "begin", "run": …, "time": …, "agent": …, "action": …, "inputs": "<short text>", "nodes": <number>, …}
    {"event": "request", "data": {…}, "expected": [node, …], "ddl": {…}, "timeout": …, "ttl": …, "pace": {…}, …}
    {"event": "sent", "request": <id>, "nodes": [node, …]}          before a wave is sent; null: all nodes
    {"event": "reply", "sender": …, "statuscode": …, …, "data": {…}}    when a reply arrives
    {"event": "missing", "silent": […], "skipped": […], "rejected": […], "absent": […]}
    {"event": "end", "time": …, "outcomes": {…}, "exit": …, "stopped": …, "total_ms": …}

The first and the last line are short, so that a list of runs reads only these. A file without the last line is of a
call that is running or was killed. Secrets are masked. A line that cannot be read is reported once and ignored.
"""
