"""Invalid `node.yaml` files: for the configuration, which must refuse them, and for its JSON Schema."""

from __future__ import annotations

# The text of each file, and a part of its error.
INVALID_NODE_CONFIGS = {
    "identity: a": "required key 'collective' is missing",
    "collective: p": "required key 'identity' is missing",
    "": "must be a mapping, not an empty file",
    "[a]": "must be a mapping, not a list",
    "{colective: p, identity: a}": "unknown key 'colective' (did you mean 'collective'?)",
    "{collective: p, identity: a, zzz: 1}": "unknown key 'zzz' (keys: collective, identity",
    "{collective: p, identity: a, 1: x}": "unknown key '1'",
    "{collective: 5, identity: a}": "collective: must be a string, not 5",
    "{collective: null, identity: a}": "collective: must be a string, not None",
    "{collective: P, identity: a}": "invalid collective name 'P'",
    "{collective: p, identity: a b}": "invalid identity 'a b'",
    "{collective: p, identity: a, accept_unsigned: 'yes'}": "accept_unsigned: must be true or false, not 'yes'",
    "{collective: p, identity: a, heartbeat: soon}": "heartbeat: invalid duration 'soon': use "
    "seconds (90s), minutes (15m), hours (36h) or days (7d)",
    "{collective: p, identity: a, heartbeat: true}": "heartbeat: must be a number, not True",
    "{collective: p, identity: a, heartbeat: 0}": "heartbeat: must be greater than 0, not 0",
    "{collective: p, identity: a, heartbeat: .nan}": "heartbeat: must be between 0 and 1000000000, not nan",
    "{collective: p, identity: a, heartbeat: .inf}": "heartbeat: must be between 0 and 1000000000, not inf",
    "{collective: p, identity: a, max_actions: 1.5}": "max_actions: must be an integer, not 1.5",
    "{collective: p, identity: a, agent_limits: 3}": "agent_limits: must be a mapping to integers above 0, not 3",
    "{collective: p, identity: a, agent_limits: {package: 0}}": "agent_limits: must be a mapping to integers above 0",
    "{collective: p, identity: a, agent_limits: {package: true}}": "agent_limits: must be a mapping to integers",
    "{collective: p, identity: a, queue_tags: {team: 7}}": "queue_tags: must be a mapping of strings, not {'team': 7}",
    "{collective: p, identity: a, agent_limits: {1: 1}}": "agent_limits: must be a mapping to integers above 0",
    "{collective: p, identity: a, shutdown_timeout: -1}": "shutdown_timeout: must be between 0 and 1000000000, not -1",
    "{collective: p, identity: a, registry: consul}": "registry: must be one of dynamodb, none, not 'consul'",
    "{collective: p, identity: a, facts: [1]}": "facts: must be a list of strings, not [1]",
    "{collective: p, identity: a, policy: [x]}": "policy: must be a path, not ['x']",
    "collective: p\ncollective: q": ":2:1: duplicate key 'collective'",
    "collective: [": "node.yaml:2:1: ",
    "{collective: p, identity: !!bool a}": "not YAML",
    "{collective: p, identity: !!int ''}": "not YAML",
    "{collective: p, identity: !!timestamp a}": "not YAML",
    "{collective: !!python/name:os.system x}": "could not determine a constructor",
    "a: \0": "not YAML",
}
