"""`collectived`: put a node together from its configuration, serve until told to stop.

    SIGTERM, SIGINT   say farewell, let what runs finish within shutdown_timeout, exit 0
    SIGHUP            read facts, classes and the policy again

This module imports little: the processes that run actions start from it too.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from collective import __version__
from collective.errors import CollectiveError, ConfigError

if TYPE_CHECKING:
    import boto3

    from collective.config import NodeConfig
    from collective.node.agents import Agents
    from collective.node.audit import Audit
    from collective.node.data import DataFunctions
    from collective.node.facts import Facts
    from collective.node.policy import PolicyFile
    from collective.node.registration import Registration
    from collective.node.runner import Runner
    from collective.node.server import Server
    from collective.registry import NodeRecord, Registry

log = logging.getLogger(__name__)

_USAGE = 64  # sysexits.h: EX_USAGE
_CONFIGURATION_WRONG = 78  # sysexits.h: EX_CONFIG
_FIRST_FACTS = 3.0  # seconds that serving waits for slow sources of facts
_LAST_POLL = 3.0  # seconds that the receiving thread may take to end its poll
_LOOK = 1.0  # seconds: a second signal at once may be given to another thread, and then does not wake the first one
_FAREWELL = 5.0  # seconds that the registry may take to hear it


def main(argv: Sequence[str] | None = None, session: boto3.Session | None = None) -> int:
    """Run `collectived` and return its exit code. `session` is shared by nodes that were forked together."""
    options = _parser().parse_args(argv)
    from collective.config import load_node

    try:
        config = load_node(options.config)
        if options.check:
            return _check(config)
        return _serve(config, session)
    except CollectiveError as fault:
        print(f"collectived: {fault}", file=sys.stderr)  # noqa: T201 - before there is a log
        return _CONFIGURATION_WRONG


class _Parser(argparse.ArgumentParser):
    """argparse's, with one line and the exit code of a wrong command line for what it refuses."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        self.exit(_USAGE, f"collectived: {message}: see 'collectived --help'\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="collectived",
        description="Take requests from this node's queue and run the actions of its agents.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of /etc/collective/node.yaml")
    parser.add_argument("--check", action="store_true", help="say what is wrong with configuration and agents")
    parser.add_argument("--version", action="version", version=f"collectived {__version__}")
    return parser


def _check(config: NodeConfig) -> int:
    """Print what is wrong, a line each; return 78 when anything is."""
    from collective import policy
    from collective.node import trust

    agents = _load_agents(config)
    faults = [*trust.faults(config), *agents.faults, *_load_data(config).faults]
    try:
        if config.policy.exists():
            policy.read(config.policy)
    except ConfigError as fault:
        faults += fault.faults
    for line in faults:
        print(f"collectived: {line}", file=sys.stderr)  # noqa: T201
    print(f"{config.identity} in {config.collective}: agents {', '.join(sorted(agents))}")  # noqa: T201
    return _CONFIGURATION_WRONG if faults else 0


def _serve(config: NodeConfig, session: boto3.Session | None) -> int:
    from collective import logs
    from collective.node.runner import Runner
    from collective.processes import give_back_memory

    give_back_memory()
    logs.configure(config.log_level, config.log_format)
    runner = Runner()
    policy = _policy(config)
    server, registration = _build(config, session, runner, policy)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def read_again(*_: object) -> None:
        server.facts.wake()
        policy.current()

    signal.signal(signal.SIGHUP, read_again)
    server.facts.start(config.facts_period, _FIRST_FACTS, registration.refresh)

    def receive() -> None:
        server.open()
        registration.start()
        log.info("daemon.serving", extra={"collective": config.collective, "identity": config.identity})
        server.serve()

    receiver = threading.Thread(target=receive, name="receive", daemon=True)
    receiver.start()
    while not stop.wait(_LOOK):
        pass
    log.info("daemon.stopping", extra={"running": server.workshop.running})
    registration.stop(_FAREWELL)
    server.stop(config.shutdown_timeout)
    receiver.join(_LAST_POLL)
    server.facts.stop()
    runner.stop()  # what is left are commands that tell facts: nobody waits for them any more
    log.info("daemon.stopped")
    return 0


