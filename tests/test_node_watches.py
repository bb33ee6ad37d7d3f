"""`watches:` in node.yaml: what is read, and a daemon's watch from the registry to its command."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from support.waiting import wait_until

from collective.config import load_node
from collective.errors import ConfigError
from collective.membership import StateFile
from collective.node.service.watches import NodeWatch, WatchingNode, make_watches
from collective.registry import NodeRecord
from collective.registry.feed import FullReads
from collective.registry.memory import MemoryRegistry
from collective.transport.memory import MemoryTransport

FACTS = {"role": "lb"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command as another user")


def make(folder: Path, registry: MemoryRegistry, **watch: object) -> NodeWatch:
    node = WatchingNode("test", "lb1", lambda: FullReads(registry), registry, MemoryTransport(), lambda: FACTS)
    [made] = make_watches({"w": watch}, node, folder)
    return made


def put(registry: MemoryRegistry, identity: str, role: str = "web") -> None:
    registry.put(NodeRecord(identity, "1", facts={"role": role}, instance="1"))


class ReadableFolder:
    """A folder that other users can enter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for parent in (path, *path.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o111)

    def shared(self, name: str) -> Path:
        """Create a file that all users can write."""
        file = self.path / name
        file.touch()
        file.chmod(0o666)
        return file


@pytest.fixture
def folder(tmp_path: Path) -> ReadableFolder:
    made = ReadableFolder(tmp_path)
    (tmp_path / "src.j2").write_text("{% for node in members %}\n{{ node.identity }}\n{% endfor %}\n")
    return made


def test_a_watch_runs_its_command_with_the_facts_of_the_node(tmp_path: Path) -> None:
    """Chosen events of matching nodes reach the command; a restarted watch continues, with no event twice."""
    out = tmp_path / "out"
    registry = MemoryRegistry()
    for identity, role in (("a", "web"), ("b", "db"), ("c", "web")):
        put(registry, identity, role)
    line = f'echo "$SERF_EVENT $SERF_SELF_NAME $SERF_SELF_ROLE $(cut -f1)" >> {out}'
    words = {"exec": line, "filter": "role=web", "on": ["join", "leave"], "every": 0.05}

    def lines() -> list[str]:
        return sorted(out.read_text().splitlines()) if out.exists() else []

    watch = make(tmp_path, registry, **words)
    watch.start()
    wait_until(lambda: len(lines()) == 2, 30)
    watch.stop()
    registry.leave("a", "1")
    registry.put(NodeRecord("c", "1", facts={"role": "web", "new": 1}, instance="1"))
    watch = make(tmp_path, registry, **words)
    watch.start()
    wait_until(lambda: len(lines()) == 3, 30)
    watch.stop()
    assert lines() == ["member-join lb1 lb a", "member-join lb1 lb c", "member-leave lb1 lb a"]


