"""`crpc cluster` on a real table: machines that start at once form a cluster, and successors take failed places.

`make clusters` forms real etcd clusters, 20 in a row, and replaces a member that was killed with its data.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import boto3
import pytest
from support.crpc_process import BIN, Completed, make_crpc
from support.daemons import aws_environment, configure
from support.json_documents import check_document
from support.proxy import Proxy
from support.waiting import wait_until

from collective import names
from collective.aws.session import AWS
from collective.cluster.joining import ClusterJoin, JoinWaiting, new_process
from collective.cluster.place_file import PlaceFile
from collective.cluster.state import ClusterMachine, ClusterState, StoredCluster, encode
from collective.cluster.steps import Joiner, Start
from collective.cluster.table import ClusterTable
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry

ROUNDS = int(os.environ.get("CLUSTERS", "0"))  # real etcd clusters; 0: only the program that stands in for one
ETCD = Path(__file__).resolve().parents[2] / "conf" / "cluster_etcd.sh"
PROGRAM = """#!/bin/sh
echo "$CLUSTER_SELF $CLUSTER_FIRST $CLUSTER_STATE $CLUSTER_PEERS" >> "$1"
exec sleep 600
"""


@dataclass
class ClusterHosts:
    """Machines of one collective: folders with a node.yaml, against the server at `url`."""

    folder: Path
    url: str
    collective: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def home(self, identity: str) -> Path:
        """Return the folder of a machine, which is made if it is missing."""
        folder = self.folder / identity
        if not folder.exists():
            folder.mkdir(parents=True)
            configure(folder, self.collective, identity=identity, registry="dynamodb")
        return folder

    def start(self, identity: str, *words: str | Path, by: Sequence[str | Path] = ()) -> None:
        """Run `crpc cluster join WORDS`, or another command, on a machine."""
        home = self.home(identity)
        command = by or [BIN / "crpc", "cluster", "join"]
        environment = {**self.environment(identity), "PATH": f"{BIN}:{os.environ['PATH']}"}
        with (home / "log").open("ab") as log:
            self.running[identity] = subprocess.Popen(
                [*command, *words], env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def environment(self, identity: str) -> dict[str, str]:
        """Return the environment on a machine."""
        return {**aws_environment(self.url), "COLLECTIVE_CONFIG": str(self.home(identity) / "node.yaml")}

    def crpc(self, identity: str, *words: str) -> Completed:
        """Run crpc on a machine."""
        return make_crpc(self.environment(identity))(*words)

    def log(self, identity: str) -> str:
        """Return what `crpc cluster join` has printed."""
        return (self.home(identity) / "log").read_text()

    def kill(self, identity: str, number: int = signal.SIGKILL) -> int:
        """End a machine's command; return its exit code."""
        self.running[identity].send_signal(number)
        return self.running.pop(identity).wait(40)

    def close(self) -> None:
        """End all of them."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def collective(moto_server: str) -> str:
    """A collective with a table."""
    name = f"c{uuid.uuid4().hex[:8]}"
    DynamoDBRegistry(aws(moto_server), names.table(name)).create()
    return name


@pytest.fixture
def machines(tmp_path: Path, moto_server: str, collective: str) -> Iterator[ClusterHosts]:
    """A collective without machines."""
    made = ClusterHosts(tmp_path, moto_server, collective)
    yield made
    made.close()


def aws(url: str) -> AWS:
    return AWS(boto3.Session("test", "test", region_name="eu-central-1"), endpoint=url)


def test_attributes_of_a_hostile_writer_are_ignored(moto_server: str, collective: str) -> None:
    """Names that only resemble those of places are not read, so that a holder still notices who has its place."""
    table = ClusterTable(aws(moto_server), collective, "app")
    client = boto3.Session("test", "test", region_name="eu-central-1").client("dynamodb", endpoint_url=moto_server)
    item = {"identity": {"S": "#cluster app"}, "content": {"S": encode(ClusterState("a" * 32, 3, "web1"))}}
    odd = {name: {"N": "1"} for name in ("beat_²", "beat_", "seen_\u0661", f"beat_{'9' * 5000}", "beat_1", "version")}
    client.put_item(TableName=names.table(collective), Item={**item, **odd})
    assert table.read().beats == {1: 1}


def test_an_item_without_a_version_is_no_cluster(moto_server: str, collective: str) -> None:
    """The first write requires a missing version, so such an item counts as missing.

    moto shows an item that is being created for a moment: only with its key.
    """
    table = ClusterTable(aws(moto_server), collective, "app")
    client = boto3.Session("test", "test", region_name="eu-central-1").client("dynamodb", endpoint_url=moto_server)
    client.put_item(TableName=names.table(collective), Item={"identity": {"S": "#cluster app"}})
    found = table.read()
    assert found == StoredCluster()
    assert table.write(found, ClusterState("a" * 32, 3, "web1"))
    assert table.read().version == 1


def test_machines_form_a_cluster_and_a_successor_takes_a_place(machines: ClusterHosts) -> None:
    """Exactly one begins; the one that left is replaced at once, after the hook has removed it."""
    lines = machines.folder / "lines"
    program = machines.folder / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    words = ("app", "--size", "3", "--exec", f"exec {program} {lines}", "--peer", "{name}=http://{host}:80")
    for number in (1, 2, 3):
        machines.start(f"app{number}", *words, "--address", f"127.0.3.{number}")
    wait_until(lambda: lines.exists() and len(lines.read_text().splitlines()) == 3, 30, lambda: machines.log("app1"))
    started = [line.split() for line in lines.read_text().splitlines()]
    assert sorted(line[1] for line in started) == ["false", "false", "true"]
    assert {line[2] for line in started} == {"new"}
    assert len({line[3] for line in started}) == 1
    assert sorted(started[0][3].split(",")) == [f"app{number}=http://127.0.3.{number}:80" for number in (1, 2, 3)]
    assert machines.kill("app3", signal.SIGTERM) == 143  # the program was ended by SIGTERM
    assert machines.crpc("app3", "cluster", "leave", "app").stdout == "app: released the place of 'app3'\n"
    hook = f"echo removed {{replaced}} {{replaced_peer}} for {{peer}} >> {lines}"
    machines.start("app4", *words, "--address", "127.0.3.4", "--on-replace", hook)
    wait_until(lambda: len(lines.read_text().splitlines()) == 5, 30, lambda: machines.log("app4"))
    removed, joined = lines.read_text().splitlines()[3:]
    assert removed == "removed app3 app3=http://127.0.3.3:80 for app4=http://127.0.3.4:80"
    assert joined.startswith("app4 false existing ")
    assert "app3" not in joined
    show(machines)


def show(machines: ClusterHosts) -> None:
    """Compare what `crpc cluster show` prints, as text and as JSON."""
    wait_until(lambda: machines.crpc("app1", "cluster", "show", "app").stdout.count("running") == 3, 30)
    text = machines.crpc("app1", "cluster", "show", "app").stdout
    assert text.startswith("app: 3 of 3 places, begun\n")
    done = machines.crpc("app1", "cluster", "show", "app", "--json")
    document = json.loads(done.stdout)
    check_document(document)
    assert sorted(place["node"] for place in document["places"]) == ["app1", "app2", "app4"]
    refused = machines.crpc("app5", "cluster", "join", "app", "--size", "5", "--exec", "true")
    assert refused.returncode == 64
    assert "it has 3 places" in refused.stderr
    missing = machines.crpc("app1", "cluster", "show", "other")
    assert (missing.returncode, missing.stdout) == (64, "")


def test_callers_do_not_see_clusters_as_nodes(moto_server: str, collective: str, tmp_path: Path) -> None:
    """The item of a cluster is in the table of nodes, and neither a node nor an invalid record."""
    registry = DynamoDBRegistry(aws(moto_server), names.table(collective))
    registry.put(NodeRecord("web1", "1"))
    join(moto_server, collective, tmp_path, "app", "web1", 1)
    contents, changes = registry.read_with_changes()
    assert [one.identity for one in contents.records] == ["web1"]
    assert (contents.invalid, list(changes), registry.identities()) == ({}, ["web1"], {"web1"})
    heads, rest = registry.read_heads()
    assert ([head.identity for head in heads], rest.invalid) == (["web1"], {})


def test_a_table_refuses_what_another_machine_has_changed(moto_server: str, collective: str, tmp_path: Path) -> None:
    """A write needs the version that was read, and a renewal the place."""
    table = ClusterTable(aws(moto_server), collective, "app")
    empty = table.read()
    start = join(moto_server, collective, tmp_path, "app", "web1", 1)
    assert not table.write(empty, start.state)
    stored = table.read()
    assert table.renew(start.place)
    assert table.read().beats == {0: stored.beats[0] + 1}
    assert table.write(stored, start.state)
    assert table.read().beats == {0: stored.beats[0] + 1}  # a change of the state is not a renewal
    assert not table.write(stored, start.state)
    other = ClusterMachine("web2", "10.0.0.2"), new_process()
    assert not table.renew(type(start.place)(0, other[0], other[1], other[1]))


def join(url: str, collective: str, folder: Path, cluster: str, identity: str, size: int) -> Start:
    """Join a cluster in this process."""
    me = Joiner(cluster, ClusterMachine(identity, "10.0.0.1"), size, new_process())
    table = ClusterTable(aws(url), collective, cluster)
    (folder / identity).mkdir(exist_ok=True)
    return ClusterJoin(me, table, PlaceFile(folder / identity, cluster), JoinWaiting(60)).wait()


def test_eight_machines_at_once(moto_server: str, collective: str, tmp_path: Path) -> None:
    """Eight machines write at the same time, and one begins."""
    found: list[Start] = []

    def one(number: int) -> None:
        found.append(join(moto_server, collective, tmp_path, "app", f"web{number}", 8))

    threads = [threading.Thread(target=partial(one, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert sum(start.first for start in found) == 1
    assert sorted(start.place.number for start in found) == list(range(8))


def test_an_unreachable_table_is_tried_again(moto_server: str, collective: str, tmp_path: Path) -> None:
    """A machine waits until the table can be reached; with --wait it gives up with exit code 69."""
    with Proxy(moto_server) as proxy:
        proxy.turn("cut")
        cut = ClusterHosts(tmp_path, proxy.url, collective)
        done = cut.crpc("web1", "cluster", "join", "app", "--size", "1", "--wait", "1s", "--exec", "true")
    assert done.returncode == 69
    assert "the registry cannot be reached, trying again" in done.stderr


needs_etcd = pytest.mark.skipif(not ROUNDS, reason="make clusters runs it, with CLUSTERS=20")


@needs_etcd
def test_etcd_clusters_form_from_nothing(machines: ClusterHosts, needs: Callable[[str, str], None]) -> None:
    """Three machines that start at once form one cluster of three members; exactly one of them begins it."""
    needs("etcd", "etcd-server")
    needs("etcdctl", "etcd-client")
    for round_ in range(ROUNDS):
        name = f"etcd{round_}"
        for number in (1, 2, 3):
            start_etcd(machines, name, number)
        wait_until(lambda: etcdctl("put", "key", "value") == "OK\n", 60, lambda: machines.log("etcd1"))
        assert members() == ["etcd1", "etcd2", "etcd3"]
        firsts = [machines.log(f"etcd{number}").count("first true") for number in (1, 2, 3)]
        assert sorted(firsts) == [0, 0, 1], firsts
        for number in (1, 2, 3):
            machines.kill(f"etcd{number}")
            shutil.rmtree(machines.home(f"etcd{number}"))


@needs_etcd
def test_a_successor_joins_in_the_place_of_a_killed_etcd(
    machines: ClusterHosts, needs: Callable[[str, str], None]
) -> None:
    """A member is killed with its data; the next machine removes it, joins, and has a key that was written before."""
    needs("etcd", "etcd-server")
    needs("etcdctl", "etcd-client")
    for number in (1, 2, 3):
        start_etcd(machines, "etcd", number)
    wait_until(lambda: etcdctl("put", "key", "value") == "OK\n", 60, lambda: machines.log("etcd1"))
    machines.kill("etcd3")
    shutil.rmtree(machines.home("etcd3"))
    start_etcd(machines, "etcd", 4, "--replace-after", "20s")
    wait_until(lambda: etcdctl("get", "key", number=4) == "key\nvalue\n", 90, lambda: machines.log("etcd4"))
    wait_until(lambda: members() == ["etcd1", "etcd2", "etcd4"], 30)
    machines.kill("etcd1")  # with its data, it returns to its place
    start_etcd(machines, "etcd", 1)
    wait_until(lambda: etcdctl("get", "key", number=1) == "key\nvalue\n", 60, lambda: machines.log("etcd1"))
    assert members() == ["etcd1", "etcd2", "etcd4"]
    machines.kill("etcd2")  # without its data, but with its name and address
    shutil.rmtree(machines.home("etcd2") / "data")
    start_etcd(machines, "etcd", 2)
    wait_until(lambda: etcdctl("get", "key", number=2) == "key\nvalue\n", 60, lambda: machines.log("etcd2"))
    assert "removed from cluster" in machines.log("etcd2")


def start_etcd(machines: ClusterHosts, name: str, number: int, *words: str) -> None:
    """Start a member as conf/cluster_etcd.sh does."""
    identity = f"etcd{number}"
    data = machines.home(identity) / "data"
    machines.start(identity, "join", name, "3", data, "--address", f"127.0.4.{number}", *words, by=["/bin/sh", ETCD])


def etcdctl(*words: str, number: int = 2) -> str:
    """Return what etcdctl prints, asking one member."""
    command = ["etcdctl", "--endpoints", f"http://127.0.4.{number}:2379", "--command-timeout", "3s", *words]
    done = subprocess.run(
        command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout


def members() -> list[str]:
    """Return the names of the started members."""
    lines = [line.split(", ") for line in etcdctl("member", "list").splitlines()]
    return sorted(line[2] for line in lines if line[1] == "started")
