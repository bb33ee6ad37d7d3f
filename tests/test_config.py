"""node.yaml and client.yaml: valid keys, defaults and error messages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.invalid_configs import INVALID_NODE_CONFIGS

from collective import config
from collective.config import load_client, load_node
from collective.errors import ConfigError, UsageError
from collective.exit_codes import CONFIGURATION
from collective.yaml_file import read_yaml


def write(folder: Path, text: str, name: str = "node.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_collective_and_an_identity_are_enough(tmp_path: Path) -> None:
    """Every other key of a node has a default."""
    read = load_node(write(tmp_path, "{collective: production, identity: web1}"))
    assert (read.collective, read.identity, read.registry, read.heartbeat) == ("production", "web1", "dynamodb", 300.0)
    assert read.accept_unsigned is False


def test_a_collective_is_enough_for_a_caller(tmp_path: Path) -> None:
    """Every other key of a caller has a default."""
    read = load_client(write(tmp_path, "collective: production"))
    assert (read.collective, read.direct_limit, read.ttl) == ("production", None, 60.0)
    assert read.caller.count("@") == 1


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Relative paths do not depend on the working directory; a list can be given as one path."""
    read = load_node(
        write(tmp_path, "{collective: p, identity: a, policy: rules.yaml, facts: [a.yaml, /b], agents: c}")
    )
    assert read.policy == tmp_path / "rules.yaml"
    assert read.facts == [tmp_path / "a.yaml", Path("/b")]
    assert read.agents == [tmp_path / "c"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ttl: 3601", "ttl: must be between 0 and 3600, not 3601"),
        ("transit: 3601", "transit: must be between 0 and 3600, not 3601"),
        pytest.param(f"ttl: {'9' * 400}", "ttl: must be between 0 and 3600, not 999", id="400 digits"),
        pytest.param(f"ttl: -{'9' * 400}", "ttl: must be greater than 0, not -999", id="-400 digits"),
        ("caller: ''", "caller: invalid caller '': use 1 to 255 characters except whitespace"),
        ("caller: alice smith", "caller: invalid caller 'alice smith': use 1 to 255 characters"),
        (f"caller: {'a' * 256}", "use 1 to 255 characters"),
        (f"sender: {'a' * 256}", "invalid sender 'a"),
        ('sender: "a\\nb"', "sender: invalid sender 'a\\nb'"),
        ("collectives: [B]", "collectives: invalid collective name 'B'"),
    ],
)
def test_values_that_no_request_can_have_are_refused(tmp_path: Path, line: str, message: str) -> None:
    """Values that no request can have are refused with file and key when the file is read, not by each call."""
    with pytest.raises(ConfigError) as caught:
        load_client(write(tmp_path, f"collective: p\n{line}\n"))
    assert str(caught.value).startswith(f"{tmp_path}/node.yaml: ")
    assert message in str(caught.value)


