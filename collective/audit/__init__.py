"""The audit log of a node: JSON lines, each with the hash of the previous line.

    {"event": "decision", "time": …, "request": …, "run": …, "caller": …, "fingerprint": …, "sender": …, "agent": …,
     "action": …, "data": {…}, "asks": [[function, query], …], "verdict": …, "rule": …, "skew": …,
     "previous": "<sha256>"}
    {"event": "outcome", "time": …, "request": …, "statuscode": …, "reason": …, "elapsed_ms": …, "replayed": …, …}
    {"event": "gap", "time": …, "lost": …, "torn": …, "previous": …}

Every authentic request for the node has a decision line, and an outcome line when a reply is sent.

    run          the id of the call: all waves of a rollout have it
    data         the inputs, with secrets masked
    asks         the data functions in the filter, with their queries
    fingerprint  fingerprint of the key that signed the request
    verdict      allowed, denied, duplicate; or rejected after the policy: refused (expired), filtered, invalid, busy
    rule         the rule that allowed or denied the request; null if none matched
    skew         seconds by which the caller's clock was ahead of the server's
    lost         number of lines before this one that could not be written
    torn         the incomplete line that a crash left and that was removed from the end of the file
    previous     SHA-256 of the previous line without its newline; null for the first line of a chain

`chain` links and verifies lines, `records` joins decisions and outcomes.
"""
