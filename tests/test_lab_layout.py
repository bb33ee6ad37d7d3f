"""The files and variables of a lab, without its processes."""

from __future__ import annotations

from pathlib import Path
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

import pytest

from collective.lab.layout import Layout


@pytest.mark.parametrize(
    ("lower", "upper", "hosts"),
    [
        ("", "", "127.0.0.1"),
        ("intranet.example.com", "", "intranet.example.com,127.0.0.1"),
        ("a.example.com", "b.example.com, 127.0.0.1", "a.example.com,b.example.com,127.0.0.1"),
        ("*", "", "*"),
        ("", " * ", "*"),
        (".example.com", "10.0.0.0/8", ".example.com,10.0.0.0/8,127.0.0.1"),
    ],
)
def test_the_server_is_added_to_the_hosts_without_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lower: str, upper: str, hosts: str
) -> None:
    """Both names of the variable keep what they had; `*` stays alone, or it would mean nothing any more."""
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    (tmp_path / "endpoint").write_text("http://127.0.0.1:5000")
    found = Layout(tmp_path).environment()
    assert (found["no_proxy"], found["NO_PROXY"]) == (hosts, hosts)
    monkeypatch.setenv("no_proxy", found["no_proxy"])
    assert proxy_bypass_environment("127.0.0.1")
