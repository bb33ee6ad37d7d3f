"""Clusters that form themselves: the machines that run one program find each other in the registry's table.

    crpc cluster join ─► ClusterJoin ─ read, decide, write ─► ClusterTable: one item per cluster
                             └► ClusterCommand: the program, while its place is renewed

state.py      ClusterState of ClusterPlaces: what the item holds, with bounds
steps.py      the next step of a joiner: pure, from a state and what was observed
observed.py   how long a place has not been renewed, by this machine's own clock
table.py      the item: read, conditional write, renewal
place_file.py the token of this machine's place, so that it returns to its own
joining.py    the loop: wait for the others, begin, replace, return
holding.py    renew the place, and notice when another machine has it
command.py    run the program and the hooks
words.py      {peers}, {self}, {first} and the environment variables

No times are compared between machines: a place counts as failed when an observer has seen it unchanged for long enough.
"""
