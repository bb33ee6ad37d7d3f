"""Nodes in the forms of other tools: `crpc inventory export`.

nodes.py             ExportedNode: what a form is made of; read_nodes reads them
groups.py            names of groups and labels from facts and classes
forms.py             which nodes a form can hold, and its text
ansible.py, prometheus.py, nagios.py, host_files.py, puppet.py      one function for each form
http_discovery.py    the targets of Prometheus over HTTP; serving.py runs it

Facts and classes come from nodes, which may be hostile: each form passes only values that it can hold safely.
"""
