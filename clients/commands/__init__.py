"""One module per command of `crpc`: each has `run(arguments) -> exit code`, and is imported when it is called."""

from __future__ import annotations

COMMANDS = {
    "audit": "what a node has written down, and whether anything of it is missing",
    "cost": "what AWS takes for a collective in a month",
    "describe": "what an agent or one of its actions takes, does and returns",
    "doctor": "what is wrong with this caller, and how to mend it",
    "explain-filter": "what target options mean, in words",
    "facts": "the values of a fact, and how many nodes have each",
    "find": "the names of the nodes that match",
    "help": "this page",
    "inventory": "all that one node says of itself",
    "keys": "which key signs requests, and who believes it",
    "lab": "a whole collective on this machine, to try things",
    "nodes": "which nodes are known by which keys, and tidying up after those that are gone",
    "ping": "who is there, and how fast they answer",
    "policy": "check a policy, and ask it who may do what",
    "schema": "list or print the JSON Schemas of configuration files, DDLs and documents",
    "setup": "what a collective needs on AWS: made, mended, removed",
}
