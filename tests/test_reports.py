"""Reports of the fleet: their files, columns, templates and forms."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import Captured, called, json_document
from support.report_pages import HOSTILE, make_content, make_report, make_rows

from collective.clients.render.view import Screen
from collective.clients.reports import content, definition, templates, text
from collective.clients.reports.html import as_html
from collective.errors import ConfigError

SHIPPED = definition.paths([])


def shown(**keys: Any) -> str:
    return text.as_text(make_content(**keys), Screen(io.StringIO()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of own reports of a client.yaml."""
    (tmp_path / "client.yaml").write_text("{collective: production, reports: [reports], state: state}")
    (tmp_path / "reports").mkdir()
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return tmp_path / "reports"


# -- content


def test_rows_are_sorted_formatted_and_added_up() -> None:
    """Rows are in the order of the report, absent values last, and totals are of all rows."""
    lines = shown(sort=["-Memory"], totals={"Memory": "sum", "Node": "count"}).splitlines()
    assert [line.split()[0] for line in lines[5:9]] == ["web10", "web9", "evil", "db1"]
    assert lines[5].endswith("10.0 GiB")
    assert lines[-1] == "Total: Node 4 (count), Memory 12.5 GiB (sum)"


def test_equal_rows_are_counted() -> None:
    """Rows without what differs collapse to one with the number of nodes."""
    columns = [{"heading": "System", "value": "facts.os.name"}]
    found = make_content(columns=columns, collapse=True, sort=["-Nodes"], totals={"Nodes": "sum"}, bars=["System"])
    assert found.rows[0] == ["debian", 2]
    assert found.totals == ["", "4"]
    assert found.bars[0].counts[0] == ("debian", 2)


def test_only_rows_that_differ() -> None:
    """With `differs`, rows with the most common value are omitted; without a difference no rows remain."""
    assert {row[0] for row in make_content(differs="facts.os.name").rows} == {"db1", "evil"}
    assert "no rows" in shown(differs="agents.rpcutil")


def test_sections_and_pages() -> None:
    """A group has a section for each value, and each page has the heading again."""
    columns = [*make_report().columns, {"heading": "Agent", "value": "agents.rpcutil"}]
    assert "Agent: 1\n" in shown(columns=columns, group="Agent")
    paged = shown(page_length=3)
    assert (paged.count("page 1 of 2"), paged.count("page 2 of 2"), paged.count("Node ")) == (1, 1, 2)


def test_entries_of_a_mapping_have_rows_of_their_own() -> None:
    """The key `expand` makes a row for each agent of each node."""
    columns = [{"heading": "Agent", "value": "entry.key"}, {"heading": "Version", "value": "entry.value"}]
    assert make_content(columns=columns, expand="agents", collapse=True).rows == [["rpcutil", "1", 4]]


@pytest.mark.parametrize("value", [5, True, "text", None, 1.5])
def test_a_node_whose_value_has_no_entries_has_no_row(value: Any) -> None:
    """One node whose value is neither a list nor a mapping does not break the report of the others."""
    columns = [{"heading": "Entry", "value": "entry.value"}]
    rows = [{"identity": "a", "facts": {"disks": value}}, {"identity": "b", "facts": {"disks": ["sda"]}}]
    found = content.build(make_report(columns=columns, expand="facts.disks", sort=[]), rows, 0.0)
    assert found.rows == [["sda"]]


def test_a_report_that_others_can_change_is_not_used(tmp_path: Path) -> None:
    """A report can call any action in the caller's name, so other users must not be able to write it."""
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\ncolumns: [{heading: Node, value: identity}]\n")
    assert definition.find("mine", [tmp_path]).title == "Mine"
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=f"mine.yaml: not used: {path}: writable by all users"):
        definition.find("mine", [tmp_path])


def test_a_fact_of_another_type_breaks_no_format() -> None:
    """A value that its format cannot show is shown as it is."""
    rows = [{"identity": "a", "facts": {"memory": [1, {"b": None}]}}, {"identity": "b", "facts": {"memory": "much"}}]
    found = content.build(make_report(totals={"Memory": "max"}), rows, 0.0)
    assert [row[2] for row in text.cells(found, found.rows)] == ['[1, {"b": null}]', "much"]
    assert found.totals == ["", "", ""]


# -- forms


