"""Authorization rules from a YAML file. The first matching rule decides; a request that matches no rule is denied.

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

    callers, agents, actions   names or globs, one of which must match; a caller may be `group:NAME`
    facts, classes, select     filters on the node, as in the options -F, -C and -S; all must match
    inputs                     a JSON Schema (2020-12) for the inputs, with the defaults of the DDL
    dry_run                    true: only dry runs, false: only real runs
    allow                      true (the default) or false
    between                    times of day, such as 22:00-04:00
    reason, max_targets,       what a rule that allows requires of the requests that match; those that do not meet it
    max_targets_per_hour,      are denied
    approvals, approvers

A rule without one of these keys matches any value. Whole names are compared, case-sensitively. A rule whose `inputs`
name an input that the action does not have never allows it.

    read(path) ─► Policy ── decide(Question) ─► Decision
"""

from collective.policy.input_names import Actions
from collective.policy.parsing import read
from collective.policy.requirements import CallFacts
from collective.policy.rules import Decision, KnownNode, Policy, Question, Rule

__all__ = ["Actions", "CallFacts", "Decision", "KnownNode", "Policy", "Question", "Rule", "read"]
