"""A gate on a web page: it is open when a GET request is answered with a 2xx status."""

from __future__ import annotations

from collective.errors import UsageError
from collective.fleet.gates import GateView

TIMEOUT = 10.0  # seconds for each step of the request


class HTTPGate:
    """A URL; redirects are followed, and the proxy settings of the environment apply."""

    unattended = True

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self.name = f"http:{url}"
        self._url = url
        self._timeout = timeout

    @classmethod
    def read(cls, option: str, url: str) -> HTTPGate:
        """Read a URL; raise UsageError unless it is one of http or https with a host."""
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(f"{option} 'http:{url}': must be a URL such as https://my.net/health")
        return cls(url)

    def check(self, view: GateView) -> str:  # noqa: ARG002 - a page is about more than the replies
        """Return the status of the response, or why there is none, unless it is 2xx."""
        import http.client
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(self._url, timeout=self._timeout) as response:  # noqa: S310 - http and https
                return "" if 200 <= response.status < 300 else f"status {response.status}"
        except urllib.error.HTTPError as error:
            error.close()
            return f"status {error.code}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"no answer: {getattr(error, 'reason', None) or error}"
