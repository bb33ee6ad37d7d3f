"""The places that `notify:` of client.yaml names: where notifications go, at which events, and with which text.

notify:
  ops:  {url: "mailto://mail.my.net?to=ops@my.net", on: [fail, pause]}
  chat: {url_file: /etc/collective/chat.url, template: chat.j2}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.errors import ConfigError, UsageError
from collective.masking import MASK
from collective.notifications import scheme
from collective.suggestions import suggest

END, FAIL, PAUSE, WAIT = "end", "fail", "pause", "wait"
EVENTS = {
    END: "a run has ended, and its exit code is 0",
    FAIL: "a run has ended with another exit code",
    PAUSE: "a gate pauses a run",
    WAIT: "a run waits for a person: the gate 'ask', the step 'ask' of a playbook, or approvals",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEYS = ("url", "url_file", "on", "template")


@dataclass(frozen=True)
class NotificationPlace:
    """Where a notification goes, and its template (None: the default text). `name` is safe to show."""

    name: str
    url: str
    template: Path | None = None


def read_places(path: Path, value: Any, where: str) -> dict[str, dict[str, Any]]:
    """Return the places of a client.yaml by name, with absolute paths; raise ConfigError without showing a URL."""
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {where}: must be a mapping of names to places")
    return {str(name): _place(path, str(name), place, f"{path}: {where}.{name}") for name, place in value.items()}


def shown(places: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return places as they may be shown: with the scheme of each URL only."""
    return {name: {key: _masked(key, value) for key, value in place.items()} for name, place in places.items()}


def select(wanted: Iterable[str], places: Mapping[str, Mapping[str, Any]]) -> list[NotificationPlace]:
    """Return the places that names or URLs stand for; raise UsageError for an unknown one, ConfigError for no file."""
    return [_selected(word, places) for word in wanted]


def always(places: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the names of the places that get an event of every run, by event."""
    return {event: [name for name, place in places.items() if event in place.get("on", ())] for event in EVENTS}


def _place(path: Path, name: str, place: Any, where: str) -> dict[str, Any]:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: invalid name: use a-z, A-Z, 0-9, '_' and '-'")
    if not isinstance(place, dict) or ("url" in place) == ("url_file" in place):
        raise ConfigError(f"{where}: must be a mapping with either 'url' or 'url_file'")
    for key, value in place.items():
        if key not in _KEYS:
            hint = suggest(str(key), _KEYS, f"keys: {', '.join(_KEYS)}")
            raise ConfigError(f"{where}: unknown key '{key}' ({hint})")
        if key != "on" and not (isinstance(value, str) and value):
            raise ConfigError(f"{where}.{key}: must be a string")
    if "url" in place and not scheme(place["url"]):
        raise ConfigError(f"{where}.url: not a URL (use one such as mailto://… or slack://…)")
    on = place.get("on", [])
    if not isinstance(on, list) or not all(event in EVENTS for event in on):
        raise ConfigError(f"{where}.on: must be a list of {', '.join(EVENTS)}")
    folder = path.absolute().parent
    files = {key: str(folder / Path(place[key]).expanduser()) for key in ("url_file", "template") if key in place}
    return {**place, **files}


def _selected(word: str, places: Mapping[str, Mapping[str, Any]]) -> NotificationPlace:
    if kind := scheme(word):
        return NotificationPlace(f"{kind}://{MASK}", word)
    if word not in places:
        hint = suggest(word, places, f"client.yaml has: {', '.join(places) or 'none'}; or give a URL")
        raise UsageError(f"no notification '{word}' ({hint})")
    place = places[word]
    template = Path(place["template"]) if "template" in place else None
    return NotificationPlace(word, place["url"] if "url" in place else _read(word, Path(place["url_file"])), template)


def _read(name: str, path: Path) -> str:
    try:
        url = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"notify.{name}: {path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    if not scheme(url) or "\n" in url:
        raise ConfigError(f"notify.{name}: {path}: must have one URL")
    return url


def _masked(key: str, value: Any) -> Any:
    return f"{scheme(value)}://{MASK}" if key == "url" else value