@pytest.mark.parametrize("template", [False, True])
def test_a_watch_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: bool) -> None:
    """A state that could not be written for a while loses no change of the members."""
    out = tmp_path / "out"
    (tmp_path / "t.j2").write_text("{% for one in members %}{{ one.identity }}\n{% endfor %}")
    how = {"template": {"src": str(tmp_path / "t.j2"), "dest": str(out)}} if template else {"exec": f"cut -f1 >> {out}"}
    registry = MemoryRegistry()
    tries: list[object] = []

    def full(*events: object) -> None:
        tries.append(events)
        raise ConfigError("disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(StateFile, "delivered", full)
        put(registry, "a")
        watch = make(tmp_path, registry, every=0.05, **how)
        watch.start()
        wait_until(lambda: bool(tries), 30)
    put(registry, "b")
    wait_until(lambda: out.exists() and out.read_text() == "a\nb\n", 30)
    watch.stop()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", "watches: must be a mapping of names to watches"),
        ("{a b: {exec: x}}", "watches.a b: invalid name: use 1 to 64 characters"),
        ("{a: 1}", "watches.a: must be a mapping, not 1"),
        ("{a: {}}", "watches.a: must have exactly one of exec, exec_json, template"),
        ("{a: {template: x}}", "watches.a.template: must be a mapping, not 'x'"),
        ("{a: {template: {src: x}}}", "watches.a.template: required key 'dest' is missing"),
        (
            "{a: {template: {src: x, dest: y, chek: z}}}",
            "watches.a.template: unknown key 'chek' (did you mean 'check'?",
        ),
        ("{a: {template: {src: x, dest: y, mode: 0999}}}", "watches.a.template.mode: invalid mode '0999': use three"),
        ("{a: {template: {src: x, dest: y, mode: 4755}}}", "watches.a.template.mode: invalid mode 4755: use three"),
        ("{a: {template: {src: x, dest: y, owner: 'a:b:c'}}}", "watches.a.template.owner: invalid owner 'a:b:c'"),
        ("{a: {template: {src: x, dest: y, check: nginx -t}}}", "watches.a.template.check: has no {candidate}, the"),
        ("{a: {template: {src: x, dest: y, min_interval: 0}}}", "watches.a.template.min_interval: invalid duration"),
        ("{a: {template: {src: x, dest: y}, on: [join]}}", "watches.a.on: has no effect with template (remove it)"),
        ("{a: {template: {src: x, dest: y}, batch: true}}", "watches.a.batch: has no effect with template"),
        ("{a: {template: {src: x, dest: ./z/../x}}}", "watches.a.template.dest: "),
        (
            "{a: {template: {src: x, dest: /y}}, b: {template: {src: z, dest: /y}}}",
            "watches.b.template.dest: /y is also that of the watch 'a'",
        ),
        ("{a: {exec: x, exec_json: y}}", "watches.a: must have exactly one of exec, exec_json, template"),
        ("{a: {exec: ' '}}", "watches.a.exec: must be a string that is not empty, not ' '"),
        ("{a: {exec: x, filtre: y}}", "watches.a: unknown key 'filtre' (did you mean 'filter'?)"),
        ("{a: {exec: x, filter: 'role='}}", "watches.a.filter: "),
        ("{a: {exec: x, filter: \"fstat('/x').size>0\"}}", "watches.a.filter: the data function 'fstat' cannot be"),
        ("{a: {exec: x, on: [joined]}}", "watches.a.on: unknown kind of event 'joined' (use join, leave"),
        ("{a: {exec: x, on: join}}", "watches.a.on: must be a list of strings, not 'join'"),
        ("{a: {exec: x, batch: 1}}", "watches.a.batch: must be true or false, not 1"),
        ("{a: {exec: x, every: 0}}", "watches.a.every: invalid duration '0': must be more than 0 s"),
        ("{a: {exec: x, timeout: true}}", "watches.a.timeout: invalid duration 'True'"),
    ],
)
def test_an_invalid_watch_is_refused(tmp_path: Path, text: str, error: str) -> None:
    """The error names file and key."""
    path = tmp_path / "node.yaml"
    path.write_text(f"collective: test\nidentity: a\nwatches: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load_node(path)
    assert str(caught.value).startswith(f"{path}: {error}")


def test_a_user_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A daemon does not start with a watch that it cannot run, and leaves no state file open."""
    with pytest.raises(ConfigError, match=r"^watches.w.user: user 'no-such-user' does not exist on this node"):
        make(tmp_path, MemoryRegistry(), exec="true", user="no-such-user")
    make(tmp_path, MemoryRegistry(), exec="true").stop()


@as_root
def test_a_command_runs_as_its_user(folder: ReadableFolder) -> None:
    """The command has the user's number and environment."""
    out = folder.shared("out")
    registry = MemoryRegistry()
    put(registry, "a")
    watch = make(folder.path, registry, exec=f"echo $(id -un) $USER >> {out}", user="daemon")
    watch.start()
    wait_until(lambda: out.read_text() == "daemon daemon\n", 30)
    watch.stop()


def test_a_watch_keeps_a_file_current(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file follows the members; an error in the template is logged and changes nothing until it is corrected."""
    caplog.set_level("INFO")
    source, out = tmp_path / "t.j2", tmp_path / "out"
    good = "{{ own.facts.role }}: {{ members | map(attribute='identity') | join(' ') }}"
    source.write_text(good)
    registry = MemoryRegistry()
    put(registry, "a")
    put(registry, "b", "db")
    template = {"src": str(source), "dest": str(out), "reload": f"cat {out} >> {tmp_path}/loaded"}
    words = {"template": template, "filter": "role=web", "every": 0.05}

    def text() -> str:
        return out.read_text() if out.exists() else ""

    watch = make(tmp_path, registry, **words)
    watch.start()
    wait_until(lambda: text() == "lb: a", 30)
    source.write_text("{{ nothing }}")
    wait_until(lambda: "template.failed" in caplog.messages, 30)
    put(registry, "c")
    wait_until(lambda: caplog.messages.count("template.failed") == 2, 30)
    assert text() == "lb: a"
    source.write_text(good)
    wait_until(lambda: text() == "lb: a c", 30)
    watch.stop()
    registry.leave("a", "1")
    watch = make(tmp_path, registry, **words)
    watch.start()
    wait_until(lambda: text() == "lb: c", 30)
    watch.stop()
    assert (tmp_path / "loaded").read_text() == "lb: alb: a clb: c"
    errors = [getattr(record, "error", "") for record in caplog.records if record.message == "template.failed"]
    assert errors[0] == f"{source}:1: 'nothing' is undefined"


def test_a_template_that_others_can_change_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The start refuses such a template, and so does each later look at it: the file is written as root."""
    source, out = tmp_path / "t.j2", tmp_path / "out"
    source.write_text("one")
    registry = MemoryRegistry()
    watch = make(tmp_path, registry, template={"src": str(source), "dest": str(out)}, every=0.05)
    watch.start()
    wait_until(out.exists, 20)
    source.chmod(0o666)
    source.write_text("{{ members | length }}")
    wait_until(lambda: "template.failed" in caplog.messages, 20)
    put(registry, "a")
    assert out.read_text() == "one"
    source.chmod(0o644)
    wait_until(lambda: out.read_text() == "1", 20)
    watch.stop()
    errors = [getattr(record, "error", "") for record in caplog.records if record.message == "template.failed"]
    assert errors == [f"template not used: {source}: writable by all users (use 'chmod o-w {source}')"]


def updated(folder: ReadableFolder, registry: MemoryRegistry, **template: object) -> NodeWatch:
    """Start a watch whose commands run as `daemon`."""
    paths = {"src": str(folder.path / "src.j2"), "dest": str(folder.path / "out.cfg")}
    watch = make(folder.path, registry, template={**paths, **template}, user="daemon", every=0.05)
    watch.start()
    return watch


@as_root
def test_the_commands_of_a_template_run_as_its_user(folder: ReadableFolder) -> None:
    """Root writes the file, with mode and owner; check and reload have the rights of the user and its groups only."""
    seen, out = folder.shared("seen"), folder.path / "out.cfg"
    registry = MemoryRegistry()
    put(registry, "a")
    line = f"id -un >> {seen}; id -G >> {seen}; test -w {out.parent} && echo writable >> {seen};"
    watch = updated(
        folder,
        registry,
        check=f"{line} cat {{candidate}} >> {seen}",
        reload=line + " true",
        mode="0640",
        owner=":daemon",
    )
    entry = pwd.getpwnam("daemon")
    groups = " ".join(map(str, os.getgrouplist("daemon", entry.pw_gid)))
    wait_until(lambda: seen.read_text() == f"daemon\n{groups}\na\ndaemon\n{groups}\n", 30)
    wait_until(lambda: not (folder.path / ".out.before.cfg").is_symlink(), 30)
    watch.stop()
    found = out.stat()
    assert (out.read_text(), found.st_mode & 0o777, found.st_uid, found.st_gid) == ("a\n", 0o640, 0, entry.pw_gid)


@as_root
def test_a_file_that_the_user_of_the_check_cannot_read_is_not_replaced(
    folder: ReadableFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """The check does not get the rights of root to read a file that is not for its user."""
    registry = MemoryRegistry()
    put(registry, "a")
    watch = updated(folder, registry, check="cat {candidate}", mode="0600")
    wait_until(lambda: "template.failed" in caplog.text, 30)
    watch.stop()
    errors = [getattr(one, "error", "") for one in caplog.records]
    assert any("out.cfg: not changed: check" in one and "Permission denied" in one for one in errors)
    assert not (folder.path / "out.cfg").exists()
    assert not (folder.path / ".out.candidate.cfg").exists()


@as_root
def test_a_folder_of_the_user_is_refused(folder: ReadableFolder, caplog: pytest.LogCaptureFixture) -> None:
    """Root does not write into a folder where the user could put a link in the place of the file."""
    theirs = folder.path / "theirs"
    theirs.mkdir()
    os.chown(theirs, pwd.getpwnam("daemon").pw_uid, -1)
    registry = MemoryRegistry()
    put(registry, "a")
    watch = updated(folder, registry, dest=str(theirs / "out.cfg"))
    wait_until(lambda: "template.failed" in caplog.text, 30)
    watch.stop()
    assert any("other users can change its folder" in getattr(one, "error", "") for one in caplog.records)
    assert list(theirs.iterdir()) == []
