"""The commands of `crpc`, one module each; a module is imported when its command is called.

A module has two functions:

    make_parser() -> Parser       the command line: its description, options and examples
    run(arguments) -> int         parse `arguments`, do the work, return the exit code
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collective.clients.parser import Parser

GROUPS = {
    "Ask nodes": {
        "ping": "Measure how fast nodes answer",
        "find": "List the nodes that match",
        "ssh": "Open ssh to the node that the target options find",
        "facts": "Count the values of a fact",
        "motd": "Print a login message from this node's facts and classes",
        "prompt": "Print customer, environment and role of this node for a shell's prompt",
        "inventory": "Show the facts, classes and agents of one node",
        "watch": "Print nodes that join, leave, fail or change, and run a command for each",
        "template": "Keep a file current that is rendered from the nodes, and convert templates of confd",
        "report": "Print a report on the fleet, as text, Markdown, CSV, JSON or an HTML page",
    },
    "Change nodes": {
        "playbook": "Run the steps of a playbook, and check, list and show playbooks",
        "request": "Save a request for other callers to approve, or list those that wait",
        "approve": "Sign a request or a saved plan of another caller",
        "apply": "Run a saved plan of a rollout, or an approved request",
        "run": "List, pause, resume, stop and take rollouts, also those of other callers",
        "jobs": "List, wait for and cancel background jobs and running requests",
        "revoke": "Withdraw a request from nodes that have not started it",
        "freeze": "Allow only read-only actions on nodes",
        "thaw": "End a freeze of nodes",
    },
    "Look back": {
        "runs": "List the saved calls",
        "show": "Print the results of a saved call again",
        "retry": "Repeat a saved call on the nodes that did not answer OK",
        "diff": "Compare the replies of two saved calls",
    },
    "Look things up": {
        "help": "List commands and agents, or show the help of one",
        "describe": "Show the actions of an agent, or the inputs and outputs of an action",
        "completion": "Print the script that completes command lines in bash, zsh or fish",
        "schema": "List or print the JSON Schemas of files and documents",
        "groups": "List the groups of nodes in client.yaml",
        "explain-filter": "Explain in English which nodes the target options select",
    },
    "Set up and operate": {
        "cluster": "Form clusters of nodes, and replace those that failed",
        "setup": "Create, repair or remove the AWS resources of a collective",
        "config": "Show the configuration in force, or set the default collective",
        "doctor": "Diagnose this caller's setup",
        "nodes": "List and trust node keys, and remove nodes that are gone",
        "keys": "Show and trust the keys that sign requests",
        "policy": "Check and test authorization policies",
        "audit": "Show and verify the audit log of a node",
        "warm": "Keep a process that starts crpc faster",
        "cost": "Estimate what a collective costs per month at AWS",
    },
    "Write agents": {
        "new": "Write the code, the DDL and a test of a new agent",
        "check": "Report what is wrong with agents, and what could be better",
        "ddl": "List the DDLs of this caller, or import one of Choria or MCollective",
        "plugin": "Install agents on nodes, and return to the version before",
        "run-local": "Run an action on this machine and print what a caller would see",
    },
    "Try it out": {
        "lab": "Run a whole collective on this machine",
    },
}
COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}


def make_parsers() -> list[Parser]:
    """Return the parsers of all commands; this imports every module, so it is not for the usual start."""
    modules = [importlib.import_module(f"{__name__}.{name.replace('-', '_')}") for name in COMMANDS]
    return [module.make_parser() for module in modules if hasattr(module, "make_parser")]
