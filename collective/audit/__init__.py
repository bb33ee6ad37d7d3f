"""What a node has written down: lines of JSON, of which each carries the hash of the one before.

    {"event": "decision", "time": …, "request": …, "caller": …, "fingerprint": …, "sender": …, "agent": …, "action": …,
     "data": {…}, "asks": [[function, query], …], "verdict": …, "rule": …, "skew": …, "previous": "<sha256>"}
    {"event": "outcome", "time": …, "request": …, "statuscode": …, "reason": …, "elapsed_ms": …, "replayed": …, …}
    {"event": "gap", "time": …, "lost": …, "torn": …, "previous": …}

Every authentic request that is meant for the node leaves a decision, and an outcome when it has been answered.

    data         the inputs, secrets masked
    asks         the data functions that it asked about
    fingerprint  of the key that signed it
    verdict      allowed, denied; duplicate; refused (it was too old), filtered, invalid, busy: the policy allowed these
    rule         what allowed or denied it; null where none did
    skew         seconds that the caller's clock was ahead of the server's
    lost         lines that could not be written before this one
    torn         what was cut off the end of the file, where a crash had left half a line
    previous     the SHA-256 of the line before, without its newline; null begins a chain

`chain` links and verifies lines, `records` puts decisions and outcomes together.
"""
