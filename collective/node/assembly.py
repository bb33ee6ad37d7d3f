"""Build a node from its configuration: everything that it works with is made here and passed to constructors.

build(config) ─► DaemonParts: server ─ transport ─ journal ─ audit log ─ policy ─ plugins ─ facts
                              registration ─ registry
                              reloading, status reports, metrics
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from collective import installed, names
from collective.aws.session import AWS
from collective.bundled import DDLS
from collective.config import NodeConfig
from collective.errors import ConfigError
from collective.node import trust
from collective.node.actions.groups import Groups, delegated
from collective.node.actions.leftovers import end_leftovers
from collective.node.actions.runner import Runner
from collective.node.check import trusted_paths
from collective.node.facts import Facts, sources
from collective.node.installed_version import InstalledVersion
from collective.node.jobs.store import JobStore, open_database
from collective.node.plugins import agents, plugin_set, store
from collective.node.plugins.plugin_set import Plugins
from collective.node.plugins.store import PluginStore
from collective.node.policy_file import PolicyFile
from collective.node.server import Server, ServerParts
from collective.node.service.plugin_watch import PluginWatch
from collective.node.service.registration import Registration
from collective.node.service.reloading import Reloading
from collective.node.service.status import StatusReporter
from collective.node.service.systemd import ServiceManager
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import STARTED, Journal, noting
from collective.parallel import THREADS
from collective.registry import NodeRecord, Registry
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.memory import MemoryRegistry
from collective.signing import sshsig
from collective.transport import Transport
from collective.transport.sqs import SQSTransport
from collective.version import __version__
from collective.watch_settings import NO_REGISTRY

if TYPE_CHECKING:
    import boto3

    from collective.node.service.local_files import LocalFiles
    from collective.node.service.metrics import Metrics
    from collective.node.service.watches import NodeWatch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DaemonParts:
    """The parts of a node that a daemon starts and stops."""

    server: Server
    registration: Registration
    reloading: Reloading
    runner: Runner
    reporting: StatusReporter
    metrics: Metrics | None
    watches: Sequence[NodeWatch] = ()
    local_files: LocalFiles | None = None

    def publish_facts(self) -> None:
        """Publish changed facts and classes now: in the registry, and in the files for people who log in."""
        self.registration.refresh()
        if self.local_files:
            self.local_files.wake()


def build(config: NodeConfig, manager: ServiceManager, session: boto3.Session | None = None) -> DaemonParts:
    """Build the node that `config` describes.

    Raises ConfigError if the configuration cannot work, and Failed for a problem that a later start may not have.
    """
    aws = AWS(session)
    key = trust.node_key(config.state)
    groups = Groups(delegated())
    package = InstalledVersion()
    runner, policy = Runner(groups, installed=package), PolicyFile(config.policy)
    _make_folder("state", config.state)
    tags = config.queue_tags | names.tags(config.collective, config.identity)
    probes = THREADS if config.watches else 0
    transport = SQSTransport(aws, connections=config.max_actions + 4 + probes, tags=tags)
    transport.check_settings()  # now, because a running daemon could only retry
    audit, journal = _audit(config), Journal(config.state / "journal.sqlite", transport.now)
    groups.end_abandoned()  # the open journal proves that no other daemon of this node runs
    jobs = open_database(config.state / "jobs.sqlite")
    _end_abandoned(journal, JobStore(jobs))
    verify = trust.verifier(config)
    watch = _watch(config)  # before the plugins are loaded: a later change is noticed
    plugins = load_plugins(config)
    policy.report(plugins.inputs)
    parts = ServerParts(
        transport=transport,
        plugins=plugins,
        facts=_facts(config, runner),
        policy=policy,
        audit=audit,
        journal=journal,
        runner=runner,
        sign=sshsig.signing_with(key),
        verify=verify,
        max_actions=config.max_actions,
        max_queued=config.max_queued,
        agent_limits=config.agent_limits,
        files=(policy, verify, package),
        jobs=jobs,
    )
    server = Server(config.collective, config.identity, parts)
    describe = partial(_describe, server, policy, config.heartbeat, key.public.line)
    check_subscription = partial(transport.check_subscription, server.queue, names.topic(config.collective))
    registry = _registry(config, aws)
    registration = Registration(registry, describe, config.heartbeat, check_subscription)
    reload = partial(reload_plugins, config, package)
    reloading = Reloading(reload, server, policy, registration, manager, watch)
    server.info.pushed = PluginStore(config.state, config.settings, lambda: server.plugins, reloading.reload)
    reporting = StatusReporter(manager, server, registration)
    metrics = _metrics(config, server, journal, audit)
    watches = _watches(config, aws, transport, server)
    return DaemonParts(
        server, registration, reloading, runner, reporting, metrics, watches, _local_files(config, server)
    )


def load_plugins(config: NodeConfig, before: Plugins | None = None) -> Plugins:
    """Load the standard agents and data functions, those of the configured folders, and those of distributions.

    A plugin that is broken now keeps its version of `before`.
    """
    code = [agents.bundled(), *config.agents, *store.code_folders(config.state), *installed.code_folders()]
    ddls = [DDLS, *config.ddls, *store.ddl_folders(config.state), *installed.ddl_folders()]
    return plugin_set.load(code, ddls, config.settings, before)


def reload_plugins(config: NodeConfig, package: InstalledVersion, before: Plugins) -> Plugins:
    """Load the plugins again; keep those of `before` when other users can change the files.

    They are also kept when another version is installed by now: the standard agents of it may not fit this one.
    """
    if problem := trusted_paths.plugin_problem(config) or next(iter(package.problems), None):
        log.error("reload.refused", extra={"error": problem, "in_force": "the agents and data functions loaded before"})
        return before
    return load_plugins(config, before)


def _watch(config: NodeConfig) -> PluginWatch | None:
    folders = [*config.agents, *config.ddls, config.settings]
    return PluginWatch(folders, config.plugins_period) if config.plugins_period else None


def _make_folder(key: str, folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{key}: the folder {folder} cannot be created: {error.strerror} (create it, or configure another)"
        ) from None


def _facts(config: NodeConfig, runner: Runner) -> Facts:
    execute = sources.executed_by(runner)
    fixed = [sources.FULL_NAME]
    if config.ec2_facts:
        fixed.append(sources.ec2(runner, config.ec2_api_facts))
    fixed += [sources.command(words, execute) for words in config.fact_commands]
    folders = [partial(sources.folder, path, execute) for path in config.fact_folders]
    return Facts(config.facts, config.classes, [lambda: fixed, *folders])


def _end_abandoned(journal: Journal, jobs: JobStore) -> None:
    """Kill what an earlier daemon's actions have started, if it was killed together with their monitors."""
    with noting():
        started = [journal.find(request_id) for request_id in journal.left(STARTED)]
        for entry in (*started, *jobs.running()):
            if entry and (killed := end_leftovers(entry.digest)):
                log.warning("action.abandoned", extra={"request": entry.id, "processes": killed})


