"""Playbooks: steps in a YAML file, run in order; each call is one of `Fleet`, with the options of a call.

source.py             the text of a file, and where each value is in it
expressions.py        Jinja2 expressions in a sandbox, and the names that they use
definition.py         the steps as values
reading.py            a file, and those that it includes, as a definition; every problem names file and line
name_checks.py        every variable of an expression is defined, before anything is sent
call_options.py       a step's options as those of the command line, and its call
call_checks.py        agents, actions, inputs and options of all calls, before anything is sent
scope.py              the values that expressions see
engine.py             the order: when, retry, rescue, always, loops
step_work.py          the work of one step, by its kind
progress.py           what is printed while it runs
saved_state.py        the file for --resume
preview.py            --check and --plan
"""
