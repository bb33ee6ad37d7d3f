"""The examples of documents and help pages, and why a lab does not run some of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from collective.clients import apps
from collective.clients.commands import make_parsers, rpc
from collective.clients.parser import Parser
from support.documents import DOCUMENTS, blocks

# What documents name, and what a lab has instead.
STANDS_FOR = (
    (r"web1\.my\.net|web07\.my\.net|node01\.my\.net", "node01.lab"),
    (r"web2\.my\.net", "node04.lab"),
    (r"web\[01-(04|20|03)\]\.my\.net", "node[01-03].lab"),
    (r"-C webserver", "-C role::web"),
    (r"\bapache\b", "base"),
    (r"package@>=1\.2(?=' status)", "package@>=1.0"),
    (r"-F (role=web )?az=a\b", r"-F \1az=eu-1a"),
    (r"/var/log/collective/audit\.jsonl(-20261120)?", "audit.jsonl"),
    (r"audit\.jsonl\.1 ", ""),
    (r"--key 'ssh-ed25519 AAAAC3…'", "--key node_key.pub"),
    (r"-T (staging|production|prod-eu|prod-us)", "-T lab"),
    (r"package=openssl|package=php", "package=bash"),
    (r"package\('(openssl|php)'\)", "package('bash')"),
    (r"(?<!--run )c319fd85", "last"),
    (r"rpcutil daemon_stats", "rpcutil get_fact fact=role"),
    (r"ping --slow", "ping --one --slow"),
    (r"service status service=nginx (.*)--watch 5s", r"service status service=nginx \1--watch 1s --for 1s"),
    (r"'data.status=running' --every 5s --for 10m", "'statuscode>=0' --every 1s --for 5s"),
    (r" --batch-sleep 30", " --batch-sleep 1"),
    (r"/opt/puppetlabs\S*/filemgr\.ddl --folder \S+", "filemgr.ddl --folder imported"),
    (r"agent/puppet\.ddl --folder ddl", "filemgr.ddl --folder imported"),
    (r"check /etc/collective", "check ."),
    (r"( --limit \S+| --one| -1)(?!.*--limit-seed)", r"\1 --limit-seed 1"),
)

# Examples that need no node: `make test` runs them, and `make examples` the others as well.
_WITHOUT_NODES = re.compile(
    r"crpc (\S+ --help|--version|completion|config|cost|ddl|describe|explain-filter|groups|help|keys|schema|run-local"
    r"|playbook (check|list|show)|policy (check|test)|report (list|show))\b"
)

# Examples that a test on any machine cannot run, by what the line begins with or has.
NOT_RUN = (
    (
        r"crpc (lab (run|start|stop|node \S+ (kill|stop|start|reload|log))|\S+ .*\$COLLECTIVE_LAB)",
        "starts and stops labs",
    ),
    (r"crpc ssh (?!.*--print)", "opens ssh: tests/e2e/test_ssh_command.py"),
    (r"--live|--tail|--gate ask|--gate 'alarm", "needs a terminal or an alarm: test_displays.py, test_verbs.py"),
    (r"--gate 'cmd:", "runs a script of the reader"),
    (
        r"crpc (setup|nodes (trust|revoke)|config use)(?!.*--dry-run)(?!.*--policies)",
        "changes the collective: test_setup.py",
    ),
    (r"crpc (freeze|thaw|approve|plugin (push|rollback)|retry .*--silent|nodes prune .*--yes)", "changes the lab"),
    (r"crpc cluster join|--listen", "has no end: test_cluster.py, test_exports_read.py"),
    (r"crpc warm (start|stop)|crpc run take .*--detach", "starts a process: test_warm.py, test_steering.py"),
    (r"--plan --dry-run", "asks the package manager of this machine: test_plans.py"),
    (r"crpc apply", "needs a plan: test_prepared.py"),
    (r"crpc file (put|get|status|template|remove)", "changes files: test_agent_file.py"),
    (r"crpc puppet", "needs Puppet"),
    (r"crpc shell (output|status|kill|start|script url)", "needs a job, or a script in S3: test_verbs.py"),
    (r"crpc jobs (cancel|wait|result|status)", "needs a job: test_background_jobs.py"),
    (
        r"crpc (load|restart-web|count)\b|mount\('/srv'\)|source=mount",
        "needs the reader's agent, command or data function: test_first_agent.py, test_own_commands.py",
    ),
    (
        r"crpc (new|run-local (banner|disk_space|load)|describe banner|check load)",
        "needs the reader's agent: test_first_agent.py",
    ),
    (r"processors>=|memory<", "depends on the hardware of this machine"),
    (r"crpc audit (show|verify)$", "reads the audit log of the node: test_audit.py"),
    (r"crpc keys trust", "changes keys: test_keys_command.py"),
    (r"\$\w+|HASH|FINGERPRINT|AWS_DEFAULT_REGION=", "has a value of the reader"),
    (
        r"crpc (completion \w+ [>|])|<\(crpc|systemd-run|/dev/null|\bjq\b",
        "is loaded into a shell, or piped into other programs",
    ),
    (r"apt-get|rsync|/etc/collective|rsync", "changes the machine"),
    (
        r"nodes-from failed|--nodes results?\.json|--nodes -$",
        "needs the result of another call: test_first_rollout.py, test_commands.py",
    ),
    (r"crpc (cluster|motd|prompt|facts local|eip|run-local eip)", "is for nodes: test_cluster.py, test_login.py"),
    (r"crpc template", "needs a template of the reader: test_template_command.py, test_template_import.py"),
    (r"crpc watch", "has no end, or prints the addresses of this machine: test_watch.py"),
    (r"--listen", "has no end: test_exports.py"),
    (r"--dm ec2", "needs instances: test_ec2.py"),
    (r"collectived --check", "checks the reader's node: test_check.py"),
)

# Changes of the machine: the plan is shown instead, and nothing is sent.
PLANNED = re.compile(
    r"crpc ('package@\S+' install|package (install|update|purge|refresh)|service restart|shell (run|script))\b"
    r"(?!.*-(-dry-run|n)\b)(?!.*-plan)"
)


# What differs between two runs of an example, or between two machines.
_VARYING = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"(ssh-ed25519 )?SHA256:[A-Za-z0-9+/]+|ssh-ed25519 [A-Za-z0-9+/]+", "KEY"),
    (r"^.*(as in earlier runs| ms +[0-9]+ +#+)$\n", ""),
    (r"reply_\S+", "reply_ID"),
    (r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{5,8}(\.[0-9]+)?Z?", "TIME"),
    (r"node[0-9]+\.lab: replied in [0-9.]+ ms", "NODE: replied in N ms"),
    (r"\b1[0-9]{9}(\.[0-9]+)?\b", "TIME"),
    (r"\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b", "TIME"),
    (r"\([0-9]+% inode=[0-9]+%\)", "(N%)"),
    (r"\b(?=[a-f]*[0-9])[0-9a-f]{8,}\b", "ID"),
    (r"\b[0-9.,]+ (seconds?|minutes?|hours?|s ago)\b", "A WHILE"),
    (r"127\.0\.0\.1:[0-9]+", "ENDPOINT"),
    (r"\b[0-9]+(\.[0-9]+)+[0-9a-z.+~:-]*|[0-9]{3,}[0-9a-z.+~]*", "N"),
    (r"[+-]?N( ?(ms|s|B|MiB|GB|%))\b", r"N\1"),
    (r"--+", "  "),
    (r"  +", "  "),
)


def shape(text: str, folders: Mapping[str, Path]) -> list[str]:
    """Return the lines of an output, sorted, without what differs between runs and machines.

    `folders` are paths by the name that stands for them. Nodes answer in any order, so lines are compared as a set.
    """
    for name, folder in folders.items():
        text = text.replace(str(folder), name)
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return sorted(filter(None, map(str.strip, text.splitlines())))


def examples() -> list[str]:
    """Return each command line in code blocks of documents and in help pages once, without comments."""
    return sorted({*_documented(), *_of_help_pages()})


def reason(line: str) -> str:
    """Return why an example is not run; empty if it is."""
    return next((why for pattern, why in NOT_RUN if re.search(pattern, line)), "")


def needs_nodes(line: str) -> bool:
    """Return whether an example as it is run sends something to nodes, or looks at what was sent."""
    return not _WITHOUT_NODES.match(line)


def as_run(line: str) -> str:
    """Return an example as it is run in a lab."""
    for pattern, instead in STANDS_FOR:
        line = re.sub(pattern, instead, line)
    return f"{line} --plan" if PLANNED.match(line) else line


def _documented() -> Iterator[str]:
    for path in DOCUMENTS:
        for block in blocks(path.read_text(), "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.sub(r"\s+#( .*)?$", "", re.sub(r"  +", " ", line.removeprefix(".venv/bin/"))).strip()
                if re.match(r"(crpc|collectived|\w+=\S+ crpc|echo .*\| crpc)\b", command):
                    yield command.removesuffix(" || true")


def _of_help_pages() -> Iterator[str]:
    parsers = [rpc.make_parser(), *make_parsers()]
    parsers += [parser for agent in apps.agents() for parser in apps.make_parsers(agent)]
    for parser in parsers:
        yield from _examples(parser)


def _examples(parser: Parser) -> Iterator[str]:
    yield from parser.examples
    for verb in parser.verbs.values():
        yield from _examples(verb)
