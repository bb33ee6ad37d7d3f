"""`crpc warm`: a process for one user that has everything imported, and forks a child for each command line.

    crpc ── front.py ── Unix socket ── server.py ── fork ── child.py ── crpc.main
              │  arguments, environment, umask, folder, open files            │
              │  ◄── started, stopped, ended with a status                    │
              └── signals ──► the child's process group ──────────────────────┘

place.py       where the socket is: another one for each environment that would make a difference
front.py       what `crpc` runs first; it imports nothing but modules in C
server.py      accepts, forks, relays; ends when it is idle, or when what it has imported has changed
child.py       becomes what `crpc` would have been: files, folder, environment, signals
preload.py     what is imported before the first fork
freshness.py   whether the files that were imported are still the installed ones
launch.py      starts the server; used by `crpc warm start`, and by `warm` in client.yaml
"""
