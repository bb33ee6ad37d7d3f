"""Playbooks: steps in a YAML file, run in order; each call is one of `Fleet`, with the options of a call.

folders.py            the file of a playbook, by path or name
source.py             the text of a file, and where each value is in it
expressions.py        Jinja2 expressions in a sandbox, and the names that they use
definition.py         the steps as values
input_schema.py       the inputs, as those of an action
reading.py            a file, and those that it includes, as a definition; every problem names file and line
name_checks.py        every variable of an expression is defined, before anything is sent
call_options.py       a step's options as those of the command line, and its call
call_checks.py        agents, actions, inputs and options of all calls, before anything is sent
loading.py            all of these checks
preview.py            what is known before the run: --check and --plan; preview_text.py prints it
scope.py              the values that expressions see
engine.py             the order: when, retry, rescue, always, loops
node_work.py          the work of call and wait
step_work.py          the work of the other steps; local_command.py runs a command
results.py            what a step has done
progress.py           what is printed while it runs
saved_state.py        the file for --resume
running.py            a run from its inputs to its last line
"""