def test_hostile_text_is_escaped_in_every_form() -> None:
    """Neither a terminal nor Markdown nor a browser interprets what a node reports."""
    found = make_content()
    plain, markdown, page = text.as_text(found, Screen(io.StringIO())), text.as_markdown(found), as_html(found)
    for form in (plain, markdown, page):
        assert "\x1b" not in form
        assert "\u202e" not in form
    assert "\\</td\\>\\<script\\>" in markdown
    assert "<script>alert" not in page
    assert "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_page_needs_no_network() -> None:
    """The page has no address, and a policy that forbids all requests."""
    page = as_html(make_content(bars=["System"]))
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "http" not in page.replace("http-equiv", "")


def test_a_template_is_shown_as_text_on_a_page() -> None:
    """The result of a template is not interpreted as HTML."""
    assert "<pre>&lt;b&gt;</pre>" in as_html(make_content(), "<b>")


# -- templates


def test_a_template_gets_the_rows() -> None:
    """A template for the whole report has all rows, and absent members are empty."""
    found = make_content(template="{% for node in nodes %}{{ node.identity }}={{ node.facts.no.such }};{% endfor %}")
    assert templates.write(found) == "web9=;web10=;db1=;evil=;"


def test_an_unknown_variable_of_a_template_is_refused() -> None:
    """Only the members of a row may be absent; a misspelled variable would make an empty report."""
    with pytest.raises(ConfigError, match=r"template: unknown variable 'node' \(did you mean 'nodes'\?\)"):
        templates.write(make_content(template="{% for one in node %}{{ one.identity }}{% endfor %}"))
    found = make_content(
        template="{% macro m(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(title) }}{{ range(1) | list }}"
    )
    assert templates.write(found).endswith("[][0]")


def test_pages_of_a_template() -> None:
    """Each page has the heading and its rows."""
    found = make_content(page_heading="{{ page }}/{{ pages }}", page_body="{{ node.identity }}", page_length=3)
    assert templates.write(found) == "1/2\nweb9\nweb10\ndb1\n\n2/2\nevil\n"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ nodes.__class__ }}{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ nodes.append(1) }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ range(10000000) }}", "Range too big"),
        ("{% for %}", "line 1"),
        ("{{ 'x' * 100000000 }}", "makes a value of more than 1048576 characters"),
        ("{% for one in range(999) %}{{ 'x' * 1000000 }}{% endfor %}", "writes more than"),
    ],
)
def test_a_template_is_in_a_sandbox(template: str, problem: str) -> None:
    """A template reaches nothing of Python, reads no files, and an error names the report and the key."""
    with pytest.raises(ConfigError) as error:
        templates.write(make_content(template=template))
    assert "hardware.yaml: template: " in str(error.value)
    assert problem in str(error.value)


def test_internals_of_python_are_absent_in_a_template() -> None:
    """An attribute that leads out of the sandbox is absent like any other that does not exist."""
    assert templates.write(make_content(template="{{ title.__init__.__globals__ }}")) == ""


def test_the_inventory_of_mcollective() -> None:
    """The translation of `inventory do format` prints identity, serial number and product with two tabs."""
    report = definition.read(SHIPPED["serial-numbers"])
    facts = {"serialnumber": "99xxx21", "productname": "BladeCenter HS22 -[7870B3G]-"}
    found = content.build(report, [{"identity": "xx12", "facts": facts}], 0.0)
    assert templates.write(found) == "xx12:\t\t99xxx21\t\tBladeCenter HS22 -[7870B3G]-\n"


def test_the_formatted_inventory_of_mcollective() -> None:
    """The translation of `formatted_inventory` has 20 nodes a page, with two lines each in fixed columns."""
    report = definition.read(SHIPPED["node-report"])
    facts = {"customer": "acme", "lsbdistdescription": "CentOS release 5.5 (Final)", "processor0": "AMD Opteron"}
    found = content.build(report, [{"identity": f"dev{number}", "facts": facts} for number in range(21)], 0.0)
    pages = templates.write(found).split("            Node Report ")[1:]
    assert [page.count("dev") for page in pages] == [20, 1]
    lines = pages[1].splitlines()
    assert lines[2] == "Hostname:         Customer:     Distribution:"
    assert "dev20             acme          CentOS release 5.5 (Final)" in pages[1]
    assert f"{'AMD Opteron':<40}" in pages[1]


