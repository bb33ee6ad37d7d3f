"""Reports of the fleet: rows from the registry or from replies, in columns, or through a template.

definition      the YAML file of a report; the shipped ones are in `shipped`
rows            a row per node: facts, classes, agents, or the reply of an action
content         columns, groups, totals and distributions of the rows
templates       Jinja2, sandboxed
text, html      what is printed: text and Markdown, or one page for a browser
"""
