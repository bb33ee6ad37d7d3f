"""Files that are rendered from members: what templates get, and what happens to the file."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from collective.errors import ConfigError
from collective.membership import Member, Membership
from collective.membership.serf_convention import Self
from collective.template_settings import read_template
from collective.templates import rendering
from collective.templates.commands import Commands, Stopped
from collective.templates.rendered_file import RenderedFile, Update
from collective.templates.updates import RETRY, Updates
from collective.templates.values import harmless

OWN = Self("lb1", {"role": "lb"})
LINES = "{% for node in members %}\n{{ node.identity }} {{ node.address }}\n{% endfor %}\n"


def membership(*members: Member, at: float = 1.0) -> Membership:
    return Membership("test", at, {one.identity: one for one in members})


def web(name: str, address: str = "10.0.0.1", state: str = "alive", **facts: Any) -> Member:
    return Member(name, state, (address,), {"role": "web", **facts}, ("base",), {"package": "1"})


def file(folder: Path, source: str = LINES, timeout: float = 20.0, **settings: Any) -> RenderedFile:
    """Return a file with a template; its settings are those of the YAML file."""
    (folder / "t.j2").write_text(source)
    read = read_template({"src": "t.j2", "dest": "out.cfg", **settings}, "template", folder)
    return RenderedFile(read, Commands(timeout, {}))


def rendered(folder: Path, source: str, *members: Member) -> str:
    return file(folder, source).preview(membership(*members), OWN, check=False).text


def others(folder: Path) -> set[str]:
    """Return what is in the folder besides the template and the file."""
    return {one.name for one in folder.iterdir()} - {"t.j2", "out.cfg"}


def test_a_template_gets_the_members(tmp_path: Path) -> None:
    """Live members with all they have, the others with their state, the collective, and the machine that renders."""
    source = (
        "{{ collective }} {{ own.identity }} {{ own.facts.role }}\n"
        "{% for node in members %}\n"
        "{{ node.identity }} {{ node.address }} {{ node.role }} {{ node.facts.port }} {{ node.classes | join(',') }}"
        " {{ node.agents.package }} {{ node.contested }}\n"
        "{% endfor %}\n"
        "{% for node in all_members if node.state != 'alive' %}\n"
        "# {{ node.identity }} {{ node.state }}\n"
        "{% endfor %}\n"
    )
    found = rendered(tmp_path, source, web("b", port=81), web("a", port=80), web("c", state="failed"))
    assert found == "test lb1 lb\na 10.0.0.1 web 80 base 1 false\nb 10.0.0.1 web 81 base 1 false\n# c failed\n"


def test_facts_cannot_add_lines(tmp_path: Path) -> None:
    """A line end in a fact, a class or an address is visible text; filters quote for shells and other formats."""
    evil = Member(
        "a", "alive", ("fe80::1%x\n y", "10.0.0.1"), {"role": "web\nserver evil", "x": "'; rm -rf /; '"}, ("c\rd",)
    )
    source = "{{ members[0].role }}|{{ members[0].address }}|{{ members[0].classes[0] }}\n"
    assert rendered(tmp_path, source, evil) == "web\\nserver evil|10.0.0.1|c\\rd\n"
    filters = "{{ members[0].facts.x | shell }} {{ members[0].facts.x | word }} {{ members[0].facts.x | json }}"
    quoted = """''"'"'; rm -rf /; '"'"''"""
    assert rendered(tmp_path, filters, evil) == f"{quoted} ___rm_-rf_____ \"'; rm -rf /; '\""
    assert harmless({"a\n": ["\x1b", {"b": 1.5, "c": None}]}) == {"a\\n": ["\\x1b", {"b": 1.5, "c": None}]}


def test_members_without_a_usable_value_are_skipped(tmp_path: Path) -> None:
    """The tests `port` and `word` are false for missing and for hostile values, so that no node stops the others."""
    members = [
        web("a", port=80),
        web("b"),
        web("c", port="80; evil"),
        web("d", port=0),
        web("e", port="99999"),
        web("f", port=True),
    ]
    source = "{% for n in members if n.facts.port is port %}{{ n.identity }}{% endfor %}"
    assert rendered(tmp_path, source, *members) == "a"
    source = "{% for n in members if n.facts.port is word %}{{ n.identity }}{% endfor %}"
    assert rendered(tmp_path, source, *members) == "abdef".replace("b", "")


def test_functions_of_confd(tmp_path: Path) -> None:
    """Members are keys and values for getv, gets, getvs and exists."""
    members = [web("b", "10.0.0.2", ports={"http": 81}), web("a", ports={"http": 80, "tls": True})]
    source = (
        "{{ getvs('/roles/web/*') | join(',') }} {{ getv('/members/a/facts/ports/http') }} {{ getv('/x', 'none') }} "
        "{% for one in gets('/members/*/facts/ports/[gh]ttp') %}{{ base(one.key) }}={{ one.value }} {% endfor %}"
        "{{ exists('/members/a/facts/ports/tls') }} {{ exists('/members/a') }}"
    )
    assert rendered(tmp_path, source, *members) == "10.0.0.1,10.0.0.2 80 none http=80 http=81 true false"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("ok\n{{ members[0].facts.prt }}", ":2: 'dict object' has no attribute 'prt'"),
        ("{{ nodes }}", ":1: 'nodes' is undefined"),
        ("a\n\n{% for a in %}", ":3: Expected an expression, got 'end of statement block'"),
        ("\n{{ 'a' | nofilter }}", ":2: No filter named 'nofilter'."),
        ("\n{{ 1 / 0 }}", ":2: ZeroDivisionError: division by zero"),
        ("{% if 1 %}\n{{ fail('no members') }}{% endif %}", ":2: no members"),
        ("{{ getv('/x') }}", ":1: key '/x' does not exist"),
        ("\n{{ members[0].facts }}", ":2: an expression has a value of the type 'dict', which cannot be written"),
        ("{{ ''.__class__.__mro__ }}", ":1: access to attribute '__class__' of 'str' object is unsafe."),
        ("{% include '/etc/passwd' %}", ":1: TypeError: no loader for this environment specified"),
        ("{{ members.append(1) }}", ":1: access to attribute 'append' of 'list' object is unsafe."),
        ("{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", ": writes more than 16777216 characters"),
        ("{{ '\\ud800' }}", ": the result has the character '\\ud800', which is not valid"),
        ("{{ 'x' * 10 ** 10 }}", ":1: '*' makes a value of more than 1048576 characters, items or bits"),
        ("{{ 'x' | center(10 ** 10) }}", ": needs more than 1024 MiB of memory"),
    ],
)
def test_an_error_names_file_and_line_and_changes_nothing(tmp_path: Path, source: str, error: str) -> None:
    """The file, its mode and its folder stay as they are."""
    (tmp_path / "out.cfg").write_text("before")
    before = (tmp_path / "out.cfg").stat()
    with pytest.raises(ConfigError) as caught:
        file(tmp_path, source, check="true {candidate}", reload="true").update(membership(web("a")), OWN)
    assert str(caught.value).startswith(f"{tmp_path}/t.j2{error}")
    assert (tmp_path / "out.cfg").read_text() == "before"
    after = (tmp_path / "out.cfg").stat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert others(tmp_path) == set()


def test_a_template_is_rendered_without_rights_and_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the environment and modules of the current folder are out of reach of the rendering process."""
    (tmp_path / "jinja2.py").write_text(f"open({str(tmp_path / 'evil')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    assert rendered(tmp_path, "{{ members | length }}", web("a")) == "1"
    assert not (tmp_path / "evil").exists()
    started: list[dict[str, str]] = []
    run = subprocess.run

    def noted(*words: Any, **settings: Any) -> Any:
        started.append(settings["env"])
        return run(*words, **settings)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(subprocess, "run", noted)
    rendered(tmp_path, "x")
    assert "AWS_SECRET_ACCESS_KEY" not in started[0]


def test_an_endless_loop_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that takes too long is killed; nothing is changed."""
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    monkeypatch.setattr(rendering, "TIME_LIMIT", 1.0)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"t.j2: rendering takes longer than 1 s \(simplify its loops\)"):
        file(tmp_path, loop).update(membership(), OWN)
    assert time.monotonic() - began < 15
    assert not (tmp_path / "out.cfg").exists()


def test_a_file_is_written_only_when_it_differs(tmp_path: Path) -> None:
    """The first update writes and reloads, the second does nothing, a changed mode is set again."""
    made = file(tmp_path, mode="0640", check="test -s {candidate}", reload=f"echo x >> {tmp_path}/reloads")
    first = made.update(membership(web("a")), OWN)
    assert (first.changed, first.reloaded, first.before, first.members) == (True, True, None, 1)
    out = tmp_path / "out.cfg"
    found = out.stat()
    assert (out.read_text(), found.st_mode & 0o777) == ("a 10.0.0.1\n", 0o640)
    second = made.update(membership(web("a")), OWN)
    assert (second.changed, second.reloaded, out.stat()) == (False, False, found)
    out.chmod(0o600)
    assert made.update(membership(web("a")), OWN).changed
    assert out.stat().st_mode & 0o777 == 0o640
    assert ((tmp_path / "reloads").read_text(), others(tmp_path)) == ("x\nx\n", {"reloads"})


def test_a_failing_check_changes_nothing(tmp_path: Path) -> None:
    """The error has the command, its exit code and its last line; the candidate is removed."""
    (tmp_path / "out.cfg").write_text("before")
    made = file(tmp_path, check="grep -q a {candidate} && echo 'line 1: bad' >&2; exit 3", reload="false")
    with pytest.raises(ConfigError, match=r"out.cfg: not changed: check '.*': exit code 3: line 1: bad$"):
        made.update(membership(web("a")), OWN)
    assert (tmp_path / "out.cfg").read_text() == "before"
    assert others(tmp_path) == set()


def test_a_failing_reload_restores_the_file_and_reloads(tmp_path: Path) -> None:
    """The file before is back with its mode, and the service has loaded it."""
    out = tmp_path / "out.cfg"
    out.write_text("before")
    out.chmod(0o600)
    made = file(tmp_path, reload=f"cat {out} >> {tmp_path}/loaded; grep -q before {out}")
    with pytest.raises(ConfigError, match=r"exit code 1: the file before was restored and reloaded$"):
        made.update(membership(web("a")), OWN)
    assert (out.read_text(), out.stat().st_mode & 0o777) == ("before", 0o600)
    assert ((tmp_path / "loaded").read_text(), others(tmp_path)) == ("a 10.0.0.1\nbefore", {"loaded"})


def test_a_failing_reload_of_the_first_file_removes_it(tmp_path: Path) -> None:
    """There is nothing to restore; a second failure is reported too."""
    with pytest.raises(ConfigError, match=r"exit code 1: the file was removed, because there was none before$"):
        file(tmp_path, reload="false").update(membership(web("a")), OWN)
    assert not (tmp_path / "out.cfg").exists()
    (tmp_path / "out.cfg").write_text("before")
    with pytest.raises(ConfigError, match=r"the file before was restored, but with it: exit code 1$"):
        file(tmp_path, reload="false").update(membership(web("a")), OWN)
    assert others(tmp_path) == set()


def test_a_reload_that_was_interrupted_is_repeated(tmp_path: Path) -> None:
    """A process killed during the reload leaves the file before, so that the next one reloads, or restores it."""
    out = tmp_path / "out.cfg"
    out.write_text("before")
    commands = Commands(60.0, {})
    made = RenderedFile(file(tmp_path, reload=f"touch {tmp_path}/started; sleep 60").settings, commands)
    stopped: list[BaseException] = []

    def update() -> None:
        try:
            made.update(membership(web("a")), OWN)
        except Stopped as error:
            stopped.append(error)

    thread = threading.Thread(target=update)
    thread.start()
    wait_until((tmp_path / "started").exists, 30)
    commands.stop()
    thread.join(30)
    assert (len(stopped), out.read_text()) == (1, "a 10.0.0.1\n")
    with pytest.raises(ConfigError, match=r"the file before was restored"):
        file(tmp_path, reload="false").update(membership(web("a")), OWN)
    assert out.read_text() == "before"
    out.with_name(".out.before.cfg").write_text("before")  # as after a kill
    out.write_text("a 10.0.0.1\n")
    found = file(tmp_path, reload="true").update(membership(web("a")), OWN)
    assert (found.changed, found.reloaded, others(tmp_path)) == (False, True, {"started"})


def test_a_command_that_hangs_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    """The process group of the check is killed after the timeout."""
    made = file(tmp_path, timeout=2.0, check=f"sleep 300 & echo $! > {tmp_path}/pid; wait; true {{candidate}}")
    with pytest.raises(ConfigError, match=r"killed after 2 s"):
        made.update(membership(web("a")), OWN)
    pid = int((tmp_path / "pid").read_text())

    def ended() -> bool:
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_until(ended, 30)


def test_a_command_can_be_ended_by_any_signal() -> None:
    """Real-time signals have no names; a command of another user may end itself with one."""
    assert Commands(60.0, {}).run("kill -35 $$") == "ended by SIGRTMIN+1"


def test_a_symbolic_link_stays(tmp_path: Path) -> None:
    """What a link leads to is replaced, a dangling one is filled; a loop and a folder are errors."""
    (tmp_path / "data").mkdir()
    out, real = tmp_path / "out.cfg", tmp_path / "data" / "real.cfg"
    out.symlink_to("data/real.cfg")
    file(tmp_path).update(membership(web("a")), OWN)
    file(tmp_path).update(membership(web("b")), OWN)
    assert (out.is_symlink(), real.read_text()) == (True, "b 10.0.0.1\n")
    out.unlink()
    out.symlink_to("out.cfg")
    with pytest.raises(ConfigError, match=r"out.cfg: a symbolic link that leads to itself \(remove it\)"):
        file(tmp_path).update(membership(), OWN)
    out.unlink()
    out.mkdir()
    with pytest.raises(ConfigError, match=r"out.cfg: a folder \(dest must name a file\)"):
        file(tmp_path).update(membership(), OWN)
    with pytest.raises(ConfigError, match=r"x: the folder .*/missing does not exist \(create it\)"):
        file(tmp_path, dest="missing/x").update(membership(), OWN)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match=r"fifo: not a regular file"):
        file(tmp_path, dest="fifo").update(membership(), OWN)


def test_a_folder_that_others_can_change_is_refused(tmp_path: Path) -> None:
    """Another user could put a link there, or the file that a failed reload restores."""
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match=r"out.cfg: other users can change its folder: .* writable by all users"):
        file(tmp_path).update(membership(), OWN)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_is_set(tmp_path: Path) -> None:
    """By name or number, with or without a group; without the setting the owner stays; unknown names are errors."""
    out = tmp_path / "out.cfg"
    file(tmp_path, owner="daemon:bin").update(membership(web("a")), OWN)
    before = out.stat()
    file(tmp_path).update(membership(web("b")), OWN)
    assert (before.st_uid, before.st_gid) == (out.stat().st_uid, out.stat().st_gid) == (1, 2)
    file(tmp_path, owner=":0").update(membership(web("b")), OWN)
    assert (out.stat().st_uid, out.stat().st_gid) == (1, 0)
    with pytest.raises(ConfigError, match=r"owner: user 'no-such-user' does not exist on this machine"):
        file(tmp_path, owner="no-such-user").update(membership(), OWN)


def test_a_preview_changes_nothing(tmp_path: Path) -> None:
    """With `check` the candidate is checked and removed; without, no command runs."""
    out = tmp_path / "out.cfg"
    out.write_text("before")
    made = file(tmp_path, check=f"cat {{candidate}} >> {tmp_path}/checked", reload="false")
    for check in (True, False):
        found = made.preview(membership(web("a")), OWN, check=check)
        assert found == Update("a 10.0.0.1\n", "before", changed=True, reloaded=True, members=1)
    assert ((tmp_path / "checked").read_text(), out.read_text()) == ("a 10.0.0.1\n", "before")
    assert others(tmp_path) == {"checked"}


def test_facts_are_no_part_of_a_command(tmp_path: Path) -> None:
    """Hostile facts reach the file only; the path of the candidate is quoted."""
    folder = tmp_path / "a b;touch x"
    folder.mkdir()
    hostile = web("a", x=f"$(touch {tmp_path}/evil)`touch {tmp_path}/evil`")
    made = file(folder, "{{ members[0].facts.x }}", check="cat {candidate} > /dev/null")
    made.update(membership(hostile), OWN)
    assert not (tmp_path / "evil").exists()
    assert (folder / "out.cfg").read_text().startswith("$(touch ")


class UpdateSteps:
    """Updates with a clock that tests set."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now = 100.0
        self.updates = Updates(file(folder, **settings), lambda: self.now)

    def __call__(self, *members: Member, changed: bool = False, after: float = 5.0, at: float = 1.0) -> bool | None:
        """Return whether the file was changed; None if nothing was rendered."""
        self.now += after
        found = self.updates.step(membership(*members, at=at), OWN, changed=changed)
        return None if found is None else found.changed


def test_when_a_file_is_rendered(tmp_path: Path) -> None:
    """At the start, for events, and when the template or the file has changed; not before the registry was read."""
    step = UpdateSteps(tmp_path)
    assert step(web("a"), at=0.0) is None
    assert step(web("a")) is True
    assert step(web("a")) is None
    assert step(web("a"), web("b"), changed=True) is True
    assert step(web("a"), web("b"), changed=True) is False
    (tmp_path / "t.j2").write_text("x")
    assert step(web("a")) is True
    (tmp_path / "out.cfg").write_text("edited by hand")
    assert step(web("a")) is True
    (tmp_path / "out.cfg").unlink()
    assert step(web("a")) is True


def test_changes_wait_for_the_shortest_interval(tmp_path: Path) -> None:
    """Changes within the interval are written together at its end."""
    step = UpdateSteps(tmp_path, min_interval="20s")
    assert step(web("a")) is True
    assert step(web("b"), changed=True) is None
    assert step(web("c")) is None
    assert step(web("c"), after=10.0) is True
    assert (tmp_path / "out.cfg").read_text() == "c 10.0.0.1\n"


def test_an_error_is_retried_later(tmp_path: Path) -> None:
    """After an error nothing is tried again until something has changed, or RETRY seconds have passed."""
    step = UpdateSteps(tmp_path, source="{{ members[0].identity }}")
    with pytest.raises(ConfigError):
        step()
    assert step(web("a")) is None
    assert step(web("a"), after=RETRY) is True
    with pytest.raises(ConfigError):
        step(changed=True)
    (tmp_path / "t.j2").write_text("{{ members | length }}")
    assert step() is True
