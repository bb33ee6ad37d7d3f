"""Reports with rows of all sorts, and what a browser does with their pages."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

from collective.clients.reports.content import Content, build
from collective.clients.reports.definition import Report

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e"
_HEAD = """<script>
window.found = [];
addEventListener("error", (event) => window.found.push(String(event.message || event.target.outerHTML)), true);
addEventListener("securitypolicyviolation", (event) => window.found.push(event.violatedDirective));
</script>"""
_RESULT = re.compile(r'<output id="result">(.*?)</output>', re.DOTALL)


def make_report(**keys: Any) -> Report:
    """Return a report over hardware."""
    columns = [
        {"heading": "Node", "value": "identity"},
        {"heading": "System", "value": "facts.os.name"},
        {"heading": "Memory", "value": "facts.memory", "format": "bytes", "align": "right"},
    ]
    return Report("hardware", "hardware.yaml", **{"title": "Hardware", "columns": columns, **keys})


def make_rows() -> list[dict[str, Any]]:
    """Return the rows of four nodes: one without facts, one with hostile ones."""
    sizes = {"web9": 2 * 1024**3, "web10": 10 * 1024**3, "db1": None, "evil": 512 * 1024**2}
    systems = {"web9": "debian", "web10": "debian", "db1": None, "evil": HOSTILE}
    return [
        {"identity": name, "facts": {"memory": sizes[name], "os": {"name": systems[name]}}, "agents": {"rpcutil": "1"}}
        for name in sizes
    ]


def make_content(**keys: Any) -> Content:
    """Return the content of the report."""
    return build(make_report(**keys), make_rows(), 1_795_000_000.0)


def in_browser(page: str, script: str, folder: Path) -> tuple[Any, list[str], str]:
    """Open a page in Chromium and run `script`; return its result, the errors of the page, and the console's lines."""
    ending = f"""<script>
    const result = document.createElement("output");
    result.id = "result";
    result.textContent = JSON.stringify([(() => {{ {script} }})(), window.found]);
    document.body.append(result);
    </script></body>"""
    file = folder / "page.html"
    file.write_text(page.replace("<head>", f"<head>{_HEAD}", 1).replace("</body>", ending), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=1000"]
    done = subprocess.run(
        ["chromium", *options, f"--user-data-dir={folder}/profile", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found = _RESULT.search(done.stdout)
    assert found, done.stderr
    value, errors = json.loads(unescape(found[1]))
    return value, errors, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