def test_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` in a path is expanded."""
    monkeypatch.setenv("HOME", "/home/alice")
    assert load_node(write(tmp_path, "{collective: p, identity: a, audit: ~/a}")).audit == Path("/home/alice/a")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the ID of another user")
@pytest.mark.parametrize("command", ["ping", "keys"])
def test_a_user_without_a_home_folder_gets_an_error(command: str) -> None:
    """A container may run as a user ID that /etc/passwd does not have, and without HOME."""
    code = (
        "import os, sys; os.setreuid(54321, 0); from collective.clients.crpc import main; sys.exit(main(sys.argv[1:]))"
    )
    env = {name: value for name, value in os.environ.items() if name != "HOME" and not name.startswith("XDG_")}
    done = subprocess.run([sys.executable, "-c", code, command], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == "crpc: user ID 54321 has no home folder (set HOME)\n"
    assert done.returncode == CONFIGURATION


@pytest.mark.parametrize("text", INVALID_NODE_CONFIGS)
def test_an_error_is_one_line_with_file_and_key(tmp_path: Path, text: str) -> None:
    """An error in a configuration is one line that begins with the file."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_node(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert INVALID_NODE_CONFIGS[text] in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file given explicitly must exist."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_node(tmp_path / "nowhere.yaml")


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are reported as such."""
    path = tmp_path / "node.yaml"
    path.write_bytes(b"collective: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_node(path)


def test_other_collectives_need_valid_names(tmp_path: Path) -> None:
    """The names in `collectives` are checked like `collective`."""
    with pytest.raises(ConfigError, match="invalid collective name 'Staging'"):
        load_client(write(tmp_path, "{collective: p, collectives: [Staging]}"))


def test_a_missing_default_names_the_collectives(tmp_path: Path) -> None:
    """A file that lists collectives needs `collective` as well, and the error explains what for."""
    with pytest.raises(ConfigError, match=r"'collective' is missing \(the one to use without -T: prod, staging\)"):
        load_client(write(tmp_path, "collectives: {prod: {region: eu-west-1}, staging: null}"))


def test_only_a_configured_collective_can_be_called(tmp_path: Path) -> None:
    """A misspelt collective is refused and never replaced by the default."""
    read = load_client(write(tmp_path, "{collective: production, collectives: [staging]}"))
    assert read.in_collective().collective == "production"
    assert read.in_collective("staging").collective == "staging"
    for wrong, hint in (
        ("stagin", "did you mean 'staging'"),
        ("Production", "did you mean 'production'"),
        ("", "configured: production, staging"),
    ):
        with pytest.raises(UsageError, match=hint):
            read.in_collective(wrong)


def test_the_environment_variable_names_file_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COLLECTIVE_CONFIG can be the file itself, or the folder with the files of both roles."""
    node = write(tmp_path, "{collective: p, identity: a}")
    write(tmp_path, "{collective: q}", "client.yaml")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(node))
    assert load_node().collective == "p"
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    assert (load_node().collective, load_client().collective) == ("p", "q")


def test_the_users_file_takes_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the user's configuration folder is searched first, then /etc/collective."""
    monkeypatch.delenv("COLLECTIVE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "SYSTEM_FOLDER", tmp_path / "etc")
    with pytest.raises(ConfigError, match=r"client\.yaml not found, searched .*home.*, .*etc"):
        load_client()
    (tmp_path / "etc").mkdir()
    write(tmp_path / "etc", "collective: system", "client.yaml")
    assert load_client().collective == "system"
    (tmp_path / "home" / "collective").mkdir(parents=True)
    write(tmp_path / "home" / "collective", "collective: own", "client.yaml")
    assert load_client().collective == "own"


def test_a_user_without_a_name_is_shown_as_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often run as users that are not in the password file."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    assert config.user_name() == "uid987654"


def test_a_date_stays_a_string(tmp_path: Path) -> None:
    """Dates are not converted, because JSON has none."""
    assert read_yaml(write(tmp_path, "since: 2026-11-21")) == {"since": "2026-11-21"}


def test_an_integer_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """An integer with more digits than Python can write in an error is refused where it is."""
    with pytest.raises(ConfigError) as caught:
        load_client(write(tmp_path, f"collective: p\nttl: !!int 0x{'9' * 5000}\n"))
    assert str(caught.value) == f"{tmp_path}/node.yaml:2:6: integer of more than 14000 bits"


def test_merge_keys_are_not_duplicates(tmp_path: Path) -> None:
    """YAML's `<<` works, and keys beside it take precedence."""
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}"
    assert read_yaml(write(tmp_path, text))["more"] == {"a": 1, "b": 3}


def test_a_path_in_the_home_folder_of_an_unknown_user_is_refused(tmp_path: Path) -> None:
    """The error names the user and asks for an absolute path."""
    path = write(tmp_path, "{collective: p, identity: a, audit: ~unknown-user/a}")
    with pytest.raises(ConfigError, match="no home folder for '~unknown-user/a'"):
        load_node(path)
