"""Files and items of a cluster that are not what collective has written, and two processes with one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collective.cluster.place_file import KeptPlace, PlaceFile
from collective.cluster.state import decode
from collective.errors import ClusterRefused, ConfigError


def test_two_processes_of_one_machine_do_not_join(tmp_path: Path) -> None:
    """The file of the place is locked."""
    file = PlaceFile(tmp_path / "clusters", "c")
    with file.locked(), pytest.raises(ClusterRefused, match="another process on this node has joined it"):
        PlaceFile(tmp_path / "clusters", "c").locked().__enter__()
    with file.locked():
        file.write(KeptPlace("0" * 32, started=True))
    assert file.read() == KeptPlace("0" * 32, started=True)
    assert (tmp_path / "clusters" / "c.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"token": 1}', "{"])
def test_a_broken_file_of_a_place_is_refused(tmp_path: Path, text: str) -> None:
    """A file that was not written by the command is an error, because the machine may have data."""
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read: not what this command has written"):
        PlaceFile(tmp_path, "c").read()


GOOD = {
    "format": 1,
    "id": "0" * 32,
    "size": 1,
    "creator": "web1",
    "places": [
        {
            "number": 0,
            "machine": {"identity": "web1", "address": "10.0.0.1"},
            "token": "0" * 32,
            "process": "0" * 32,
            "started": True,
            "ended": False,
            "vacant": False,
            "replaces": [],
        }
    ],
    "beginning": None,
}


PLACE = GOOD["places"][0]  # type: ignore[index]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"size": 0},
        {"size": 100},
        {"size": 1e308},
        {"size": float("inf")},
        {"id": "x"},
        {"creator": "a b"},
        {"places": None},
        {"places": [PLACE, PLACE]},
        {"places": [{**PLACE, "number": 1}]},
        {"places": [{**PLACE, "machine": {"identity": "web1", "address": "10.0.0.1;reboot"}}]},
        {"places": [{**PLACE, "machine": {"identity": "$(reboot)", "address": "10.0.0.1"}}]},
        {"places": [{**PLACE, "machine": {"identity": "web1", "address": "-oProxyCommand=x"}}]},
        {"places": [{**PLACE, "replaces": [{"identity": "--force", "address": "x"}]}]},
        {"places": [{**PLACE, "replaces": [{"identity": "a\nb", "address": "x"}]}]},
        {"beginning": []},
    ],
    ids=json.dumps,
)
def test_a_hostile_item_is_an_error(change: dict[str, object]) -> None:
    """What is not a name, an address or a number of bounds never becomes a word of a command."""
    assert decode(json.dumps(GOOD), "here").places[0].identity == "web1"
    with pytest.raises(ConfigError, match="here: the item in the registry is not valid: "):
        decode(json.dumps({**GOOD, **change}), "here")
