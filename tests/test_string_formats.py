"""The formats of JSON Schema strings are enforced, on callers and nodes."""

from __future__ import annotations

import pytest

from collective.ddl import parse
from collective.errors import InvalidInput
from collective.string_formats import FORMATS

VALUES = {
    "date": (["2026-11-27", "2024-02-29"], ["2023-02-29", "20261127", "2026-W48-5", "26-11-27", "2026-11-27 "]),
    "date-time": (
        ["2026-11-27T08:30:06Z", "2026-11-27t08:30:06.25+01:00", "1998-12-31T23:59:60Z"],
        ["2026-11-27 08:30:06Z", "2026-11-27T08:30:06", "2026-11-27T24:00:00Z", "1998-12-31T22:59:60Z", "now"],
    ),
    "duration": (["P1DT12H", "P4W", "PT36H", "P1Y2M3D"], ["P", "PT", "1D", "P1Y2W", "P1D\n"]),
    "email": (
        ["joe.bloggs@example.com", '"joe bloggs"@example.com', "a@[127.0.0.1]", "a@[IPv6:::1]"],
        ["@", "a@", "@b", "a b@example.com", "a@b; rm -rf /", ".a@example.com", "a@-b.example", "a@[127.0.0.256]"],
    ),
    "hostname": (
        ["web1", "web1.my.net", "xn--4gbwdl.xn--wgbh1c", "1host"],
        ["", "-a", "a-", "a_b", "a..b", "web1\n", "a b", "a" * 64, ".a", "ab--c", "m\u00fcller.de"],
    ),
    "ipv4": (
        ["10.0.0.1", "255.255.255.255"],
        ["banana", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/8", "1.2.3.\u0664"],
    ),
    "ipv6": (["::1", "fe80::1", "::ffff:10.0.0.1"], ["1::2::3", "fe80::1%eth0", "12345::", ":", "::1\n", "10.0.0.1"]),
    "json-pointer": (["", "/a/0", "/a~1b"], ["a", "/a~b", "#/a"]),
    "regex": (["^a+$", "(?i)x", "a" * 1000], ["(", "a{2,1}", "^(abc"]),
    "time": (["08:30:06Z", "23:59:60Z", "08:30:06.283185-08:00"], ["08:30:06", "8:30:06Z", "08:30:60Z", "24:00:00Z"]),
    "uri": (
        ["http://example.com/?q=1#x", "urn:oasis:names", "mailto:a@b.de", "http://[::1]:80/", "s3://bucket/key%20x"],
        ["banana", "//example.com", "/etc/hosts", "http:// x", "http://[::1", "http://a/%zz", "a\\b:c", "http://a:x/"],
    ),
    "uri-reference": (["/a/b?c#d", "a/b", "", "http://example.com"], ["a b", "\\\\share", "#a#b", "1:2"]),
    "uuid": (
        ["2EB8AA08-AA98-11EA-B4AA-73B441D16380", "00000000-0000-0000-0000-000000000000"],
        [
            "2eb8aa08aa9811eab4aa73b441d16380",
            "2eb8aa08-aa98-11ea-b4aa-73b441d1638",
            "{2eb8aa08-aa98-11ea-b4aa-73b441d16380}",
        ],
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_enforced(name: str) -> None:
    """An input with a format accepts its values and refuses others; values of other types are left to `type`."""
    body = {"type": "object", "properties": {"a": {"format": name}}}
    metadata = {"name": "agent", "description": "For the test", "version": "1"}
    actions = {"action": {"description": "For the test", "input": body, "output": {"type": "object"}}}
    action = parse({"metadata": metadata, "actions": actions}).action("action")
    valid, invalid = VALUES[name]
    for value in (*valid, 5, None):
        assert action.check_input({"a": value}) == {"a": value}
    for value in invalid:
        with pytest.raises(InvalidInput, match=f"input 'a': .* is not a '{name}'"):
            action.check_input({"a": value})


def test_a_long_regular_expression_is_refused() -> None:
    """Its compiler could not be interrupted."""
    assert not FORMATS["regex"]("a" * 1001)
