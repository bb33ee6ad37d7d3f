"""Scripts from https: what is run, and what is refused before it is run."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import server_context

from collective.agent import Aborted
from collective.agents import _downloads, shell

SCRIPT = b"echo hello\n"
DIGEST = hashlib.sha256(SCRIPT).hexdigest()


class _ScriptHandler(http.server.BaseHTTPRequestHandler):
    """Serves the script, a redirect to plain http, and an endless body."""

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://localhost/script")
            self.end_headers()
            return
        body = {"/script": SCRIPT, "/latin": b"\xff\n", "/large": b"x" * (_downloads.LARGEST + 2)}.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An https server with a certificate that this process trusts; yields its URL."""
    context = server_context(tmp_path, 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _ScriptHandler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"https://localhost:{listening.server_address[1]}"
        listening.shutdown()
    thread.join(30)


def test_a_script_with_the_right_digest_is_returned(server: str) -> None:
    """The content is returned if its SHA-256 is the one in the URL."""
    assert _downloads.script(f"{server}/script#sha256={DIGEST}", 10) == SCRIPT.decode()


@pytest.mark.parametrize(
    ("path", "digest", "problem"),
    [
        ("script", "0" * 64, "not run: its digest is"),
        ("missing", DIGEST, "Not Found"),
        ("redirect", DIGEST, "redirected to 'http://localhost/script', which is not https"),
        ("large", DIGEST, "larger than 4194304 bytes"),
        ("latin", hashlib.sha256(b"\xff\n").hexdigest(), "not UTF-8"),
    ],
)
def test_everything_else_is_refused(server: str, path: str, digest: str, problem: str) -> None:
    """Another digest, an error of the server, a redirect to http, a large file and binary content are not run."""
    with pytest.raises(Aborted, match=problem):
        _downloads.script(f"{server}/{path}#sha256={digest}", 10)


def test_a_dry_run_downloads_nothing(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that may only preview cannot make the node fetch anything, whatever its credentials open."""
    paths: list[str] = []
    monkeypatch.setattr(_ScriptHandler, "do_GET", lambda handler: paths.append(handler.path))
    url = f"{server}/script#sha256={DIGEST}"
    found = shell.script(url=url, interpreter="bash", args=["-x"], deadline=time.time() + 10, dry_run=True)
    assert found == {"would_run": f"bash '{url}' -x as the user of the node in /"}
    assert paths == []


def test_a_server_that_is_not_trusted_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the node does not trust ends the download."""
    monkeypatch.setenv("SSL_CERT_FILE", ssl.get_default_verify_paths().openssl_cafile)
    with pytest.raises(Aborted, match="CERTIFICATE_VERIFY_FAILED"):
        _downloads.script(f"{server}/script#sha256={DIGEST}", 10)