def _audit(config: NodeConfig) -> AuditLog:
    _make_folder("audit", config.audit.parent)
    if config.audit_envelopes:
        _make_folder("audit_envelopes", config.audit_envelopes)
    return AuditLog(config.audit, required=config.audit_required, envelopes=config.audit_envelopes)


def _registry(config: NodeConfig, aws: AWS) -> Registry:
    if config.registry == "dynamodb":
        return DynamoDBRegistry(aws, names.table(config.collective))
    return MemoryRegistry()


def _watches(config: NodeConfig, aws: AWS, transport: Transport, server: Server) -> Sequence[NodeWatch]:
    if not config.watches:
        return ()
    if config.registry == "none":
        raise ConfigError(NO_REGISTRY)
    from collective.node.service.watches import WatchingNode, make_watches  # few nodes watch others
    from collective.registry.followed_table import FollowedTable

    own = partial(getattr, server.facts, "current")
    feed = partial(FollowedTable, aws, names.table(config.collective))
    registry = DynamoDBRegistry(aws, names.table(config.collective))
    node = WatchingNode(config.collective, config.identity, feed, registry, transport, own)
    return make_watches(config.watches, node, config.state)


def _metrics(config: NodeConfig, server: Server, journal: Journal, audit: AuditLog) -> Metrics | None:
    if config.metrics is None:
        return None
    from collective.node.service.metrics import Metrics  # its library is loaded only if metrics are configured

    return Metrics(config.metrics, server, journal, audit)


def _local_files(config: NodeConfig, server: Server) -> LocalFiles | None:
    if config.local_files is None:
        return None
    from collective.node.service.local_files import LocalFiles

    mode = 0o644 if config.local_facts_readable else 0o600
    return LocalFiles(config.local_files, server, mode, config.prompt_facts)


def _describe(server: Server, policy: PolicyFile, heartbeat: float, public_key: str) -> NodeRecord:
    agents = server.agents
    return NodeRecord(
        identity=server.identity,
        version=__version__,
        facts=server.facts.current,
        classes=tuple(sorted(server.facts.classes)),
        agents={name: agent.ddl.metadata["version"] for name, agent in agents.items()},
        ddls={name: agent.ddl.digest for name, agent in agents.items()},
        refused=agents.refused,
        outdated=agents.outdated,
        problems=server.state.problems,
        public_key=public_key,
        policy=policy.digest,
        period=heartbeat,
    )
