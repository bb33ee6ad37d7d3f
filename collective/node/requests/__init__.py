"""The path of one request through the node.

    receiver ─► pipeline: decoder ─ duplicates ─ authorization ─ admission ─► scheduler ─► pools ─► executor ─► replies
                   └─ any step: raise Refused(Reason…) ─► refusals ─► replies, or silence

context.py       what is known about the request, step by step
reasons.py       what can become of it, and what that means for audit log, counters and reply
data_queries.py  data functions, for filters and get_data
fair_queue.py    share threads among agents
counters.py      counters and histograms
"""
