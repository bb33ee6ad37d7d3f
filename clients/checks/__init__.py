"""Checks of a collective for monitoring systems: `crpc check nodes` and others.

thresholds.py   ranges in the syntax of Nagios
measures.py     what each check measures
unread.py       the age of unread requests, from CloudWatch
forms.py        the forms for Nagios, Prometheus and Cacti
command.py      the command line
"""
