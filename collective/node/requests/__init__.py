"""The path of one request through the node: receive, check, queue, run, reply."""
