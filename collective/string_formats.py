"""The values of the JSON Schema keyword `format` that are enforced, on callers and nodes alike.

Checked with the standard library: jsonschema's own checks need six more packages, and without them it accepts any
string with an `@` as an e-mail address and checks neither `hostname` nor `uri`. Other formats are refused when a
schema is read, because a format that is not checked accepts every value.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping

MAX_REGEX = 1000  # characters

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(\.[0-9]+)?(Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))",
    re.IGNORECASE,
)
_DURATION = re.compile(
    r"P(?:[0-9]+W|(?=[0-9T])(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)?"
    r"(?:T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S))?)"
)
_IPV4 = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf'{_ATEXT}(?:\.{_ATEXT})*|"(?:[ !#-\[\]-~]|\\[ -~])*"')
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_PART = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"
_URI_PATH = re.compile(_PART)
_URI_QUERY = re.compile(_PART.replace("/-]", "/?-]"))
_USER = re.compile(_PART.replace("@/-]", "-]"))
_HOST = re.compile(_PART.replace(":@/-]", "-]"))
_IP_FUTURE = re.compile(r"[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+")


def is_date(value: str) -> bool:
    """Return whether `value` is a date such as 2026-11-27 (RFC 3339 full-date)."""
    if not _DATE.fullmatch(value):
        return False
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_time(value: str) -> bool:
    """Return whether `value` is a time with its offset, such as 08:30:06Z (RFC 3339 full-time)."""
    found = _TIME.fullmatch(value)
    if found is None:
        return False
    if found[3] != "60":
        return True
    # A leap second is the last second of a day in UTC.
    minutes = int(found[1]) * 60 + int(found[2])
    offset = int(found[7] or 0) * 60 + int(found[8] or 0)
    return (minutes - (-offset if found[6] == "-" else offset)) % 1440 == 1439


def is_date_time(value: str) -> bool:
    """Return whether `value` is a date, `T` and a time with its offset (RFC 3339 date-time)."""
    return value[10:11] in ("T", "t") and is_date(value[:10]) and is_time(value[11:])


def is_duration(value: str) -> bool:
    """Return whether `value` is a duration such as P1DT12H (RFC 3339, appendix A)."""
    return _DURATION.fullmatch(value) is not None


def is_ipv4(value: str) -> bool:
    """Return whether `value` is an IPv4 address (RFC 2673 dotted-quad; leading zeros are ambiguous and refused)."""
    return _IPV4.fullmatch(value) is not None and _parses(ipaddress.IPv4Address, value)


def is_ipv6(value: str) -> bool:
    """Return whether `value` is an IPv6 address without a zone (RFC 4291)."""
    return _IPV6.fullmatch(value) is not None and _parses(ipaddress.IPv6Address, value)


def is_hostname(value: str) -> bool:
    """Return whether `value` is a host name of letters, digits and hyphens (RFC 1123, 2.1)."""
    return len(value) <= 253 and all(_is_label(label) for label in value.split("."))


def _is_label(label: str) -> bool:
    if _LABEL.fullmatch(label) is None:
        return False
    if label[2:4] != "--":
        return True
    try:  # these places are reserved for encoded international names (RFC 5891)
        return label[:4].lower() == "xn--" and label[4:].encode("ascii").decode("punycode") != ""
    except UnicodeError:
        return False


def is_email(value: str) -> bool:
    """Return whether `value` is an e-mail address (RFC 5321 Mailbox) with a host name or address literal."""
    local, at, domain = value.rpartition("@")
    if not at or len(local) > 64 or not _LOCAL.fullmatch(local):
        return False
    if not domain.startswith("["):
        return is_hostname(domain)
    literal = domain[1:-1]
    if not domain.endswith("]"):
        return False
    return is_ipv6(literal[5:]) if literal[:5].lower() == "ipv6:" else is_ipv4(literal)


def is_uri(value: str) -> bool:
    """Return whether `value` is a URI with a scheme (RFC 3986)."""
    return _SCHEME.match(value) is not None and is_uri_reference(value)


def is_uri_reference(value: str) -> bool:
    """Return whether `value` is a URI or a relative reference (RFC 3986)."""
    rest, _, fragment = value.partition("#")
    rest, _, query = rest.partition("?")
    if scheme := _SCHEME.match(rest):
        rest = rest[scheme.end() :]
    elif ":" in rest.partition("/")[0]:
        return False
    authority = ""
    if rest.startswith("//"):
        authority, slash, rest = rest[2:].partition("/")
        rest = slash + rest
    texts = ((_URI_PATH, rest), (_URI_QUERY, query), (_URI_QUERY, fragment))
    return _is_authority(authority) and all(pattern.fullmatch(text) for pattern, text in texts)


def _is_authority(value: str) -> bool:
    user, _, place = value.rpartition("@")
    host, colon, port = place, "", ""
    if not place.endswith("]"):
        host, colon, port = place.rpartition(":")
        host = host if colon else port
    if colon and not re.fullmatch("[0-9]*", port):
        return False
    if host.startswith("["):
        literal = host[1:-1]
        return host.endswith("]") and (is_ipv6(literal) or _IP_FUTURE.fullmatch(literal) is not None)
    return _USER.fullmatch(user) is not None and _HOST.fullmatch(host) is not None


def is_uuid(value: str) -> bool:
    """Return whether `value` is a UUID in its usual form with hyphens (RFC 4122)."""
    return _UUID.fullmatch(value) is not None


def is_json_pointer(value: str) -> bool:
    """Return whether `value` is a JSON pointer such as /a/0 (RFC 6901)."""
    return _POINTER.fullmatch(value) is not None


def is_regex(value: str) -> bool:
    """Return whether `value` is a regular expression in Python's syntax, of at most 1,000 characters."""
    if len(value) > MAX_REGEX:  # nothing could interrupt the compiler
        return False
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _parses(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except ValueError:
        return False
    return True


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date": is_date,
    "date-time": is_date_time,
    "duration": is_duration,
    "email": is_email,
    "hostname": is_hostname,
    "ipv4": is_ipv4,
    "ipv6": is_ipv6,
    "json-pointer": is_json_pointer,
    "regex": is_regex,
    "time": is_time,
    "uri": is_uri,
    "uri-reference": is_uri_reference,
    "uuid": is_uuid,
}
