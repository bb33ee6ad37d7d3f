"""Send notifications to e-mail, chats and web pages, through Apprise: https://github.com/caronc/apprise/wiki.

    for problem in send(["mailto://mail.my.net?to=ops@my.net"], "rollout failed", "2 of 40 nodes failed"):
        log(problem)

Each URL has a thread of its own, so that a slow server delays neither the others nor the caller. URLs hold passwords
and tokens: messages have only the number and the scheme of a URL, and what Apprise says is masked.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from collective.errors import ConfigError, UsageError
from collective.masking import MASK
from collective.text import escape_controls

if TYPE_CHECKING:
    from types import ModuleType

TIMEOUT = 15.0  # seconds for one notification
_SCHEME = re.compile(r"([A-Za-z0-9]{1,20})://")
_LONGEST = 200  # characters of what Apprise says
_SHORTEST_SECRET = 4  # characters; shorter parts of a URL are not masked in a message


def send(urls: Sequence[str], title: str, body: str, timeout: float = TIMEOUT) -> list[str]:
    """Send a notification to each URL, and wait at most `timeout` seconds.

    Returns one line for each URL that did not accept it; an empty list means that all did. Raises UsageError when
    Apprise cannot read a URL, and ConfigError without Apprise.
    """
    return begin(urls, title, body).problems(timeout)


def begin(urls: Sequence[str], title: str, body: str) -> Sending:
    """Begin to send a notification, and return without waiting; raise what `send` raises."""
    places = [_Notification(number, url, _service(number, url)) for number, url in enumerate(urls, start=1)]
    for place in places:
        place.send(title, body)
    return Sending(places)


def check(urls: Sequence[str]) -> None:
    """Raise UsageError when Apprise cannot read one of the URLs, ConfigError when it is not installed."""
    for number, url in enumerate(urls, start=1):
        _service(number, url)


def scheme(url: str) -> str:
    """Return the scheme of a URL, the only part that may be shown; an empty string for what is not a URL."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


class Sending:
    """A notification on its way to several URLs."""

    def __init__(self, places: Sequence[_Notification]) -> None:
        self._places = places

    def problems(self, timeout: float = TIMEOUT) -> list[str]:
        """Wait until it is sent, at most `timeout` seconds; return one line for each URL that did not accept it."""
        until = time.monotonic() + timeout
        found = [place.problem(max(0.0, until - time.monotonic()), timeout) for place in self._places]
        return [problem for problem in found if problem]


class _Notification:
    """One notification to one URL."""

    def __init__(self, number: int, url: str, service: Any) -> None:
        self._name = f"notification {number} ({scheme(url)})"
        self._url = url
        self._service = service
        self._thread: threading.Thread | None = None
        self._problem: str | None = None

    def send(self, title: str, body: str) -> None:
        # A daemon thread: a server that never answers does not keep the program from ending.
        self._thread = threading.Thread(target=self._run, args=(title, body), name="notification", daemon=True)
        self._thread.start()

    def problem(self, wait: float, timeout: float) -> str:
        """Return why it was not accepted within `wait` seconds; an empty string when it was."""
        if self._thread:
            self._thread.join(wait)
        if self._problem is None:
            return f"{self._name}: not sent within {timeout:g} s"
        return self._problem and f"{self._name}: not sent{self._problem}"

    def _run(self, title: str, body: str) -> None:
        with _Messages() as messages:
            try:
                # Not `Apprise.notify`: its threads keep the program from ending.
                sent = bool(self._service.notify(title=title, body=body, body_format="text"))
            except Exception as error:  # of a service, which may be a plug-in of Apprise
                sent, messages.texts = False, [f"{type(error).__name__}: {error}"]
        said = _masked("; ".join(messages.texts), self._url)
        self._problem = "" if sent else f": {said}" if said else " (the service gave no reason)"


class _Messages(logging.Handler):
    """Collects what Apprise logs in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.texts.append(record.getMessage())

    def __enter__(self) -> _Messages:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)


def _service(number: int, url: str) -> Any:
    if not scheme(url):
        raise UsageError(f"notification {number}: not a URL (use one such as mailto://… or slack://…)")
    apprise = _apprise()
    try:
        service = apprise.Apprise.instantiate(url)
    except Exception:  # of a plug-in; its message can have parts of the URL
        service = None
    if service is None:
        raise UsageError(f"notification {number}: Apprise cannot read the URL {scheme(url)}://{MASK}")
    if "format=" not in url:
        service.notify_format = "text"  # e-mail is HTML by default, in which line ends are spaces
    return service


def _apprise() -> ModuleType:
    """Return Apprise, which takes 0.2 s to import; its own log, which can have parts of URLs, goes nowhere else."""
    try:
        import apprise
    except ImportError:
        raise ConfigError("notifications need Apprise (pip install 'apprise>=1.9')") from None
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # else Python would write to standard error
    return apprise


def _masked(text: str, url: str) -> str:
    """Return a message in one line, without any part of the URL but its scheme."""
    _, _, rest = url.partition("://")
    parts = {part for whole in (rest, unquote(rest)) for part in re.split(r"[/?&=:@#,;+ ]", whole)}
    for part in sorted((part for part in parts if len(part) >= _SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(part, MASK)
    return escape_controls(text.strip()[:_LONGEST])
