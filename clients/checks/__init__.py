"""Checks of a collective for monitoring systems: `crpc check nodes`, `queues`, `replies` and `registry`.

thresholds.py   ranges in the syntax of Nagios
measures.py     what each check measures
forms.py        the line for Nagios, and the text for Prometheus
command.py      the command line
"""
