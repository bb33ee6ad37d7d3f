"""The HTML page of a report in Chromium: sorted, searched, dark and light, without an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.crpc_process import Crpc
from support.report_pages import in_browser, make_content

from collective.clients.reports.html import as_html

SCRIPT = """
const names = () => Array.from(document.querySelectorAll("tbody tr"))
  .filter((row) => row.offsetParent !== null).map((row) => row.cells[0].textContent);
const click = (place) => document.querySelectorAll("th button")[place].click();
const field = document.getElementById("search");
const type = (text) => { field.value = text; field.dispatchEvent(new Event("input")); };
const found = {start: names()};
click(2); found.memory = names();
click(2); found.reversed = names();
click(0); found.byName = names();
type("DEB web1"); found.searched = names(); found.count = document.getElementById("count").textContent;
type("");
const background = () => getComputedStyle(document.body).backgroundColor;
const before = background();
document.getElementById("theme").click(); found.changed = before !== background();
found.scripts = document.querySelectorAll("td script, td img").length;
found.widths = Array.from(document.querySelectorAll(".bar")).map((bar) => bar.style.width);
found.total = document.querySelector("tfoot td:last-child").textContent;
return found;
"""


@pytest.fixture
def chromium(needs: Callable[[str, str], None]) -> None:
    """Chromium, to open pages."""
    needs("chromium", "chromium")


def test_a_page_is_sorted_and_searched(chromium: None, tmp_path: Path) -> None:
    """Columns sort by value and not by text, words select rows, and hostile text stays text; the console is empty."""
    page = as_html(make_content(totals={"Memory": "sum"}, bars=["System"], sort=["Node"]))
    found, errors, console = in_browser(page, SCRIPT, tmp_path)
    assert (errors, console) == ([], "")
    assert found["start"] == ["db1", "evil", "web9", "web10"]
    assert found["memory"][-2:] == ["web9", "web10"]
    assert found["reversed"][:2] == ["web10", "web9"]
    assert found["byName"] == ["db1", "evil", "web9", "web10"]
    assert (found["searched"], found["count"]) == (["web10"], "1 of 4 rows")
    assert (found["changed"], found["scripts"], found["total"]) == (True, 0, "12.5 GiB")
    assert found["widths"] == ["100%", "50%", "50%"]


def test_reports_of_a_lab(crpc: Crpc, tmp_path: Path) -> None:
    """The shipped reports have a row for each node, in every form."""
    done = crpc("report", "hardware", "-o", "csv")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 6)
    assert crpc("report", "uptime").stdout.count(" ok ") == 5
    same = crpc("report", "package-versions", "package=bash").stdout
    assert ("no rows" in same, "0 of 5 nodes" in same) == (True, True)
    (tmp_path / "roles.yaml").write_text("{title: Roles, columns: [{heading: Role, value: facts.rol}]}")
    mistyped = crpc("report", str(tmp_path / "roles.yaml")).stderr
    assert mistyped == "crpc: column 'Role': no node has the fact 'rol' (did you mean 'role'?)\n"
    assert crpc("report", "os", "--markdown").stdout.startswith("# Operating systems\n")
    file = tmp_path / "nodes.html"
    assert crpc("report", "agents", "--output-file", str(file), "-F", "role=web").returncode == 0
    assert '<td data-label="Agent"' in file.read_text()
    done = crpc("report", "serial-numbers")
    assert done.stdout.splitlines()[0] == "node01.lab:\t\t\t\t"