def _build(
    config: NodeConfig, session: boto3.Session | None, runner: Runner, policy: PolicyFile
) -> tuple[Server, Registration]:
    """Put the node together: everything outside it is made here, and enters by constructors."""
    from collective import names
    from collective.aws import AWS
    from collective.node import trust
    from collective.node.journal import Journal
    from collective.node.registration import Registration
    from collective.node.server import Server
    from collective.registry.dynamodb import DynamoDBRegistry
    from collective.registry.memory import MemoryRegistry
    from collective.signing import sshsig
    from collective.transport.sqs import SQSTransport

    aws = AWS(session)
    key = trust.node_key(config.state)
    agents = _load_agents(config)
    facts = _facts(config, runner)
    _make_folder("state", config.state)
    tags = config.queue_tags | names.tags(config.collective, config.identity)
    transport = SQSTransport(aws, connections=config.max_actions + 4, tags=tags)
    server = Server(
        collective=config.collective,
        identity=config.identity,
        transport=transport,
        agents=agents,
        data=_load_data(config),
        facts=facts,
        policy=policy,
        audit=_audit(config),
        journal=Journal(config.state / "journal.sqlite", transport.now),
        runner=runner,
        sign=sshsig.signing_with(key),
        verify=trust.verifier(config),
        max_actions=config.max_actions,
        max_queued=config.max_queued,
        agent_limits=config.agent_limits,
    )
    registry: Registry = MemoryRegistry()
    if config.registry == "dynamodb":
        registry = DynamoDBRegistry(aws, names.table(config.collective))
    describe = partial(_describe, config, agents, facts, key.public.line)
    registration = Registration(registry, describe, config.heartbeat)
    return server, registration


def _make_folder(key: str, folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise ConfigError(f"{key}: {folder} cannot be made: {fault.strerror}: make it, or name another") from None


def _facts(config: NodeConfig, runner: Runner) -> Facts:
    from collective.node.facts import Facts, sources

    execute = sources.executed_by(runner)
    fixed = [sources.FULL_NAME]
    if config.ec2_facts:
        fixed.append(sources.EC2)
    fixed += [sources.command(words, execute) for words in config.fact_commands]
    folders = [partial(sources.folder, path, execute) for path in config.fact_folders]
    return Facts(config.facts, config.classes, [lambda: fixed, *folders])


def _load_agents(config: NodeConfig) -> Agents:
    from collective.node import agents

    return agents.load(*_plugin_folders(config))


def _load_data(config: NodeConfig) -> DataFunctions:
    from collective.node import data

    return data.load(*_plugin_folders(config))


def _plugin_folders(config: NodeConfig) -> tuple[list[Path], list[Path], Path]:
    """Return the folders of code and of DDLs, and that of settings."""
    from collective import catalog
    from collective.node import agents

    return [agents.bundled(), *config.agents], [catalog.bundled(), *config.ddls], config.settings


def _policy(config: NodeConfig) -> PolicyFile:
    from collective.node.policy import PolicyFile

    return PolicyFile(config.policy)


def _audit(config: NodeConfig) -> Audit:
    from collective.node.audit import Audit

    _make_folder("audit", config.audit.parent)
    if config.audit_envelopes:
        _make_folder("audit_envelopes", config.audit_envelopes)
    return Audit(config.audit, required=config.audit_required, envelopes=config.audit_envelopes)


def _describe(config: NodeConfig, agents: Agents, facts: Facts, public_key: str) -> NodeRecord:
    from collective.registry import NodeRecord

    return NodeRecord(
        identity=config.identity,
        version=__version__,
        facts=facts.current,
        classes=tuple(sorted(facts.classes)),
        agents={name: agent.ddl.metadata["version"] for name, agent in agents.items()},
        refused=agents.refused,
        public_key=public_key,
        period=config.heartbeat,
    )
