"""Say who may do what: rules from a YAML file; the first that holds decides, and what none allows is denied.

    groups:
      operators: [alice@example.com, "*@ops.example.com"]
    rules:
      - name: operators restart the web
        callers: [group:operators, deployer@ci.example.com]
        agents: [service]
        actions: [restart, status]
        facts: [environment=production]
        classes: [web]
        inputs: {required: [service], properties: {service: {enum: [nginx, php-fpm]}}}
      - {agents: [shell], allow: false}

    callers, agents, actions   names or globs, of which one must fit; a caller may be `group:NAME`
    facts, classes, select     of the node, as the options -F, -C and -S say it; all must hold
    inputs                     a JSON Schema (2020-12) for the data, defaults of the DDL filled in
    allow                      true, unless it is said to be false

What is left out fits everything. Names are compared whole and by case.

    reading.read(path) ─► Policy ── decide(Question) ─► Decision
"""

from collective.policy.parsing import read
from collective.policy.rules import Decision, KnownNode, Policy, Question, Rule

__all__ = ["Decision", "KnownNode", "Policy", "Question", "Rule", "read"]
