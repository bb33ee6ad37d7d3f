"""The text of a notification: the default one, or a Jinja2 template in a sandbox, whose first line is the title.

{{ agent }} {{ action }} on {{ nodes }} nodes: {{ event }}
{{ ok | length }} OK{% for node in failed %}, {{ node }} failed{% endfor %}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from collective.errors import ConfigError
from collective.nodesets import fold_any
from collective.text import escape_lines, plural

MOST_TEXT = 64 * 1024  # characters
_STATES = {"end": "OK", "fail": "failed", "pause": "paused", "wait": "waiting"}
_GROUPS = ("failed", "silent", "skipped", "working", "waiting")


def render(document: Mapping[str, Any], template: Path | None = None) -> tuple[str, str]:
    """Return the title and the text of an event; raise ConfigError, naming the file, for a template with an error."""
    if template is None:
        return _title(document), "\n".join(escape_lines(line) for line in _lines(document))
    title, _, body = escape_lines(_rendered(template, document)).strip("\n").partition("\n")
    return title, body or title


def _title(document: Mapping[str, Any]) -> str:
    what = " ".join(str(document[name]) for name in ("agent", "action"))
    state = _STATES[document["event"]] + (" (dry run)" if document.get("dry_run") else "")
    return f"{what} on {plural(document['nodes'], 'node')} of {document['collective']}: {state}"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    if document.get("why"):
        yield str(document["why"])
    groups = [f"{len(document[name])} {name}" for name in _GROUPS if document.get(name)]
    yield ", ".join([f"{len(document.get('ok', ()))} OK", *groups])
    for name in _GROUPS:
        if document.get(name) and name != "waiting":
            yield f"{name}: {fold_any(document[name])}"
    for failure in document.get("failures", ()):
        yield f"{failure['node']}: {failure['message']}"
    if document.get("run"):
        yield f"run {document['run']}, started by {document['caller']}"


def check(template: Path) -> None:
    """Raise ConfigError for a template that cannot be read, or is not valid."""
    _rendered(template, None)


def _rendered(template: Path, document: Mapping[str, Any] | None) -> str:
    """Return the text of a template; without a document only check it."""
    from jinja2 import ChainableUndefined

    from collective.sandbox import Sandbox, naming_errors, written

    environment = Sandbox(undefined=ChainableUndefined, trim_blocks=True, lstrip_blocks=True)
    text = _source(template)
    with naming_errors(str(template)):
        found = environment.from_string(text)
        return "" if document is None else written(found, document, MOST_TEXT)


def _source(template: Path) -> str:
    try:
        with template.open(encoding="utf-8") as file:
            text = file.read(MOST_TEXT + 1)
    except OSError as error:
        raise ConfigError(f"{template}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{template}: not UTF-8") from None
    if len(text) > MOST_TEXT:
        raise ConfigError(f"{template}: has more than {MOST_TEXT} characters")
    return text