# -- files


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_report_is_valid(name: str) -> None:
    """Shipped reports can be read, and have a description for the list."""
    report = definition.read(SHIPPED[name])
    assert report.description
    content.build(replace(report, where=report.where), make_rows(), 0.0)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("{title: a}", "columns: missing"),
        ("{title: a, columns: [{heading: B}]}", "columns.0: 'value' is a required property"),
        ("{title: a, columns: [{heading: B, value: c}], sort: [b]}", "sort: there is no column 'b' (headings: B)"),
        ("{title: a, columns: [{heading: B, value: c}, {heading: B, value: d}]}", "heading 'B' is used twice"),
        ("{title: a, columns: [{heading: B, value: c, format: d}]}", "columns.0.format: 'd' is not one of"),
        ("{title: a, source: facts}", "source: must be 'nodes', or a mapping with agent and action"),
        ("{title: a, sources: b}", "unknown key 'sources'"),
    ],
)
def test_a_wrong_report_is_refused(folder: Path, capsys: Captured, file: str, problem: str) -> None:
    """An error names the file and the key, and the list tells that the report cannot be used."""
    (folder / "odd.yaml").write_text(file)
    code, _, err = called(["report", "odd"], capsys)
    assert (code, problem in err, "reports/odd.yaml" in err) == (78, True, True), err
    entries = {entry["name"]: entry["description"] for entry in json_document(["report", "list"], capsys)["reports"]}
    assert "cannot be used" in entries["odd"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("hardwar", "unknown report 'hardwar' (did you mean 'hardware'?)"),
        ("hardware --html -o json", "--html: not allowed with -o json"),
        ("hardware --html --count", "--html: prints the whole report"),
        ("hardware --markdown --fields Node", "--markdown: prints the whole report"),
        ("show", "report show: needs the name of one report"),
        ("list all", "unexpected argument 'all'"),
        ("serial-numbers -o csv", "is a template, and has no columns for -o csv"),
    ],
)
def test_a_wrong_command_line_is_refused(folder: Path, capsys: Captured, words: str, problem: str) -> None:
    """A misspelt report and forms that a report does not have are refused before anything is read."""
    code, _, err = called(["report", *words.split()], capsys)
    assert (code, problem in err) == (64, True), err


def test_the_file_of_a_report_is_shown(folder: Path, capsys: Captured) -> None:
    """An own report hides the shipped one of the same name, and its file is printed."""
    (folder / "hardware.yaml").write_text("title: Ours\ntemplate: x\n")
    assert called(["report", "show", "hardware"], capsys)[1] == "title: Ours\ntemplate: x\n"
    assert called(["report", "show", "os"], capsys)[1] == SHIPPED["os"].read_text()
    assert HOSTILE not in called(["report", "list"], capsys)[1]


def test_a_section_has_the_totals_of_its_own_rows() -> None:
    """Each section ends with its totals, and those of all rows follow; a section on several pages has them once."""
    keys: dict[str, Any] = {"group": "System", "sort": ["Node"], "totals": {"Memory": "sum"}}
    lines = [line for line in shown(**keys).splitlines() if "otal" in line]
    assert lines == [
        "Total: Memory 512.0 MiB (sum)",
        "Total: Memory 12.0 GiB (sum)",
        "Total of all rows: Memory 12.5 GiB (sum)",
    ]
    assert shown(**keys, page_length=1).count("Total: Memory 12.0 GiB") == 1
    found = make_content(**keys)
    assert re.findall(r"\*\*(.*?)\*\*", text.as_markdown(found)) == [
        "512.0 MiB",
        "12.0 GiB",
        "Total of all rows: Memory 12.5 GiB (sum)",
    ]
    page = as_html(found)
    assert (page.count("<tfoot>"), page.count(">12.0 GiB</td>"), page.count("Total of all rows: Memory 12.5 GiB")) == (
        3,
        1,
        1,
    )


def test_a_page_breaks_only_long_words() -> None:
    """The name of a node stays in one line; a long word cannot make the page wider than the screen."""
    rows = [{"identity": "node01.lab", "facts": {"os": {"name": "x" * 31}}, "agents": {}}]
    page = as_html(content.build(make_report(), rows, 0.0))
    assert re.findall(r'<td [^>]*?(?:class="([^"]*)")?>', page) == ["", " long", "right"]
