"""Files that are rendered from the members of a collective, such as the configuration of a load balancer.

    Membership ─► values ─► rendering (a child process) ─► RenderedFile: compare, check, replace, reload, restore

values.py            what a template gets
environment.py       filters, tests and functions of templates; keys.py: those of confd
rendering.py         render with bounded time and memory; child.py: the process that does
rendered_file.py     one update of one file
destination.py       the file, its candidate and the file before; file_attributes.py: mode and owner
commands.py          run check and reload
updates.py           when a file is rendered again

This module imports none of them, because the child process starts for each rendering.
"""
